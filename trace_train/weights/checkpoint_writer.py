"""Writing checkpoints (checkpoint.py says what is in one), and which of them stay."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from math import isfinite
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trace_data.errors import OutputError
from trace_train.weights.averaged import AveragedWeights
from trace_train.weights.checkpoint import DESCRIPTION, FORMAT_VERSION, finished

NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""What a disk answers that knows no symbolic links."""
RECALL_MARGIN = 0.01
"""How much less of the people than the best so far a better pose may find: otherwise it would win by leaving out the
difficult ones."""


def save(
    run: Path,
    *,
    step: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    averaged: AveragedWeights | None,
    random: Sequence[Mapping[str, Tensor]],
    facts: Mapping[str, Any],
    resume: str,
) -> Path:
    """Write the checkpoint of `step` into `run/checkpoints` and return its folder.

    `random` holds each process's generators, `facts` all that `checkpoint.json` says beside versions and hashes,
    `resume` the command that goes on. Raises OutputError when the disk does not take it; the earlier ones stay.
    """
    folder = _folder(run, step)
    partial = folder.with_name(folder.name + ".partial")
    training = io.BytesIO()
    torch.save(
        {"optimizer": optimizer.state_dict(), "scaler": scaler.state_dict(), "random": [dict(r) for r in random]},
        training,
    )
    weights = {"weights.safetensors": network.state_dict()}
    if averaged is not None:
        weights["averaged.safetensors"] = averaged.state
    description = {"format_version": FORMAT_VERSION, "step": step, **facts, "versions": versions(), "sha256": {}}
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        for name, tensors in weights.items():
            _write(partial / name, safetensors.torch.save(_plain(tensors)), description["sha256"])
        _write(partial / "training.pth", training.getbuffer(), description["sha256"])
        _write(partial / DESCRIPTION, json.dumps(description, indent=1).encode(), {})
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OutputError(
            f"the checkpoint of step {step} was not written: {error.strerror}",
            where=run,
            hint=f"the one before it is whole; free some space, then  {resume}  goes on from there",
        ) from error
    return folder


def keep(run: Path, latest: int, history: Sequence[Mapping[str, Any]]) -> None:
    """Drop all but the latest checkpoints and the best, which the links `best` and `best-world` point at."""
    there = finished(run)
    best = {name: _folder(run, step) for name, step in best_steps(history).items()}
    for name, folder in best.items():
        if folder in there:
            _link(folder, name)
    for old in there[:-latest]:
        if old not in best.values():
            shutil.rmtree(old)


def _link(folder: Path, name: str) -> None:
    """Let the link `name` point at the checkpoint; where the disk knows no links, a text beside it says so."""
    link, partial = folder.with_name(name), folder.with_name(f"{name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(folder.name)
    except OSError as error:  # exFAT and some mounts: not worth a run, the scores say which step was best
        if error.errno not in NO_LINKS:
            raise
        link.with_name(f"{name}.txt").write_text(
            f"{folder.name}\nThis disk knows no symbolic links, so the checkpoint is named here.\n", encoding="utf-8"
        )
        return
    partial.replace(link)


def clear_partial(run: Path) -> None:
    """Remove what a killed process has left half written."""
    for folder in (run / "checkpoints").glob("step-*.partial"):
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=1)
def versions() -> dict[str, str | None]:
    """Of the program and what it computes with; `git`: the revision it runs from, where it does."""
    return {
        "trace": metadata.version("trace-5d"),
        "git": _git_revision(Path(__file__).parents[1]),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _git_revision(root: Path) -> str | None:
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _folder(run: Path, step: int) -> Path:
    return run / "checkpoints" / f"step-{step:08d}"


def _write(file: Path, content: bytes | memoryview, hashes: dict[str, str]) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())  # a rename may reach the disk before the content does
    hashes[file.name] = hashlib.sha256(content).hexdigest()


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def best_steps(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Steps of the best evaluations, under the names of the links to their checkpoints.

    `best`: lowest `pa_mpjpe` whose `recall` is at most `RECALL_MARGIN` under that of the best before it. `best-world`:
    lowest `wa_mpjpe`. One that no evaluation measured is left out.
    """
    found: dict[str, int] = {}
    pose, recall = float("inf"), 0.0
    for step, scores in _measured(history, "pa_mpjpe"):
        found_now = scores.get("recall") or 0.0
        if scores["pa_mpjpe"] < pose and found_now >= recall - RECALL_MARGIN:
            found["best"], pose, recall = step, scores["pa_mpjpe"], found_now
    world = float("inf")
    for step, scores in _measured(history, "wa_mpjpe"):
        if scores["wa_mpjpe"] < world:
            found["best-world"], world = step, scores["wa_mpjpe"]
    return found


def _measured(history: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for scores in history:
        value = scores.get(name)
        if value is not None and isfinite(value):
            yield scores["step"], scores
