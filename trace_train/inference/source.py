"""Loads a trained network from a run, a checkpoint, a network to share or imported released weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from trace_data.errors import CheckpointError
from trace_train.build import build_network, scoring_device
from trace_train.config import Config, load_config
from trace_train.network.flow import FlowProvider, NoFlow
from trace_train.network.model import TraceNetwork
from trace_train.weights.checkpoint import Checkpoint, open_checkpoint
from trace_train.weights.flow import build_flow, raft_flow
from trace_train.weights.folder import DESCRIPTION, InferenceSwitches, fill, open_weights
from trace_train.weights.shared import AGAIN, SharedNetwork, open_shared, resolve
from trace_train.weights.shared import DESCRIPTION as SHARED
from trace_train.weights.sources import open_start


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A network in evaluation mode, on its device, with its source."""

    network: TraceNetwork
    flow: FlowProvider
    config: Config
    where: Path
    """Folder of the checkpoint or of the weights."""
    folder: Path
    """Output folder: next to the run's checkpoints or the weights."""
    name: str
    """Of the run or of the folder of weights, to show."""
    step: int
    sha256: str
    """SHA-256 of the weights file; of several files, each of them."""
    switches: InferenceSwitches
    """How it is used on videos."""

    @property
    def device(self) -> torch.device:
        """The network's device."""
        return next(self.network.parameters()).device


def open_source(path: Path, device: torch.device | None = None) -> TrainedNetwork:
    """Open a run (its last checkpoint), a checkpoint, a network to share, or imported weights of a complete network.

    `demo` is the network that ships with the package. `device`: default as in `scoring_device`. Raises CheckpointError
    if it is none of these or damaged.
    """
    path = resolve(path)
    if not path.is_dir():
        raise CheckpointError(
            f"{'is a file' if path.exists() else 'does not exist'}, expected the folder of a run, a checkpoint or"
            " imported weights",
            where=path,
            hint="trace import-weights  makes such a folder from released files, trace train  one of your own",
        )
    if (path / DESCRIPTION).is_file():
        return _imported(path, device)
    if (path / SHARED).is_file():
        return _shared(open_shared(path), device)
    return _of_run(open_checkpoint(path), device)


def _of_run(checkpoint: Checkpoint, device: torch.device | None) -> TrainedNetwork:
    device = device or scoring_device(checkpoint.config)
    network = build_network(checkpoint.config.network)
    checkpoint.load_into(network)
    return TrainedNetwork(
        network=network.to(device).eval(),
        flow=build_flow(checkpoint.config, checkpoint.run, device),
        config=checkpoint.config,
        where=checkpoint.folder,
        folder=checkpoint.run,
        name=checkpoint.run.name,
        step=checkpoint.step,
        sha256=checkpoint.facts["sha256"][checkpoint.weights_file().name],
        switches=InferenceSwitches(),
    )


def _shared(shared: SharedNetwork, device: torch.device | None) -> TrainedNetwork:
    device = device or scoring_device(shared.config)
    network = build_network(shared.config.network)
    fill(network, shared.state(), where=shared.file, hint=AGAIN)
    return TrainedNetwork(
        network=network.to(device).eval(),
        flow=build_flow(shared.config, shared.folder, device),
        config=shared.config,
        where=shared.folder,
        folder=Path.cwd() if shared.shipped else shared.folder,
        name=shared.folder.name,
        step=shared.step,
        sha256=shared.sha256,
        switches=InferenceSwitches(),
    )


def _imported(path: Path, device: torch.device | None) -> TrainedNetwork:
    weights = open_weights(path)
    missing = [part for part in ("image", "head") if part not in weights.parts]
    if missing:
        raise CheckpointError(
            f"holds no whole network: there are no {' and no '.join(missing)} weights",
            where=path,
            hint="trace import-weights --image trace_image_backbone.pkl --head trace_head.pkl --flow raft-things.pth",
        )
    with_flow = "flow" in weights.parts
    changes = [f"init.weights={path}", *([] if with_flow else ["network.flow=none"])]
    config = load_config("trace", changes)
    start = open_start(config)
    assert start is not None
    config, _ = start.follow(config)
    network = build_network(config.network)
    start.fill(network, config.network)
    device = device or scoring_device(config)
    flow: FlowProvider = NoFlow(config.network.motion_channels)
    if with_flow:
        flow = raft_flow(weights, config.network, device)
    hashes = start.facts["sha256"]
    return TrainedNetwork(
        network=network.to(device).eval(),
        flow=flow,
        config=config,
        where=path,
        folder=path,
        name=path.name,
        step=0,
        sha256=" ".join(f"{part} {digest}" for part, digest in hashes.items()),
        switches=weights.inference,
    )
