"""Losses on body-model parameters and cameras (fact sheet training.md, 1.3). K people, masks (K,)."""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.losses.reduce import Term, masked, norm

BETA_WEIGHTS = (1.0, 0.64, 0.32, 0.32, *(0.16,) * 6)
"""Weight of each shape component (assets.md, C4)."""


def rotation(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Frobenius norm of the difference of rotation matrices (..., 3, 3); a person's joints are averaged first."""
    distance = norm((predicted - target).flatten(-2))
    if distance.dim() > mask.dim():
        distance = distance.mean(-1)
    return masked(distance, mask)


def shape(predicted: Tensor, target: Tensor, mask: Tensor, supervised: Tensor) -> Term:
    """Weighted distance of betas (K, 10) over 20 where they are known, a pull to the mean shape elsewhere.

    `mask` (K,): the person counts at all; `supervised` (K,): the betas are known.
    """
    weights = predicted.new_tensor(BETA_WEIGHTS)
    known = norm(weights * (predicted - target)) / 20
    pull = predicted.square().mean(-1) / 80
    return masked(torch.where(supervised, known, pull), mask)


def camera(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Distance of camera triples (K, 3)."""
    return masked(norm(predicted - target), mask)
