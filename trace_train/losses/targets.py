"""What losses compare predictions with; `trace_train/targets/` makes it of a batch.

B clips, P people, T frames; a value is meaningless where its mask is False.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_data.schema.keypoints import ALL_44

FEET = tuple(ALL_44.index(name) for name in ("L_Ankle", "R_Ankle", "L_Toe_SMPL", "R_Toe_SMPL"))
"""Joints that stand on the ground now and then."""


def feet_of(joints: Tensor) -> Tensor:
    """(..., 44, D) to (..., 4, D)."""
    return torch.stack([joints[..., joint, :] for joint in FEET], dim=-2)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WorldTargets:
    """Tracks: how people move in their camera and in the world, which is the view (camera and crop) of each person's
    first frame with a centre. Only made of clips of two frames and more."""

    motion: Tensor
    """(B, P, T, 3) change of the camera triple since the frame before."""
    motion_mask: Tensor
    """(B, P, T) the person has a centre and a solved camera in both; never at a clip's first frame."""
    joints2d: Tensor
    """(B, P, T, 44, 2) x, y in the fixed view, edges at -1 and 1; may lie beyond."""
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
    """(B, P, T, 4) bool: the foot has hardly moved in the room since the frame before. False where that is unknown."""
    lens: Tensor
    """(B, P, 3) focal length and principal point y, x of the fixed view, normalised: with these a triple is metres."""
    lens_mask: Tensor
    """(B, P) the camera's intrinsics are known."""
    seconds: Tensor
    """(B, T) when the frames were taken."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """All that a batch can supervise."""

    joints2d: Tensor
    """(B, P, T, 44, 2) x, y in the crop, edges at -1 and 1."""
    joints2d_mask: Tensor
    """(B, P, T, 44) seen and inside the crop."""
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
    """(B, P, T) the person has a centre inside the crop: the only people that are regressed."""
    cell: Tensor
    """(B, P, T, 2) y, x cell of the map that holds the centre; zeros where there is none."""
    frame_mask: Tensor
    """(B, T) everyone visible is annotated: only there are centre maps supervised."""
    center_map: Tensor
    """(B T, M, M) heat of the front view."""
    center_map_3d: Tensor
    """(B T, D, M, M) heat over depth level, y, x."""
    center_map_3d_mask: Tensor
    """(B T,) everyone with a centre also has a camera."""
    world: WorldTargets | None = None
    """When tracks were asked for and clips have at least two frames."""
