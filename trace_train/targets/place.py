"""Joints of people in the crop, and their centres (docs/reference/training.md#person-centre)."""

from __future__ import annotations

import torch
from torch import Tensor

from trace_data.schema.camera import NEAR_PLANE
from trace_data.schema.keypoints import LEAST_CONFIDENCE, TORSO
from trace_train.streaming.batch import Batch
from trace_train.targets.view import CropView


def annotated_joints(batch: Batch) -> Tensor:
    """(B, P, T, 44) bool: annotated in 2D, inside the frame."""
    confident = (batch.kp2d[..., 2] > LEAST_CONFIDENCE) & batch.masks["pose2d"][..., None]
    return in_frame(batch, batch.kp2d[..., :2]) & confident


def center_joints(batch: Batch, view: CropView, joints2d: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The joints that define a person's centre: annotated 2D joints or, in frames without any, 3D joints projected by a
    known camera.

    A body annotated without 2D points (3DPW has such frames) is still visible; without a centre, the maps would be
    trained to show nobody there.
    """
    px, depth = view.project(batch.kp3d[..., :3])
    projected = view.normalised(px)
    front = (batch.kp3d[..., 3] > 0) & (depth > NEAR_PLANE) & (projected.abs() < 1).all(-1) & in_frame(batch, px)
    annotated = batch.masks["pose2d"][..., None]
    projectable = batch.present & batch.masks["joints3d"] & view.intrinsics_known
    usable = front & projectable[..., None]
    return torch.where(annotated[..., None], joints2d, projected), torch.where(annotated, seen, usable)


def in_frame(batch: Batch, px: Tensor) -> Tensor:
    """(B, P, T, J) whether points (B, P, T, J, 2), px of the frame, lie inside it."""
    edges = px + 0.5
    return ((edges >= 0) & (edges <= batch.frame_size[:, None, None, None])).all(-1)


def person_center(joints2d: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of the visible torso joints if there are at least two, else of all visible joints if at least three.

    (..., 44, 2) and (..., 44) to centres (..., 2) y, x and whether they exist
    (docs/reference/joints.md#centre-of-a-person).
    """
    torso = torch.zeros_like(seen)
    for joint in TORSO:
        torso[..., joint] = seen[..., joint]
    use_torso = torso.sum(-1) >= 2
    chosen = torch.where(use_torso[..., None], torso, seen)
    count = chosen.sum(-1)
    mean = torch.where(chosen[..., None], joints2d, torch.zeros_like(joints2d)).sum(-2) / count.clamp_min(1)[..., None]
    return mean.flip(-1), use_torso | (count > 2)


def extent_of(joints2d: Tensor, seen: Tensor) -> Tensor:
    """Diagonal (...,) of the bounding box of the visible joints, in normalised units (the crop is 2 wide)."""
    big = torch.full_like(joints2d, 9.0)
    low = torch.where(seen[..., None], joints2d, big).amin(-2)
    high = torch.where(seen[..., None], joints2d, -big).amax(-2)
    return (high - low).clamp_min(0).square().sum(-1).sqrt()


def with_places(
    batch: Batch, view: CropView, center: Tensor, has_center: Tensor, extent: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The same centres (..., 2) y, x, whether they exist, and extents (...), and those of people without any joint, of
    whom the shards say where they are."""
    alone = batch.present & batch.masks["center"] & ~batch.masks["pose2d"] & ~batch.masks["joints3d"]
    points = torch.cat([batch.center, batch.box], dim=-1).unflatten(-1, (3, 2))
    middle, low, high = view.normalised(points).unbind(-2)
    placed = alone & (middle.abs() < 1).all(-1)
    size = (high.clamp(-1, 1) - low.clamp(-1, 1)).square().sum(-1).sqrt()
    return (
        torch.where(placed[..., None], middle.flip(-1), center),
        has_center | placed,
        torch.where(placed, size, extent),
    )
