"""What footage is made of: its facts, its frames, and what a source of frames offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from trace_data.frames.lens import Lens


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageFacts:
    """What is known before the frames are read."""

    name: str
    """For the files of the result; never empty, never hidden, without ending or folder."""
    path: Path
    """The video, the folder, or the first of the images."""
    kind: Literal["video", "images"]
    size: tuple[int, int]
    """(width, height) px, upright."""
    rotation: int
    """Degrees clockwise by which stored frames are turned to be upright: 0, 90, 180 or 270. 0 for images, each of
    which is turned as its own EXIF says."""
    frame_rate: float | None
    """Frames a second: the average of the time stamps where the header holds them, else what it claims, or what the
    user gave; None for images without one."""
    variable_rate: bool | None
    """Whether frames are unevenly spaced; None where the header does not say."""
    frames: int | None
    """What the header claims; reading may find more or fewer."""
    hdr: str | None
    """HLG or PQ; None for other videos, and where the file does not say."""
    bit_depth: int | None
    """Of the stored pixels; frames are always read as 8 bits. None: unknown."""
    lens: Lens | None
    """What the file says of its lens."""
    decoder: str
    """Name and version; others may give other pixels."""
    warnings: tuple[str, ...] = ()
    """What the user should know before trusting a result."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FootageFrame:
    """One frame, or the place of one that could not be read."""

    number: int
    """Index in the source, from 0; frames that cannot be read count too."""
    time: float
    """Seconds since the first frame, by the video's own time stamps, strictly increasing; images: number / rate."""
    pixels: npt.NDArray[np.uint8] | None
    """(H, W, 3) RGB, upright; None for a gap."""
    gap: str | None
    """Why there are no pixels."""


Wanted = Callable[[int, float], bool]
"""Whether the frame of this number and time is to be decoded; asked once for each frame that can be, in order."""


class FootageSource(Protocol):
    """Frames of one kind, in order."""

    @property
    def facts(self) -> FootageFacts:
        """What is known beforehand."""

    @property
    def ended(self) -> str | None:
        """After a pass: what is missing at the end, if anything."""

    @property
    def repaired(self) -> int:
        """After a pass: how many time stamps were replaced."""

    def frames(self, wanted: Wanted) -> Iterator[FootageFrame]:
        """The wanted frames from the beginning; the others without pixels and without a gap's reason."""
