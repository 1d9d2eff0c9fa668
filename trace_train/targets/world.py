"""Track targets: motion of people in the camera and in the world.

Source: docs/reference/training.md#motion-offsets and the two sections after it.

A person's world is the fixed view (camera and crop) of the first frame in which the person has a centre, where the
network's trajectories start. The same rule covers a moving camera with known extrinsics and a static camera with a
moving crop: joints are expressed in the axes of that first camera and seen through that first crop.

Rotations are in camera axes. A crop only moves the principal point; root rotations, in the camera or in the world, are
not corrected for the crop's position. So with a static camera people rotate in the world as in the camera, wherever
the crop moves.
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
"""Maximum distance of joints from the centre of the fixed view, in half widths; joints outside its edges count too."""
SMALLEST_SCALE = 0.02
"""Minimum s of a world triple, a distance of 107 m."""


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
    """Track targets over the frames in which a person is `seen` (B, P, T); tracks may have gaps.

    `body` (B, P, T, 44, 3): joints relative to the hips, m, world axes; `root` (B, P, T, 3, 3) world axes; `camera`
    (B, P, T, 3): triples in each frame's own view, valid where `camera_mask`.
    """
    first = seen.int().argmax(2)
    fixed, placed = view.at(first), _placed(batch, seen, first)
    joints = fixed.in_axes(body)
    joints2d, joints2d_mask = _in_fixed_view(batch, fixed, placed, body_mask)
    translation, solved = solve_translation(joints2d, joints, (joints2d_mask & body_mask).float())
    triple = triple_from_translation(torch.where(solved[..., None], translation, torch.ones_like(translation)))
    # a track starts at the camera triple of its first frame, like the network's, and follows the fixed view
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

    Always for a static camera, even if nothing else is known of the world; for a moving one, the person must be valid
    in the world in both frames.
    """
    world = batch.masks["world"]
    return seen & (~batch.moving[:, None, None] | (world & at_frame(world, first)))


def _in_fixed_view(batch: Batch, fixed: CropView, placed: Tensor, body_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Joints in the fixed view (B, P, T, 44, 2), and their mask (B, P, T, 44).

    Annotated 2D joints for a static camera, which need neither intrinsics nor 3D (Penn Action); else 3D joints
    projected by the first frame's camera.
    """
    px, depth = fixed.project(batch.kp3d[..., :3])
    projectable = body_mask & (depth > IN_FRONT) & fixed.intrinsics_known[..., None]
    use_2d = (batch.masks["pose2d"] & ~batch.moving[:, None, None])[..., None]
    joints2d = fixed.normalised(torch.where(use_2d[..., None], batch.kp2d[..., :2], px))
    known = torch.where(use_2d, annotated_joints(batch), projectable)
    return joints2d, known & placed[..., None] & (joints2d.abs() < REACH).all(-1)


def _stands(batch: Batch, known: Tensor) -> Tensor:
    """(B, P, T, 4) feet that moved slower than `STANDING` in the world since the previous frame."""
    stands = torch.zeros_like(known)
    moved = feet_of(batch.kp3d[..., :3]).diff(dim=2).norm(dim=-1)
    slow = moved < STANDING * batch.seconds.diff(dim=1)[:, None, :, None]
    stands[..., 1:, :] = slow & known[..., 1:, :] & known[..., :-1, :]
    return stands
