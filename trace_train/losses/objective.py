"""All active loss terms of a batch, with their values, valid counts and weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trace_train.body_layer import BodyLayer
from trace_train.camera import project, translation_from_triple
from trace_train.losses import body, keypoints, maps
from trace_train.losses.reduce import Term
from trace_train.network.outputs import Maps, People
from trace_train.rotations import matrix_from_6d
from trace_train.targets import Targets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LossReport:
    """The total and what it is made of."""

    total: Tensor
    """Scalar, the sum of weight times mean over the active terms."""
    values: Mapping[str, Tensor]
    """Mean of each term in its own unit, before its weight."""
    counts: Mapping[str, Tensor]
    """How many entries each term averaged."""
    weights: Mapping[str, float]
    """Weight of each term."""


def full_rotations(people: People) -> Tensor:
    """(..., 24, 3, 3): root, 21 body joints, and hands that never turn."""
    joints = matrix_from_6d(torch.cat([people.root_6d[..., None, :], people.pose_6d], dim=-2))
    hands = torch.eye(3, device=joints.device, dtype=joints.dtype).expand(*joints.shape[:-3], 2, 3, 3)
    return torch.cat([joints, hands], dim=-3)


def objective(
    found: Maps,
    people: People,
    rows: tuple[Tensor, ...],
    targets: Targets,
    layer: BodyLayer,
    weights: Mapping[str, float],
    *,
    center_logits: bool = True,
    published_camera: bool = False,
) -> LossReport:
    """Compare maps and people with targets. `rows` holds (clip, person, frame) indices (K,) of the regressed people.

    The switches are the network's, see there: released weights are trained on as they were trained.
    """

    def at(values: Tensor) -> Tensor:
        return values[rows]

    rotations = full_rotations(people)
    posed = layer(rotations, people.shape[:, :10])
    translation = translation_from_triple(people.camera, published=published_camera)
    projected = project(posed.joints + translation[:, None], published=published_camera)
    frames = targets.frame_mask.flatten()
    everyone = torch.ones_like(at(targets.shape_mask))
    terms: dict[str, Term] = {
        "center_map": maps.focal(found.center, targets.center_map, frames, logits=center_logits),
        "center_map_3d": maps.focal(
            found.center_3d, targets.center_map_3d, frames & targets.center_map_3d_mask, logits=center_logits
        ),
        "joints2d": keypoints.joints2d(projected, at(targets.joints2d), at(targets.joints2d_mask)),
        "joints3d": keypoints.joints3d(posed.joints, at(targets.joints3d), at(targets.joints3d_mask)),
        "pa_joints3d": keypoints.pa_joints3d(posed.joints, at(targets.joints3d), at(targets.joints3d_mask)),
        "root_rotation": body.rotation(rotations[:, 0], at(targets.root_rotation), at(targets.root_rotation_mask)),
        "body_pose": body.rotation(rotations[:, 1:22], at(targets.body_pose), at(targets.body_pose_mask)),
        "shape": body.shape(people.shape[:, :10], at(targets.shape), everyone, at(targets.shape_mask)),
        "camera": body.camera(people.camera, at(targets.camera), at(targets.camera_mask)),
    }
    active = {name: term for name, term in terms.items() if weights[name] > 0}
    values = {name: term.mean() for name, term in active.items()}
    total = torch.stack([weights[name] * value for name, value in values.items()]).sum()
    return LossReport(
        total=total,
        values=values,
        counts={name: term.count for name, term in active.items()},
        weights={name: weights[name] for name in active},
    )
