"""What a run leaves behind to be read: `config.yaml` and `metrics.jsonl`, one object per logged step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from trace_train.config import Config

METRICS = "metrics.jsonl"


class RunLog:
    """Appends to a run's folder; on resuming, what lies after the checkpoint is taken back first."""

    def __init__(self, run: Path, config: Config, *, next_step: int) -> None:
        self.file = run / METRICS
        text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
        partial = run / "config.partial"
        partial.write_text(text, encoding="utf-8")
        partial.replace(run / "config.yaml")
        kept = [line for line in read_metrics(run) if line["step"] <= next_step]
        partial = self.file.with_suffix(".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self.file)

    def write(self, values: Mapping[str, Any]) -> None:
        """Append one line."""
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(dict(values)) + "\n")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All logged lines of a run, in order; a last line cut short by a kill is left out."""
    file = run / METRICS
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines
