"""Size of shards: an estimate from image headers for plans, and a measured one for the disk-space check."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.errors import AnnotationError, DatasetLayoutError
from trace_data.files import open_regular
from trace_data.frames.image import image_size
from trace_data.frames.video import contents, video_facts
from trace_data.schema.check import check_record
from trace_data.schema.findings import any_error
from trace_data.schema.thinning import thinned
from trace_data.shards.layout import FRAME_COLUMNS, PEOPLE_COLUMNS, Column
from trace_data.shards.levels import Storage
from trace_data.shards.rows import rows_of
from trace_data.shards.writer import stored_levels

BYTES_PER_PIXEL = 0.25
"""Of a stored JPEG; 0.24 measured on 720p at quality 90 (docs/build-shards.md#in-which-sizes-frames-are-stored)."""
ROW_BYTES = 2048
"""Bytes of a frame's annotations: one or two people of 1.6 KB."""
UNKNOWN_FRAME = 230_000
"""Assumed bytes of a frame of unknown size: 1280 x 720 px."""
HEADER = 1 << 16
SAMPLES = 4
"""Sequences of a dataset that are sampled."""


def frames_of(ref: SequenceRef, every: int) -> int:
    """Number of frames kept of a sequence."""
    return -(-ref.frames // every)


def guess(ref: SequenceRef, storage: Storage, every: int) -> int:
    """Estimated bytes of a sequence, from the header of its first image; independent of the installed encoder."""
    frame = UNKNOWN_FRAME
    try:
        width, height, length = _first_frame(ref.images)
    except (AnnotationError, OSError):
        pass  # the sequence will be left out with a reason, or only its header is unusually long
    else:
        sides = storage.sides(width, height, np.zeros((0, 4))) or (min(width, height),)
        scales = [side / min(width, height) for side in sides if side is not None]
        frame = sum(length if length and s >= 1 else int(width * height * s**2 * BYTES_PER_PIXEL) for s in scales)
    return frames_of(ref, every) * (frame + ROW_BYTES)


def _first_frame(images: Path) -> tuple[int, int, int]:
    """Width and height of the first frame, and the file's bytes; 0 for a video."""
    if not images.is_dir():
        facts = video_facts(images)
        return facts.width, facts.height, 0
    first = _first_image(images)
    if first is None:
        raise AnnotationError("there is no image", where=images)
    with open_regular(first) as stream:
        width, height = image_size(stream.read(HEADER), first, whole=False)
    return width, height, first.stat().st_size


@lru_cache(maxsize=64)
def _first_image(folder: Path) -> Path | None:
    """The first image in a folder, cached: one folder may hold the images of all sequences."""
    return min(folder.glob("*"), default=None)


def correction(refs: Sequence[SequenceRef], storage: Storage, every: int) -> float:
    """Ratio of measured to estimated bytes; measured by encoding a frame of some sequences.

    1.0 when none can be read.
    """
    guessed = measured = 0
    for number in sorted({round(share * (len(refs) - 1)) for share in np.linspace(0, 1, SAMPLES)}):
        try:
            size = _measured(refs[number], storage, every)
        except (AnnotationError, DatasetLayoutError):
            continue  # the build will report it
        measured += size
        guessed += guess(refs[number], storage, every)
    return measured / guessed if guessed else 1.0


def _measured(ref: SequenceRef, storage: Storage, every: int) -> int:
    """Bytes of a sequence, extrapolated from its middle frame. Raises AnnotationError."""
    record = thinned(read_record(ref), every)
    if any_error(check_record(record)):
        raise AnnotationError("the sequence cannot be used", where=ref.annotation)
    rows = rows_of(record, {})
    boxes = rows.people["people/box"][rows.people["masks/center"] > 0]
    camera = record.camera
    sides = storage.sides(camera.width, camera.height, boxes)
    content = next(contents([record.frames[len(record.frames) // 2]]))
    levels = stored_levels(content, sides=sides, expected=(camera.width, camera.height))
    frame = sum(len(data) for data, _ in levels)
    frames, people = len(record.frames), int(rows.people_a_frame.sum())
    return frames * (frame + _bytes(FRAME_COLUMNS)) + people * _bytes(PEOPLE_COLUMNS)


def _bytes(columns: dict[str, Column]) -> int:
    """Bytes of one row."""
    return sum(np.dtype(column.dtype).itemsize * int(np.prod(column.shape)) for column in columns.values())
