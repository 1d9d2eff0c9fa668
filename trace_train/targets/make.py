"""Builds training targets from annotations in world and frame coordinates, in one batched pass on the device.

This is the only place where bodies become relative to their hip midpoint and cameras the crop's 50-degree view
(docs/reference/training.md#units-and-coordinate-frames, docs/reference/training.md#targets).
"""

from __future__ import annotations

import torch

from trace_data.schema.keypoints import L_HIP, R_HIP
from trace_train.geometry.camera import depth_scales, level_of, solve_translation, triple_from_translation
from trace_train.geometry.constants import constant
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.losses.targets import Targets
from trace_train.streaming.batch import Batch
from trace_train.targets.heat import center_heat, center_heat_3d
from trace_train.targets.place import annotated_joints, center_joints, extent_of, person_center, with_places
from trace_train.targets.view import CropView
from trace_train.targets.world import world_targets


def make_targets(batch: Batch, *, input_size: int, map_size: int, levels: int, tracks: bool = False) -> Targets:
    """All targets of a batch. `levels`: number of depth levels; `tracks`: include motion and world targets."""
    masks, view = batch.masks, CropView.of_frames(batch, input_size)
    joints2d = view.normalised(batch.kp2d[..., :2])
    # outside the crop, or in its black part outside the frame, nothing can be seen; decided for x and y together
    seen = annotated_joints(batch) & (joints2d.abs() < 1).all(-1)
    shown, shown_mask = center_joints(batch, view, joints2d, seen)
    center, has_center, extent = with_places(
        batch, view, *person_center(shown, shown_mask), extent_of(shown, shown_mask)
    )
    # 3D: relative to the hips, in camera axes
    known = batch.kp3d[..., 3] > 0
    hips = 0.5 * (batch.kp3d[..., R_HIP, :3] + batch.kp3d[..., L_HIP, :3])
    body = batch.kp3d[..., :3] - hips[..., None, :]
    has3d = masks["joints3d"] & known[..., R_HIP] & known[..., L_HIP]
    joints3d, joints3d_mask = view.in_axes(body), known & has3d[..., None]
    rotations = matrix_from_axis_angle(batch.pose[..., :22, :])
    translation, solved = solve_translation(shown, joints3d, (shown_mask & joints3d_mask).float())
    camera = triple_from_translation(torch.where(solved[..., None], translation, torch.ones_like(translation)))
    cell = ((center + 1) / 2 * map_size).long().clamp(0, map_size - 1)
    cell = torch.where(has_center[..., None], cell, torch.zeros_like(cell))
    level = level_of(camera[..., 0], constant(depth_scales(levels), like=camera))
    world = None
    if tracks and has_center.shape[2] > 1:
        world = world_targets(
            batch,
            view,
            body=body,
            body_mask=joints3d_mask,
            root=rotations[..., 0, :, :],
            camera=camera,
            camera_mask=solved & has_center,
            seen=has_center,
        )
    return Targets(
        joints2d=joints2d,
        joints2d_mask=seen,
        joints3d=joints3d,
        joints3d_mask=joints3d_mask,
        root_rotation=view.turn @ rotations[..., 0, :, :],
        root_rotation_mask=masks["root_rotation"],
        body_pose=rotations[..., 1:, :, :],
        body_pose_mask=masks["body_pose"],
        shape=batch.betas_neutral,
        shape_mask=masks["shape"],
        camera=camera,
        camera_mask=solved,
        center=center,
        center_mask=has_center,
        cell=cell,
        frame_mask=masks["everyone_annotated"],
        center_map=center_heat(cell, has_center, extent, map_size),
        center_map_3d=center_heat_3d(cell, level, has_center & solved, map_size, levels),
        center_map_3d_mask=~(has_center & ~solved).any(1).flatten(),
        world=world,
    )
