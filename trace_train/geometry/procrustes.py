"""Least-squares alignment of point sets (Umeyama 1991): used by the Procrustes loss and by the metrics."""

from __future__ import annotations

import torch
from torch import Tensor


def similarity(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (...), rotation (..., 3, 3) and shift (..., 3) that take source to target (..., J, 3), float64.

    `weights` (..., J) are all one by default. The layout is fixed as (..., J, 3) and never guessed from the sizes: that
    guess is a fault of the published evaluation (docs/reference/evaluation.md#faults-of-the-3dpw-evaluator). Points
    without extent get scale one.
    """
    source, target = source.double(), target.double()
    w = torch.ones_like(source[..., 0]) if weights is None else weights.double()
    w = w / w.sum(-1, keepdim=True).clamp_min(1e-12)
    source_mean = (w[..., None] * source).sum(-2)
    target_mean = (w[..., None] * target).sum(-2)
    a, b = source - source_mean[..., None, :], target - target_mean[..., None, :]
    covariance = b.transpose(-1, -2) @ (w[..., None] * a)
    spread = (w[..., None] * a.square()).sum((-1, -2))
    flat = spread < 1e-12
    covariance = torch.where(flat[..., None, None], torch.eye(3).to(covariance), covariance)
    u, s, vt = torch.linalg.svd(covariance)
    sign = torch.ones_like(s)
    sign[..., 2] = torch.linalg.det(u @ vt).sign()
    turn = (u * sign[..., None, :]) @ vt
    scale = torch.where(flat, torch.ones_like(spread), (s * sign).sum(-1) / spread.clamp_min(1e-12))
    return scale, turn, target_mean - scale[..., None] * (turn @ source_mean[..., None]).squeeze(-1)


def aligned(source: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """`source` (..., J, 3) moved onto `target` by the best similarity, in the dtype of `source`."""
    scale, turn, shift = similarity(source, target, weights)
    moved = scale[..., None, None] * (source.double() @ turn.transpose(-1, -2)) + shift[..., None, :]
    return moved.to(source.dtype)
