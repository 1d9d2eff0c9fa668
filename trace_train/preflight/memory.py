"""How much memory a step takes, by doing one, and how many clips fit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch

MOST_CLIPS = 4096
"""Beyond this many clips a step nobody looks for more."""
MARGIN = 0.95
"""Share of the memory that an estimate may use: pieces of freed memory cannot always be used again."""
OF_OTHERS = 0.1
"""Share of a machine's free memory that is left alone: others grow too, and who takes the last of it is killed."""

Step = Callable[[int, int], None]
"""One training step of so many clips of so many frames; what runs out of memory raises."""


class Meter(Protocol):
    """Where memory is counted."""

    def room(self) -> int:
        """Bytes that this process can have in all, those it has already among them."""

    def peak(self, work: Callable[[], None]) -> int:
        """Do the work; the most bytes that this process had meanwhile."""


class CudaMeter:
    """Memory of one GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def room(self) -> int:
        """What nobody else has taken."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return int(free) + int(torch.cuda.memory_reserved(self._device))

    def peak(self, work: Callable[[], None]) -> int:
        """What torch had reserved."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        torch.cuda.synchronize(self._device)
        return int(torch.cuda.max_memory_reserved(self._device))


class RamMeter:
    """Memory of the machine, or of the container, whichever is smaller."""

    def room(self) -> int:
        """What is available, less a margin, and what this process has."""
        return int((1 - OF_OTHERS) * min(_available(), _container_left())) + _status("VmRSS")

    def peak(self, work: Callable[[], None]) -> int:
        """The largest resident set. Where the system cannot forget an earlier peak, it may be that one."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # of other systems
            ctypes.CDLL(None).malloc_trim(0)  # freed memory that the process still holds would hide what is taken
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            work()
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        work()
        return _status("VmHWM")


def _status(key: str) -> int:
    return _kilobytes(Path("/proc/self/status"), key) or 0


def _available() -> int:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable") or sys.maxsize


def _container_left() -> int:
    group = Path("/sys/fs/cgroup")
    try:
        return int((group / "memory.max").read_text()) - int((group / "memory.current").read_text())
    except (OSError, ValueError):  # no group, or no limit
        return sys.maxsize


def _kilobytes(file: Path, key: str) -> int | None:
    try:
        line = next(line for line in file.read_text().splitlines() if line.startswith(f"{key}:"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) * 1024


def meter_of(device: torch.device) -> Meter:
    """The meter of a device."""
    return CudaMeter(device) if device.type == "cuda" else RamMeter()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on whatever device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Fitting:
    """Which sizes fit, by trial. What memory would surely not hold is not tried where that would end the process."""

    def __init__(
        self,
        step: Step,
        meter: Meter,
        *,
        dares: bool,
        on_result: Callable[[int, int, int], None] = lambda clips, frames, peak: None,
    ) -> None:
        """`dares`: running out of memory raises, as on a GPU; a machine rather kills the process. `on_result` is told
        clips, frames and bytes of every size that was run."""
        self._step, self._meter, self._dares, self._on_result = step, meter, dares, on_result
        self.peaks: dict[tuple[int, int], int] = {}
        """Bytes by clips and frames, of the sizes that were run and fitted."""

    def fits(self, clips: int, frames: int) -> bool:
        """Whether a step of that size fits."""
        if (clips, frames) in self.peaks:
            return True
        if not self._dares and self._at_most(clips, frames) > self._meter.room() * MARGIN:
            return False
        try:
            peak = self._meter.peak(lambda: self._step(clips, frames))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        self.peaks[clips, frames] = peak
        self._on_result(clips, frames, peak)
        return True

    def _at_most(self, clips: int, frames: int) -> float:
        """Bytes that a step can take, from the largest that were run: on the line through two, or by its share."""
        known = sorted((count, peak) for (count, length), peak in self.peaks.items() if length == frames)
        smaller = [(count, peak) for count, peak in known if count < clips]
        if not smaller:
            return 0.0
        count, peak = smaller[-1]
        each = peak / count
        if len(smaller) > 1 and peak > smaller[-2][1]:  # else nothing was seen of what a clip takes
            each = (peak - smaller[-2][1]) / (count - smaller[-2][0])
        return peak + (clips - count) * each

    def expected(self, clips: int, frames: int) -> float | None:
        """Bytes of a step, on the line through those of one and two clips; None where these do not fit."""
        if not (self.fits(1, frames) and self.fits(2, frames)):
            return None
        one, two = self.peaks[1, frames], self.peaks[2, frames]
        return one + (clips - 1) * max(two - one, 0)

    def estimate(self, frames: int) -> int:
        """How many clips would fit by that line; 0 where not even one does."""
        if self.expected(2, frames) is None:
            return int((1, frames) in self.peaks)
        one, two = self.peaks[1, frames], self.peaks[2, frames]
        if two <= one:
            return MOST_CLIPS
        return min(MOST_CLIPS, 1 + math.floor((self._meter.room() * MARGIN - one) / (two - one)))

    def largest(self, frames: int) -> int:
        """The most clips that fit, by trial: doubled until they do not, then halved in between."""
        good, bad = 0, 1
        while bad <= MOST_CLIPS and self.fits(bad, frames):
            good, bad = bad, 2 * bad
        while bad - good > 1:
            middle = (good + bad) // 2
            if self.fits(middle, frames):
                good = middle
            else:
                bad = middle
        return good
