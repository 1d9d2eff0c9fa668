"""Optical flow of a run, computed in the same way for training, evaluation and previews from the run folder."""

from __future__ import annotations

from pathlib import Path

import torch

from trace_data.errors import CheckpointError, ConfigError
from trace_data.shards.flow.index import FlowSettings
from trace_train.config import Config, NetworkConfig
from trace_train.network.flow import DisFlow, FlowProvider, NoFlow, RaftFlow
from trace_train.weights.folder import DESCRIPTION, Weights, open_weights


def flow_folder(run: Path) -> Path:
    """Folder of RAFT's weights in a run, in the layout of `trace import-weights`."""
    return run / "flow"


def keep_flow(config: Config, source: Path, run: Path) -> None:
    """Copy imported RAFT weights, with their provenance, into a run that needs them."""
    if config.network.computed_flow == "raft":
        open_weights(source).copy("flow", flow_folder(run))


def build_flow(config: Config, run: Path, device: torch.device) -> FlowProvider:
    """The run's flow provider; of stored flow, the one that it was computed by.

    Raises CheckpointError if RAFT's weights are missing or damaged.
    """
    network = config.network
    if network.computed_flow == "none":
        return NoFlow(network.motion_channels)
    if network.computed_flow == "dis":
        return DisFlow()
    folder = flow_folder(run)
    if not (folder / DESCRIPTION).is_file():
        raise CheckpointError(
            "has no weights of RAFT (its folder `flow`), which its flow is computed by",
            where=run,
            hint="give the run's own folder or a checkpoint inside it: one that was moved out of its run has lost them",
        )
    return raft_flow(open_weights(folder), network, device)


def check_same_weights(start: Path, stored: FlowSettings) -> None:
    """Raise ConfigError if imported RAFT weights are not those that stored flow was computed with."""
    own = open_weights(start).facts["parts"]["flow"]["sha256"]
    if own != stored.weights_sha256:
        raise ConfigError(
            f"RAFT's weights have SHA-256 {own[:16]}…, the stored flow was computed with"
            f" {str(stored.weights_sha256)[:16]}…: prediction would compute another flow than was learnt from",
            where=start,
            hint="give init.weights with the same raft-things.pth, or trace add-flow --force with these",
        )


def raft_flow(weights: Weights, network: NetworkConfig, device: torch.device) -> RaftFlow:
    """RAFT flow from imported weights, as configured. Raises CheckpointError if they contain no RAFT."""
    raft = weights.raft(iterations=network.flow_iterations)
    return RaftFlow(raft, first_frame=network.flow_first_frame).to(device)
