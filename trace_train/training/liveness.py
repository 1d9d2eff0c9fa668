"""Detects which process of a distributed run has died or hangs.

Every process writes heartbeats, and its error when it ends, to the store of the rendezvous. A store that does not
answer is gone together with the process or machine that hosted it.

NCCL raises no error when a peer is gone: the CPU waits for a GPU that waits for the peers. So a watchdog thread ends
this process, with an error that names the lost peer, when the current step can no longer finish.
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
"""How long peers may take to answer before they count as lost; torchrun kills all processes after 30 s."""
BEAT_SECONDS = 2.0
"""Interval of heartbeats."""
SILENT_SECONDS = 60.0
"""How long heartbeats may be missing before a process counts as lost: a hanging file system can block every thread."""
GRACE_SECONDS = 5.0
"""How long a step may take to fail by itself, as it does with gloo, after a process was lost."""


def end_process(error: LostProcess) -> None:
    """Print the error and exit at once, even while another thread is blocked on a GPU."""
    sys.stderr.write(f"error: {error}\n")
    sys.stderr.flush()
    os._exit(error.exit_code)


class PeerLiveness:
    """Heartbeats and last errors of all processes, exchanged through the store."""

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self._store, self.rank, self.world_size = store, rank, world_size
        self._first_is_gone = False
        self._over = threading.Event()
        self._exchanging = False

    @contextmanager
    def exchanging(self) -> Iterator[None]:
        """Marks a step, where this process may block on its peers for ever. The watchdog ends it nowhere else: it could
        be writing a checkpoint."""
        self._exchanging = True
        try:
            yield
        finally:
            self._exchanging = False

    @contextmanager
    def watched(self, end: Callable[[LostProcess], None] = end_process) -> Iterator[None]:
        """Send heartbeats from a thread, which calls `end` if a peer is lost while this process is in `exchanging`."""
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
            ended, silent = words or ({}, {0} - {self.rank})  # None: the store is gone, and rank 0 with it
            if not (ended or silent):
                lost_since = 0.0
                continue
            lost_since = lost_since or time.monotonic()
            if self._exchanging and time.monotonic() - lost_since >= GRACE_SECONDS:
                end(self._named(ended, silent, "the processes lost each other"))
                return

    def _listen(self, beats: dict[int, tuple[bytes, float]]) -> tuple[dict[int, str], set[int]]:
        """Send a heartbeat; return the errors of ended processes and the ranks whose heartbeats have stopped.

        `beats`: the last heartbeat of each process, and when it was received.
        """
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

    def announce(self, text: str) -> None:
        """Announce why this process ends."""
        _within(MISSING_SECONDS, partial(self._store.set, f"ended/{self.rank}", text))

    def lost(self, error: RuntimeError) -> LostProcess:
        """The error that names the lost processes, after communication has failed."""
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

    def first_announced(self, text: str | None) -> bool:
        """Whether rank 0 has announced `text` as its error or, with None, any error."""
        if self._first_is_gone:
            return False
        said = _within(2 * MISSING_SECONDS, partial(self._word_of, 0))
        if said is not None:
            time.sleep(1)  # the launcher kills all processes once one has ended: let rank 0 print first
        return said is not None and text in (None, said)

    def _word_of(self, rank: int) -> str | None:
        """The error announced by a process, waiting for it for a short time."""
        deadline = time.monotonic() + MISSING_SECONDS
        while time.monotonic() < deadline:
            if self._store.check([f"ended/{rank}"]):
                said: bytes = self._store.get(f"ended/{rank}")
                return said.decode()
            time.sleep(0.05)
        return None

    def _missing(self) -> tuple[dict[int, str], set[int]]:
        """The errors of ended processes, and the ranks that do not answer."""
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

        if not _within(2 * MISSING_SECONDS, call):  # the store's host, rank 0 or its machine, is gone
            return {}, {0} - {self.rank}
        return ended, silent


def _within(seconds: float, ask: Callable[[], T]) -> T | None:
    """The store's answer; None if it is gone or too slow."""
    answer: list[T] = []

    def asking() -> None:
        with suppress(RuntimeError):
            answer.append(ask())

    thread = threading.Thread(target=asking, daemon=True)
    thread.start()
    thread.join(seconds)
    return answer[0] if answer else None
