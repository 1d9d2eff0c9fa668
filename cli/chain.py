"""A resumable chain of steps in one folder. Each finished step leaves a record."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORDS = ".steps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of a step."""

    text: str
    """One line for the terminal."""
    facts: dict[str, Any]
    """The same for `--json` and later steps; plain values only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a chain."""

    name: str
    settings: Mapping[str, Any]
    """Everything that determines its output, besides the settings of earlier steps."""
    output: Path | None
    """Its output, which must exist for the step to count as done; None for a step that only reports."""
    work: Callable[[], Outcome]
    """Performs the step, resuming from what an interrupted call with the same settings left in `output`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished step."""

    name: str
    seconds: float
    """Duration when it was performed."""
    outcome: Outcome
    skipped: bool
    """Whether an earlier call had done it."""


def open_folder(folder: Path, *, force: bool) -> None:
    """Use `folder` for a chain of steps: it must be empty or hold an earlier chain, unless `force` is given.

    Raises OutputError when it holds other content or cannot be written.
    """
    from trace_data.errors import OutputError
    from trace_data.files import writable_folder

    ours = (folder / RECORDS).is_dir()
    if folder.is_dir() and any(folder.iterdir()) and not ours and not force:
        raise OutputError(
            "the folder is not empty and holds no quickstart", where=folder, hint="give another --out DIR, or --force"
        )
    writable_folder(folder)
    (folder / RECORDS).mkdir(exist_ok=True)


def run_steps(steps: Sequence[Step], folder: Path, *, force: bool = False) -> Iterator[Done]:
    """Perform the steps in order, skipping those recorded with the same settings whose output still exists.

    An interrupted step is called again with the same settings and resumes by itself. Before a step is repeated with
    other settings or with `force`, its record and then its output are removed, so that a kill in between leaves nothing
    that looks finished or resumable.
    """
    from importlib.metadata import version

    if force:
        for record in (folder / RECORDS).glob("*.json"):
            record.unlink()
    settings: dict[str, Any] = {"version": version("trace-5d")}
    for step in steps:
        settings = {**settings, step.name: dict(step.settings)}
        record = folder / RECORDS / f"{step.name}.json"
        entry = _read(record)
        known = entry.get("settings") == settings
        if known and entry.get("done") and (step.output is None or step.output.exists()):
            outcome = Outcome(text=entry["text"], facts=entry["facts"])
            yield Done(name=step.name, seconds=entry["seconds"], outcome=outcome, skipped=True)
            continue
        if not known:
            record.unlink(missing_ok=True)
            _remove(step.output)
        _write(record, {"settings": settings, "done": False})
        began = time.monotonic()
        outcome = step.work()
        seconds = time.monotonic() - began
        _write(record, {"settings": settings, "done": True, "seconds": round(seconds, 2), **asdict(outcome)})
        yield Done(name=step.name, seconds=seconds, outcome=outcome, skipped=False)


def _remove(output: Path | None) -> None:
    if output is not None and output.is_dir():
        shutil.rmtree(output)
    elif output is not None:
        output.unlink(missing_ok=True)


def _read(record: Path) -> dict[str, Any]:
    from trace_data.errors import OutputError
    from trace_data.text_files import content_of, parse_json

    with contextlib.suppress(FileNotFoundError, OutputError):  # a record cut short counts as none
        values = parse_json(content_of(record, error=OutputError), where=record, error=OutputError)
        return values if isinstance(values, dict) else {}
    return {}


def _write(record: Path, values: Mapping[str, Any]) -> None:
    from trace_data.files import atomic_write

    with atomic_write(record) as partial:
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
