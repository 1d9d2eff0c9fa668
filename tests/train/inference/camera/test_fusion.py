"""The motion on which people agree."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from trace_train.inference.camera.fusion import angles, central, fused, geometric_median, mean_rotation


def turns(*degrees: float) -> np.ndarray:
    return Rotation.from_euler("y", np.reshape(degrees, (-1, 1)), degrees=True).as_matrix()


def test_angles_agree_with_scipy() -> None:
    first, second = Rotation.random(50, random_state=1), Rotation.random(50, random_state=2)
    expected = (first.inv() * second).magnitude()
    assert np.allclose(angles(first.as_matrix(), second.as_matrix()), expected, atol=1e-12)


def test_the_angle_of_a_small_rotation_is_exact() -> None:
    small = Rotation.from_rotvec([[1e-9, 0, 0]]).as_matrix()
    assert angles(small, np.eye(3)) == pytest.approx(1e-9, rel=1e-6)


def test_mean_rotation_agrees_with_scipy() -> None:
    rotations, weights = Rotation.random(9, random_state=3), np.random.default_rng(3).uniform(0.1, 2, 9)
    assert np.allclose(mean_rotation(rotations.as_matrix(), weights), rotations.mean(weights).as_matrix(), atol=1e-9)


def test_an_outlier_of_90_degrees_is_removed() -> None:
    assert central(turns(1.0, 1.2, 91.0)).tolist() == [True, True, False]


def test_two_people_are_both_kept() -> None:
    assert central(turns(0.0, 20.0)).all()


def test_geometric_median_is_the_minimum() -> None:
    rng = np.random.default_rng(4)
    points, weights = rng.normal(size=(7, 3)), rng.uniform(0.1, 2, 7)

    def cost(point: np.ndarray) -> float:
        return float(weights @ np.linalg.norm(points - point, axis=1))

    found = minimize(cost, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    assert np.allclose(geometric_median(points, weights), found, atol=1e-5)


def test_geometric_median_on_a_point() -> None:
    """A point heavier than all others is the median, and the mean of points may lie on one of them."""
    corners = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0]])
    assert np.allclose(geometric_median(corners, np.ones(5)), 0)
    assert np.allclose(geometric_median(corners, np.array([9.0, 1, 1, 1, 1])), corners[0], atol=1e-6)
    moved = geometric_median(corners + np.array([[0, 0, 0]] * 4 + [[3, 0, 0]]), np.array([1, 1, 1, 1, 0.1]))
    assert np.abs(moved).max() < 0.2


def test_a_lying_person_does_not_move_the_camera() -> None:
    """Three people agree that it stands still; a fourth says that it jumped by 5 m without turning."""
    hips = np.array([[0.0, 0, 4], [1, 0, 5], [-1, 0, 6], [2, 0, 5]])
    before = hips + np.array([[0.0, 0, 0]] * 3 + [[5.0, 0, 0]])
    step = fused(np.tile(np.eye(3), (4, 1, 1)), before, hips, np.ones(4))
    assert np.linalg.norm(step.centre) < 1e-3


def test_one_person_has_no_spread() -> None:
    step = fused(turns(2.0), np.array([[0.0, 0, 5]]), np.array([[0.0, 0, 5]]), np.ones(1))
    assert step.spread is None
    assert step.people == 1


def test_the_fused_rotation_is_used_for_every_place() -> None:
    """People at 10 m whose rotations are 1 degree wrong in opposite ways would each move the camera by 17 cm."""
    hips = np.array([[0.0, 0, 10], [0, 0, 10]])
    step = fused(turns(1.0, -1.0), hips, hips, np.ones(2))
    assert np.linalg.norm(step.centre) < 1e-9
    assert step.spread == pytest.approx((1.0, 0.0), abs=1e-6)
