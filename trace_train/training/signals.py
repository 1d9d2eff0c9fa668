"""Signals that stop a run after the current step."""

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
    """SIGINT, SIGTERM, SIGUSR1 (Slurm's warning) and SIGHUP (terminal closed) end the loop after the current step.

    Does nothing outside the main thread, and leaves SIGHUP alone if it is ignored, as under nohup.
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
    """Wraps a whole training command: the first of these signals outside the loop raises KeyboardInterrupt.

    After the first signal, here or in the loop, all later ones are ignored for good: the process is ending, and another
    signal must not change its exit code.
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
    """Whether the run was asked to stop."""

    def __init__(self) -> None:
        self.stop = False

    def raise_flag(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.stop = True

    def __call__(self) -> bool:
        return self.stop
