"""What a run leaves behind to be read: `config.yaml`, and one object a line in `metrics.jsonl` and `errors.jsonl`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from trace_train.config import Config

METRICS = "metrics.jsonl"
"""The lines of the log, the truth about a run."""
ERRORS = "errors.jsonl"
"""Clips that could not be read and were replaced."""


class RunLog:
    """Appends to a run's folder; on resuming, what lies after the checkpoint is taken back first."""

    def __init__(
        self, run: Path, config: Config, *, next_step: int, say: Callable[[str], None] = lambda line: None
    ) -> None:
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        partial = run / "config.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(run / "config.yaml")
        self._lines = Lines(run / METRICS, next_step=next_step, say=say)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line, see `Lines.write`."""
        self._lines.write(values)


class Lines:
    """A file of one object a line, each with its `step`. A full disk does not end a run: lines wait until there is
    room, and that is said."""

    def __init__(self, file: Path, *, next_step: int, say: Callable[[str], None]) -> None:
        """Lines after `next_step`, which a run left that died, are taken back."""
        self.file, self._say = file, say
        self._waiting: list[bytes] = []
        kept = [line for line in read_lines(file) if line["step"] <= next_step]
        if file.exists():
            partial = file.with_name(f"{file.name}.partial")
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            partial.replace(file)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line, after those that wait; when the disk does not take them they wait for the next one."""
        self._waiting.append(json.dumps(dict(values)).encode() + b"\n")
        try:
            with self.file.open("ab", buffering=0) as stream:
                whole = os.fstat(stream.fileno()).st_size
                content = b"".join(self._waiting)
                if stream.write(content) != len(content):
                    os.ftruncate(stream.fileno(), whole)  # a disk that takes a part: half a line would end the file
                    raise OSError(0, "there is no room left for it")
        except OSError as error:
            if len(self._waiting) == 1:
                self._say(f"{self.file.name} cannot be written ({error.strerror}); its lines wait, the run goes on")
            return
        self._waiting = []


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All logged lines of a run, in order; a last line cut short by a kill is left out."""
    return read_lines(run / METRICS)


def read_lines(file: Path) -> list[dict[str, Any]]:
    """All lines of such a file, in order; a last line cut short by a kill is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
