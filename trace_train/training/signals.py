"""Stopping a run from outside, after the step at hand."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """SIGINT, SIGTERM, SIGUSR1 (the warning of Slurm) and SIGHUP (the terminal is gone) end the loop after the step at
    hand.

    Outside the main thread nothing is changed, nor is SIGHUP where it is ignored, as under nohup.
    """
    flag = StopFlag()
    before = _handled_by(flag.raise_flag)
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if flag.stop and handler is _interrupt else handler)


@contextmanager
def one_interrupt() -> Iterator[None]:
    """For a command that trains, from beginning to end: the first of these signals that comes outside the loop raises
    KeyboardInterrupt.

    When one has come, here or in the loop, all later ones are ignored, afterwards too: the process is ending, and a
    further signal must not decide its exit code.
    """
    before = _handled_by(_interrupt)
    try:
        yield
    finally:
        if any(signal.getsignal(number) is _interrupt for number in before):
            for number, handler in before.items():
                signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """The signal handler outside the loop."""
    for other in STOPPING:
        if signal.getsignal(other) is _interrupt:
            signal.signal(other, signal.SIG_IGN)
    raise KeyboardInterrupt


def _handled_by(handler: Handler) -> dict[signal.Signals, Any]:
    """Install a handler; returns what it replaces."""
    kept = [s for s in STOPPING if not (s is signal.SIGHUP and signal.getsignal(s) is signal.SIG_IGN)]
    try:
        return {s: signal.signal(s, handler) for s in kept}
    except ValueError:  # outside the main thread
        return {}


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.stop = False

    def raise_flag(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.stop = True

    def __call__(self) -> bool:
        return self.stop
