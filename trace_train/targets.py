"""From annotations in world and frame coordinates to what the network is asked for, in one batched pass on the device.

Here, and nowhere else, bodies become relative to their hip midpoint and cameras become the 50-degree view of the crop
(contracts: frames, units, numbers; fact sheet training.md, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_data.schema.keypoints import L_HIP, R_HIP, TORSO
from trace_train.camera import depth_levels, level_of, solve_translation, triple_from_translation
from trace_train.rotations import matrix_from_axis_angle
from trace_train.streaming.batch import Batch

VISIBLE = 0.1
"""Least confidence of a 2D joint that supervises anything (joints.md 4)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Targets:
    """B clips, P people, T frames. A value is meaningless where its mask is False."""

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


def make_targets(batch: Batch, *, input_size: int, map_size: int, levels: int) -> Targets:
    """All targets of a batch. `levels` is the number of depth levels."""
    masks = batch.masks
    # 2D: frame px -> crop px -> edges at -1 and 1
    crop = batch.crop_from_frame[:, None]
    xy = torch.einsum("bptij,bptkj->bptki", crop[..., :2, :2].expand(*batch.present.shape, 2, 2), batch.kp2d[..., :2])
    joints2d = (2 * (xy + crop[..., None, :2, 2]) + 1) / input_size - 1
    # outside the crop, or in its black part outside the frame, nothing can be seen; decided for x and y together
    inside = (joints2d.abs() < 1).all(-1) & _in_frame(batch, batch.kp2d[..., :2])
    seen = inside & (batch.kp2d[..., 2] > VISIBLE) & masks["pose2d"][..., None]
    center_joints, center_seen = _center_joints(batch, joints2d, seen, input_size)
    # 3D: world -> camera axes, relative to the hips
    turn = batch.camera_from_world[:, None, :, :3, :3].expand(*batch.present.shape, 3, 3)
    known = batch.kp3d[..., 3] > 0
    hips = 0.5 * (batch.kp3d[..., R_HIP, :3] + batch.kp3d[..., L_HIP, :3])
    joints3d = torch.einsum("bptij,bptkj->bptki", turn, batch.kp3d[..., :3] - hips[..., None, :])
    has3d = masks["joints3d"] & known[..., R_HIP] & known[..., L_HIP]
    joints3d_mask = known & has3d[..., None]
    rotations = matrix_from_axis_angle(batch.pose[..., :22, :])
    translation, solved = solve_translation(joints2d, joints3d, (seen & joints3d_mask).float())
    camera = triple_from_translation(torch.where(solved[..., None], translation, torch.ones_like(translation)))
    center, has_center = person_center(center_joints, center_seen)
    cell = ((center + 1) / 2 * map_size).long().clamp(0, map_size - 1)
    cell = torch.where(has_center[..., None], cell, torch.zeros_like(cell))
    extent = _extent(center_joints, center_seen)
    scales = depth_levels(levels).to(camera)
    return Targets(
        joints2d=joints2d,
        joints2d_mask=seen,
        joints3d=joints3d,
        joints3d_mask=joints3d_mask,
        root_rotation=turn @ rotations[..., 0, :, :],
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
        center_map_3d=center_heat_3d(cell, level_of(camera[..., 0], scales), has_center & solved, map_size, levels),
        center_map_3d_mask=~(has_center & ~solved).any(1).flatten(),
    )


