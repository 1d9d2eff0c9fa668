"""Predictions that are exactly what the targets ask for."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from trace_train.body.layer import BodyOutput
from trace_train.geometry.rotations import sixd_from_matrix
from trace_train.network.outputs import Maps, People, TrackedPeople
from trace_train.targets import Targets


class ExactBody(torch.nn.Module):
    """Answers with the joints it was given, whatever pose it is asked for."""

    def __init__(self, joints: Tensor) -> None:
        super().__init__()
        self.joints = joints

    def forward(self, rotations: Tensor, betas: Tensor) -> BodyOutput:
        joints = self.joints.flatten(0, -3)
        return BodyOutput(joints=joints, joints_h36m=joints[:, :17], root=joints[:, 0], vertices=None)


def perfect(targets: Targets) -> tuple[People, TrackedPeople]:
    """People (S, T, ...) along tracks, and where they go in the world."""
    assert targets.world is not None

    def of(values: Tensor) -> Tensor:
        return values.flatten(0, 1).clone()

    shape = of(targets.shape)
    people = People(
        camera=of(targets.camera),
        camera_coarse=of(targets.camera),
        root_6d=of(sixd_from_matrix(targets.root_rotation)),
        pose_6d=of(sixd_from_matrix(targets.body_pose)),
        shape=torch.cat([shape, shape.new_zeros(*shape.shape[:2], 11)], dim=-1),
        motion=of(targets.world.motion),
        world_motion=torch.zeros_like(of(targets.camera)),
        world_rotation_6d=of(sixd_from_matrix(targets.root_rotation)),
    )
    return people, TrackedPeople(
        people=people,
        mask=targets.center_mask.flatten(0, 1),
        world_camera=of(targets.world.camera),
        world_root=of(targets.world.root_rotation),
    )


def perfect_maps(targets: Targets) -> Maps:
    """Logits far out where a centre is, or is not."""
    heats = [torch.where(heat >= 1, 30.0, -30.0) for heat in (targets.center_map, targets.center_map_3d)]
    nothing = heats[1].new_zeros(1)
    return Maps(center=heats[0], center_3d=heats[1], camera=nothing, mesh=nothing)


def without(targets: Targets, mask: Tensor) -> Targets:
    """The same people, seen only where `mask` (B, P, T) says so too."""
    return replace(targets, center_mask=targets.center_mask & mask)
