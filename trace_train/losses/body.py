"""Losses on body-model parameters (docs/reference/training.md#active-terms). Masks (...) select valid people."""

from __future__ import annotations

from torch import Tensor

from trace_train.geometry.constants import constant
from trace_train.losses.reduce import Term, filled, huber, masked, norm

BETA_WEIGHTS = (1.0, 0.64, 0.32, 0.32, *(0.16,) * 6)
"""Weight of each shape component (docs/reference/assets.md#shape-loss-weights)."""


def rotation(predicted: Tensor, target: Tensor, mask: Tensor, delta: float = 0.0) -> Term:
    """Frobenius norm of the difference of rotation matrices (..., 3, 3), averaged over a person's joints first.

    `delta`: see `reduce.huber`.
    """
    apart = huber(norm(filled(predicted - target, mask).flatten(-2)), delta)
    if apart.dim() > mask.dim():
        apart = apart.mean(-1)
    return masked(apart, mask)


def shape(predicted: Tensor, target: Tensor, mask: Tensor, supervised: Tensor) -> Term:
    """Weighted distance of betas (..., 10) divided by 20 where they are known; elsewhere a pull towards the mean shape.

    `mask` (...): valid people; `supervised` (...): people with known betas.
    """
    weights = constant(BETA_WEIGHTS, like=predicted)
    supervised = supervised & mask
    known = norm(weights * filled(predicted - target, supervised)) / 20
    pull = filled(predicted, mask & ~supervised).square().mean(-1) / 80
    return masked(known.where(supervised, pull), mask)
