"""The only NumPy rotations and projections of the project. Shapes are (..., n); everything is float64 inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]


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


def project(intrinsics: Array, points: Array) -> npt.NDArray[np.float64]:
    """Pinhole projection of camera-frame points (..., N, 3), metres, to pixels (..., N, 2).

    Points at or behind the camera become NaN, so that they cannot pass for pixels.
    """
    p = np.asarray(points, np.float64)
    depth = np.where(p[..., 2:] > 1e-6, p[..., 2:], np.nan)
    homogeneous = np.einsum("...ij,...nj->...ni", np.asarray(intrinsics, np.float64), p / depth)
    pixels: npt.NDArray[np.float64] = homogeneous[..., :2]
    return pixels
