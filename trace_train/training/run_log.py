"""Log files of a run: `config.yaml`, and `metrics.jsonl` and `errors.jsonl` with one JSON object per line."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml

from trace_data.errors import CheckpointError
from trace_data.files import atomic_write
from trace_data.text_files import content_of, parse_json
from trace_train.config import Config
from trace_train.training.update import Update

METRICS = "metrics.jsonl"
"""The log of a run."""
ERRORS = "errors.jsonl"
"""Clips that could not be read and were replaced."""


class RunLog:
    """Appends to the log files of a run; on resuming, lines after the checkpoint are removed first."""

    def __init__(
        self, run: Path, config: Config, *, next_step: int, log: Callable[[str], None] = lambda line: None
    ) -> None:
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        with atomic_write(run / "config.yaml") as partial:
            partial.write_text(text, encoding="utf-8")
        self._lines = MetricsFile(run / METRICS, next_step=next_step, log=log)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line (`MetricsFile.write`)."""
        self._lines.write(values)


class MetricsFile:
    """A file of JSON objects, one per line, each with its `step`. A full disk does not end the run: lines are kept in
    memory until they can be written, and a message says so."""

    def __init__(self, file: Path, *, next_step: int, log: Callable[[str], None]) -> None:
        """Removes lines of `next_step` and later, left by a run that died."""
        self.file, self._say = file, log
        self._waiting: list[bytes] = []
        kept = [line for line in read_lines(file) if line["step"] <= next_step]
        if file.exists():
            with atomic_write(file) as partial:
                partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line after those still pending; if writing fails they stay pending until the next call."""
        self._waiting.append(json.dumps(dict(values)).encode() + b"\n")
        try:
            with self.file.open("ab", buffering=0) as stream:
                whole = os.fstat(stream.fileno()).st_size
                content = b"".join(self._waiting)
                if stream.write(content) != len(content):
                    os.ftruncate(stream.fileno(), whole)  # undo a partial write, or the file would end in half a line
                    raise OSError(0, "there is no room left for it")
        except OSError as error:
            if len(self._waiting) == 1:
                self._say(f"{self.file.name} cannot be written ({error.strerror}); its lines wait, the run goes on")
            return
        self._waiting = []


MOST_BYTES = 1 << 30
"""Of a log: a line has some 2 kB, so these are half a million lines."""


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All log lines of a run, in order, without a truncated last line."""
    return read_lines(run / METRICS)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All lines of such a file, in order, up to one that is cut short or no object with its step.

    Raises CheckpointError if it is no file.
    """
    try:
        content = content_of(file, error=CheckpointError, limit_bytes=MOST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = []
    for text in content.splitlines():
        try:
            line = parse_json(text, where=file, error=CheckpointError)
        except CheckpointError:
            break
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            break
        lines.append(line)
    return lines


class MetricsWindow:
    """Accumulates updates and waiting times between log lines. Saved in checkpoints, so that no step is lost."""

    def __init__(self, kept: Sequence[Mapping[str, Any]] = ()) -> None:
        """`kept`: the `updates` of an interrupted window."""
        self.updates: list[dict[str, Any]] = [dict(update) for update in kept]
        """Values and counts of each update, as plain numbers."""
        self._timed = 0
        self.waited = self.waited_in_all = 0.0
        self.began = self.began_all = time.monotonic()

    @property
    def share_waited(self) -> float:
        """Share of the time spent waiting for batches, over all windows."""
        return self.waited_in_all / max(1e-9, time.monotonic() - self.began_all)

    def add(self, update: Update) -> None:
        """Add an update."""
        self.updates.append({"values": dict(update.values), "counts": dict(update.counts)})
        self._timed += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Measures time spent waiting for a batch."""
        asked = time.monotonic()
        yield
        self.waited += time.monotonic() - asked
        self.waited_in_all += time.monotonic() - asked

    @contextmanager
    def pausing(self) -> Iterator[None]:
        """Excludes time spent on saving or evaluating."""
        asked = time.monotonic()
        yield
        self.began += time.monotonic() - asked
        self.began_all += time.monotonic() - asked

    def line(self, *, step: int, steps: int, stage: str, update: Update, rate: float, clips: int) -> dict[str, Any]:
        """The log line of this window; starts a new window. `clips`: per step, over all processes."""
        elapsed = max(1e-9, time.monotonic() - self.began)
        timed = max(1, self._timed)  # part of an interrupted window is not timed
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
    """Mean of each term over all its entries, and its entries per step; `total` is averaged over steps."""
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for update in updates:
        for name, value in update["values"].items():
            count = update["counts"].get(name, 1)
            sums[name] = sums.get(name, 0.0) + value * count
            counts[name] = counts.get(name, 0) + count
    means = {name: total / max(1, counts[name]) for name, total in sums.items()}
    return means, {name: count / len(updates) for name, count in counts.items() if name != "total"}
