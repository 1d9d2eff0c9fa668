"""The frames of a rendered sequence: those of its video or, without one, its images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.bedlam.images import image_numbers, images_in, upright
from trace_data.errors import AnnotationError
from trace_data.frames.video import video_facts
from trace_data.schema.camera import Camera
from trace_data.schema.frame import Frame, VideoFrame

LABELLED = 5
"""Of the frames those of the official training, which are stored as images."""
IMAGES_AGAIN = "unpack <scene>_6fps.tar again"


def lost_one(images: Path, sequence: str) -> int | None:
    """The number of the first image that is not there, of every frame or every fifth one up to the last that is."""
    numbers = image_numbers(images, sequence)
    step = 1 if (numbers % LABELLED).any() else LABELLED
    lost = np.setdiff1d(np.arange(0, max(numbers, default=0) + 1, step), numbers)
    return int(lost[0]) if len(lost) else None


def shown_frames(
    video: Path | None, images: Path | None, sequence: str, camera: Camera, frames: int, *, portrait: bool
) -> tuple[tuple[Frame, ...], npt.NDArray[np.bool_]]:
    """What shows each of so many frames, and which of them (T,) are there: all of a video, some images, whose first one
    stands for the others. Raises AnnotationError."""
    if video is not None:
        _check_video(video, camera, frames)
        return tuple(VideoFrame(video, number) for number in range(frames)), np.ones(frames, bool)
    assert images is not None
    if (lost := lost_one(images, sequence)) is not None:
        raise AnnotationError(f"image {lost} of {sequence} is missing", where=images, hint=IMAGES_AGAIN)
    held = images_in(images, sequence)
    if max(held) >= frames:
        what = f"there is an image {max(held)}, its camera has {frames} frames"
        raise AnnotationError(what, where=images, hint=f"the images of another sequence: {IMAGES_AGAIN}")
    size = camera.width, camera.height
    shown = dict(zip(held, upright(list(held.values()), size, portrait=portrait)))
    there = np.isin(np.arange(frames), list(held))
    return tuple(shown.get(number, shown[0]) for number in range(frames)), there


def _check_video(video: Path, camera: Camera, frames: int) -> None:
    """Raises AnnotationError unless a video has the camera's size and not more frames than it."""
    facts = video_facts(video)
    if (facts.width, facts.height) != (camera.width, camera.height):
        raise AnnotationError(
            f"the video has {facts.width}x{facts.height} px, expected {camera.width}x{camera.height}",
            where=video,
            hint="a video that was scaled or turned, or of another scene: unpack <scene>_mp4.tar again",
        )
    if facts.frames > frames:  # whether one is too short, decoding tells: headers are often wrong
        raise AnnotationError(
            f"the video has {facts.frames} frames, its camera {frames}",
            where=video,
            hint="the video of another sequence: unpack <scene>_mp4.tar again",
        )
