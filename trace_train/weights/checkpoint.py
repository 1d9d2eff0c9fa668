"""Checkpoints: everything needed to resume a run exactly.

A checkpoint is a folder `step-00000240`, created by an atomic rename:

    weights.safetensors    the network
    averaged.safetensors   averaged weights, if the run keeps them
    training.pth           optimiser, gradient scaler, random-number states of each process (tensors and numbers only)
    checkpoint.json        step, data position, scores so far, configuration, versions, SHA-256 of the other files

This module reads checkpoints; checkpoint_writer.py writes them. Content is verified: damage raises a CheckpointError
that names the file and the previous checkpoint.
"""

from __future__ import annotations

import pickle
import shlex
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from trace_data.errors import CheckpointError, ConfigError, NoCheckpointError, quoted
from trace_data.files import check_regular, sha256_of
from trace_data.text_files import content_of, parse_json
from trace_train.config import Config, config_from
from trace_train.weights.averaged import AveragedWeights

FORMAT_VERSION = 2
MOST_BYTES = 1 << 28
"""Maximum size of `checkpoint.json`; it grows by some hundred bytes per evaluation and per step since a log line."""
REQUIRED = frozenset({"weights.safetensors", "training.pth"})
"""Files of every checkpoint."""
DESCRIPTION = "checkpoint.json"
MAY_CHANGE = (
    "steps",
    "compile",
    "log_every",
    "checkpoint_every",
    "checkpoint_minutes",
    "keep_checkpoints",
    "pictures_every",
    "evaluation.",
    "distributed.",
    "device",
    "data.threads",
    "data.prefetch",
    "data.decode",
    "data.on_error",
    "data.skip_limit",
    "log.",
)
"""Keys, and prefixes of keys, that may change when a run is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint folder whose files match the hashes in its description."""

    folder: Path
    step: int
    """Number of steps taken."""
    config: Config
    """The run's resolved configuration."""
    facts: Mapping[str, Any]
    """The whole of `checkpoint.json`."""

    @property
    def run(self) -> Path:
        """The run it belongs to."""
        return self.folder.parent.parent

    def weights_file(self, *, averaged: bool = True) -> Path:
        """The file of the network's weights, with `averaged` of the averaged ones if there are any."""
        file = self.folder / "averaged.safetensors"
        return file if averaged and file.exists() else self.folder / "weights.safetensors"

    def weights(self, *, averaged: bool = True) -> dict[str, Tensor]:
        """The network's weights, with `averaged` the averaged ones if there are any."""
        file = self.weights_file(averaged=averaged)
        return load_tensors(file, hint=_before(file))

    def load_into(self, network: nn.Module, *, averaged: bool = True) -> None:
        """Load the weights into a network, strictly. Raises CheckpointError naming the first mismatched keys."""
        state, wanted = self.weights(averaged=averaged), network.state_dict()
        wrong = sorted(set(state) ^ set(wanted)) + [
            k for k in state if k in wanted and state[k].shape != wanted[k].shape
        ]
        if wrong:
            raise CheckpointError(
                f"is of another architecture: {len(wrong)} tensors do not fit, first {', '.join(wrong[:3])}",
                where=self.folder,
                hint="build the network from the checkpoint's own configuration, or choose another checkpoint",
            )
        network.load_state_dict(state)


