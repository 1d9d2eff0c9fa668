"""Loss targets, built from a batch by `trace_train/targets/`.

B clips, P people, T frames; values are undefined where their mask is False.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_data.schema.keypoints import ALL_44

FEET = tuple(ALL_44.index(name) for name in ("L_Ankle", "R_Ankle", "L_Toe_SMPL", "R_Toe_SMPL"))
"""Joints that can touch the ground."""


def feet_of(joints: Tensor) -> Tensor:
    """(..., 44, D) to (..., 4, D)."""
    return torch.stack([joints[..., joint, :] for joint in FEET], dim=-2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldTargets:
    """Track targets: motion in the camera and in the world. A person's world is the view (camera and crop) of the first
    frame with a centre. Only for clips of at least two frames."""

    motion: Tensor
    """(B, P, T, 3) change of the camera triple since the previous frame."""
    motion_mask: Tensor
    """(B, P, T) the person has a centre and a solved camera in both; never at a clip's first frame."""
    joints2d: Tensor
    """(B, P, T, 44, 2) x, y in the fixed view, edges at -1 and 1; may lie outside."""
    joints2d_mask: Tensor
    """(B, P, T, 44)."""
    camera: Tensor
    """(B, P, T, 3) triple s, y, x in the fixed view."""
    camera_mask: Tensor
    """(B, P, T)."""
    root_rotation: Tensor
    """(B, P, T, 3, 3) in the axes of the fixed view's camera."""
    root_rotation_mask: Tensor
    """(B, P, T)."""
    feet: Tensor
    """(B, P, T, 4, 3) `FEET` relative to the hip midpoint, metres, in these axes."""
    feet_mask: Tensor
    """(B, P, T, 4)."""
    stands: Tensor
    """(B, P, T, 4) bool: the foot has hardly moved in the world since the previous frame. False if unknown."""
    lens: Tensor
    """(B, P, 3) normalised focal length and principal point y, x of the fixed view, to convert triples to metres."""
    lens_mask: Tensor
    """(B, P) the camera's intrinsics are known."""
    seconds: Tensor
    """(B, T) time of each frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """Targets of a batch."""

    joints2d: Tensor
    """(B, P, T, 44, 2) x, y in the crop, edges at -1 and 1."""
    joints2d_mask: Tensor
    """(B, P, T, 44) visible and inside the crop."""
    joints3d: Tensor
    """(B, P, T, 44, 3) metres, camera axes, relative to the hip midpoint."""
    joints3d_mask: Tensor
    """(B, P, T, 44)."""
    root_rotation: Tensor
    """(B, P, T, 3, 3) in the camera frame."""
    root_rotation_mask: Tensor
    """(B, P, T)."""
    body_pose: Tensor
    """(B, P, T, 21, 3, 3) rotations of joints 1 to 21 relative to their parents."""
    body_pose_mask: Tensor
    """(B, P, T)."""
    shape: Tensor
    """(B, P, T, 10) betas of the neutral model."""
    shape_mask: Tensor
    """(B, P, T)."""
    camera: Tensor
    """(B, P, T, 3) triple s, y, x of the crop's 50-degree camera."""
    camera_mask: Tensor
    """(B, P, T)."""
    center: Tensor
    """(B, P, T, 2) y, x in [-1, 1]."""
    center_mask: Tensor
    """(B, P, T) the person has a centre inside the crop; only these people are regressed."""
    cell: Tensor
    """(B, P, T, 2) y, x of the map cell containing the centre; zeros if there is none."""
    frame_mask: Tensor
    """(B, T) everyone visible is annotated; centre maps are supervised only there."""
    center_map: Tensor
    """(B T, M, M) heat of the front view."""
    center_map_3d: Tensor
    """(B T, D, M, M) heat over depth level, y, x."""
    center_map_3d_mask: Tensor
    """(B T,) everyone with a centre also has a camera."""
    world: WorldTargets | None = None
    """If track targets are requested and clips have at least two frames."""
