"""Loss reduction: a masked sum and a count, divided once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """Sum and count of valid entries, kept apart so that several devices can be added up before dividing."""

    total: Tensor
    """Scalar."""
    count: Tensor
    """Scalar, number of valid entries."""

    def mean(self) -> Tensor:
        """The mean over valid entries; exactly zero, with zero gradient, if there are none."""
        return self.total / self.count.clamp_min(1)


def masked(values: Tensor, mask: Tensor) -> Term:
    """Sum values (...) where the mask (...) is True. Masked-out values may be anything, including NaN."""
    return Term(total=torch.where(mask, values, torch.zeros_like(values)).sum(), count=mask.sum())


def filled(values: Tensor, mask: Tensor, fill: Tensor | None = None) -> Tensor:
    """Replace values (..., D) by `fill` (default: zero) where the mask is False; it may lack trailing axes.

    Replaced values may be NaN: unlike with a masked sum alone, they do not reach the gradient either.
    """
    mask = mask[(..., *[None] * (values.dim() - mask.dim()))]
    return torch.where(mask, values, torch.zeros_like(values) if fill is None else fill)


def distance(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Mean Euclidean distance over the last axis of (..., D), mask (...)."""
    return masked(norm(filled(predicted - target, mask)), mask)


def huber(distance: Tensor, delta: float) -> Tensor:
    """Distances with less weight for small ones: quadratic below `delta`, with slope one above; 0 changes nothing."""
    if not delta:
        return distance
    return torch.where(distance < delta, distance.square() / (2 * delta), distance - delta / 2)


def norm(difference: Tensor) -> Tensor:
    """Euclidean length over the last axis, with gradient zero (not NaN) where the difference is zero."""
    return difference.square().sum(-1).clamp_min(1e-12).sqrt()
