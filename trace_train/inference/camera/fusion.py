"""One motion of the camera from the motions that several people imply.

Source: docs/reference/inference.md#camera-fusion. Rotations are (..., 3, 3), in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

STEPS = 100
"""Most steps of the geometric median."""


def angles(rotations: Array, other: Array) -> Array:
    """Geodesic distances of rotations, rad; shapes broadcast."""
    between = np.swapaxes(rotations, -1, -2) @ other
    # the arc tangent is exact for small angles, where the arc cosine of the trace is not
    sine = np.stack(
        [
            between[..., 2, 1] - between[..., 1, 2],
            between[..., 0, 2] - between[..., 2, 0],
            between[..., 1, 0] - between[..., 0, 1],
        ],
        axis=-1,
    )
    cosine = np.trace(between, axis1=-2, axis2=-1) - 1
    result: Array = np.arctan2(np.linalg.norm(sine, axis=-1), cosine)
    return result


def central(rotations: Array, factor: float = 3.0) -> npt.NDArray[np.bool_]:
    """(K,) rotations that are no outliers: within `factor` times the median distance from the medoid."""
    distances = angles(rotations[:, None], rotations[None])
    from_medoid = distances[distances.sum(1).argmin()]
    return np.asarray(from_medoid <= factor * np.median(from_medoid))


def mean_rotation(rotations: Array, weights: Array) -> Array:
    """Weighted chordal mean of rotations (K, 3, 3): the rotation nearest to their weighted sum."""
    left, _, right = np.linalg.svd(np.einsum("k,kij->ij", weights, rotations))
    left[:, 2] *= np.linalg.det(left @ right)
    mean: Array = left @ right
    return mean


def geometric_median(points: Array, weights: Array) -> Array:
    """The point (3,) with the smallest weighted sum of distances to `points` (K, 3): Weiszfeld's iteration.

    A step that meets one of the points goes on as Vardi and Zhang (2000) say, or ends there if it is the median.
    """
    middle: Array = weights @ points / weights.sum()
    for _ in range(STEPS):
        distance = np.linalg.norm(points - middle, axis=1)
        met = distance < 1e-12
        pull = np.where(met, 0.0, weights / np.where(met, 1.0, distance))
        if not pull.any():
            break
        step = pull @ (points - middle)
        held = weights[met].sum() / max(float(np.linalg.norm(step)), 1e-300)
        moved = middle + max(0.0, 1 - held) * step / pull.sum()
        settled = np.linalg.norm(moved - middle) < 1e-9
        middle = moved
        if settled:
            break
    return middle


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraStep:
    """Motion of the camera between two frames."""

    rotation: Array
    """(3, 3) from the axes of the earlier camera to those of the later one."""
    centre: Array
    """(3,) the later camera's centre in the earlier camera's frame, m."""
    people: int
    """How many people it is fused from."""
    spread: tuple[float, float] | None
    """Weighted root mean square deviation of these people from it, degrees and m; None for a single person."""

    @property
    def matrix(self) -> Array:
        """(4, 4) from the earlier camera's frame to the later one's."""
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = self.rotation, -self.rotation @ self.centre
        return step


def fused(
    turns: Array,
    before: Array,
    after: Array,
    weights: Array,
    *,
    factor: float = 3.0,
    rotation: Array | None = None,
) -> CameraStep:
    """The motion of the camera on which K people agree, K at least 1.

    `turns` (K, 3, 3): rotation of the camera as each person implies it; `before` (K, 3): where each one's hips are in
    the later frame, as the network's step in the world says, in the frame of the earlier camera, m; `after` (K, 3): the
    same hips in the frame of the later camera. `rotation`: a better one, if it is known; no one is an outlier then.
    """
    if rotation is None:
        kept = central(turns, factor)
        turns, before, after, weights = turns[kept], before[kept], after[kept], weights[kept]
        rotation = mean_rotation(turns, weights)
    # the fused rotation, not each person's: one degree would move the camera by 17 cm for a person at 10 m
    centres = before - after @ rotation
    centre = geometric_median(centres, weights)
    share = weights / weights.sum()
    degrees = np.degrees(np.sqrt(share @ np.square(angles(turns, rotation))))
    metres = np.sqrt(share @ np.square(centres - centre).sum(1))
    return CameraStep(
        rotation=rotation,
        centre=centre,
        people=len(weights),
        spread=(float(degrees), float(metres)) if len(weights) > 1 else None,
    )
