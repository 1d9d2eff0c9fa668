"""Who is missing, when processes that train together have lost each other.

They leave word in the store through which they met: why they end, or that they live. A store that does not answer is
gone with the process or machine that held it.

NCCL has no error for a process that is gone: the CPU waits for a GPU that waits for the others. So a thread watches,
and ends this process by name when the step at hand cannot end any more.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trace_data.errors import LostProcess

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
MISSING_SECONDS = 3.0
"""How long the others have to say that they live, before they are taken for lost; torchrun ends all after 30."""
BEAT_SECONDS = 2.0
"""How often each process says that it lives."""
SILENT_SECONDS = 60.0
"""How long a process may say nothing before it counts as lost: a file system that hangs can hold all of its threads."""
GRACE_SECONDS = 5.0
"""How long a step has to fail by itself, as gloo lets it, after a process was lost."""


def end_process(error: LostProcess) -> None:
    """Say the error and end this process at once, past a thread that waits for a GPU."""
    sys.stderr.write(f"error: {error}\n")
    sys.stderr.flush()
    os._exit(error.exit_code)


class PeerLiveness:
    """The words of all processes, as one of them reads and writes them."""

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self._store, self.rank, self.world_size = store, rank, world_size
        self._first_is_gone = False
        self._over = threading.Event()
        self._exchanging = False

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """A step, in which the CPU may wait for the others without an end. Elsewhere nothing is ended: a checkpoint may
        be on its way."""
        self._exchanging = True
        try:
            yield
        finally:
            self._exchanging = False

    @contextmanager
    def watched(self, end: Callable[[LostProcess], None] = end_process) -> Iterator[None]:
        """Say that this process lives, and call `end` when another is lost while this one is in `exchanging`."""
        thread = threading.Thread(target=self._watch, args=(end,), daemon=True, name="liveness")
        thread.start()
        try:
            yield
        finally:
            self._over.set()

    def _watch(self, end: Callable[[LostProcess], None]) -> None:
        beats: dict[int, tuple[bytes, float]] = {}
        lost_since = 0.0
        while not self._over.wait(BEAT_SECONDS):
            words = _within(2 * MISSING_SECONDS, partial(self._listen, beats))
            ended, silent = words or ({}, {0} - {self.rank})  # else the store went with the first process
            if not (ended or silent):
                lost_since = 0.0
                continue
            lost_since = lost_since or time.monotonic()
            if self._exchanging and time.monotonic() - lost_since >= GRACE_SECONDS:
                end(self._named(ended, silent, "the processes lost each other"))
                return

    def _listen(self, beats: dict[int, tuple[bytes, float]]) -> tuple[dict[int, str], set[int]]:
        """Say that this process lives; who has said why it ended, and who has been silent for long. `beats`: the last
        word of each process, and when it was heard."""
        now = time.monotonic()
        self._store.set(f"beat/{self.rank}", str(now))
        ended: dict[int, str] = {}
        silent: set[int] = set()
        for rank in set(range(self.world_size)) - {self.rank}:
            beat = self._store.get(f"beat/{rank}") if self._store.check([f"beat/{rank}"]) else b""
            if rank not in beats or beat != beats[rank][0]:
                beats[rank] = beat, now
            if self._store.check([f"ended/{rank}"]):
                ended[rank] = self._store.get(f"ended/{rank}").decode()
            elif now - beats[rank][1] > SILENT_SECONDS:
                silent.add(rank)
        return ended, silent

    def tell(self, text: str) -> None:
        """Leave word of why this process ends."""
        _within(MISSING_SECONDS, partial(self._store.set, f"ended/{self.rank}", text))

    def lost(self, error: RuntimeError) -> LostProcess:
        """Find out who is missing, after an exchange has failed."""
        ended, silent = self._missing()
        self._first_is_gone = 0 in silent
        return self._named(ended, silent, f"the processes lost each other: {str(error).splitlines()[0]}")

    def _named(self, ended: dict[int, str], silent: set[int], otherwise: str) -> LostProcess:
        parts = [f"process {rank} of {self.world_size} has ended: {text}" for rank, text in sorted(ended.items())]
        if silent:
            named = ", ".join(map(str, sorted(silent)))
            parts.append(
                f"process{'es' if len(silent) > 1 else ''} {named} of {self.world_size} (counted from 0) ended or hangs"
                " without a word: killed, out of memory, or its machine is gone"
            )
        return LostProcess(
            "; ".join(parts) or otherwise,
            hint="the same command with  train --resume RUN  goes on from the last checkpoint",
        )

    def first_told(self, text: str | None) -> bool:
        """Whether the first process says by itself why it ends: just this, or, with None, anything."""
        if self._first_is_gone:
            return False
        said = _within(2 * MISSING_SECONDS, partial(self._word_of, 0))
        if said is not None:
            time.sleep(1)  # whoever started us ends all when one has ended: let the first one speak before
        return said is not None and text in (None, said)

    def _word_of(self, rank: int) -> str | None:
        """What a process has left before it ended, waited for."""
        deadline = time.monotonic() + MISSING_SECONDS
        while time.monotonic() < deadline:
            if self._store.check([f"ended/{rank}"]):
                said: bytes = self._store.get(f"ended/{rank}")
                return said.decode()
            time.sleep(0.05)
        return None

    def _missing(self) -> tuple[dict[int, str], set[int]]:
        """Who has said why it ended, and who says nothing at all."""
        ended: dict[int, str] = {}
        silent = set(range(self.world_size)) - {self.rank}

        def call() -> bool:
            self._store.set(f"lives/{self.rank}", "yes")
            deadline = time.monotonic() + MISSING_SECONDS
            while silent and time.monotonic() < deadline:
                for rank in sorted(silent):
                    if self._store.check([f"ended/{rank}"]):
                        ended[rank] = self._store.get(f"ended/{rank}").decode()
                    if rank in ended or self._store.check([f"lives/{rank}"]):
                        silent.discard(rank)
                time.sleep(0.05)
            return True

        if not _within(2 * MISSING_SECONDS, call):  # with whoever holds the store: the first process, or its machine
            return {}, {0} - {self.rank}
        return ended, silent


def _within(seconds: float, ask: Callable[[], T]) -> T | None:
    """What the store answers; None when it is gone, or does not answer in time."""
    answer: list[T] = []

    def asking() -> None:
        with suppress(RuntimeError):
            answer.append(ask())

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None
