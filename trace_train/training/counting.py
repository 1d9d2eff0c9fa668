"""One mean over all clips of a step, although they are computed in several processes and one part after the other.

A term is the sum of its valid entries over their number (losses/reduce.py). Here that number becomes the one of the
whole step: it is known before the first backward pass, because what is valid hangs on the targets alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from trace_train.losses.objective import LossReport
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps
from trace_train.streaming.batch import Batch
from trace_train.training.distributed import Processes
from trace_train.training.loss_module import Learner


@torch.no_grad()
def valid_counts(learner: Learner, parts: Sequence[Batch]) -> dict[str, Tensor]:
    """How many entries of each term are valid in all parts together, without running the network."""
    counts: dict[str, Tensor] = {}
    for part in parts:
        clips, frames = part.images.shape[:2]
        for name, count in learner.compare(
            _blank(learner.network, clips * frames, part.images.device), part
        ).counts.items():
            counts[name] = counts[name] + count if name in counts else count
    return counts


def of_all(counts: Mapping[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """The counts of all processes together, added up in one exchange."""
    return dict(zip(counts, processes.sum(torch.stack(list(counts.values()))).unbind()))


def over_all(report: LossReport, counts: Mapping[str, Tensor], processes: Processes) -> LossReport:
    """The report of one part with each of its sums divided by `counts`, those of the whole step.

    Its values add up over the parts of a process, and the mean of that over the processes, which is what replicated
    backward passes take, is the mean over all valid entries.
    """
    values = {
        name: value * (report.counts[name].clamp_min(1) * processes.world_size / counts[name].clamp_min(1))
        for name, value in report.values.items()
    }
    total = torch.stack([report.weights[name] * value for name, value in values.items()]).sum()
    return replace(report, total=total, values=values)


def _blank(network: TraceNetwork, frames: int, device: torch.device) -> Maps:
    """Maps that hold nothing and take no memory."""
    side, depth = network.map_size, network.depth_levels

    def zeros(*shape: int) -> Tensor:
        return torch.zeros((), device=device).expand(frames, *shape, side, side)

    moving = network.temporal
    return Maps(
        center=zeros(),
        center_3d=zeros(depth),
        camera=zeros(3, depth),
        mesh=zeros(network.mesh_channels),
        motion=zeros(3, depth) if moving else None,
        world_motion=zeros(3) if moving else None,
        world_rotation=zeros(6) if moving else None,
    )