class _Written(BaseModel):
    """Schema of the parts of `checkpoint.json` that are used; the file may be damaged."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    format_version: int
    step: int = Field(ge=0, le=1 << 53)
    sha256: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]
    config: dict[str, Any]
    data: dict[str, Any] = {}
    window: list[dict[str, dict[str, float | int]]] = []
    history: list[dict[str, Any]] = []
    skipped: int = 0
    skipped_in_a_row: int = 0

    @field_validator("sha256")
    @classmethod
    def _of_files_beside(cls, hashes: dict[str, str]) -> dict[str, str]:
        if missing := sorted(REQUIRED - hashes.keys()):
            raise ValueError(f"names no {', '.join(missing)}")
        if strange := sorted(hashes.keys() - REQUIRED - {"averaged.safetensors"}):
            raise ValueError(f"names {strange[0]!r}, which no checkpoint holds")
        return hashes

    @field_validator("history")
    @classmethod
    def _with_steps(cls, history: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for scores in history:
            if not isinstance(scores.get("step"), int):
                raise ValueError("holds scores without their step")
            if not all(value is None or isinstance(value, int | float) for value in scores.values()):
                raise ValueError("holds scores that are no numbers")
        return history


def refuse_changes(checkpoint: Checkpoint, config: Config, data: Mapping[str, Any]) -> None:
    """Check that a resumed run keeps its configuration and data. Raises ConfigError naming every key that differs.

    The number of steps may change, but not below the steps taken; this moves the schedule and the bounds of stages.
    Intervals of logging, evaluation and checkpoints, device, number of processes and of threads may change too.
    """
    before, now = (_flat(c.model_dump(mode="json")) for c in (checkpoint.config, config))
    changed = [f"{k}: {before.get(k)} → {now.get(k)}" for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
    changed = [line for line in changed if not line.startswith(MAY_CHANGE)]
    if config.steps < checkpoint.step:
        changed.append(f"steps: {checkpoint.step} are done, {config.steps} are asked for")
    for key, what in (("shards_sha256", "shards"), ("packs_sha256", "packs"), ("flow_sha256", "files of flow")):
        if checkpoint.facts["data"].get(key) != data.get(key):
            changed.append(f"{what} are not those the run began with")
    if changed:
        raise ConfigError(
            "a resumed run cannot change what it is:\n    " + "\n    ".join(changed),
            where=checkpoint.folder,
            hint="resume it as it was, or start a new run with --out",
        )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return out


def finished(run: Path) -> list[Path]:
    """Complete checkpoint folders of a run, oldest first."""
    return sorted(f.parent for f in (run / "checkpoints").glob(f"step-*/{DESCRIPTION}") if f.parent.suffix == "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """Facts about a run from its last checkpoint, without reading weights."""

    config: Config
    shards: str
    """Folder or URL."""
    packs: Path
    threads: int | None
    """Threads of a process on the CPU; None in runs of older versions."""


def describe_run(run: Path) -> RunDescription:
    """Read what a run was started with. Raises NoCheckpointError."""
    if not finished(run):
        raise NoCheckpointError(
            "holds no run, or one that was stopped before its first checkpoint",
            where=run,
            hint=f"trace train --out {quoted(run)}  begins one there",
        )
    folder = finished(run)[-1]
    facts = _description(folder)
    shards, packs = (facts["data"].get(name) for name in ("shards", "packs"))
    if not (isinstance(shards, str) and isinstance(packs, str)):
        raise CheckpointError(
            "does not say which shards and packs the run was started with",
            where=folder / DESCRIPTION,
            hint=_before(folder / DESCRIPTION),
        )
    threads = facts["data"].get("threads")
    return RunDescription(
        config=_config(facts, folder),
        shards=shards,
        packs=Path(packs),
        threads=threads if isinstance(threads, int) and threads > 0 else None,
    )


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint folder, or the latest checkpoint of a run.

    Raises NoCheckpointError if there is none, CheckpointError if it is damaged.
    """
    folder = path
    if not (path / DESCRIPTION).exists():
        checkpoints = finished(path)
        if not checkpoints:
            raise NoCheckpointError(
                "holds no finished checkpoint", where=path, hint="give a run folder or a step-… folder of one"
            )
        folder = checkpoints[-1]
    facts = _description(folder)
    for name, digest in facts["sha256"].items():
        part = folder / name
        if not part.is_file() or sha256_of(part) != digest:
            state = "is damaged: its SHA-256 differs" if part.is_file() else "is missing"
            raise CheckpointError(state, where=part, hint=_before(part))
    return Checkpoint(folder=folder, step=facts["step"], config=_config(facts, folder), facts=facts)


def _config(facts: Mapping[str, Any], folder: Path) -> Config:
    try:
        return config_from(facts["config"], origin=str(folder / DESCRIPTION))
    except RecursionError as error:
        raise CheckpointError("holds no configuration", where=folder / DESCRIPTION) from error


def _description(folder: Path) -> dict[str, Any]:
    """The content of `checkpoint.json`, checked."""
    file = folder / DESCRIPTION
    try:
        facts: Any = parse_json(content_of(file, error=CheckpointError), where=file, error=CheckpointError)
        version = facts["format_version"] if isinstance(facts, dict) else None
        if version == FORMAT_VERSION:
            _Written.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CheckpointError(f"is damaged: {reason}", where=file, hint=_before(file)) from error
    except CheckpointError as error:
        raise CheckpointError(error.message, where=error.where, hint=_before(file)) from error
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"cannot be read: {first_line(error)}", where=file, hint=_before(file)) from error
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"has format {str(version)[:20]}, this version reads {FORMAT_VERSION}", where=file, hint=_before(file)
        )
    return dict(facts)


def _before(file: Path) -> str:
    """Hint for a damaged checkpoint: go back to the previous one, if any."""
    folder = file.parent.resolve()  # `best` is a link
    earlier = [other for other in finished(folder.parent.parent) if other.name < folder.name]
    remove = f"rm -r {shlex.quote(str(folder))}"
    if not earlier:
        return f"{remove}  removes it; there is no checkpoint before it, so the run begins anew"
    return (
        f"{remove}  removes it, and the run goes on from {earlier[-1].name};"
        f" trace evaluate {shlex.quote(str(earlier[-1]))}  scores that one"
    )


