"""Where a frame's pixels are: in an image file, in one that is smaller or lies on its side, or in a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class VideoFrame:
    """One frame of a video file."""

    video: Path
    number: int
    """Counted from 0, in display order."""

    def __str__(self) -> str:
        return f"{self.video} frame {self.number}"


@dataclass(frozen=True, slots=True, order=True)
class PaddedFrame:
    """An image file in the top-left corner of a larger frame that is black elsewhere."""

    image: Path
    width: int
    height: int
    """Of the frame, px."""

    def __str__(self) -> str:
        return str(self.image)


@dataclass(frozen=True, slots=True, order=True)
class TurnedFrame:
    """An image file that was stored on its side, or upside down."""

    image: Path
    quarter_turns: int
    """Clockwise, that set it upright."""

    def __str__(self) -> str:
        return str(self.image)


Frame = Path | VideoFrame | PaddedFrame | TurnedFrame
"""An image file, as it is, padded or turned, or a frame of a video."""


def file_of(frame: Frame) -> Path:
    """The image or video file that holds a frame."""
    if isinstance(frame, VideoFrame):
        return frame.video
    return frame if isinstance(frame, Path) else frame.image
