"""Error measures, each on tensors of fixed layout and in float64 (fact sheet evaluation.md, 1 and 7)."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from trace_train.alignment import aligned

LSP_HIPS = (2, 3)
"""Right and left hip in the 14 LSP joints; their midpoint is the root."""


def rooted(joints: Tensor) -> Tensor:
    """Joints (..., J >= 14, 3) in LSP order relative to the midpoint of their hips."""
    root = joints[..., LSP_HIPS, :].mean(-2, keepdim=True)
    result: Tensor = joints - root
    return result


def mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean per-joint position error (N,) in the unit of the input, after removing the root. (N, 14, 3) LSP joints."""
    error: Tensor = (rooted(predicted.double()) - rooted(target.double())).norm(dim=-1).mean(-1)
    return error


def pa_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """The same (N,) after the best similarity per person instead of the root alignment. (N, J, 3)."""
    p, t = predicted.double(), target.double()
    error: Tensor = (aligned(p, t) - t).norm(dim=-1).mean(-1)
    return error


def pve(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean per-vertex error (N,) of meshes (N, V, 3) that are both relative to their hip midpoint."""
    error: Tensor = (predicted.double() - target.double()).norm(dim=-1).mean(-1)
    return error


def box(points: Tensor) -> Tensor:
    """Bounds (..., 4) x0, y0, x1, y1 of points (..., J, 2)."""
    return torch.cat([points.amin(-2), points.amax(-2)], dim=-1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (A, B) of boxes (A, 4) and (B, 4)."""
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp_min(0).prod(-1) for x in (a, b))
    return shared / (area_a[:, None] + area_b[None] - shared).clamp_min(1e-12)


def match(predicted: Tensor, target: Tensor, least_iou: float = 0.05) -> list[tuple[int, int]]:
    """Pairs (prediction, target) of one frame with the least total 2D joint distance, boxes overlapping.

    Joints (A, J, 2) and (B, J, 2) in the same coordinates. Optimal assignment, not the published greedy one
    (evaluation.md 1.3).
    """
    if not len(predicted) or not len(target):
        return []
    distance = (predicted[:, None] - target[None]).norm(dim=-1).mean(-1)
    overlap = box_iou(box(predicted), box(target)) >= least_iou
    far = 1e6
    cost = torch.where(overlap, distance.clamp_max(far / 10), torch.full_like(distance, far)).numpy()
    rows, columns = linear_sum_assignment(cost)
    return [(int(r), int(c)) for r, c in zip(rows, columns) if bool(overlap[r, c])]


def geometric_median(points: np.ndarray, steps: int = 64) -> np.ndarray:
    """The point (..., 3) with the least mean distance to points (N, ..., 3), by Weiszfeld's iteration.

    For a mean of distances, as MPJPE is, no constant prediction can be better than this.
    """
    estimate: np.ndarray = points.mean(0)
    for _ in range(steps):
        distance = np.maximum(np.linalg.norm(points - estimate, axis=-1, keepdims=True), 1e-9)
        estimate = (points / distance).sum(0) / (1 / distance).sum(0)
    return estimate