def load_tensors(file: Path, *, hint: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name. Raises CheckpointError if it is damaged, or one is not finite.

    A matching hash says nothing: whoever crafts a file writes its hash, too.
    """
    try:
        check_regular(file)
        tensors = safetensors.torch.load_file(file)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"holds no weights: {first_line(error)}", where=file, hint=hint) from error
    for name, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(f"{name} has values that are not finite", where=file, hint=hint)
    return tensors


def first_line(error: BaseException) -> str:
    """First line of an error's message, or its class name if there is no message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).splitlines()), "")[:200] or type(error).__name__


def restore(
    checkpoint: Checkpoint,
    *,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    averaged: AveragedWeights | None,
    rank: int,
    device: torch.device,
) -> None:
    """Restore the training state of the checkpoint. Raises CheckpointError."""
    checkpoint.load_into(network, averaged=False)
    file = checkpoint.folder / "training.pth"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        _check_optimizer(optimizer, state["optimizer"])
        optimizer.load_state_dict(state["optimizer"])
        if not all(_like(state["scaler"][key], float(value)) for key, value in scaler.state_dict().items()):
            raise ValueError("the scale of losses is no number")
        scaler.load_state_dict(state["scaler"])
        _restore_random(state["random"], rank, device, (checkpoint.config.seed, checkpoint.step))
    except (
        OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, EOFError, pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise CheckpointError(f"cannot be restored: {first_line(error)}", where=file, hint=_before(file)) from error
    if averaged is not None:
        kept = checkpoint.weights(averaged=True)
        if {name: value.shape for name, value in kept.items()} != {n: v.shape for n, v in averaged.state.items()}:
            file = checkpoint.weights_file(averaged=True)
            raise CheckpointError("holds other tensors than the network", where=file, hint=_before(file))
        for name, value in kept.items():
            averaged.state[name].copy_(value)


def _check_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Check what torch loads unchecked and would only fail on in the first step. Raises ValueError."""
    own, saved = optimizer.state_dict()["param_groups"], state["param_groups"]
    if len(own) != len(saved):
        raise ValueError(f"{len(saved)} groups of parameters, expected {len(own)}")
    weights: dict[int, Tensor] = {}
    for ours, group, real in zip(own, saved, optimizer.param_groups):
        if ours.keys() != group.keys() or ours["params"] != group["params"]:
            raise ValueError("a group of parameters is not as this run would make it")
        for key in ours.keys() - {"params"}:
            if not _like(group[key], ours[key]):
                raise ValueError(f"{key} of a group of parameters is not of the kind that this run would set")
        weights |= dict(zip(group["params"], real["params"]))
    for number, values in state["state"].items():
        if number not in weights:
            raise ValueError(f"there is no parameter {str(number)[:20]}")
        for name, value in values.items():
            shape = () if name == "step" else weights[number].shape
            if not isinstance(value, Tensor) or value.shape != shape or not _is_plain(value):
                raise ValueError(f"{name} of parameter {number} does not fit it")
            if name == "step" and value < 0:
                raise ValueError(f"parameter {number} has made {value:g} steps")


def _like(saved: Any, own: Any) -> bool:
    """Whether a setting of a group may stand in place of the run's own: numbers that are finite, and the same switches.
    How torch computes (`foreach`, `fused`) depends on the device."""
    if isinstance(own, tuple | list):
        return isinstance(saved, tuple | list) and len(saved) == len(own) and all(map(_like, saved, own))
    if isinstance(own, float):
        return isinstance(saved, int | float) and isfinite(saved)
    return saved is own or saved in (None, True, False) if own is None else bool(saved == own)


def _is_plain(value: Tensor) -> bool:
    return value.layout == torch.strided and value.is_floating_point() and bool(value.isfinite().all())


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of torch's random generators in this process."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_random(states: list[dict[str, Tensor]], rank: int, device: torch.device, key: tuple[int, int]) -> None:
    if not isinstance(states, list) or not states:
        raise ValueError("there are no states of random numbers")
    if rank >= len(states):  # more processes than before: seed the new ones deterministically
        torch.manual_seed(int(np.random.default_rng([*key, rank]).integers(1 << 62)))
        return
    torch.set_rng_state(states[rank]["cpu"])
    if device.type == "cuda" and "cuda" in states[rank]:
        torch.cuda.set_rng_state(states[rank]["cuda"], device)
