"""Metrics on sets whose error is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from trace_train.evaluation.baselines import geometric_median
from trace_train.geometry.procrustes import similarity
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.metrics.joints import (
    acceleration_error,
    area_under_curve,
    correct,
    labelled_errors,
    mean_distance,
    mpjpe,
    pa_mpjpe,
    per_person,
    rooted,
)
from trace_train.metrics.matching import box_iou, match

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
    moved = target + torch.tensor([0.0, 0.03, 0.04])
    assert mean_distance(moved, target).tolist() == pytest.approx([0.05, 0.05], abs=1e-6)


def test_acceleration_error_of_a_known_push() -> None:
    time = torch.arange(9.0)[:, None, None]
    target = torch.randn(1, 14, 3, generator=G) + 0.2 * time  # even motion has no acceleration
    push = torch.tensor([0.003, 0.0, 0.004])
    found = acceleration_error(target + 0.5 * push * time**2, target)
    assert found.tolist() == pytest.approx([0.005] * 7, abs=1e-6)


def test_labelled_joints_count_and_the_others_do_not() -> None:
    target = torch.randn(3, 44, 3, generator=G)
    labelled = torch.rand(3, 44, generator=G) < 0.5
    wild = torch.where(labelled[..., None], target + torch.tensor([0.0, 0.06, 0.08]), torch.full_like(target, 1e5))
    errors = labelled_errors(wild, target, labelled)
    assert torch.allclose(errors, 0.1 * labelled.double(), atol=1e-6)
    assert per_person(errors, labelled).tolist() == pytest.approx([0.1] * 3, abs=1e-6)
    turn = matrix_from_axis_angle(torch.randn(3, 3, generator=G))
    similar = 1.3 * target @ turn.mT + torch.randn(3, 1, 3, generator=G)
    similar = torch.where(labelled[..., None], similar, torch.full_like(target, -1e5))
    assert float(labelled_errors(similar, target, labelled, align=True).max()) < 1e-5
    alone = [labelled_errors(similar[i : i + 1], target[i : i + 1], labelled[i : i + 1], align=True) for i in range(3)]
    assert torch.allclose(torch.cat(alone), labelled_errors(similar, target, labelled, align=True), atol=1e-9)


def test_pck_and_auc_are_counts_of_joints() -> None:
    errors = torch.tensor([[0.0, 0.149, 0.151, 0.0724]]).double()
    labelled = torch.tensor([[True, True, True, False]])
    assert correct(errors, labelled).tolist() == [2]
    thresholds = np.arange(31) * 0.005
    expected = sum((np.array([0.0, 0.149, 0.151]) < t).sum() for t in thresholds) / 31
    assert area_under_curve(errors, labelled).tolist() == pytest.approx([expected])


def pairs_of(found: torch.Tensor, target: torch.Tensor, labelled: torch.Tensor | None = None) -> list[tuple[int, int]]:
    """Matches within one frame."""
    labelled = torch.ones(target.shape[:2], dtype=torch.bool) if labelled is None else labelled
    zeros = [torch.zeros(len(x), dtype=torch.long) for x in (found, target)]
    rows, whom = match(found, zeros[0], target, zeros[1], labelled, 1)
    return list(zip(rows.tolist(), whom.tolist()))


def test_matching_is_optimal_and_needs_overlap() -> None:
    person = torch.rand(14, 2, generator=G)
    target = torch.stack([person, person + torch.tensor([0.3, 0.0]), person + 9])
    predicted = torch.stack([person + torch.tensor([0.29, 0.0]), person + torch.tensor([0.01, 0.0]), person - 9])
    assert sorted(pairs_of(predicted, target)) == [(0, 1), (1, 0)]
    assert pairs_of(predicted[:0], target) == [] and pairs_of(predicted, target[:0]) == []
    unit = torch.tensor([0.0, 0.0, 1.0, 1.0])
    assert box_iou(unit, torch.tensor([0.5, 0.0, 1.5, 1.0])).item() == pytest.approx(1 / 3)


def test_a_batch_of_frames_is_matched_as_its_frames_are_alone() -> None:
    g = torch.Generator().manual_seed(3)
    found, target = (torch.rand(n, 6, 2, generator=g) + torch.randn(n, 1, 2, generator=g) * 0.5 for n in (60, 40))
    found_frame, target_frame = (torch.randint(0, 12, (n,), generator=g).sort().values for n in (60, 40))
    labelled = torch.rand(40, 6, generator=g) < 0.8
    rows, whom = match(found, found_frame, target, target_frame, labelled, 12)
    expected = []
    for frame in range(12):
        of, at = (found_frame == frame).nonzero()[:, 0], (target_frame == frame).nonzero()[:, 0]
        expected += [(int(of[i]), int(at[j])) for i, j in pairs_of(found[of], target[at], labelled[at])]
    assert list(zip(rows.tolist(), whom.tolist())) == expected and len(expected) > 10


def test_joints_that_are_not_labelled_do_not_move_a_match() -> None:
    person = torch.rand(14, 2, generator=G)
    labelled = torch.ones(1, 14, dtype=torch.bool)
    labelled[0, 9:] = False
    target = person[None].clone()
    target[0, 9:] = 1e4
    assert pairs_of(torch.stack([person + 0.2, person + 0.01]), target, labelled) == [(1, 0)]


def test_no_constant_beats_the_geometric_median() -> None:
    points = np.random.default_rng(1).normal(size=(60, 3)) ** 3
    median = geometric_median(points)

    def cost(x: np.ndarray) -> float:
        return float(np.linalg.norm(points - x, axis=1).mean())

    assert cost(median) <= minimize(cost, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-9}).fun + 1e-4
    assert cost(median) < cost(points.mean(0))


def test_a_median_of_known_points_is_that_of_those_alone() -> None:
    points = np.random.default_rng(2).normal(size=(30, 5, 3))
    known = np.random.default_rng(3).random((30, 5)) < 0.6
    known[:, 4] = False
    found = geometric_median(points, known)
    for joint in range(4):
        np.testing.assert_allclose(found[joint], geometric_median(points[known[:, joint], joint]), atol=1e-9)
    assert not found[4].any()
