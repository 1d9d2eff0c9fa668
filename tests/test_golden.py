"""Numbers that may not change unnoticed: a refactor shows that they stay, a decision changes them with its reason.

Inputs are drawn from seeded generators, never from pictures, so the numbers hold whatever decodes an image.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trace_data.shards.sampling import permuted
from trace_train.build import body_layers
from trace_train.camera import depth_levels
from trace_train.config import LossConfig
from trace_train.losses.objective import objective
from trace_train.network.model import Maps, People
from trace_train.rotations import matrix_from_axis_angle
from trace_train.targets import Targets

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
LEVELS = [2.144507, 1.983669, 0.160838, 0.107225, 0.021445]
ORDER = [8, 3, 6, 5, 1, 7, 4, 0, 9, 2]


def random_case() -> tuple[Maps, People, tuple[torch.Tensor, ...], Targets]:
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
    k = b * p * t
    people = People(
        camera=normal(k, 3, scale=0.1) + torch.tensor([0.7, 0.0, 0.0]),
        camera_coarse=normal(k, 3),
        root_6d=normal(k, 6),
        pose_6d=normal(k, 21, 6),
        shape=normal(k, 21),
    )
    return maps, people, targets.center_mask.nonzero(as_tuple=True), targets


def test_loss_values_of_one_batch(packs: Path) -> None:
    maps, people, rows, targets = random_case()
    weights = LossConfig().model_dump()
    report = objective(maps, people, rows, targets, body_layers(packs)["neutral"], weights)
    found = {name: value.item() for name, value in report.values.items()}
    assert found == pytest.approx(LOSSES, rel=1e-4)
    assert report.total.item() == pytest.approx(sum(weights[k] * v for k, v in LOSSES.items()), rel=1e-4)


def test_depth_levels_of_the_small_network() -> None:
    assert [round(v, 6) for v in depth_levels(16)[[0, 1, 13, 14, 15]].tolist()] == LEVELS


def test_the_order_of_clips() -> None:
    assert [permuted(i, 10, (0, "3dpw", 0)) for i in range(10)] == ORDER
