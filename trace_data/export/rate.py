"""The constant rate of formats that store frames without times (BVH, AMASS, USD, .smpl)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.results.result import Result

REGULAR = 2e-3
"""Seconds by which the stamps of a constant rate may be off: containers round them, some to milliseconds."""
USUAL = 30.0
"""Frames per second of a result with a single frame."""
COMMON = (
    24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 48.0, 50.0, 60000 / 1001, 60.0, 100.0, 120000 / 1001, 120.0, 240.0,
)  # fmt: skip
"""Rates of cameras: a rate measured on rounded stamps is taken for the nearest of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clock:
    """Times of evenly spaced frames that cover a result."""

    fps: float
    """Frames per second."""
    time: npt.NDArray[np.float64]
    """(M,) seconds since the first frame of the result, M frames."""
    resampled: bool
    """Whether the result's own times are uneven, so that values between its frames are needed."""

    @property
    def frames(self) -> int:
        """M."""
        return len(self.time)


def clock(result: Result) -> Clock:
    """Evenly spaced frames over the result.

    A result of a constant rate keeps its frames one by one. Otherwise the spacing is the usual distance of its frames,
    and the last frame is at its end or less than half a millisecond from it where a whole number of frames fits.
    """
    time = result.time - result.time[0]
    if len(time) == 1:
        return Clock(fps=USUAL, time=np.zeros(1), resampled=False)
    mean = (len(time) - 1) / time[-1]
    even = np.arange(len(time)) / mean
    if np.abs(time - even).max() <= REGULAR:
        fps = _named(mean, time[-1])
        # the result's own times: sampling at them gives back its rows, unchanged
        return Clock(fps=fps, time=time, resampled=False)
    fps = _named(1 / float(np.median(np.diff(time))), time[-1])
    frames = round(time[-1] * fps) + 1
    # the ends are those of the video; the rate follows
    return Clock(fps=(frames - 1) / time[-1], time=np.linspace(0, time[-1], frames), resampled=True)


def _named(fps: float, duration: float) -> float:
    """The common rate that is within what rounded stamps allow; else the rate itself."""
    nearest = min(COMMON, key=lambda rate: abs(rate - fps))
    return nearest if abs(nearest - fps) * duration / fps <= REGULAR else fps
