"""Compares detected people with the bodies they were matched to, in a few batched passes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from trace_train.body.layer import JOINTS, BodyLayer
from trace_train.evaluation.ground_truth import GroundTruth
from trace_train.geometry.camera import FOCAL
from trace_train.inference.detections import Detections
from trace_train.metrics.joints import pve, rooted
from trace_train.metrics.world import FOOT_VERTICES
from trace_train.streaming.batch import Batch

LSP = 14
MESHES_AT_ONCE = 128
"""Number of bodies skinned at a time; each takes several arrays of 80 kB."""
Values = dict[str, Tensor]
"""Values (M, ...) of M pairs by name."""


def compare(
    batch: Batch,
    found: Detections,
    rows: Tensor,
    target: GroundTruth,
    world: tuple[Tensor, Tensor],
    layers: Mapping[str, BodyLayer],
) -> Values:
    """Errors and values to compare for M pairs, float64 on the CPU.

    `rows` (M,) of `found`; `target`: the M people they were matched to. `world`: rotations from camera axes to the axes
    of the predicted world (M, 3, 3), and the hip midpoints there (M, 3), for the 50-degree camera.
    """
    turn, place = world
    frames = batch.images.shape[1]
    video, time = target.frame // frames, target.frame % frames
    px = batch.images.shape[2] / 2 / batch.crop_from_frame[video, time, 0, 0]
    error, feet, true_feet = compare_meshes(found.rotations[rows], found.betas[rows], target, layers)
    values = {
        "video": video,
        "predicted": rooted(found.body.joints_h36m[rows, :LSP]),
        "annotated": rooted(target.joints),
        "pve": error,
        "joints2d": found.joints2d_h36m[rows, :LSP] * px[:, None, None],
        "true_joints2d": target.joints2d * px[:, None, None],
        "px": px,
        "in_world": target.in_world,
        "skeleton": found.body.joints[rows, :JOINTS] @ turn.mT,
        "feet": feet @ turn.mT,
        "root": turn @ found.rotations[rows, 0],
        "place": place,
        "true_skeleton": target.skeleton,
        "true_feet": true_feet,
        "true_root": target.rotations[:, 0],
        "true_hips": target.hips,
        "true_from_assumed": true_from_assumed(batch)[video, time],
        "camera_from_world": target.turn,
    }
    return {k: v.cpu().double() if v.is_floating_point() else v.cpu() for k, v in values.items()}


def compare_meshes(
    rotations: Tensor, betas: Tensor, target: GroundTruth, layers: Mapping[str, BodyLayer]
) -> tuple[Tensor, Tensor, Tensor]:
    """Per-vertex errors (M,), and foot vertices (M, 4, 3) relative to the hip midpoint: predicted ones in camera axes,
    annotated ones in world axes. Predicted: neutral bodies, rotations (M, 24, 3, 3) with the root in the camera."""
    parts = []
    feet = list(FOOT_VERTICES)
    for at in torch.arange(len(betas), device=betas.device).split(MESHES_AT_ONCE):
        some = target.rows(at)
        predicted = layers["neutral"](rotations[at], betas[at], vertices=True).vertices
        assert predicted is not None
        true = some.vertices(layers)
        parts.append((pve(predicted, true @ some.turn.mT), predicted[:, feet], true[:, feet]))
    errors, ours, theirs = (torch.cat(part) for part in zip(*parts))
    return errors, ours, theirs


def true_from_assumed(batch: Batch) -> Tensor:
    """(B, T, 3, 3) linear maps from positions in the crop's 50-degree camera to positions in the true camera, metres.

    The projection into the frame is kept, and depth scales with the focal length: a body that appears equally large
    is farther away from a longer lens.
    """
    size = batch.images.shape[2]
    px_from_crop = torch.eye(3, device=batch.images.device)
    px_from_crop[0, 0] = px_from_crop[1, 1] = size / 2
    px_from_crop[:2, 2] = (size - 1) / 2
    frame_from_crop = torch.linalg.inv(batch.crop_from_frame.double()) @ px_from_crop.double()
    ray_from_crop = torch.linalg.inv(batch.intrinsics.double()) @ frame_from_crop
    ray_from_crop = ray_from_crop / ray_from_crop[..., 2:, 2:]
    widths = ray_from_crop[..., 0, 0] * ray_from_crop[..., 1, 1]
    deeper = widths.rsqrt() / FOCAL
    assumed = ray_from_crop.new_tensor([FOCAL, FOCAL, 1.0]).diag()
    mapping: Tensor = deeper[..., None, None] * ray_from_crop @ assumed
    return mapping
