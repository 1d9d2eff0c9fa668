"""The frames of one camera: a video, or a folder of extracted images with any numbering."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from trace_data.adapters.files import first_image, gap
from trace_data.adapters.listing import entry, is_folder, numbered, numbered_files
from trace_data.errors import AnnotationError
from trace_data.frames.image import file_size
from trace_data.frames.video import VideoFacts, video_facts
from trace_data.os_errors import in_words
from trace_data.schema.frame import Frame, VideoFrame, file_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Location of one camera's frames."""

    place: Path
    """A video, or a folder of images."""
    prefix: str = ""
    """Prefix of its image names, if a folder contains those of several cameras."""


def camera_pictures(sequence: Path, camera: int) -> Pictures | None:
    """The frames of a camera in an official `S?/Seq?` folder: the video if present, else an image folder."""
    videos = entry(sequence, "imageSequence")
    name = f"video_{camera}"
    if videos is not None:
        for suffix in (".avi", ".mp4"):
            if (video := entry(videos, name + suffix)) is not None:
                return Pictures(place=video)
    for parent in (entry(sequence, "imageFrames"), videos, sequence):
        if parent is not None and (folder := entry(parent, name)) is not None and is_folder(folder):
            return Pictures(place=folder)
    prefix = f"img_{camera}_"
    if videos is not None and numbered_images(videos, prefix):
        return Pictures(place=videos, prefix=prefix)
    return None


def count(pictures: Pictures) -> int:
    """Number of frames; 0 for a video that does not open, which is reported when it is read."""
    if pictures.place.is_dir():
        return count_images(pictures.place, pictures.prefix)
    try:
        return facts_of(pictures.place).frames
    except AnnotationError:
        return 0


def facts_of(video: Path) -> VideoFacts:
    """Size and length of a video, cached until it changes. Raises AnnotationError."""
    try:
        state = video.stat()
    except OSError as error:
        what, hint = in_words(error)
        raise AnnotationError(f"{video.name}: {what}", where=video, hint=hint or None) from error
    return _facts(video, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=512)
def _facts(video: Path, changed: int, size: int) -> VideoFacts:
    return video_facts(video)


def count_images(folder: Path, prefix: str = "") -> int:
    """Number of images in a folder with names starting with `prefix`; a million take seconds."""
    return len(numbered(folder, _pattern(prefix)))


def image_numbers(folder: Path, prefix: str = "") -> list[int]:
    """The trailing numbers of image names starting with `prefix` in a folder, ascending."""
    return [int(number) for number in numbered(folder, _pattern(prefix))]


def numbered_images(folder: Path, prefix: str = "") -> dict[int, Path]:
    """The images in a folder with names starting with `prefix`, by trailing number, ascending."""
    return numbered_files(folder, _pattern(prefix))


def _pattern(prefix: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(prefix)}(?:(?:.*\D)?(\d+))\.(?:jpg|jpeg|png)", re.IGNORECASE)


def frames_of(pictures: Pictures, annotated: int) -> tuple[tuple[Frame, ...], list[int]]:
    """The frames with a row among the `annotated` ones, and these rows.

    Raises AnnotationError if images are missing; see also `first_image`.
    """
    if not pictures.place.is_dir():
        rows = list(range(min(annotated, facts_of(pictures.place).frames)))
        return tuple(VideoFrame(pictures.place, row) for row in rows), rows
    images = numbered_images(pictures.place, pictures.prefix)
    if not images:
        raise AnnotationError("there are no images", where=pictures.place, hint="extract the videos again")
    if (lost := gap(list(images))) is not None:
        raise AnnotationError(
            f"image {lost} is missing, there are {len(images)} from {min(images)} to {max(images)}",
            where=pictures.place,
            hint="extract the video again, or read it without extraction from imageSequence/",
        )
    first = first_image(list(images), annotated, pictures.place)
    chosen = {number - first: file for number, file in images.items() if number - first < annotated}
    return tuple(chosen.values()), list(chosen)


def frame_size(frames: tuple[Frame, ...]) -> tuple[int, int]:
    """(width, height) px of the first intact frame; broken ones are reported when read. Raises AnnotationError."""
    broken: AnnotationError | None = None
    for frame in frames:
        try:
            if isinstance(frame, VideoFrame):
                facts = facts_of(frame.video)
                return facts.width, facts.height
            return file_size(file_of(frame))
        except AnnotationError as error:
            broken = broken or error
            if isinstance(frame, VideoFrame):
                break
    raise broken or AnnotationError("there are no frames")
