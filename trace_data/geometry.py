"""Rotations and projections in NumPy. Shapes are (..., n); computations are in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]

ZOOM = 0.004
"""The least zoom that is told from rounding, as a share."""
ZOOM_PX = 0.05
"""Median distance, px, below which points are where they are projected."""
ZOOM_EXPLAINS = 0.25
"""Share of the distances that a zoom may leave."""


def matrix_from_axis_angle(axis_angle: Array) -> npt.NDArray[np.float64]:
    """Rodrigues' formula: (..., 3) radians to (..., 3, 3). Exact at zero rotation."""
    vector = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    # sin(a)/a and (1-cos a)/a^2 through sinc, which is smooth at 0
    a = np.sinc(angle / np.pi)[..., None]
    b = 0.5 * np.sinc(angle / (2 * np.pi))[..., None] ** 2
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vector.shape[:-1], 3, 3)
    rotation: npt.NDArray[np.float64] = np.eye(3) + a * skew + b * (skew @ skew)
    return rotation


def axis_angle_from_matrix(matrix: Array) -> npt.NDArray[np.float64]:
    """Inverse of `matrix_from_axis_angle` with angles in [0, pi]: (..., 3, 3) to (..., 3)."""
    from scipy.spatial.transform import Rotation

    values = np.asarray(matrix, dtype=np.float64)
    vectors: npt.NDArray[np.float64] = Rotation.from_matrix(values.reshape(-1, 3, 3)).as_rotvec()
    result: npt.NDArray[np.float64] = vectors.reshape(*values.shape[:-2], 3)
    return result


def transform(matrix: Array, points: Array) -> npt.NDArray[np.float64]:
    """Apply rigid or affine (..., 4, 4) to points (..., N, 3)."""
    m, p = np.asarray(matrix, np.float64), np.asarray(points, np.float64)
    moved: npt.NDArray[np.float64] = np.einsum("...ij,...nj->...ni", m[..., :3, :3], p) + m[..., None, :3, 3]
    return moved


def project(intrinsics: Array, points: Array, distortion: Array | None = None) -> npt.NDArray[np.float64]:
    """Projection of camera-frame points (..., N, 3), metres, to pixels (..., N, 2).

    `distortion`: lens coefficients, see `schema.camera.Camera`; None for a pinhole. Points at or behind the camera
    become NaN.
    """
    p = np.asarray(points, np.float64)
    depth = np.where(p[..., 2:] > 1e-6, p[..., 2:], np.nan)
    plane = p / depth
    if distortion is not None:
        plane[..., :2] = _bent(plane[..., :2], distortion)
    homogeneous = np.einsum("...ij,...nj->...ni", np.asarray(intrinsics, np.float64), plane)
    pixels: npt.NDArray[np.float64] = homogeneous[..., :2]
    return pixels


def zoom(projected: npt.NDArray[np.float64], points: npt.NDArray[np.float64]) -> float:
    """Factor by which points (N, 2) px lie wider apart than their projections, 1 where that explains nothing.

    It tells a focal length a percent off, which moves what is near the middle of the frame by a pixel or two only.
    """
    if len(points) < 3:
        return 1.0
    direct = float(np.median(np.linalg.norm(points - projected, axis=1)))
    kept, factor, left = np.ones(len(points), bool), 1.0, np.zeros(len(points))
    for _ in range(3):  # robust to a few points that lie elsewhere
        arms = projected - np.median(projected[kept], axis=0)
        reached = points - np.median(points[kept], axis=0)
        if not (spread := float((arms[kept] ** 2).sum())):
            return 1.0
        factor = float((arms[kept] * reached[kept]).sum()) / spread
        left = np.linalg.norm(factor * arms - reached, axis=1)
        kept = left <= 3 * np.median(left) + 1e-6
    explained = direct > ZOOM_PX and float(np.median(left)) < ZOOM_EXPLAINS * direct
    return factor if explained and abs(factor - 1) > ZOOM else 1.0


def _bent(plane: npt.NDArray[np.float64], distortion: Array) -> npt.NDArray[np.float64]:
    """Distort points (..., N, 2) of the plane at depth 1: Brown's model with a thin prism."""
    k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4 = np.pad(distortion, (0, 12 - len(distortion)))
    x, y = plane[..., 0], plane[..., 1]
    r2 = x * x + y * y
    radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) + r2 * (s1 + r2 * s2),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y + r2 * (s3 + r2 * s4),
        ],
        axis=-1,
    )
