"""Places bodies in the camera and in the world, so that both say the same.

A body's vertices are LBS(pose, betas) + translation, so its pelvis stands at J0(betas) + translation, where J0 is the
pelvis of the unposed body. A change of frame turns the body about its pelvis and has to keep J0 out of the rotation
(docs/reference/export.md#change-of-world-frame). Everything is computed in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.geometry import Array, axis_angle_from_matrix, matrix_from_axis_angle, project, transform

Floats = npt.NDArray[np.float64]
KINEMATIC = 24
"""The first of the 44 joints are SMPL's own."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placement:
    """N placed bodies; the names are those of `Result`."""

    pose: Floats
    """(N, 24, 3) axis-angle, the root in the world."""
    translation: Floats
    """(N, 3) m, world."""
    root_in_camera: Floats
    """(N, 3) axis-angle."""
    translation_in_camera: Floats
    """(N, 3) m."""
    joints: Floats
    """(N, 24, 3) m, world."""
    joints_2d: Floats
    """(N, 44, 2) px; NaN for joints that are not in front of the camera."""


def placed(
    *,
    pose_in_camera: Array,
    hips_in_camera: Array,
    joints: Array,
    rest_pelvis: Array,
    camera_from_world: Array,
    intrinsics: Array,
) -> Placement:
    """The bodies of N rows in the camera and in the world.

    `pose_in_camera` (N, 24, 3) axis-angle with the root in the camera; `hips_in_camera` (N, 3) m. `joints` (N, 44, 3):
    the posed body's joints relative to its hip midpoint, in camera axes, m. `rest_pelvis` (N, 3): the pelvis joint of
    the unposed body with the same betas, m. `camera_from_world` (N, 4, 4) rigid and `intrinsics` (N, 3, 3), px, of the
    rows' frames.
    """
    in_camera = np.asarray(joints, np.float64) + np.asarray(hips_in_camera, np.float64)[:, None]
    root, translation = np.asarray(pose_in_camera, np.float64)[:, 0], in_camera[:, 0] - rest_pelvis
    world_from_camera = rigid_inverse(camera_from_world)
    root_in_world, translation_in_world = in_frame(world_from_camera, root, translation, rest_pelvis)
    pose = np.array(pose_in_camera, np.float64)
    pose[:, 0] = root_in_world
    return Placement(
        pose=pose,
        translation=translation_in_world,
        root_in_camera=root,
        translation_in_camera=translation,
        joints=transform(world_from_camera, in_camera[:, :KINEMATIC]),
        joints_2d=project(intrinsics, in_camera),
    )


def in_frame(change: Array, root: Array, translation: Array, rest_pelvis: Array) -> tuple[Floats, Floats]:
    """Root rotations (N, 3), axis-angle, and translations (N, 3), m, of the same bodies in another frame.

    `change` (4, 4) or (N, 4, 4): the rigid new_from_old. `rest_pelvis` (3,) or (N, 3): J0 of each body's betas.
    """
    m = np.asarray(change, np.float64)
    turned = m[..., :3, :3] @ matrix_from_axis_angle(root)
    pelvis = np.asarray(translation, np.float64) + rest_pelvis
    moved = transform(m, pelvis[:, None])[:, 0]
    return axis_angle_from_matrix(turned), moved - rest_pelvis


def rigid_inverse(matrix: Array) -> Floats:
    """Inverse (..., 4, 4) of rigid transforms (..., 4, 4)."""
    m = np.asarray(matrix, np.float64)
    inverse = np.zeros_like(m)
    inverse[..., :3, :3] = np.swapaxes(m[..., :3, :3], -1, -2)
    inverse[..., :3, 3] = -np.einsum("...ji,...j->...i", m[..., :3, :3], m[..., :3, 3])
    inverse[..., 3, 3] = 1
    return inverse
