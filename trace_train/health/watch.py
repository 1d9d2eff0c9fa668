"""Prints each log line, sends it to the boards, and warns about unusual values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trace_data.progress import Progress
from trace_train.health.boards import Boards
from trace_train.health.lines import TableLines
from trace_train.health.ranges import oddities
from trace_train.training.hooks import RunSnapshot
from trace_train.training.run_log import ERRORS, read_metrics

LONG_WAIT = 0.05
"""Share of time spent waiting for data that triggers a warning."""
ABSENT_LINES = 3
"""Consecutive log lines without a valid entry of a term that trigger a warning: a single batch may well have none."""


class Watch:
    """Receives every log line of a run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._boards: Boards | None = None
        self._lines: TableLines | None = None
        self._absent: dict[str, int] = {}
        self._longest_wait = LONG_WAIT
        self._replaced = 0

    def on_line(self, snapshot: RunSnapshot, line: Mapping[str, Any]) -> None:
        """Process a new log line."""
        known = read_metrics(snapshot.run)
        if self._boards is None or self._lines is None:
            self._lines = TableLines(self._progress.width)
            before = max((old["step"] for old in known if old["step"] < line["step"]), default=0)
            self._boards = Boards(snapshot.run, snapshot.config, next_step=before, log=self._progress.log)
        self._boards.write(line)
        for text in self._lines.row(line, snapshot.loss_module.config.loss.model_dump()):
            self._progress.log(text)
        fresh = snapshot.config.init.weights is None
        for oddity in oddities([*(old for old in known if old["step"] < line["step"]), line], fresh=fresh):
            self._progress.log(f"unusual: {oddity}")
        self._say_what_is_absent(line)
        self._say_when_data_is_slow(line)
        if line["clips_replaced"] > self._replaced:
            self._replaced = line["clips_replaced"]
            self._progress.log(f"{self._replaced:,} clips could not be read and were replaced: {snapshot.run / ERRORS}")

    def close(self) -> None:
        """Close the boards at the end of the run."""
        if self._boards is not None:
            self._boards.close()

    def _say_what_is_absent(self, line: Mapping[str, Any]) -> None:
        for term, count in line["counts"].items():
            self._absent[term] = 0 if count else self._absent.get(term, 0) + 1
            if self._absent[term] == ABSENT_LINES:
                self._progress.log(
                    f"{term} has had no valid entry for {ABSENT_LINES} lines: nothing in these shards teaches it, or"
                    f" its mask is empty (trace verify-shards); --set loss.{term}=0 switches it off"
                )

    def _say_when_data_is_slow(self, line: Mapping[str, Any]) -> None:
        if line["data_wait"] > self._longest_wait and line["step"] > 1:
            self._longest_wait = 2 * line["data_wait"]
            self._progress.log(
                f"{line['data_wait']:.0%} of the time is spent waiting for data: more data.threads,"
                " or shards on a faster disk"
            )
