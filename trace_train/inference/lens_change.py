"""From the network's camera to the one that took the video.

The network sees the picture padded to a square, as if through a lens of 50 degrees. A known lens keeps the 2D place
and size of everybody and moves them in depth (docs/reference/inference.md#known-focal-length). NumPy, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.camera import NEAR_PLANE
from trace_train.geometry.camera import FOCAL, SMALLEST_SCALE

Array = npt.NDArray[np.float64]

CENTRED = 0.51
"""Distance of principal points, px, up to which they count as equal: padding cannot split an odd pixel."""
REFINEMENTS = 5
"""Steps of Gauss-Newton."""


@dataclass(frozen=True, slots=True)
class PaddedSquare:
    """An upright picture of `width` x `height` px, padded to a square; the smaller half of an odd rest is left, top."""

    width: int
    height: int

    @property
    def side(self) -> int:
        return max(self.width, self.height)

    @property
    def middle(self) -> Array:
        """(2,) middle of the square in px of the picture; the centre of its first pixel is (0, 0)."""
        left, top = (self.side - self.width) // 2, (self.side - self.height) // 2
        return np.array([(self.side - 1) / 2 - left, (self.side - 1) / 2 - top])

    @property
    def intrinsics(self) -> Array:
        """(3, 3) the network's camera, px of the picture."""
        x, y = self.middle
        focal = FOCAL * self.side / 2
        return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1]])

    def metres(self, triple: Array, intrinsics: Array) -> Array:
        """Camera triples (..., 3) s, y, x of the square to (..., 3) x, y, z, m, in the camera of `intrinsics` (3, 3).

        Position in the picture and size are kept. Depths end at that of `SMALLEST_SCALE`.
        """
        scale = np.maximum(triple[..., 0], SMALLEST_SCALE)
        root = np.stack([triple[..., 2] / scale, triple[..., 1] / scale, FOCAL / scale], axis=-1)
        return _same_place(root, self.intrinsics, intrinsics)

    def triple(self, metres: Array, intrinsics: Array) -> Array:
        """Inverse of `metres`, with scales between `SMALLEST_SCALE` and that of the near plane."""
        x, y, z = np.moveaxis(_same_place(metres, intrinsics, self.intrinsics), -1, 0)
        scale = FOCAL / np.clip(z, NEAR_PLANE, FOCAL / SMALLEST_SCALE)
        return np.stack([scale, y * scale, x * scale], axis=-1)


def clamped(triple: Array) -> npt.NDArray[np.bool_]:
    """(...,) whether the depth of triples (..., 3) is the largest that is decoded, so that it is no measurement."""
    return np.asarray(triple[..., 0] <= SMALLEST_SCALE)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """K people through the lens of the video."""

    hips: Array
    """(K, 3) hip midpoint, m, in the camera."""
    joints_2d: Array
    """(K, J, 2) their joints projected again, px."""
    residual: Array
    """(K,) root mean square distance of `joints_2d` from where the network saw them, px."""


def through_lens(hips: Array, joints: Array, intrinsics: Array, square: PaddedSquare) -> Placed:
    """Place people of the network's camera in the camera of `intrinsics` (3, 3).

    `hips` (K, 3): hip midpoints in the network's camera, m; `joints` (K, J, 3): joints relative to them, in camera
    axes. With the principal point in the middle only depths change; otherwise positions are solved again from the
    2D joints. Either way this is exact only for bodies that are small against their distance: see `residual`.
    """
    seen = projected(joints + hips[:, None], square.intrinsics)
    moved = _same_place(hips, square.intrinsics, intrinsics)
    if np.abs(intrinsics[:2, 2] - square.middle).max() > CENTRED:
        moved = solve_hips(seen, joints, intrinsics)
    joints_2d = projected(joints + moved[:, None], intrinsics)
    residual = np.sqrt(np.square(joints_2d - seen).sum(-1).mean(-1))
    return Placed(hips=moved, joints_2d=joints_2d, residual=residual)


def solve_hips(joints_2d: Array, joints: Array, intrinsics: Array, weights: Array | None = None) -> Array:
    """Hip midpoints (K, 3), m, from joints (K, J, 3) relative to them and their pixels (K, J, 2).

    Weighted linear least squares of the rays, then Gauss-Newton on the distance in the picture. `weights` (K, J).
    """
    plane = (joints_2d - intrinsics[:2, 2]) / np.diag(intrinsics)[:2]
    weight = np.ones(joints.shape[:2]) if weights is None else weights
    zero, one = np.zeros_like(plane[..., 0]), np.ones_like(plane[..., 0])
    rows = np.stack([np.stack([one, zero, -plane[..., 0]], -1), np.stack([zero, one, -plane[..., 1]], -1)], axis=-2)
    hips = _least_squares(rows, plane * joints[..., 2:] - joints[..., :2], weight)
    for _ in range(REFINEMENTS):
        x, y, z = np.moveaxis(joints + hips[:, None], -1, 0)
        z = np.maximum(z, NEAR_PLANE)
        rows = np.stack([np.stack([1 / z, zero, -x / z**2], -1), np.stack([zero, 1 / z, -y / z**2], -1)], axis=-2)
        hips = hips + _least_squares(rows, plane - np.stack([x / z, y / z], axis=-1), weight)
    return hips


def projected(points: Array, intrinsics: Array) -> Array:
    """Points (..., 3), m, in the camera to px (..., 2); depths below the near plane count as on it."""
    image = points @ intrinsics.T
    flat: Array = image[..., :2] / np.maximum(image[..., 2:], NEAR_PLANE)
    return flat


def _same_place(points: Array, old: Array, new: Array) -> Array:
    """Points (..., 3) that the camera `new` sees at the pixels and in the size in which `old` sees these."""
    zoom = np.sqrt(new[0, 0] * new[1, 1] / (old[0, 0] * old[1, 1]))
    in_picture = points @ old.T
    moved: Array = zoom * in_picture @ np.linalg.inv(new).T
    return moved


def _least_squares(rows: Array, values: Array, weight: Array) -> Array:
    """Minimise the weighted |rows x - values|^2 for each person: (K, J, 2, 3), (K, J, 2), (K, J) to (K, 3)."""
    left = np.einsum("kj,kjcp,kjcq->kpq", weight, rows, rows)
    right = np.einsum("kj,kjcp,kjc->kp", weight, rows, values)
    solution: Array = np.linalg.solve(left + 1e-12 * np.eye(3), right[..., None])[..., 0]
    return solution
