"""How many threads a process computes with on the CPU.

By default torch takes every core. Where other work keeps some of them busy, threads wait for each other in every
operation, and a step takes four to ten times as long.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from trace_data.progress import counted

FIXED_BY = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables with which users set the number; then it is left alone."""
MEASURED = 0.3
"""Seconds over which busy cores are counted."""
_STAT = Path("/proc/stat")


def fixed_threads() -> bool:
    """Whether the user has set the number of threads."""
    return any(os.environ.get(name) for name in FIXED_BY)


def own_cores() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def busy_cores(seconds: float = MEASURED) -> float:
    """How many of this process's cores others keep busy, measured while it sleeps; 0 where the system does not tell.

    Work at low priority (`nice`) does not count: it gives way.
    """
    before = _idle_and_total()
    time.sleep(seconds)
    busy = 0.0
    for core, (idle, total) in _idle_and_total().items():
        then = before.get(core, (idle, total))
        if total > then[1]:
            busy += 1 - (idle - then[0]) / (total - then[1])
    return busy


def _idle_and_total() -> dict[int, tuple[int, int]]:
    """Ticks of each own core since the machine was started: idle or at low priority, and all."""
    try:
        lines = _STAT.read_text().splitlines()
    except OSError:
        return {}
    rows = [line.split() for line in lines if line.startswith("cpu") and line[3:4].isdigit()]
    own = own_cores()
    ticks = {int(row[0][3:]): [int(number) for number in row[1:9]] for row in rows}
    return {core: (t[1] + t[3] + t[4], sum(t)) for core, t in ticks.items() if core in own}


def free_threads(threads: int, cores: int, busy: float) -> int:
    """The number of threads, or that of free cores if it is smaller and a core or more is busy."""
    return threads if busy < 1 else min(threads, max(1, cores - round(busy)))


def fit_threads(begun_with: int | None = None) -> str:
    """Set the number of threads of this process; returns what to say about it, or an empty text.

    `begun_with`: the number that a run began with, which it keeps, since another one would end in other bits. A number
    that the user has fixed stays, and so does that of a process with a GPU, where the CPU computes little.
    """
    if fixed_threads() or torch.cuda.is_available():
        return ""
    usual, cores = torch.get_num_threads(), len(own_cores())
    if begun_with is not None and begun_with <= cores:
        torch.set_num_threads(begun_with)
        return "" if begun_with == usual else f"computes with {counted(begun_with, 'thread')}, as it began"
    busy = busy_cores()
    threads = free_threads(usual, cores, busy)
    torch.set_num_threads(threads)
    if threads == usual:
        return ""
    return (
        f"{busy:.1f} of {cores} cores are busy with other work: computes with {counted(threads, 'thread')} instead of"
        f" {usual}, which would wait for each other; OMP_NUM_THREADS={usual}  takes all"
    )