def _center_joints(batch: Batch, joints2d: Tensor, seen: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The joints a person's centre is made of: the annotated 2D ones, or 3D ones projected by a known camera in frames
    without any.

    An annotated body without 2D points (3DPW has such frames) is in the picture all the same; without a centre the
    maps would be taught that nobody is there.
    """
    camera = batch.camera_from_world[:, None]
    points = torch.einsum("bptij,bptkj->bptki", camera[..., :3, :3].expand(*seen.shape[:3], 3, 3), batch.kp3d[..., :3])
    points = points + camera[..., None, :3, 3]
    image = torch.einsum("bptij,bptkj->bptki", batch.intrinsics[:, None].expand(*seen.shape[:3], 3, 3), points)
    crop = batch.crop_from_frame[:, None].expand(*seen.shape[:3], 3, 3)
    px = image[..., :2] / image[..., 2:].clamp_min(0.05)
    xy = torch.einsum("bptij,bptkj->bptki", crop[..., :2, :2], px) + crop[..., None, :2, 2]
    projected = (2 * xy + 1) / size - 1
    front = (batch.kp3d[..., 3] > 0) & (points[..., 2] > 0.05) & (projected.abs() < 1).all(-1) & _in_frame(batch, px)
    annotated = batch.masks["pose2d"][..., None]
    projectable = batch.present & batch.masks["joints3d"] & batch.masks["intrinsics"][:, None]
    usable = front & projectable[..., None]
    return torch.where(annotated[..., None], joints2d, projected), torch.where(annotated, seen, usable)


def _in_frame(batch: Batch, px: Tensor) -> Tensor:
    """(B, P, T, J) whether points (B, P, T, J, 2), px of the frame, lie inside it."""
    edges = px + 0.5
    return ((edges >= 0) & (edges <= batch.frame_size[:, None, None, None])).all(-1)


def person_center(joints2d: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the seen torso joints when there are two, else of all seen joints when there are three.

    (..., 44, 2) and (..., 44) to centres (..., 2) y, x and whether they exist (joints.md 4).
    """
    torso = torch.zeros_like(seen)
    torso[..., list(TORSO)] = True
    torso &= seen
    use_torso = torso.sum(-1) >= 2
    chosen = torch.where(use_torso[..., None], torso, seen)
    count = chosen.sum(-1)
    mean = torch.where(chosen[..., None], joints2d, torch.zeros_like(joints2d)).sum(-2) / count.clamp_min(1)[..., None]
    return mean.flip(-1), use_torso | (count > 2)


def _extent(joints2d: Tensor, seen: Tensor) -> Tensor:
    """Diagonal (...,) of the box of the seen joints, in normalised units (the whole crop is 2 wide)."""
    big = torch.full_like(joints2d, 9.0)
    low = torch.where(seen[..., None], joints2d, big).amin(-2)
    high = torch.where(seen[..., None], joints2d, -big).amax(-2)
    return (high - low).clamp_min(0).square().sum(-1).sqrt()


def _by_frame(values: Tensor) -> Tensor:
    """(B, P, T, ...) to (B T, P, ...)."""
    return values.transpose(1, 2).flatten(0, 1)


def center_heat(cell: Tensor, valid: Tensor, extent: Tensor, size: int) -> Tensor:
    """Front-view heat (B T, M, M): a Gaussian per person, the larger value where they meet, 1 at each centre cell.

    Radius and width follow training.md 2.2, scaled with the map: r = int(8 e / 2 + 4) on the published 128 cells.
    """
    radius = torch.floor((8 * extent / 2 + 4) * size / 128).clamp(1, size)
    sigma = (2 * radius + 1) / 6
    at = torch.arange(size, device=cell.device)
    offset = at - cell[..., None]  # (B, P, T, 2, M)
    fall = torch.exp(-offset.square() / (2 * sigma[..., None, None].square()))
    fall = fall * (offset.abs() <= radius[..., None, None])
    heat = fall[..., 0, :, None] * fall[..., 1, None, :] * valid[..., None, None]
    return _by_frame(heat).amax(1)


def center_heat_3d(cell: Tensor, level: Tensor, valid: Tensor, size: int, levels: int) -> Tensor:
    """Heat over depth level, y, x (B T, D, M, M) (training.md 2.5), person by person to keep one volume in memory."""
    share = level / levels
    deep = 2 * torch.div((4 + 4 * share).floor() * levels / 64, 2, rounding_mode="floor") + 1
    radius = torch.floor((8 * (1 - share) / 2 + 4) * size / 128).clamp_min(1)
    side = 2 * radius + 1
    sigma2 = (2 * torch.sqrt(2 * (side / 2).square() + (deep / 2).square()) / 6).square()
    depth_at, at = torch.arange(levels, device=cell.device), torch.arange(size, device=cell.device)
    dz, dyx = depth_at - level[..., None], at - cell[..., None]
    along = torch.exp(-dz.square() / sigma2[..., None]) * (dz.abs() <= (deep / 2)[..., None])
    fall = torch.exp(-dyx.square() / sigma2[..., None, None]) * (dyx.abs() <= radius[..., None, None])
    along, fall = _by_frame(along * valid[..., None]), _by_frame(fall)
    volume = along.new_zeros(len(along), levels, size, size)
    for person in range(along.shape[1]):
        heat = along[:, person, :, None, None] * fall[:, person, None, 0, :, None] * fall[:, person, None, 1, None, :]
        volume = torch.maximum(volume, heat)
    return volume
