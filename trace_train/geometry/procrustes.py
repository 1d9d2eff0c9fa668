"""Least-squares alignment of point sets (Umeyama 1991, Horn 1987), for the Procrustes loss and the metrics."""

from __future__ import annotations

import torch
from torch import Tensor

SQUARINGS = 42
"""Number of squarings of the quaternion matrix: enough to separate eigenvalues with a relative gap of 1e-12."""


def similarity(source: Tensor, target: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Scale (...), rotation (..., 3, 3) and translation (..., 3) that map source to target (..., J, 3), float64.

    `weights` (..., J) default to one. The layout is always (..., J, 3) and never guessed from the sizes: guessing is a
    fault of the published evaluation (docs/reference/evaluation.md#faults-of-the-3dpw-evaluator). Points without extent
    get scale one. Non-finite points give non-finite results without an error or a GPU synchronisation; an SVD would
    raise, and synchronise in every step to check convergence.
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
    identity = torch.eye(3, dtype=covariance.dtype, device=covariance.device)
    covariance = torch.where(flat[..., None, None], identity, covariance)
    turn = nearest_rotation(covariance)
    agreement = (turn * covariance).sum((-1, -2))
    scale = torch.where(flat, torch.ones_like(spread), agreement / spread.clamp_min(1e-12))
    return scale, turn, target_mean - scale[..., None] * (turn @ source_mean[..., None]).squeeze(-1)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation R (..., 3, 3) with the largest trace of R^T M, for matrices M (..., 3, 3) in float64.

    Its quaternion is the eigenvector of the largest eigenvalue of a symmetric 4x4 matrix (Horn 1987), found
    by shifting the eigenvalues to be positive and squaring the matrix repeatedly. If several rotations are equally
    good, as for points on a line, the result is one of them.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (row.unbind(-1) for row in matrix.unbind(-2))
    horn = torch.stack(
        [
            torch.stack([xx + yy + zz, zy - yz, xz - zx, yx - xy], -1),
            torch.stack([zy - yz, xx - yy - zz, xy + yx, xz + zx], -1),
            torch.stack([xz - zx, xy + yx, yy - xx - zz, yz + zy], -1),
            torch.stack([yx - xy, xz + zx, yz + zy, zz - xx - yy], -1),
        ],
        dim=-2,
    )
    size = horn.square().sum((-1, -2), keepdim=True).sqrt().clamp_min(1e-300)
    power = horn / size + torch.eye(4, dtype=horn.dtype, device=horn.device)
    for _ in range(SQUARINGS // 2):
        power = power @ power
        power = power @ power
        power = power / power.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None]
    # each column is a multiple of the eigenvector; the one with the largest diagonal entry is the longest
    longest = power.diagonal(dim1=-2, dim2=-1).argmax(-1)
    quaternion = power.gather(-1, longest[..., None, None].expand(*longest.shape, 4, 1)).squeeze(-1)
    w, x, y, z = (quaternion / quaternion.square().sum(-1, keepdim=True).sqrt()).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def aligned(source: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """`source` (..., J, 3) aligned to `target` by the best similarity, in the dtype of `source`."""
    scale, turn, shift = similarity(source, target, weights)
    moved = scale[..., None, None] * (source.double() @ turn.transpose(-1, -2)) + shift[..., None, :]
    return moved.to(source.dtype)
