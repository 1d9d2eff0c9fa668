"""Matches detections with annotated people of the same frame by their 2D joints."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LEAST_IOU = 0.05
FAR = 1e6
"""Cost of a forbidden pair; distances stay below a tenth of it."""


def same_frame(a: Tensor, b: Tensor, frames: int) -> tuple[Tensor, Tensor]:
    """All pairs (i, j) of entries with the same frame number, of a (A,) and b (B,) below `frames`; b is ascending."""
    count = torch.bincount(b, minlength=frames)
    each = count[a]
    i = torch.repeat_interleave(each)
    within = torch.arange(len(i), device=a.device) - (each.cumsum(0) - each)[i]
    return i, (count.cumsum(0) - count)[a[i]] + within


def box(points: Tensor, labelled: Tensor) -> Tensor:
    """Bounds (..., 4) x0, y0, x1, y1 of the labelled (..., J) among points (..., J, 2)."""
    far = torch.full_like(points, FAR)
    low = torch.where(labelled[..., None], points, far).amin(-2)
    high = torch.where(labelled[..., None], points, -far).amax(-2)
    return torch.cat([low, high], dim=-1)


def box_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union (...,) of boxes (..., 4) and (..., 4)."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp_min(0).prod(-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).clamp_min(0).prod(-1) for x in (a, b))
    return shared / (area_a + area_b - shared).clamp_min(1e-12)


def match(
    found: Tensor, found_frame: Tensor, target: Tensor, target_frame: Tensor, labelled: Tensor, frames: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pairs (detection, person) with overlapping boxes and the least total 2D joint distance in each frame.

    Joints (A, J, 2) and (B, J, 2) in the same coordinates, of which `labelled` (B, J) count; frame numbers (A,) and
    (B,), both ascending. Optimal assignment, not the published greedy one
    (docs/reference/evaluation.md#faults-of-the-3dpw-evaluator). All costs are computed on the tensors' device and
    transferred once.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import, and a training may never need it

    i, j = same_frame(found_frame, target_frame, frames)
    known, count = labelled[j], labelled.sum(-1).clamp_min(1)
    apart = (found[i] - target[j]).norm(dim=-1)
    distance = torch.where(known, apart, torch.zeros_like(apart)).sum(-1) / count[j]
    overlap = box_iou(box(found[i], known), box(target[j], known)) >= LEAST_IOU
    values = torch.stack([found_frame[i].double(), i.double(), j.double(), distance.double(), overlap.double()]).cpu()
    frame, i, j, cost, possible = values.numpy()
    cost = np.where(possible > 0, np.minimum(cost, FAR / 10), FAR)
    pairs: list[tuple[int, int]] = []
    for of in np.split(np.arange(len(frame)), np.flatnonzero(np.diff(frame)) + 1):
        # the pairs of a frame form a full matrix in row-major order
        if len(of):
            shape = (len(np.unique(i[of])), -1)
            rows, columns = linear_sum_assignment(cost[of].reshape(shape))
            chosen = of.reshape(shape)[rows, columns]
            pairs += [(int(i[k]), int(j[k])) for k in chosen if possible[k]]
    found_rows, target_rows = np.array(pairs, np.int64).reshape(-1, 2).T
    return found_rows, target_rows
