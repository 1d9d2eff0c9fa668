"""What happened since the last line of the log, and the line that says it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from trace_train.training.update import Update


class Window:
    """Adds up updates and waiting. What it holds goes into checkpoints, so that no step is left out of the log."""

    def __init__(self, kept: Sequence[Mapping[str, Any]] = ()) -> None:
        """`kept`: the `updates` of a window that was interrupted."""
        self.updates: list[dict[str, Any]] = [dict(update) for update in kept]
        """Values and counts of each, as plain numbers."""
        self._timed = 0
        self.waited = self.waited_in_all = 0.0
        self.began = self.began_all = time.monotonic()

    @property
    def share_waited(self) -> float:
        """Share of the time that was spent waiting for batches, over all windows."""
        return self.waited_in_all / max(1e-9, time.monotonic() - self.began_all)

    def add(self, update: Update) -> None:
        """Take in an update."""
        self.updates.append({"values": dict(update.values), "counts": dict(update.counts)})
        self._timed += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time in which a batch is waited for."""
        asked = time.monotonic()
        yield
        self.waited += time.monotonic() - asked
        self.waited_in_all += time.monotonic() - asked

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Time in which nothing is trained: saving, evaluating."""
        asked = time.monotonic()
        yield
        self.began += time.monotonic() - asked
        self.began_all += time.monotonic() - asked

    def line(self, *, step: int, steps: int, stage: str, update: Update, rate: float, clips: int) -> dict[str, Any]:
        """The line of the log that ends this window; the next one begins. `clips`: in a step, of all processes."""
        elapsed = max(1e-9, time.monotonic() - self.began)
        timed = max(1, self._timed)  # an interrupted window was timed in part
        means, counts = _means(self.updates)
        memory = torch.cuda.max_memory_allocated() / 1e9 if torch.cuda.is_initialized() else None
        line = {
            "step": step,
            "stage": stage,
            "loss": means,
            "counts": counts,
            "gradient_norm": None if update.skipped else update.norm,
            "lr": rate,
            "clips_per_s": timed * clips / elapsed,
            "data_wait": self.waited / elapsed,
            "memory_gb": memory,
            "seconds_left": (steps - step) * elapsed / timed,
        }
        self.updates, self._timed, self.waited, self.began = [], 0, 0.0, time.monotonic()
        return line


def _means(updates: Sequence[Mapping[str, Any]]) -> tuple[dict[str, float], dict[str, float]]:
    """Mean of each term over all its entries, and how many these were in a step; `total` is a mean over steps."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for update in updates:
        for name, value in update["values"].items():
            count = update["counts"].get(name, 1)
            sums[name] = sums.get(name, 0.0) + value * count
            counts[name] = counts.get(name, 0) + count
    means = {name: total / max(1, counts[name]) for name, total in sums.items()}
    return means, {name: count / len(updates) for name, count in counts.items() if name != "total"}
