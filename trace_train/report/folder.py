"""Reads a run folder leniently: files may be missing, or from older or newer versions."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trace_data.errors import CheckpointError
from trace_data.files import is_held
from trace_data.text_files import content_of, parse_json, parse_yaml
from trace_train.evaluation.result import basis_of
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import DESCRIPTION, finished

ERRORS = "errors*.jsonl"
"""One file per process with errors."""
PARAMETERS = "parameters.txt"
PICTURES = "pictures"
State = Literal["finished", "going on", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The files of a run as plain values."""

    path: Path
    settings: Mapping[str, Any]
    """`config.yaml`."""
    lines: Sequence[Mapping[str, Any]]
    """Lines of `metrics.jsonl` with losses."""
    evaluations: Sequence[Mapping[str, Any]]
    """`evaluation-SPLIT-STEP-BASIS.json`, by split and step, each with its `basis`, which identifies data and protocol.
    Evaluations known only from the checkpoint have the network's scores only."""
    checkpoint: Mapping[str, Any]
    """`checkpoint.json` of the latest checkpoint; empty if there is none."""
    errors: Sequence[Mapping[str, Any]]
    """Entries of the `errors*.jsonl` files: clips that could not be read."""
    not_finite: Sequence[Path]
    """Saved batches with a non-finite loss or gradient, which ended the run."""
    parameters: str
    """`parameters.txt`: what is trained, and how."""
    pictures: Sequence[tuple[int, Path]]
    """Step and file of the pictures drawn during training."""
    running: bool
    """Whether a process is running it."""

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.resolve().name

    @property
    def steps(self) -> int:
        """Total steps of the run; the steps taken if unknown."""
        return int(self.settings.get("steps") or self.step)

    @property
    def step(self) -> int:
        """Steps taken, according to the log or a checkpoint."""
        logged = int(self.lines[-1]["step"]) if self.lines else 0
        return max(logged, int(self.checkpoint.get("step", 0)))

    @property
    def state(self) -> State:
        """State of the run."""
        if self.step >= self.steps > 0:
            return "finished"
        return "going on" if self.running else "interrupted"

    @property
    def data(self) -> Mapping[str, Any]:
        """Training data, as recorded in the checkpoint."""
        found: Mapping[str, Any] = self.checkpoint.get("data") or {}
        return found

    def scored(self, split: str) -> list[list[Mapping[str, Any]]]:
        """Comparable evaluations of a split, sorted by step: one list per basis, most frames first."""
        series: dict[str, list[Mapping[str, Any]]] = {}
        for one in self.evaluations:
            if one["split"] == split:
                series.setdefault(one["basis"], []).append(one)
        return sorted(series.values(), key=lambda one: -max(int(e.get("frames") or 0) for e in one))

    @property
    def splits(self) -> list[str]:
        """The splits it was evaluated on."""
        return list(dict.fromkeys(str(one["split"]) for one in self.evaluations))


def read_run(path: Path) -> RunFolder:
    """Read a run folder. Raises CheckpointError when it holds no run."""
    config = path / "config.yaml"
    if not config.is_file():
        raise CheckpointError(
            "holds no run (there is no config.yaml)", where=path, hint="give the folder that trace train wrote"
        )
    kept = finished(path)
    checkpoint = _object(kept[-1] / DESCRIPTION) if kept else {}
    return RunFolder(
        path=path,
        settings=_settings(config),
        lines=[line for line in read_metrics(path) if isinstance(line.get("loss"), dict) and "step" in line],
        evaluations=_evaluations(path, checkpoint),
        checkpoint=checkpoint,
        errors=[error for file in sorted(path.glob(ERRORS)) for error in _objects(file)],
        not_finite=sorted(path.glob("not-finite-step-*.pth")),
        parameters=_text(path / PARAMETERS),
        pictures=_pictures(path / PICTURES),
        running=is_held(path / ".lock"),
    )


def _settings(file: Path) -> dict[str, Any]:
    try:
        values = parse_yaml(content_of(file, error=CheckpointError), where=file, error=CheckpointError)
    except FileNotFoundError as error:
        raise CheckpointError("is missing", where=file) from error
    return values if isinstance(values, dict) else {}


def _evaluations(path: Path, checkpoint: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    files = [_object(file) for file in path.glob("evaluation-*.json")]
    whole = [one for one in files if {"split", "step", "rows"} <= one.keys() and isinstance(one["rows"], dict)]
    whole = [{**one, "basis": basis_of(one)} for one in whole]
    split = ((checkpoint.get("config") or {}).get("evaluation") or {}).get("split", "val")
    history = checkpoint.get("history") or []
    steps = {scores["step"] for scores in history}
    # the run's own evaluations have the basis of most steps in the checkpoint
    bases = Counter(one["basis"] for one in whole if one["split"] == split and one["step"] in steps)
    own = bases.most_common(1)[0][0] if bases else ""
    there = {one["step"] for one in whole if one["split"] == split and one["basis"] == own}
    whole += [
        {"split": split, "step": scores["step"], "rows": {"model": scores}, "basis": own}
        for scores in history
        if scores["step"] not in there
    ]
    order = {"val": 0, "test": 1, "train": 2}
    return sorted(whole, key=lambda one: (order.get(one["split"], 3), one["split"], one["step"]))


def _pictures(folder: Path) -> list[tuple[int, Path]]:
    named = ((re.fullmatch(r"step-(\d+)", file.stem), file) for file in folder.glob("step-*.jpg"))
    return sorted((int(match[1]), file) for match, file in named if match)


def _text(file: Path) -> str:
    """The text of a file; empty if it is missing or is none."""
    try:
        return content_of(file, error=CheckpointError).decode(errors="replace")
    except (FileNotFoundError, CheckpointError):
        return ""


def _object(file: Path) -> dict[str, Any]:
    """One JSON object; empty if the file is damaged or missing."""
    try:
        value = parse_json(content_of(file, error=CheckpointError), where=file, error=CheckpointError)
    except (FileNotFoundError, CheckpointError):
        return {}
    return value if isinstance(value, dict) else {}


def _objects(file: Path) -> list[dict[str, Any]]:
    """JSON objects, one per line; truncated lines are left out."""
    out = []
    for text in _text(file).splitlines():
        try:
            value = parse_json(text, where=file, error=CheckpointError)
        except CheckpointError:
            continue
        if isinstance(value, dict):
            out.append(value)
    return out
