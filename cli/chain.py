"""Steps in a row under one folder. Each leaves a record when it is done, so that a second call goes on from there."""

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
    """What a step says of itself."""

    text: str
    """One line for people."""
    facts: dict[str, Any]
    """The same for `--json` and for later steps; plain values only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the way."""

    name: str
    settings: Mapping[str, Any]
    """All that decides its output, besides the settings of the steps before it."""
    output: Path | None
    """What it leaves, which must still be there for the step to count as done; None for a step that only tells."""
    work: Callable[[], Outcome]
    """Does it, or goes on with what an interrupted call with the same settings has left in `output`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A finished step."""

    name: str
    seconds: float
    """Time it took when it was done."""
    outcome: Outcome
    skipped: bool
    """Whether it had been done before."""


def open_folder(folder: Path, *, force: bool) -> None:
    """Take `folder` for a chain of steps: it is empty, or an earlier chain's, or `force` says to take it as it is.

    Raises OutputError when it holds something else or cannot be written.
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
    """Do the steps in order, skipping those that are recorded with the same settings and whose output is still there.

    A step that was interrupted is called again with the same settings and goes on by its own means. Before a step is
    done with other settings, or anew with `force`, what it left is removed: its record first, so that a kill in between
    leaves nothing that passes for finished work or for work to go on with.
    """
    from importlib.metadata import version

    if force:
        for record in (folder / RECORDS).glob("*.json"):
            record.unlink()
    settings: dict[str, Any] = {"version": version("trace-5d")}
    for step in steps:
        settings = {**settings, step.name: dict(step.settings)}
        record = folder / RECORDS / f"{step.name}.json"
        found = _read(record)
        known = found.get("settings") == settings
        if known and found.get("done") and (step.output is None or step.output.exists()):
            outcome = Outcome(text=found["text"], facts=found["facts"])
            yield Done(name=step.name, seconds=found["seconds"], outcome=outcome, skipped=True)
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
    with contextlib.suppress(FileNotFoundError, ValueError):  # a record cut short counts as none
        values = json.loads(record.read_text(encoding="utf-8"))
        return values if isinstance(values, dict) else {}
    return {}


def _write(record: Path, values: Mapping[str, Any]) -> None:
    from trace_data.files import atomic_write

    with atomic_write(record) as partial:
        partial.write_text(json.dumps(values, indent=1), encoding="utf-8")
