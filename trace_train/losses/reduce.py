"""The one way a loss becomes a number: a masked sum and a count, divided once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Term:
    """A sum over valid entries and how many there were; a sum, so that several devices can add theirs first."""

    total: Tensor
    """Scalar."""
    count: Tensor
    """Scalar, how many entries were valid."""

    def mean(self) -> Tensor:
        """The mean over valid entries; exactly zero, with zero gradient, when there are none."""
        return self.total / self.count.clamp_min(1)


def masked(values: Tensor, mask: Tensor) -> Term:
    """Sum values (...) where the mask (...) holds. Values under a False mask may be anything, NaN included."""
    return Term(total=torch.where(mask, values, torch.zeros_like(values)).sum(), count=mask.sum())


def filled(values: Tensor, mask: Tensor, fill: Tensor | None = None) -> Tensor:
    """Values (..., D) with `fill` (zero) where the mask (...), which may lack trailing axes of theirs, is False.

    What stands there may be NaN: it reaches neither a value nor, as it would through a masked sum alone, a gradient.
    """
    mask = mask[(..., *[None] * (values.dim() - mask.dim()))]
    return torch.where(mask, values, torch.zeros_like(values) if fill is None else fill)


def distance(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Mean Euclidean distance over the last axis of (..., D), mask (...)."""
    return masked(norm(filled(predicted - target, mask)), mask)


def norm(difference: Tensor) -> Tensor:
    """Euclidean length over the last axis, with gradient zero (not NaN) where the difference is zero."""
    return difference.square().sum(-1).clamp_min(1e-12).sqrt()
