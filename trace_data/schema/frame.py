"""Where the pixels of a frame are: an image file, or a place in a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class VideoFrame:
    """One frame of a video file."""

    video: Path
    number: int
    """Counted from 0, in the order in which the frames are shown."""

    def __str__(self) -> str:
        return f"{self.video} frame {self.number}"


Frame = Path | VideoFrame
"""An image file or a frame of a video."""
