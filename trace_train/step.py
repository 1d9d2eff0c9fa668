"""One step: from a batch to its losses, and from these to new weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from trace_data.errors import TrainingDiverged
from trace_train.body_layer import BodyLayer
from trace_train.build import uses_bf16
from trace_train.config import Config
from trace_train.losses.objective import LossReport, objective
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps
from trace_train.streaming.batch import Batch
from trace_train.targets import Targets, make_targets


class Learner(nn.Module):
    """Flow, network and losses in one forward pass, so that they can be compiled, replicated and replayed as one."""

    def __init__(self, network: TraceNetwork, layer: BodyLayer, config: Config, flow: FlowProvider) -> None:
        super().__init__()
        self.network, self.layer, self.config, self.flow = network, layer, config, flow

    def forward(self, batch: Batch) -> LossReport:
        """Losses of a batch."""
        device = batch.images.device
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bf16(self.config, device)):
            # a single frame has nothing to flow from: the network takes zeros
            flow = self.flow(batch.images) if batch.images.shape[1] > 1 else None
            maps: Maps = self.network(batch.images, flow)
        return self.compare(maps, batch)

    def compare(self, maps: Maps, batch: Batch) -> LossReport:
        """Losses of maps; people are read at their annotated centres (training.md 0.1). float32 throughout."""
        network = self.network
        targets = batch_targets(network, batch)
        rows = targets.center_mask.nonzero(as_tuple=True)
        clip, person, frame = rows
        flat = clip * batch.images.shape[1] + frame
        yx = targets.cell[clip, person, frame]
        zyx = torch.cat([network.depth_at(maps, flat, yx)[:, None], yx], dim=1)
        people = network.regress(maps, flat, zyx)
        return objective(
            maps,
            people,
            rows,
            targets,
            self.layer,
            self.config.loss.model_dump(),
            center_logits=network.center_logits,
            published_camera=network.published_camera,
        )


def batch_targets(network: TraceNetwork, batch: Batch) -> Targets:
    """Targets in the sizes of the network."""
    return make_targets(batch, input_size=4 * network.map_size, map_size=network.map_size, levels=network.depth_levels)


def train_step(
    learner: Learner,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
    *,
    on_not_finite: Callable[[Batch, LossReport], str],
) -> tuple[LossReport, float]:
    """One step; returns the losses and the gradient's norm. Raises TrainingDiverged before any weight is touched."""
    report: LossReport = learner(batch)
    optimizer.zero_grad(set_to_none=True)
    report.total.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(learner.parameters(), learner.config.optim.clip_norm))
    if not (torch.isfinite(report.total) and norm < float("inf")):
        terms = ", ".join(f"{name} {value.item():.4g}" for name, value in report.values.items())
        clips = ", ".join(f"{r.sequence}:{r.start}+{r.stride}" for r in batch.refs)
        raise TrainingDiverged(
            f"the loss is not finite (gradient norm {norm:g}): {terms}",
            where=f"clips {clips}",
            hint="\n  ".join(
                filter(None, [on_not_finite(batch, report), "look at these clips, or lower the rate: --set optim.lr=…"])
            ),
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return report, norm
