"""A second pass over a video, which draws its result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trace_data.assets.body_model import BodyModel
from trace_data.drawing import Picture
from trace_data.drawing.pytorch3d import best_rasteriser
from trace_data.errors import OutputError, ResultError
from trace_data.export.mesh import PackMeshes
from trace_data.export.run import gender_of
from trace_data.frames.footage import Footage
from trace_data.frames.video_writer import INSTALL, PAGE, choose_encoder, video_writer
from trace_data.overlay.items import needs_body
from trace_data.overlay.painter import ResultPainter
from trace_data.progress import SILENT, Progress
from trace_data.results.file import SUFFIX
from trace_data.results.result import Result

USUAL_RATE = 30.0


def free_place(result: Path, *, force: bool = False) -> Path:
    """NAME.overlay.mp4 beside NAME.trace.npz, or a page where no video can be written.

    Raises OutputError if it is there already, without `force`.
    """
    name = result.name.removesuffix(SUFFIX).removesuffix(".npz")
    place = result.with_name(f"{name}.overlay{choose_encoder().suffix}")
    if place.exists() and not force:
        raise OutputError("is there already", where=place, hint="add --force to replace it; the result stays as it is")
    return place


def body_of(result: Result, packs: Path) -> BodyModel:
    """The body model that a result was made with. Raises AssetError when it is missing, or is another one."""
    meshes = PackMeshes(packs, gender_of(result))
    for person in np.unique(result.row_person).tolist():
        meshes.of(result, person)
    return meshes.body


def draw_result(
    result: Result,
    footage: Footage,
    out: Path,
    items: Sequence[str],
    *,
    packs: Path,
    progress: Progress = SILENT,
) -> None:
    """Write `out`, a video or a page by its ending, with every frame of the result at its own time.

    The frames are read again, one at a time, so memory does not grow. Only a whole video gets the name `out`.

    Raises ResultError if the result is of another video, AssetError without body models, FootageError, OutputError.
    """
    check_same_video(result, footage)
    encoder = PAGE if out.suffix == PAGE.suffix else choose_encoder()
    if not encoder.is_video:
        progress.log(f"no video encoder here, so the pictures are put into a page; for MP4:  {INSTALL}")
    painter = painter_of(result, items, packs)
    frames = len(result.time)
    step = np.diff(result.time)
    rate = 1 / float(np.median(step)) if len(step) else USUAL_RATE
    progress.begin("draw", frames, "frames")
    with video_writer(out, size=painter.size, rate=rate, encoder=encoder) as writer:
        for frame, picture in drawn_frames(result, footage, painter, range(frames)):
            writer.add(picture, float(result.time[frame] - result.time[0]))
            progress.advance()
    progress.end(f"{frames:,} frames, by {encoder.name}")


def painter_of(result: Result, items: Sequence[str], packs: Path) -> ResultPainter:
    """Draws these items of a result. Raises AssetError without the body models that they need."""
    body = body_of(result, packs) if needs_body(items) else None
    return ResultPainter(result, items, body, rasterise=best_rasteriser() if body else None)


def drawn_frames(
    result: Result, footage: Footage, painter: ResultPainter, frames: Sequence[int]
) -> Iterator[tuple[int, Picture]]:
    """The result's frames with these indices, in order, each with its drawn picture. Only one is in memory.

    Raises ResultError if the video ends before them, FootageError.
    """
    wanted = {int(result.frame_id[frame]): frame for frame in frames}
    left = len(wanted)
    stride = int((result.about.get("options") or {}).get("stride") or 1)
    for frame in footage.frames(start=float(result.time[0]), stride=stride):
        if (index := wanted.get(frame.number)) is None:
            continue
        yield index, painter.draw(index, frame.pixels)
        left -= 1
        if not left:
            return
    if left:
        raise ResultError(f"{left:,} of its {len(wanted):,} frames are not in this video", where=footage.facts.path)


def check_same_video(result: Result, footage: Footage) -> None:
    """Raises ResultError if the result is of another video."""
    video = result.about.get("video") or {}
    size = tuple(result.image_size.tolist())
    known = video.get("fingerprint")
    if size != footage.facts.size or (known is not None and known != footage.fingerprint()):
        raise ResultError(
            f"the result is of another video: {video.get('name', 'unnamed')}, {size[0]}x{size[1]} px",
            where=footage.facts.path,
            hint="name the video that was predicted; it must not be encoded again",
        )
