"""Linear blend skinning of many points, the only large product in a body layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BODIES_AT_ONCE = 32
"""Chunk size on a CPU: the blended transforms (11 MB) then stay in the cache until they are used."""


def skin(transforms: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Move points by blended transforms: (N, J, 3, 4), (N, 3, V) and weights (J, V) give (N, V, 3).

    Once differentiable with respect to transforms and points; weights are constant.
    """
    rows = transforms.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
    if points.device.type != "cpu" or torch.compiler.is_compiling():
        blended = (rows.flatten(0, 1) @ weights).view(len(rows), 3, 4, weights.shape[1])
        return (blended[:, :, 3] + (blended[:, :, :3] * points[:, None]).sum(2)).transpose(1, 2)
    if not torch.is_grad_enabled():
        return _in_parts(rows, points, weights)
    skinned: Tensor = _Skin.apply(rows, points, weights)  # type: ignore[no-untyped-call]
    return skinned


def _in_parts(rows: Tensor, points: Tensor, weights: Tensor) -> Tensor:
    """Skin a few bodies at a time, so that (N, 12, V) blended transforms are never held for all N.

    Coordinates come before vertices in every array, so that memory access along vertices is contiguous.
    """
    bodies, _, vertices = points.shape
    out = points.new_empty(bodies, vertices, 3)
    space = points.new_empty(min(bodies, BODIES_AT_ONCE), 12, vertices)
    for start in range(0, bodies, BODIES_AT_ONCE):
        part = slice(start, start + BODIES_AT_ONCE)
        blended = _blended(rows[part], weights, space)
        moved = blended[:, :, 3]
        for axis in range(3):
            moved.addcmul_(blended[:, :, axis], points[part, None, axis])
        out[part] = moved.transpose(1, 2)
    return out


class _Skin(torch.autograd.Function):
    """The same with a backward pass that recomputes the blended transforms instead of storing them."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, points: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, points, weights)
        return _in_parts(rows, points, weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        rows, points, weights = ctx.saved_tensors
        by_rows, by_points = torch.empty_like(rows), torch.empty_like(points)
        space = points.new_empty(min(len(rows), BODIES_AT_ONCE), 12, points.shape[2])
        for start in range(0, len(rows), BODIES_AT_ONCE):
            part = slice(start, start + BODIES_AT_ONCE)
            pull = gradient[part].transpose(1, 2).contiguous()
            blended = _blended(rows[part], weights, space)
            torch.mul(blended[:, 0, :3], pull[:, 0, None], out=by_points[part])
            for axis in (1, 2):
                by_points[part].addcmul_(blended[:, axis, :3], pull[:, axis, None])
            # the blended transforms have served: their place takes the gradient by them
            torch.mul(pull[:, :, None], points[part, None], out=blended[:, :, :3])
            blended[:, :, 3] = pull
            torch.mm(blended.view(-1, points.shape[2]), weights.T, out=by_rows[part].view(-1, len(weights)))
        return by_rows, by_points, None


def _blended(rows: Tensor, weights: Tensor, space: Tensor) -> Tensor:
    """(n, 3, 4, V) in `space` from (n, 12, J) and (J, V)."""
    blended = space[: len(rows)]
    torch.mm(rows.reshape(-1, len(weights)), weights, out=blended.view(-1, weights.shape[1]))
    return blended.view(len(rows), 3, 4, weights.shape[1])
