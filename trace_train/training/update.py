"""One weight update: forward, backward, clipping, optimiser step; with micro-batches and several processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from math import isfinite
from typing import cast

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from trace_data.errors import TrainingDiverged
from trace_train.losses.objective import LossReport
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps
from trace_train.streaming.batch import Batch
from trace_train.training.distributed import Processes
from trace_train.training.loss_module import LossModule
from trace_train.training.optimizer import set_rate

Advise = Callable[[Batch, LossReport], str]
"""Receives a batch with a non-finite loss or gradient; returns text for the error's hint."""
LOOK = "look at these clips, or lower the rate: --set optim.lr=…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Result of one update, the same in every process."""

    values: Mapping[str, float]
    """Mean of each loss term over all clips of the step, and `total`."""
    counts: Mapping[str, int]
    """Number of entries averaged in each term."""
    norm: float
    """Norm of the gradient before clipping."""
    skipped: bool
    """Whether fp16 gradients overflowed, so that no weight changed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Updater:
    """Updates the weights within one stage."""

    loss_module: LossModule
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    processes: Processes
    replica: DistributedDataParallel | None = None
    """Wrapper that averages gradients in the backward pass; None in a single process and in a stage's first step."""
    has_unused_parameters: bool | None = None
    """Whether some parameters get no gradient in this stage; None until the first step has been taken."""

    def begin_stage(self) -> None:
        """Reset what depends on which parameters get a gradient: it changes with frozen parts, losses, clip length."""
        self.replica, self.has_unused_parameters = None, None

    def __call__(self, batch: Batch, rate: float, advise: Advise) -> Update:
        """Update the weights with this process's batch, after `pixels.finish`.

        Raises TrainingDiverged, in all processes, if the loss or gradient is not finite; the weights are not changed.
        """
        optim = self.loss_module.config.optim
        parts = batch.split(optim.accumulate)
        self.optimizer.zero_grad(set_to_none=True)
        if self.replica is None and self.has_unused_parameters is not None:
            self.replica = self.processes.replicate(
                self.loss_module, batch.images.device, has_unused_parameters=self.has_unused_parameters
            )
        reports, counts = self._backward(parts)
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        if self.processes.together and self.replica is None:
            self.has_unused_parameters = self.processes.average_gradients(trained)
        self.scaler.unscale_(self.optimizer)
        clipped = torch.nn.utils.clip_grad_norm_(trained, optim.clip_norm)
        own = sum((_stacked(report) for report in reports[1:]), _stacked(reports[0]))
        means = self.processes.sum(own) / self.processes.world_size
        numbers, entries, (norm,) = _read(means, torch.stack(list(counts.values())), clipped)
        finite = all(map(isfinite, numbers))
        if not finite or not (isfinite(norm) or self.scaler.is_enabled()):
            raise self._diverged(parts, reports, norm, finite, advise)
        set_rate(self.optimizer, rate)
        if isfinite(norm):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        return Update(
            values=dict(zip([*reports[0].values, "total"], numbers)),
            counts=dict(zip(counts, map(int, entries))),
            norm=norm,
            skipped=not isfinite(norm),
        )

    def _backward(self, parts: Sequence[Batch]) -> tuple[list[LossReport], Mapping[str, Tensor]]:
        """Compute the gradient of the whole step; it is averaged over processes once, in the last micro-batch."""
        together = self.processes.together
        counts: Mapping[str, Tensor] = {}
        if len(parts) > 1:
            counts = of_all(valid_counts(self.loss_module, parts), self.processes)
        reports = []
        for number, part in enumerate(parts, 1):
            with nullcontext() if number == len(parts) else self._alone():
                report: LossReport = (self.replica or self.loss_module)(part)
                counts = counts or of_all(report.counts, self.processes)
                if together or len(parts) > 1:
                    report = over_all(report, counts, self.processes)
                self.scaler.scale(report.total).backward()
            reports.append(report)
        return reports, counts

    def _alone(self) -> AbstractContextManager[None]:
        """Context for backward passes without gradient synchronisation."""
        return nullcontext() if self.replica is None else cast(AbstractContextManager[None], self.replica.no_sync())

    def _diverged(
        self, parts: Sequence[Batch], reports: Sequence[LossReport], norm: float, finite: bool, advise: Advise
    ) -> TrainingDiverged:
        """The error, the same in all processes, with the non-finite terms of each affected process."""
        case = None
        for part, report in zip(parts, reports):
            if finite or not bool(torch.isfinite(_stacked(report)).all()):
                terms = ", ".join(f"{name} {value.item():.4g}" for name, value in report.values.items())
                clips = ", ".join(f"{r.sequence}:{r.start}+{r.stride}" for r in part.refs)
                case = (terms, clips, advise(part, report))
                break
        bad = [item for item in self.processes.gather(case) if item is not None]
        return TrainingDiverged(
            f"the loss is not finite (gradient norm {norm:g}): {'; '.join(terms for terms, _, _ in bad)}",
            where=f"clips {', '.join(clips for _, clips, _ in bad)}",
            hint="\n  ".join(
                [
                    *(advice for _, _, advice in bad if advice),
                    LOOK,
                ]
            ),
        )


def _read(*values: Tensor) -> list[list[float]]:
    """The numbers of several tensors, in one copy: for each copy the CPU waits for the GPU."""
    device = values[0].device  # the norm of no gradient is on the CPU
    flat = torch.cat([value.detach().to(device, torch.float64).flatten() for value in values]).tolist()
    ends = [0, *accumulate(value.numel() for value in values)]
    return [flat[begin:end] for begin, end in pairwise(ends)]


def _stacked(report: LossReport) -> Tensor:
    return torch.stack([*report.values.values(), report.total]).detach()


@torch.no_grad()
def valid_counts(loss_module: LossModule, parts: Sequence[Batch]) -> dict[str, Tensor]:
    """Number of valid entries of each term over all parts, computed without running the network."""
    counts: dict[str, Tensor] = {}
    for part in parts:
        clips, frames = part.images.shape[:2]
        for name, count in loss_module.compare(
            _blank(loss_module.network, clips * frames, part.images.device), part
        ).counts.items():
            counts[name] = counts[name] + count if name in counts else count
    return counts


def of_all(counts: Mapping[str, Tensor], processes: Processes) -> dict[str, Tensor]:
    """The counts summed over all processes, in one reduction."""
    return dict(zip(counts, processes.sum(torch.stack(list(counts.values()))).unbind()))


def over_all(report: LossReport, counts: Mapping[str, Tensor], processes: Processes) -> LossReport:
    """The report of one part, with each sum divided by `counts` of the whole step.

    Summing the values over the parts of a process and averaging over processes, as the replicated backward pass does,
    then gives the mean over all valid entries.
    """
    values = {
        name: value * (report.counts[name].clamp_min(1) * processes.world_size / counts[name].clamp_min(1))
        for name, value in report.values.items()
    }
    total = torch.stack([report.weights[name] * value for name, value in values.items()]).sum()
    return replace(report, total=total, values=values)


def _blank(network: TraceNetwork, frames: int, device: torch.device) -> Maps:
    """Placeholder maps without values or memory."""
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
