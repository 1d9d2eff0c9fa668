"""Stopping a run from outside, after the step at hand."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """SIGINT, SIGTERM and SIGUSR1 (the warning of Slurm) end the loop after the step at hand.

    Outside the main thread nothing is changed.
    """
    flag = StopFlag()
    try:
        before = {s: signal.signal(s, flag.raise_flag) for s in STOPPING}
    except ValueError:
        before = {}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.stop = False

    def raise_flag(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.stop = True

    def __call__(self) -> bool:
        return self.stop
