"""Computes all active loss terms of a batch, with values, valid counts and weights."""

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
    """The total loss and its terms."""

    total: Tensor
    """Scalar, the weighted sum of the active terms' means."""
    values: Mapping[str, Tensor]
    """Mean of each term in its own unit, before its weight."""
    counts: Mapping[str, Tensor]
    """Number of entries averaged in each term. It depends only on the targets, so that counts can be summed over
    processes and micro-batches before dividing."""
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
    joints_huber: float = 0.0,
    pose_huber: float = 0.0,
) -> LossReport:
    """Compare maps and people (S = B P tracks, T frames) with targets (B, P, T). Always float32.

    Skips terms with weight 0, track terms in clips of one frame, and world terms without `tracked`; `pose_prior` needs
    a `prior`. The switches are those of the network: released weights are fine-tuned with the losses they were trained
    with. Knees: errors of 3D joints, m, and of joint rotations, Frobenius norm, below which they count quadratically.
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
        joints_huber=joints_huber,
        pose_huber=pose_huber,
    )
    with torch.autocast(targets.center_mask.device.type, enabled=False):
        terms = {name: loss.formula(inputs) for name, loss in losses.items() if weights[name] > 0}
    values = {name: term.mean() for name, term in terms.items()}
    return LossReport(
        total=torch.stack([weights[name] * value for name, value in values.items()]).sum(),
        values=values,
        counts={name: term.count for name, term in terms.items()},
        weights={name: weights[name] for name in terms},
    )
