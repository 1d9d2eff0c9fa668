"""Measures the memory of a training step, and how many clips fit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import torch

MOST_CLIPS = 4096
"""Maximum number of clips per step tried."""
MARGIN = 0.95
"""Share of the memory that an estimate may use, because of fragmentation."""
OF_OTHERS = 0.1
"""Share of a machine's free memory kept in reserve: other processes grow too, and the system may kill this one."""

PROC, GROUPS = Path("/proc/self"), Path("/sys/fs/cgroup")
"""Where Linux tells about this process and about control groups."""

Step = Callable[[int, int], None]
"""Runs a training step with a number of clips and frames; raises if it runs out of memory."""


class Meter(Protocol):
    """Interface of memory measurement."""

    def room(self) -> int:
        """Bytes this process can use in total, including those in use."""

    def peak(self, work: Callable[[], None]) -> int:
        """Run `work`; return the peak memory of this process in bytes."""


class CudaMeter:
    """Memory of one GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def room(self) -> int:
        """Memory not used by other processes."""
        free, _ = torch.cuda.mem_get_info(self._device)
        return int(free) + int(torch.cuda.memory_reserved(self._device))

    def peak(self, work: Callable[[], None]) -> int:
        """Peak memory reserved by torch."""
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(self._device)
        work()
        torch.cuda.synchronize(self._device)
        return int(torch.cuda.max_memory_reserved(self._device))


class RamMeter:
    """Memory of the machine, or of the container, whichever is smaller."""

    def room(self) -> int:
        """Available memory minus a reserve, plus that of this process."""
        return int((1 - OF_OTHERS) * min(_available(), _container_left())) + _status("VmRSS")

    def peak(self, work: Callable[[], None]) -> int:
        """The peak resident set size; an earlier peak if the system cannot reset it."""
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # of other systems
            ctypes.CDLL(None).malloc_trim(0)  # return freed memory, which would hide new allocations
        try:
            (PROC / "clear_refs").write_text("5")
        except OSError:
            work()
            unit = 1 if sys.platform == "darwin" else 1024
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        work()
        return _status("VmHWM")


def _status(key: str) -> int:
    return _kilobytes(PROC / "status", key) or 0


def _available() -> int:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable") or sys.maxsize


def _container_left() -> int:
    """Bytes that the strictest of the groups of this process leaves: a container's, or those of a job of Slurm."""
    return min((left for group in _groups() if (left := _left(*group)) is not None), default=sys.maxsize)


def _groups() -> Iterator[tuple[Path, str, str]]:
    """Folders of the control groups of this process and those above them, with the names of limit and use."""
    try:
        lines = (PROC / "cgroup").read_text().splitlines()
    except OSError:  # of other systems
        lines = []
    for line in ["0::/", *lines]:  # inside a container the path may be that of the machine
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = GROUPS, ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):  # of the first version
            root, names = GROUPS / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        own = root / path.strip("/")
        for folder in (own, *own.parents):
            if folder.is_relative_to(root):
                yield folder, *names


def _left(group: Path, limit: str, use: str) -> int | None:
    """Bytes left in a group; None without a limit. File contents that it can drop do not count as used."""
    try:
        left = int((group / limit).read_text()) - int((group / use).read_text())
    except (OSError, ValueError):
        return None
    try:
        rows = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return left + int(rows["inactive_file"])
    except (OSError, ValueError, KeyError):
        return left


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
    """Whether an error means out of memory, on any device."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class Fitting:
    """Finds by trial which sizes fit, without trying sizes that would get the process killed."""

    def __init__(
        self,
        step: Step,
        meter: Meter,
        *,
        dares: bool,
        on_result: Callable[[int, int, int], None] = lambda clips, frames, peak: None,
    ) -> None:
        """`dares`: running out of memory raises, as on a GPU, instead of killing the process. `on_result` receives
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
        """Upper estimate of a step's bytes, extrapolated from the largest sizes run."""
        known = sorted((count, peak) for (count, length), peak in self.peaks.items() if length == frames)
        smaller = [(count, peak) for count, peak in known if count < clips]
        if not smaller:
            return 0.0
        count, peak = smaller[-1]
        each = peak / count
        if len(smaller) > 1 and peak > smaller[-2][1]:  # otherwise the memory per clip is not known
            each = (peak - smaller[-2][1]) / (count - smaller[-2][0])
        return peak + (clips - count) * each

    def expected(self, clips: int, frames: int) -> float | None:
        """Bytes of a step, extrapolated linearly from one and two clips; None if these do not fit."""
        if not (self.fits(1, frames) and self.fits(2, frames)):
            return None
        one, two = self.peaks[1, frames], self.peaks[2, frames]
        return one + (clips - 1) * max(two - one, 0)

    def estimate(self, frames: int) -> int:
        """Number of clips expected to fit by that extrapolation; 0 if not even one fits."""
        if self.expected(2, frames) is None:
            return int((1, frames) in self.peaks)
        one, two = self.peaks[1, frames], self.peaks[2, frames]
        if two <= one:
            return MOST_CLIPS
        return min(MOST_CLIPS, 1 + math.floor((self._meter.room() * MARGIN - one) / (two - one)))

    def largest(self, frames: int) -> int:
        """The largest number of clips that fit, by doubling and then bisection."""
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
