"""Rigid motions over time: interpolation of rotations and places. Rotations by the shorter way, on the sphere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from trace_data.results.world_placement import rigid_inverse

Array = npt.NDArray[np.float64]


def between(time: Array, wanted: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Array]:
    """Indices of the known times before and after each wanted one, and its share of the way between them.

    `time` (n,) increasing, n at least 1. Outside, the nearest one is held.
    """
    after = np.clip(np.searchsorted(time, wanted, side="right"), 1, max(len(time) - 1, 1))
    before = after - 1
    after = np.minimum(after, len(time) - 1)
    span = time[after] - time[before]
    share = np.clip((wanted - time[before]) / np.where(span > 0, span, 1.0), 0.0, 1.0)
    return before, after, share


def turned(start: Array, end: Array, share: Array) -> Array:
    """Spherical interpolation of rotations (..., 3, 3), by `share` (...) of the way."""
    first, last = (Rotation.from_matrix(r.reshape(-1, 3, 3)).as_quat().reshape(*r.shape[:-2], 4) for r in (start, end))
    mixed = slerp(first, last, np.broadcast_to(share, start.shape[:-2]))
    return np.asarray(Rotation.from_quat(mixed.reshape(-1, 4)).as_matrix()).reshape(start.shape)


def slerp(first: Array, last: Array, share: Array) -> Array:
    """Spherical interpolation of unit quaternions (..., 4), of either sign, by `share` (...) of the shorter way."""
    cosine = (first * last).sum(-1, keepdims=True)
    last = np.where(cosine < 0, -last, last)
    # from the chord: the arc cosine is coarse for small angles
    angle = 2 * np.arcsin(np.clip(np.linalg.norm(last - first, axis=-1, keepdims=True) / 2, 0, 1))
    sine, part = np.sin(angle), share[..., None]
    near = sine < 1e-9
    safe = np.where(near, 1.0, sine)
    a = np.where(near, 1 - part, np.sin((1 - part) * angle) / safe)
    b = np.where(near, part, np.sin(part * angle) / safe)
    mixed: Array = a * first + b * last
    return mixed


def at_times(time: Array, camera_from_world: Array, wanted: Array) -> Array:
    """The cameras (m, 4, 4) at `wanted` (m,) times of a path (n, 4, 4): centres on straight lines, rotations turned."""
    before, after, share = between(time, wanted)
    pose = rigid_inverse(camera_from_world)
    result = np.tile(np.eye(4), (len(wanted), 1, 1))
    result[:, :3, :3] = turned(pose[before, :3, :3], pose[after, :3, :3], share)
    result[:, :3, 3] = (1 - share)[:, None] * pose[before, :3, 3] + share[:, None] * pose[after, :3, 3]
    return rigid_inverse(result)


def pieces(time: Array, longest_gap: float) -> list[slice]:
    """Runs of increasing times (n,) with no gap longer than `longest_gap`, in the same unit."""
    cuts = np.flatnonzero(np.diff(time) > longest_gap) + 1
    bounds = [0, *cuts.tolist(), len(time)]
    return [slice(start, end) for start, end in pairwise(bounds) if end > start]
