"""Metrics on sets whose error is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from trace_train.alignment import similarity
from trace_train.metrics import box_iou, geometric_median, match, mpjpe, pa_mpjpe, pve, rooted
from trace_train.rotations import matrix_from_axis_angle

G = torch.Generator().manual_seed(0)


def test_mpjpe_removes_the_hips_and_nothing_else() -> None:
    target = torch.randn(3, 14, 3, generator=G)
    assert torch.allclose(mpjpe(target + torch.tensor([5.0, 1.0, 2.0]), target), torch.zeros(3).double(), atol=1e-6)
    moved = target.clone()
    moved[:, 0, 0] += 1.4
    assert mpjpe(moved, target).tolist() == pytest.approx([0.1] * 3, abs=1e-6)
    assert float(rooted(target)[:, 2:4].mean(1).abs().max()) < 1e-6


@pytest.mark.parametrize("people", [1, 2, 3, 4])
def test_pa_mpjpe_is_zero_for_similar_sets_whatever_the_number_of_people(people: int) -> None:
    target = torch.randn(people, 14, 3, generator=G)
    turn = matrix_from_axis_angle(torch.randn(people, 3, generator=G))
    moved = 0.4 * target @ turn.transpose(1, 2) + torch.randn(people, 1, 3, generator=G)
    assert float(pa_mpjpe(moved, target).max()) < 1e-6


def test_similarity_is_the_least_squares_optimum() -> None:
    source, target = torch.randn(1, 8, 3, generator=G).double(), torch.randn(1, 8, 3, generator=G).double()
    scale, turn, shift = similarity(source, target)

    def cost(x: np.ndarray) -> float:
        rotation = matrix_from_axis_angle(torch.from_numpy(x[:3]))
        moved = x[3] * source[0] @ rotation.T + torch.from_numpy(x[4:])
        return float((moved - target[0]).square().sum())

    ours = float((scale[:, None, None] * source @ turn.transpose(1, 2) + shift[:, None] - target).square().sum())
    starts = np.random.default_rng(0).normal(size=(12, 7))
    best = min(minimize(cost, start).fun for start in starts)
    assert ours == pytest.approx(best, rel=1e-5)


def test_pve_is_a_mean_distance() -> None:
    target = torch.randn(2, 100, 3, generator=G)
    assert pve(target + torch.tensor([0.0, 0.03, 0.04]), target).tolist() == pytest.approx([0.05, 0.05], abs=1e-6)


def test_matching_is_optimal_and_needs_overlap() -> None:
    person = torch.rand(14, 2, generator=G)
    target = torch.stack([person, person + torch.tensor([0.3, 0.0]), person + 9])
    predicted = torch.stack([person + torch.tensor([0.29, 0.0]), person + torch.tensor([0.01, 0.0]), person - 9])
    assert sorted(match(predicted, target)) == [(0, 1), (1, 0)]
    assert match(predicted[:0], target) == [] and match(predicted, target[:0]) == []
    unit = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    assert box_iou(unit, torch.tensor([[0.5, 0.0, 1.5, 1.0]])).item() == pytest.approx(1 / 3)


def test_no_constant_beats_the_geometric_median() -> None:
    points = np.random.default_rng(1).normal(size=(60, 3)) ** 3
    median = geometric_median(points)

    def cost(x: np.ndarray) -> float:
        return float(np.linalg.norm(points - x, axis=1).mean())

    assert cost(median) <= minimize(cost, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-9}).fun + 1e-4
    assert cost(median) < cost(points.mean(0))
