"""The camera of the crop: published depth levels, round trips, and the solver against a true camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from trace_data.schema.clip import Window
from trace_train.geometry.camera import (
    FOCAL,
    depth_levels,
    level_of,
    project,
    solve_translation,
    translation_from_triple,
    triple_from_translation,
)


def test_depth_levels_are_the_published_ones() -> None:
    levels = depth_levels(64)
    assert len(levels) == 64
    assert torch.allclose(levels[:4], torch.tensor([6.536127, 5.072254, 3.608380, 2.144507]), atol=1e-5)
    assert levels[53].item() == pytest.approx(0.214451, abs=1e-6)
    assert levels[59].item() == pytest.approx(0.107225, abs=1e-6)
    assert levels[63].item() == pytest.approx(0.021445, abs=1e-6)


@pytest.mark.parametrize("count", [8, 16, 32, 64])
def test_levels_run_from_near_to_far_and_find_themselves(count: int) -> None:
    levels = depth_levels(count)
    assert len(levels) == count and bool((levels.diff() < 0).all())
    assert torch.equal(level_of(levels, levels), torch.arange(count))


def test_triples_round_trip_and_are_the_image_place_of_the_root() -> None:
    generator = torch.Generator().manual_seed(0)
    t = torch.rand(100, 3, generator=generator).double() * torch.tensor([4.0, 4.0, 15.0]) + torch.tensor([-2, -2, 0.6])
    triple = triple_from_translation(t)
    assert torch.allclose(translation_from_triple(triple), t, rtol=1e-9)
    assert torch.allclose(triple[:, 1:].flip(-1), project(t), atol=1e-12)
    assert pytest.approx(1 / math.tan(math.radians(25))) == FOCAL


def test_solver_finds_the_exact_translation_and_weights_decide_who_counts() -> None:
    generator = torch.Generator().manual_seed(1)
    joints = torch.randn(50, 44, 3, generator=generator) * 0.4
    t = torch.randn(50, 3, generator=generator) * torch.tensor([0.5, 0.5, 1.0]) + torch.tensor([0.0, 0.0, 4.0])
    points = project(joints + t[:, None])
    points[:, 40:] = 7.0  # nonsense under zero weight
    weights = torch.ones(50, 44)
    weights[:, 40:] = 0
    solved, good = solve_translation(points, joints, weights)
    assert bool(good.all()) and torch.allclose(solved, t, atol=1e-4)
    few = torch.zeros(50, 44)
    few[:, :4] = 1
    assert not solve_translation(points, joints, few)[1].any()


def test_project_crop_solve_reproject_meets_the_pixels() -> None:
    """A 50-degree camera whose principal point is the crop's centre: the crop's own camera explains it exactly."""
    generator = np.random.default_rng(2)
    width, height, size = 640, 480, 512
    window = Window(left=100.0, top=40.0, side=400.0)
    focal_px = FOCAL * window.side / 2
    center = np.array([window.left + window.side / 2 - 0.5, window.top + window.side / 2 - 0.5])
    joints = generator.normal(size=(44, 3)) * [0.3, 0.5, 0.3]
    t = np.array([0.2, -0.1, 3.5])
    px = focal_px * (joints + t)[:, :2] / (joints + t)[:, 2:] + center
    crop = window.crop_from_frame(size)
    normalised = (2 * (px @ crop[:2, :2].T + crop[:2, 2]) + 1) / size - 1
    solved, good = solve_translation(torch.from_numpy(normalised), torch.from_numpy(joints), torch.ones(44))
    assert bool(good) and np.allclose(solved.numpy(), t, atol=1e-4)
    again = project(torch.from_numpy(joints) + solved)
    back = ((again.numpy() + 1) * size - 1) / 2
    back = (back - crop[:2, 2]) / crop[0, 0]
    assert np.abs(back - px).max() < 0.01
    assert px[:, 0].min() >= 0 and px[:, 0].max() < width and px[:, 1].min() >= 0 and px[:, 1].max() < height
