"""Computes the losses of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import torch
from torch import Tensor, nn

from trace_data.schema.clip import ClipRef
from trace_train.body.layer import BodyLayer
from trace_train.config import Config
from trace_train.losses.objective import LossReport, objective
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, Tracks
from trace_train.streaming.batch import Batch, to_device
from trace_train.targets import Targets, make_targets
from trace_train.training.precision import autocast_dtype
from trace_train.weights.pose_prior import read_pose_prior


class LossModule(nn.Module):
    """Flow, network and losses in one forward pass, so that they can be compiled, replicated and replayed as one."""

    def __init__(self, network: TraceNetwork, layer: BodyLayer, config: Config, flow: FlowProvider) -> None:
        super().__init__()
        self.network, self.layer, self.config, self.flow = network, layer, config, flow
        file, self.prior = config.supervision.pose_prior_file, None
        if config.uses_pose_prior and file is not None:
            self.prior = read_pose_prior(file).to(next(network.parameters()).device)

    def forward(self, batch: Batch) -> LossReport:
        """The losses of a batch."""
        device, amp_dtype = batch.images.device, autocast_dtype(self.config, batch.images.device)
        with torch.autocast(device.type, dtype=amp_dtype, enabled=amp_dtype is not None):
            single = batch.images.shape[1] == 1
            maps: Maps = self.network(batch.images, self._flow(batch), unrelated=single)
        return self.compare(maps, batch)

    def _flow(self, batch: Batch) -> Tensor | None:
        """Stored flow, or computed one; a single frame has none, and the network uses zeros."""
        if batch.images.shape[1] == 1:
            return None
        return self.flow(batch.images) if batch.flow is None else batch.flow.flatten(0, 1)

    def compare(self, maps: Maps, batch: Batch) -> LossReport:
        """The losses of predicted maps, with people sampled at their annotated centres; all in float32.

        Source: docs/reference/training.md#reading-people-at-annotated-centres.
        """
        network = self.network
        targets = batch_targets(network, batch)
        most = self.config.supervision.center_jitter
        tracks = annotated_tracks(network, maps, targets, jitter(batch.refs, targets.cell, most) if most else None)
        tracked = None if targets.world is None else network.follow(maps, tracks)
        people = network.regress(maps, *tracks.within_bounds()) if tracked is None else tracked.people
        return objective(
            maps,
            people,
            targets,
            self.layer,
            self.config.loss.model_dump(),
            tracked=tracked,
            prior=self.prior,
            center_logits=network.center_logits,
            published_camera=network.published_camera,
            joints_huber=self.config.supervision.joints_huber,
            pose_huber=self.config.supervision.pose_huber,
        )


def batch_targets(network: TraceNetwork, batch: Batch) -> Targets:
    """Targets at the network's resolution, including track targets if the network has temporal parts."""
    return make_targets(
        batch,
        input_size=4 * network.map_size,
        map_size=network.map_size,
        levels=network.depth_levels,
        tracks=network.temporal,
    )


def annotated_tracks(network: TraceNetwork, maps: Maps, targets: Targets, offset: Tensor | None = None) -> Tracks:
    """All people of a batch as S = B P tracks, at annotated centres on the depth level with the most predicted heat.

    `offset` (B, P, T, 2): shift in cells (y, x), clamped to the map.
    """
    cell = targets.cell if offset is None else (targets.cell + offset).clamp(0, network.map_size - 1)
    mask, cell = targets.center_mask.flatten(0, 1), cell.flatten(0, 1)
    clips, people, frames = targets.center_mask.shape
    flat = torch.arange(clips * frames, device=mask.device).view(clips, 1, frames).expand(-1, people, -1).flatten(0, 1)
    return Tracks(
        frame=flat,
        zyx=torch.cat([network.depth_at(maps, flat, cell)[..., None], cell], dim=-1),
        mask=mask,
    )


def jitter(refs: Sequence[ClipRef], cell: Tensor, most: int) -> Tensor:
    """Random offsets in cells for `cell` (B, P, T, 2), up to `most` in each direction.

    They depend on the clip alone, so resuming or changing the number of processes gives the same offsets.
    """
    drawn = []
    for ref in refs:
        generator = torch.Generator().manual_seed(crc32(repr(ref).encode()))
        drawn.append(torch.randint(-most, most + 1, cell.shape[1:], generator=generator))
    return to_device(torch.stack(drawn), cell.device)
