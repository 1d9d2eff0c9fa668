"""Solves for a body's translation from its joints and 2D points."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST = 5
"""Minimum number of visible joints for a reliable distance."""


def solve_translation(
    joints: npt.NDArray[np.float64], points: npt.NDArray[np.float64], intrinsics: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Joints (T, K, 4) metres of the camera's frame, with confidence, all moved by one shift a frame.

    `joints`: (T, K, 3) metres along the camera's axes, anywhere. `points`: (T, K, 3) px and confidence. `intrinsics`:
    (3, 3). The shift d solves, in the least-squares sense over the seen joints, x (Z + d_z) = X + d_x and the same for
    y, with (x, y) the ray of the point: linear, no initial guess
    (docs/reference/datasets.md#translation-by-linear-least-squares). A frame that does not determine it gets zeros.
    """
    seen = points[..., 2] > 0
    rays = np.concatenate([points[..., :2], np.ones((*seen.shape, 1))], axis=2) @ np.linalg.inv(intrinsics).T
    centred = joints - joints.mean(axis=1, keepdims=True)
    moved = np.zeros((*seen.shape, 4))
    for frame in np.flatnonzero(seen.sum(axis=1) >= LEAST):
        ray, body = rays[frame][seen[frame]], centred[frame][seen[frame]]
        ones, zeros = np.ones(len(ray)), np.zeros(len(ray))
        system = np.concatenate(
            [np.stack([ones, zeros, -ray[:, 0]], axis=1), np.stack([zeros, ones, -ray[:, 1]], axis=1)]
        )
        wanted = np.concatenate([ray[:, axis] * body[:, 2] - body[:, axis] for axis in (0, 1)])
        shift, _, rank, _ = np.linalg.lstsq(system, wanted, rcond=None)
        place = centred[frame] + shift
        if rank == 3 and (place[:, 2] > 0).all():
            moved[frame] = np.concatenate([place, np.ones((len(place), 1))], axis=1)
    return moved
