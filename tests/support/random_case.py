"""Predictions and targets drawn from seeded generators, some of them masked."""

from __future__ import annotations

from dataclasses import replace

import torch

from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.losses.prior import PosePrior
from trace_train.network.outputs import Maps, People, TrackedPeople
from trace_train.targets import Targets, WorldTargets

PRIOR = PosePrior(means=torch.zeros(1, 63), precisions=2000 * torch.eye(63)[None], constants=torch.tensor([100.0]))
"""One so narrow that every pose is unlikely."""


def random_case(frames: int = 2) -> tuple[Maps, People, Targets]:
    """Maps, people (4 tracks of two clips) and targets without a world."""
    g = torch.Generator().manual_seed(7)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * scale

    b, p, t, d, m = 2, 2, frames, 8, 16
    cell = torch.randint(2, m - 2, (b, p, t, 2), generator=g)
    heat = torch.rand(b * t, m, m, generator=g) * 0.9
    heat_3d = torch.rand(b * t, d, m, m, generator=g) * 0.9
    for clip in range(b):
        for person in range(p):
            for frame in range(t):
                y, x = cell[clip, person, frame]
                heat[clip * t + frame, y, x] = 1.0
                heat_3d[clip * t + frame, person, y, x] = 1.0
    some = torch.rand(b, p, t, generator=g) < 0.8
    frame_mask, volume_mask = torch.ones(b, t, dtype=torch.bool), torch.ones(b * t, dtype=torch.bool)
    frame_mask[-1, -1] = volume_mask[min(1, t - 1)] = False
    targets = Targets(
        joints2d=normal(b, p, t, 44, 2, scale=0.4),
        joints2d_mask=torch.rand(b, p, t, 44, generator=g) < 0.7,
        joints3d=normal(b, p, t, 44, 3, scale=0.3),
        joints3d_mask=some[..., None].expand(b, p, t, 44),
        root_rotation=matrix_from_axis_angle(normal(b, p, t, 3)),
        root_rotation_mask=some,
        body_pose=matrix_from_axis_angle(normal(b, p, t, 21, 3, scale=0.5)),
        body_pose_mask=some,
        shape=normal(b, p, t, 10),
        shape_mask=~some,
        camera=normal(b, p, t, 3, scale=0.2) + 0.6,
        camera_mask=some,
        center=cell / m * 2 - 1,
        center_mask=torch.ones(b, p, t, dtype=torch.bool),
        cell=cell,
        frame_mask=frame_mask,
        center_map=heat,
        center_map_3d=heat_3d,
        center_map_3d_mask=volume_mask,
    )
    maps = Maps(
        center=normal(b * t, m, m), center_3d=normal(b * t, d, m, m), camera=normal(b * t, 3, d, m, m), mesh=normal(1)
    )
    s = b * p
    people = People(
        camera=normal(s, t, 3, scale=0.1) + torch.tensor([0.7, 0.0, 0.0]),
        camera_coarse=normal(s, t, 3),
        root_6d=normal(s, t, 6),
        pose_6d=normal(s, t, 21, 6),
        shape=normal(s, t, 21),
    )
    return maps, people, targets


def random_world(people: People, targets: Targets) -> tuple[TrackedPeople, Targets]:
    """The same people along tracks, and their targets with what they should do in the world."""
    g = torch.Generator().manual_seed(8)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * scale

    b, p, t = targets.center_mask.shape
    some = torch.ones(b, p, t, dtype=torch.bool)
    some[1, 1, 0] = False
    world = WorldTargets(
        motion=normal(b, p, t, 3, scale=0.05),
        motion_mask=some & (torch.arange(t) > 0),
        joints2d=normal(b, p, t, 44, 2, scale=0.4),
        joints2d_mask=torch.rand(b, p, t, 44, generator=g) < 0.7,
        camera=normal(b, p, t, 3, scale=0.05) + 0.6,
        camera_mask=some,
        root_rotation=matrix_from_axis_angle(normal(b, p, t, 3)),
        root_rotation_mask=some,
        feet=normal(b, p, t, 4, 3, scale=0.3),
        feet_mask=some[..., None].expand(b, p, t, 4),
        stands=torch.rand(b, p, t, 4, generator=g) < 0.5,
        lens=torch.tensor([3.0, 0.1, -0.2]).expand(b, p, 3),
        lens_mask=torch.ones(b, p, dtype=torch.bool),
        seconds=(0.04 * torch.arange(t)).expand(b, t),
    )
    people = replace(people, motion=normal(b * p, t, 3, scale=0.05))
    tracked = TrackedPeople(
        people=people,
        mask=targets.center_mask.flatten(0, 1),
        world_camera=normal(b * p, t, 3, scale=0.05) + torch.tensor([0.6, 0.0, 0.0]),
        world_root=matrix_from_axis_angle(normal(b * p, t, 3)),
    )
    return tracked, replace(targets, world=world)
