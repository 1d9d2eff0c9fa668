"""Checkpoints: everything a run needs to go on at the next step as if it had never stopped.

A checkpoint is a folder `step-00000240` that appears by one rename, so it is there whole or not at all:

    weights.safetensors    the network
    averaged.safetensors   averaged weights, when the run keeps them
    training.pth           optimiser, gradient scaler, random-number states of each process (tensors and numbers only)
    checkpoint.json        step, data position, scores so far, configuration, versions, SHA-256 of the other files

This module reads them; saving.py writes them.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from trace_data.errors import CheckpointError, ConfigError, NoCheckpointError, quoted
from trace_data.files import sha256_of
from trace_data.text_files import content_of, parse_json
from trace_train.config import Config, config_from
from trace_train.weights.averaged import AveragedWeights

FORMAT_VERSION = 2
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
"""Keys that a resumed run may have otherwise than it began, and beginnings of such keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint folder whose description was read and whose files have the right hashes."""

    folder: Path
    step: int
    """Steps done."""
    config: Config
    """The run's resolved configuration."""
    facts: Mapping[str, Any]
    """The whole of `checkpoint.json`."""

    @property
    def run(self) -> Path:
        """The run it belongs to."""
        return self.folder.parent.parent

    def weights_file(self, *, averaged: bool = True) -> Path:
        """The file of the network's state; of the averaged one where there is one and it is wanted."""
        file = self.folder / "averaged.safetensors"
        return file if averaged and file.exists() else self.folder / "weights.safetensors"

    def weights(self, *, averaged: bool = True) -> dict[str, Tensor]:
        """The network's state; the averaged one where there is one and it is wanted."""
        return safetensors.torch.load_file(self.weights_file(averaged=averaged))

    def load_into(self, network: nn.Module, *, averaged: bool = True) -> None:
        """Fill a network, strictly. Raises CheckpointError naming the first keys that do not fit."""
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


def refuse_changes(checkpoint: Checkpoint, config: Config, data: Mapping[str, Any]) -> None:
    """Make sure that a resumed run is the run it was. Raises ConfigError naming every key that differs.

    The number of steps may change (not below those done): it moves the schedule and the bounds of stages, as it must.
    How often is logged, scored and kept, device, number of processes and reading threads may change too.
    """
    before, now = (_flat(c.model_dump(mode="json")) for c in (checkpoint.config, config))
    changed = [f"{k}: {before.get(k)} → {now.get(k)}" for k in sorted({*before, *now}) if before.get(k) != now.get(k)]
    changed = [line for line in changed if not line.startswith(MAY_CHANGE)]
    if config.steps < checkpoint.step:
        changed.append(f"steps: {checkpoint.step} are done, {config.steps} are asked for")
    for key in ("shards_sha256", "packs_sha256"):
        if checkpoint.facts["data"].get(key) != data.get(key):
            changed.append(f"{key.removesuffix('_sha256')} are not those the run began with")
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
    """Checkpoint folders of a run, oldest first; half-written ones do not count."""
    return sorted(f.parent for f in (run / "checkpoints").glob(f"step-*/{DESCRIPTION}") if f.parent.suffix == "")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDescription:
    """What a run's last checkpoint says of the run, without a look at its weights."""

    config: Config
    shards: str
    """Folder or URL."""
    packs: Path


def describe_run(run: Path) -> RunDescription:
    """What a run was started with. Raises NoCheckpointError."""
    if not finished(run):
        raise NoCheckpointError(
            "holds no run, or one that was stopped before its first checkpoint",
            where=run,
            hint=f"trace train --out {quoted(run)}  begins one there",
        )
    folder = finished(run)[-1]
    facts = _description(folder)
    return RunDescription(
        config=config_from(facts["config"], origin=str(folder / DESCRIPTION)),
        shards=facts["data"]["shards"],
        packs=Path(facts["data"]["packs"]),
    )


def open_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint folder, or the latest of a run's.

    Raises NoCheckpointError when there is none, CheckpointError when it is damaged.
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
        if not part.exists() or sha256_of(part) != digest:
            state = "is damaged: its SHA-256 differs" if part.exists() else "is missing"
            raise CheckpointError(
                state, where=part, hint=f"delete {folder} and run again: it goes on from the checkpoint before"
            )
    config = config_from(facts["config"], origin=str(folder / DESCRIPTION))
    return Checkpoint(folder=folder, step=int(facts["step"]), config=config, facts=facts)


def _description(folder: Path) -> dict[str, Any]:
    """The content of `checkpoint.json`, its format and most needed keys checked."""
    file = folder / DESCRIPTION
    try:
        content = content_of(file, error=CheckpointError)
        facts: dict[str, Any] = parse_json(content, where=file, error=CheckpointError, hint="use an earlier checkpoint")
        version, _, _, _ = (facts[k] for k in ("format_version", "sha256", "step", "config"))
    except (FileNotFoundError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot be read: {error}", where=file, hint="use an earlier checkpoint") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(f"has format {version}, this version reads {FORMAT_VERSION}", where=file)
    return facts


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
    """Put what is trained back to where the checkpoint was written. Raises CheckpointError."""
    checkpoint.load_into(network, averaged=False)
    file = checkpoint.folder / "training.pth"
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        _restore_random(state["random"], rank, device, (checkpoint.config.seed, checkpoint.step))
    except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"cannot be restored: {str(error).splitlines()[0]}", where=file) from error
    if averaged is not None:
        for name, value in checkpoint.weights(averaged=True).items():
            averaged.state[name].copy_(value)


def random_states(device: torch.device) -> dict[str, Tensor]:
    """What torch's generators of this process will draw next."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_random(states: list[dict[str, Tensor]], rank: int, device: torch.device, key: tuple[int, int]) -> None:
    if rank >= len(states):  # more processes than before: what a new one draws is fixed too
        torch.manual_seed(int(np.random.default_rng([*key, rank]).integers(1 << 62)))
        return
    torch.set_rng_state(states[rank]["cpu"])
    if device.type == "cuda" and "cuda" in states[rank]:
        torch.cuda.set_rng_state(states[rank]["cuda"], device)
