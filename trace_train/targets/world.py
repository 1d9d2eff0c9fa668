"""Targets along tracks: how people move in their camera, and in the world.

Source: docs/reference/training.md#motion-offsets and the two sections after it.

The world of a person is the view, camera and crop, of the first frame in which it has a centre, kept fixed: that is
where the network's trajectories begin. One rule covers a camera that moves and whose extrinsics are known, and one that
stands still under a crop that moves: joints in the axes of that first camera, through that first crop.

Rotations are in the axes of cameras. A crop has none of its own: it moves the principal point, and neither the root
rotation in the camera nor that in the world is turned towards the crop's middle. So where the camera stands still,
people turn in the world as in the camera, wherever the crop goes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.camera import IN_FRONT, solve_translation, triple_from_translation
from trace_train.losses.targets import WorldTargets, feet_of
from trace_train.metrics.world import STANDING
from trace_train.streaming.batch import Batch
from trace_train.targets.place import annotated_joints
from trace_train.targets.view import CropView, at_frame

REACH = 2.0
"""How far from the fixed view's middle joints may be, in half widths: a place beyond the edge is still a place."""
SMALLEST_SCALE = 0.02
"""Least s of a world triple, 107 m away."""


def world_targets(
    batch: Batch,
    view: CropView,
    *,
    body: Tensor,
    body_mask: Tensor,
    root: Tensor,
    camera: Tensor,
    camera_mask: Tensor,
    seen: Tensor,
) -> WorldTargets:
    """Targets of tracks: a person's frames in which it is `seen` (B, P, T), which may have holes.

    `body` (B, P, T, 44, 3): joints relative to the hips, m, world axes; `root` (B, P, T, 3, 3) world axes; `camera`
    (B, P, T, 3): triples in each frame's own view, right where `camera_mask`.
    """
    first = seen.int().argmax(2)
    fixed, placed = view.at(first), _placed(batch, seen, first)
    joints = fixed.in_axes(body)
    joints2d, joints2d_mask = _in_fixed_view(batch, fixed, placed, body_mask)
    translation, solved = solve_translation(joints2d, joints, (joints2d_mask & body_mask).float())
    triple = triple_from_translation(torch.where(solved[..., None], translation, torch.ones_like(translation)))
    # a track begins at the camera of its first frame, as the network's does, and moves as the fixed view says
    triple = at_frame(camera, first) + triple - at_frame(triple, first)
    begun = at_frame(camera_mask, first) & at_frame(solved, first)
    feet_mask = feet_of(body_mask[..., None])[..., 0] & placed[..., None]
    motion_mask = torch.zeros_like(camera_mask)
    motion_mask[..., 1:] = camera_mask[..., 1:] & camera_mask[..., :-1]
    return WorldTargets(
        motion=torch.cat([torch.zeros_like(camera[..., :1, :]), camera.diff(dim=2)], dim=2),
        motion_mask=motion_mask,
        joints2d=joints2d,
        joints2d_mask=joints2d_mask,
        camera=triple,
        camera_mask=placed & solved & begun & (triple[..., 0] > SMALLEST_SCALE),
        root_rotation=fixed.turn @ root,
        root_rotation_mask=placed & batch.masks["root_rotation"],
        feet=feet_of(joints),
        feet_mask=feet_mask,
        stands=_stands(batch, feet_mask),
        lens=fixed.lens().squeeze(2),
        lens_mask=fixed.intrinsics_known.squeeze(2),
        seconds=batch.seconds,
    )


def _placed(batch: Batch, seen: Tensor, first: Tensor) -> Tensor:
    """(B, P, T) whether a frame's camera is known relative to that of the track's first frame.

    It is where the camera stands still, even when nothing else is known of the room; where it moves, the person must
    be valid in the world in both frames.
    """
    world = batch.masks["world"]
    return seen & (~batch.moving[:, None, None] | (world & at_frame(world, first)))


def _in_fixed_view(batch: Batch, fixed: CropView, placed: Tensor, body_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Joints in the fixed view (B, P, T, 44, 2), and which of them count (B, P, T, 44).

    Annotated 2D joints under a camera that stands still, which need nothing known of its lens or of 3D (Penn Action);
    else 3D joints through the first frame's camera.
    """
    px, depth = fixed.project(batch.kp3d[..., :3])
    projectable = body_mask & (depth > IN_FRONT) & fixed.intrinsics_known[..., None]
    use_2d = (batch.masks["pose2d"] & ~batch.moving[:, None, None])[..., None]
    joints2d = fixed.normalised(torch.where(use_2d[..., None], batch.kp2d[..., :2], px))
    known = torch.where(use_2d, annotated_joints(batch), projectable)
    return joints2d, known & placed[..., None] & (joints2d.abs() < REACH).all(-1)


def _stands(batch: Batch, known: Tensor) -> Tensor:
    """(B, P, T, 4) which feet are slower than `STANDING` since the frame before, in the room."""
    stands = torch.zeros_like(known)
    moved = feet_of(batch.kp3d[..., :3]).diff(dim=2).norm(dim=-1)
    slow = moved < STANDING * batch.seconds.diff(dim=1)[:, None, :, None]
    stands[..., 1:, :] = slow & known[..., 1:, :] & known[..., :-1, :]
    return stands
