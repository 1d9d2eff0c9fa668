"""All active loss terms of a batch, with their values, valid counts and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trace_train.body.layer import BodyLayer
from trace_train.losses.loss_inputs import LossInputs
from trace_train.losses.prior import PosePrior
from trace_train.losses.table import losses_of
from trace_train.losses.targets import Targets
from trace_train.network.outputs import Maps, People, TrackedPeople


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossReport:
    """The total and what it is made of."""

    total: Tensor
    """Scalar, the sum of weight times mean over the active terms."""
    values: Mapping[str, Tensor]
    """Mean of each term in its own unit, before its weight."""
    counts: Mapping[str, Tensor]
    """How many entries each term averaged: a matter of the targets alone, so that they can be added up over processes
    and parts of a batch before anything is divided."""
    weights: Mapping[str, float]
    """Weight of each term."""


def objective(
    maps: Maps,
    people: People,
    targets: Targets,
    layer: BodyLayer,
    weights: Mapping[str, float],
    *,
    tracked: TrackedPeople | None = None,
    prior: PosePrior | None = None,
    center_logits: bool = True,
    published_camera: bool = False,
) -> LossReport:
    """Compare maps and people (S = B P tracks, T frames) with targets (B, P, T). Always float32.

    Terms with weight 0 are not computed, nor are those of tracks in clips of one frame, nor those of the world without
    `tracked`; `pose_prior` needs a `prior`. The switches are the network's, see there: released weights are trained on
    as they were trained.
    """
    losses = losses_of(targets.center_mask.shape[2], tracked is not None and targets.world is not None)
    inputs = LossInputs(
        maps=maps,
        people=people,
        targets=targets,
        layer=layer,
        tracked=tracked,
        prior=prior,
        center_logits=center_logits,
        published_camera=published_camera,
    )
    with torch.autocast(targets.center_mask.device.type, enabled=False):
        found = {name: loss.formula(inputs) for name, loss in losses.items() if weights[name] > 0}
    values = {name: term.mean() for name, term in found.items()}
    return LossReport(
        total=torch.stack([weights[name] * value for name, value in values.items()]).sum(),
        values=values,
        counts={name: term.count for name, term in found.items()},
        weights={name: weights[name] for name in found},
    )
