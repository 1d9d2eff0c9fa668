"""Who is missing, when processes that train together have lost each other.

They leave word in the store through which they met: why they end, or that they live. A store that does not answer is
gone with the process or machine that held it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from trace_data.errors import LostProcess

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
MISSING_SECONDS = 3.0
"""How long the others have to say that they live, before they are taken for lost; torchrun ends all after 30."""


class PeerLiveness:
    """The words of all processes, as one of them reads and writes them."""

    def __init__(self, store: Store, rank: int, world_size: int) -> None:
        self._store, self.rank, self.world_size = store, rank, world_size
        self._first_is_gone = False

    def tell(self, text: str) -> None:
        """Leave word of why this process ends."""
        _within(MISSING_SECONDS, partial(self._store.set, f"ended/{self.rank}", text))

    def lost(self, error: RuntimeError) -> LostProcess:
        """Find out who is missing, after an exchange has failed."""
        ended, silent = self._missing()
        self._first_is_gone = 0 in silent
        parts = [f"process {rank} of {self.world_size} has ended: {text}" for rank, text in sorted(ended.items())]
        if silent:
            named = ", ".join(map(str, sorted(silent)))
            parts.append(
                f"process{'es' if len(silent) > 1 else ''} {named} of {self.world_size} (counted from 0) ended or hangs"
                " without a word: killed, out of memory, or its machine is gone"
            )
        return LostProcess(
            "; ".join(parts) or f"the processes lost each other: {str(error).splitlines()[0]}",
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
