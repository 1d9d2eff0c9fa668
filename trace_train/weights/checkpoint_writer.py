"""Writes checkpoints (see checkpoint.py for their content) and deletes outdated ones."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from math import isfinite, nan
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trace_data.errors import OutputError
from trace_train.weights.averaged import AveragedWeights
from trace_train.weights.checkpoint import DESCRIPTION, FORMAT_VERSION, finished

NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""Errors of file systems without symbolic links."""
MISS_MM = 150.0
"""Error assigned to a missed person, as in `mpjpe_with_misses`."""


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

    `random`: generator states of each process; `facts`: content of `checkpoint.json` besides versions and hashes;
    `resume`: the command that resumes the run. Raises OutputError if writing fails; earlier checkpoints are kept.
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
        kept = f"the one before it is whole; free some space, then  {resume}  goes on from there"
        raise OutputError(
            f"the checkpoint of step {step} was not written: {error.strerror}",
            where=run,
            hint=kept if finished(run) else "free some space, then give the same command again",
        ) from error
    return folder


def keep(run: Path, latest: int, history: Sequence[Mapping[str, Any]]) -> None:
    """Delete all but the latest checkpoints and the best ones, which the links `best` and `best-world` point to."""
    there = finished(run)
    best = {name: _folder(run, step) for name, step in best_steps(history).items()}
    for name, folder in best.items():
        if folder in there:
            _link(folder, name)
    for old in there[:-latest]:
        if old not in best.values():
            shutil.rmtree(old)


def _link(folder: Path, name: str) -> None:
    """Point the link `name` to the checkpoint, or write a text file on file systems without links."""
    link, partial = folder.with_name(name), folder.with_name(f"{name}.partial")
    partial.unlink(missing_ok=True)
    try:
        partial.symlink_to(folder.name)
    except OSError as error:  # exFAT and some mounts: no reason to end a run, as the scores identify the best step
        if error.errno not in NO_LINKS:
            raise
        link.with_name(f"{name}.txt").write_text(
            f"{folder.name}\nThis disk knows no symbolic links, so the checkpoint is named here.\n", encoding="utf-8"
        )
        return
    partial.replace(link)


def clear_partial(run: Path) -> None:
    """Remove partial files left by a killed process."""
    for folder in (run / "checkpoints").glob("step-*.partial"):
        shutil.rmtree(folder, ignore_errors=True)


@lru_cache(maxsize=1)
def versions() -> dict[str, str | None]:
    """Versions of this package and its main dependencies; `git`: its revision, when run from a repository."""
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
        os.fsync(stream.fileno())  # otherwise the rename could reach the disk before the content
    hashes[file.name] = hashlib.sha256(content).hexdigest()


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def best_steps(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Steps of the best evaluations, by the names of the links to their checkpoints.

    `best`: lowest `error_with_misses`; `best-world`: lowest `world_error_with_misses`. Omitted if never measured.
    """
    best: dict[str, int] = {}
    for name, (rule, _) in RULES.items():
        errors = [(error, scores["step"]) for scores in history if isfinite(error := rule(scores))]
        if errors:
            best[name] = min(errors)[1]
    return best


def best_so_far(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Log lines with the best steps so far and their errors."""
    lines, last = [], history[-1] if history else {}
    for name, step in best_steps(history).items():
        rule, words = RULES[name]
        error = {scores["step"]: rule(scores) for scores in history}
        stays = "" if step == last["step"] else f"; step {last['step']:,} has {error[last['step']]:.1f}"
        lines.append(f"{name}: step {step:,}, {words} {error[step]:.1f} mm{stays}")
    return lines


def error_with_misses(scores: Mapping[str, Any]) -> float:
    """MPJPE, mm, counting `MISS_MM` for each missed person, so that it does not improve by missing difficult people.

    Where those who were found are that far off themselves, a miss would count less than they do: then it is their
    error divided by the recall. For people with labelled joints but no body it is computed from the recall. NaN if
    neither was measured, or nobody was found.
    """
    recall, found, error = (_value(scores, name) for name in ("recall", "mpjpe", "mpjpe_with_misses"))
    if recall == 0:
        return nan
    if not isfinite(error):
        found = _value(scores, "joints_mpjpe")
        error = recall * found + (1 - recall) * MISS_MM
    return found / recall if found >= MISS_MM and isfinite(recall) else error


def world_error_with_misses(scores: Mapping[str, Any]) -> float:
    """WA-MPJPE, mm, divided by the share of people found in the world, so that missing people does not improve it.

    NaN if it was not measured.
    """
    coverage = scores.get("world_coverage")
    if coverage is None:  # who scores may leave it out
        coverage = 1.0
    return _value(scores, "wa_mpjpe") / coverage if coverage > 0 else nan


def _value(scores: Mapping[str, Any], name: str) -> float:
    value = scores.get(name)
    return nan if value is None else float(value)


RULES = {
    "best": (error_with_misses, "MPJPE with misses"),
    "best-world": (world_error_with_misses, "WA-MPJPE over the share of people found"),
}
"""For each link name, the deciding error and its description."""
