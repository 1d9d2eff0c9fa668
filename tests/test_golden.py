"""Numbers that may not change unnoticed: a refactor shows that they stay, a decision changes them with its reason.

Inputs are drawn from seeded generators, never from pictures, so the numbers hold whatever decodes an image.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trace_data.shards.sampling import permuted
from trace_train.build import body_layers
from trace_train.camera import depth_levels
from trace_train.config import LossConfig
from trace_train.losses.objective import objective
from trace_train.network.outputs import Maps, People, TrackedPeople
from trace_train.rotations import matrix_from_axis_angle
from trace_train.targets import Targets, WorldTargets

LOSSES = {
    "center_map": 9.03905,
    "center_map_3d": 77.18022,
    "joints2d": 0.5271004,
    "joints3d": 0.6333485,
    "pa_joints3d": 0.4747036,
    "root_rotation": 2.48327,
    "body_pose": 2.41245,
    "shape": 0.03283589,
    "camera": 0.8895307,
}
TRACK_LOSSES = {
    "shape_consistency": 2.003107,
    "camera_consistency": 0.5020739,
    "root_consistency": 2.861768,
    "motion_offsets": 0.09324732,
    "world_rotation": 2.643155,
    "world_root": 2.422424,
    "world_translation": 0.545442,
    "world_scale": 0.4405247,
    "world_joints2d": 0.538836,
    "world_velocity": 13.63605,
    "foot_velocity": 30.54672,
    "foot_contact": 30.70177,
}
OFF = ("world_scale", "camera_consistency", "root_consistency")
"""Terms whose weight is 0 by default."""
LEVELS = [2.144507, 1.983669, 0.160838, 0.107225, 0.021445]
ORDER = [8, 3, 6, 5, 1, 7, 4, 0, 9, 2]


def random_case() -> tuple[Maps, People, Targets]:
    g = torch.Generator().manual_seed(7)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * scale

    b, p, t, d, m = 2, 2, 2, 8, 16
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
        frame_mask=torch.tensor([[True, True], [True, False]]),
        center_map=heat,
        center_map_3d=heat_3d,
        center_map_3d_mask=torch.tensor([True, False, True, True]),
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
    """The same people along tracks of two frames, with what they should do in the world."""
    g = torch.Generator().manual_seed(8)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(*shape, generator=g) * scale

    b, p, t = targets.center_mask.shape
    some = torch.ones(b, p, t, dtype=torch.bool)
    some[1, 1, 0] = False
    world = WorldTargets(
        motion=normal(b, p, t, 3, scale=0.05),
        motion_mask=some & torch.tensor([False, True]),
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
        seconds=torch.tensor([0.0, 0.04]).expand(b, t),
    )
    people = replace(people, motion=normal(b * p, t, 3, scale=0.05))
    tracked = TrackedPeople(
        people=people,
        mask=targets.center_mask.flatten(0, 1),
        world_camera=normal(b * p, t, 3, scale=0.05) + torch.tensor([0.6, 0.0, 0.0]),
        world_root=matrix_from_axis_angle(normal(b * p, t, 3)),
    )
    return tracked, replace(targets, world=world)


def test_loss_values_of_one_batch(packs: Path) -> None:
    maps, people, targets = random_case()
    tracked, targets = random_world(people, targets)
    weights = {**LossConfig().weights(), **dict.fromkeys(OFF, 1.0)}
    layer = body_layers(packs)["neutral"]
    report = objective(maps, tracked.people, targets, layer, weights, tracked=tracked)
    found = {name: value.item() for name, value in report.values.items()}
    assert found == pytest.approx(LOSSES | TRACK_LOSSES, rel=1e-4)
    expected = sum(weights[k] * v for k, v in (LOSSES | TRACK_LOSSES).items())
    assert report.total.item() == pytest.approx(expected, rel=1e-4)


def test_depth_levels_of_the_small_network() -> None:
    assert [round(v, 6) for v in depth_levels(16)[[0, 1, 13, 14, 15]].tolist()] == LEVELS


def test_the_order_of_clips() -> None:
    assert [permuted(i, 10, (0, "3dpw", 0)) for i in range(10)] == ORDER
