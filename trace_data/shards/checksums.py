"""Checksums inside a shard: how they are computed, and compared when frames are read. `shards/checks/` compares all of
a shard's, `shards/storage/` the SHA-256 of a file that was fetched.

zlib's CRC-32 detects any changed bit or byte, at several GB per second. It does not protect against intentional
changes; the SHA-256 of the whole file in the index does.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import ShardError
from trace_data.shards.layout import FRAME_COLUMNS, PEOPLE_COLUMNS


def of_values(values: npt.NDArray[Any]) -> int:
    """Checksum of an array's bytes as stored in the file."""
    return zlib.crc32(values.tobytes())


def of_annotations(
    columns: Mapping[str, npt.NDArray[Any]], offset: npt.NDArray[np.int64], frames: Sequence[int]
) -> npt.NDArray[np.uint32]:
    """(T,) checksums of the annotations of each frame: its row of every frame column, then its rows of every people
    column, in the order of the layout.

    `columns`: all columns, from some first frame and person row on. `offset` (F + 1,): the people of frame f are the
    rows `offset[f] : offset[f + 1]`. `frames`: the T frames, relative to that first frame.
    """
    parts = [
        (
            memoryview(values.tobytes()),
            values.dtype.itemsize * int(np.prod(values.shape[1:], dtype=np.int64)),
            per_frame,
        )
        for names, per_frame in ((FRAME_COLUMNS, True), (PEOPLE_COLUMNS, False))
        for values in (columns[name] for name in names)
    ]
    edges = offset.tolist()
    found = np.zeros(len(frames), np.uint32)
    for t, frame in enumerate(frames):
        checksum = 0
        for data, row, per_frame in parts:
            low, high = (frame, frame + 1) if per_frame else (edges[frame], edges[frame + 1])
            checksum = zlib.crc32(data[low * row : high * row], checksum)
        found[t] = checksum
    return found


def compare(
    frames: npt.NDArray[np.int64],
    found: npt.NDArray[np.uint32],
    stored: npt.NDArray[np.uint32],
    *,
    dataset: str,
    where: str,
    hint: str,
) -> None:
    """Raises ShardError at the first of the frames (T,) of `dataset` whose checksum (T,) is not the stored one (T,)."""
    if (bad := found != stored).any():
        raise ShardError(
            f"{dataset} of frame {int(frames[bad.argmax()])} of the shard changed since they were written "
            "(their CRC-32 tells)",
            where=where,
            hint=hint,
        )
