"""The constant that no other constant beats."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def geometric_median(
    points: npt.NDArray[np.float64], known: npt.NDArray[np.bool_] | None = None, steps: int = 64
) -> npt.NDArray[np.float64]:
    """The point (..., 3) with the least mean distance to points (N, ..., 3), by Weiszfeld's iteration.

    For a mean of distances, as MPJPE is, no constant prediction can be better than this. `known` (N, ...): which of
    them count; where none does the result is zero.
    """
    counts = np.ones((*points.shape[:-1], 1)) if known is None else known[..., None].astype(np.float64)
    estimate: npt.NDArray[np.float64] = (points * counts).sum(0) / np.maximum(counts.sum(0), 1)
    for _ in range(steps):
        distance = np.maximum(np.linalg.norm(points - estimate, axis=-1, keepdims=True), 1e-9)
        weight = counts / distance
        estimate = (points * weight).sum(0) / np.maximum(weight.sum(0), 1e-12)
    return estimate
