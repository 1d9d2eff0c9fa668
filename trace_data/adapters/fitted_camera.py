"""A pinhole camera from 2D points and 3D joints of MPI's test sets, whose releases may have no calibration."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_data.geometry import project

Array = npt.NDArray[np.float64]

MIDDLE = (0, 1, 14, 15, 16)
"""Head top, neck, pelvis, spine and head among the 17 joints."""


def fitted_intrinsics(points: Array, joints: Array, distortion: Array | None = None) -> Array:
    """(3, 3) px intrinsics that best project `joints` (T, 17, 3), none behind the camera, to `points` (T, 17, 2)."""
    bent = project(np.eye(3), joints, distortion)
    matrix = np.eye(3)
    for axis in range(2):
        slope = bent[..., axis].reshape(-1)
        design = np.stack([slope, np.ones_like(slope)], axis=1)
        pixels = points[..., axis].reshape(-1)
        # points on the body's midline, which are unaffected by swapped sides, begin and set the measure
        kept = middle = np.tile(np.isin(np.arange(joints.shape[1]), MIDDLE), len(joints))
        for _ in range(3):
            focal, centre = np.linalg.lstsq(design[kept], pixels[kept], rcond=None)[0]
            errors = np.abs(design @ (focal, centre) - pixels)
            # robust to a few wrong points
            kept = errors <= max(3 * float(np.median(errors[middle])), 1e-6)
        matrix[axis, axis], matrix[axis, 2] = focal, centre
    return matrix


def median_px(intrinsics: Array, distortion: Array | None, points: Array, joints: Array) -> float:
    """Median distance, px, of projected joints from their points; infinite where a joint cannot be projected."""
    apart = np.linalg.norm(project(intrinsics, joints, distortion) - points, axis=-1)
    return float(np.median(apart)) if np.isfinite(apart).all() else np.inf
