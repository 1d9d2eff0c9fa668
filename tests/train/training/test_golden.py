"""Numbers that may not change unnoticed: a refactor shows that they stay, a decision changes them with its reason.

Inputs are drawn from seeded generators, never from pictures, so the numbers hold whatever decodes an image.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from random_case import random_case, random_world

from trace_data.shards.sampling.sampler import permuted
from trace_train.build import body_layers
from trace_train.config import LossConfig
from trace_train.geometry.camera import depth_levels
from trace_train.losses.objective import objective

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


def test_loss_values_of_one_batch(packs: Path) -> None:
    maps, people, targets = random_case()
    tracked, targets = random_world(people, targets)
    weights = {**LossConfig().model_dump(), **dict.fromkeys(OFF, 1.0)}
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
