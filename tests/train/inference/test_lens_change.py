"""From the network's 50-degree camera to the lens of the video."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trace_train.geometry.camera import FOCAL, SMALLEST_SCALE, metres_through, translation_from_triple
from trace_train.inference.lens_change import PaddedSquare, clamped, projected, solve_hips, through_lens

SIZES = [(1280, 720), (720, 1280), (640, 640), (641, 360), (360, 641)]
RNG = np.random.default_rng(0)


def lens(focal: float, x: float, y: float) -> np.ndarray:
    return np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]])


def people(count: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Hips (K, 3) and joints relative to them (K, 44, 3), m."""
    hips = np.stack([RNG.uniform(-1, 1, count), RNG.uniform(-0.5, 0.5, count), RNG.uniform(2, 12, count)], axis=1)
    return hips, RNG.normal(0, 0.35, (count, 44, 3))


@pytest.mark.parametrize("width, height", SIZES)
def test_the_square_is_the_networks_picture(width: int, height: int) -> None:
    """Normalised edges -1 and 1 lie half a pixel outside of the first and last pixel of the padded picture."""
    square = PaddedSquare(width, height)
    side, left, top = max(width, height), (max(width, height) - width) // 2, (max(width, height) - height) // 2
    for edge, first in ((-1, -0.5), (1, side - 0.5)):
        point = np.array([edge / FOCAL, edge / FOCAL, 1.0])
        assert np.allclose(projected(point, square.intrinsics), [first - left, first - top])


@pytest.mark.parametrize("width, height", SIZES)
def test_triples_are_decoded_as_in_training(width: int, height: int) -> None:
    square, triple = PaddedSquare(width, height), np.array([[0.5, 0.1, -0.2], [1.2, -0.3, 0.4]])
    own = translation_from_triple(torch.from_numpy(triple)).numpy()
    assert np.allclose(square.metres(triple, square.intrinsics), own)
    # through another lens, as evaluation does it
    other, half = lens(1.7 * square.side, 0.45 * width, 0.6 * height), square.side / 2
    middle = (other[:2, 2] - square.middle) / half
    known = torch.tensor([other[0, 0] / half, middle[1], middle[0]], dtype=torch.float64)
    expected = metres_through(known, torch.from_numpy(triple)).numpy()
    assert np.allclose(square.metres(triple, other), expected)
    assert np.allclose(square.triple(square.metres(triple, other), other), triple)


def test_a_centred_lens_scales_depth_only() -> None:
    square, (hips, joints) = PaddedSquare(1280, 720), people()
    wide = square.intrinsics.copy()
    wide[[0, 1], [0, 1]] *= 1.5
    placed = through_lens(hips, joints, wide, square)
    assert np.allclose(placed.hips, hips * [1, 1, 1.5])
    # the hips stay where they were in the picture
    assert np.allclose(projected(placed.hips, wide), projected(hips, square.intrinsics))
    # the rest only nearly, the better the farther away
    assert 0 < placed.residual[hips[:, 2].argmax()] < placed.residual[hips[:, 2].argmin()]


def test_the_same_lens_changes_nothing() -> None:
    square, (hips, joints) = PaddedSquare(640, 361), people()
    placed = through_lens(hips, joints, square.intrinsics, square)
    assert np.allclose(placed.hips, hips)
    assert placed.residual.max() < 1e-9


@pytest.mark.parametrize("x, y", [(639.5, 359.5), (500.0, 420.0)])
def test_exact_joints_come_back_within_a_hundredth_of_a_pixel(x: float, y: float) -> None:
    hips, joints = people()
    camera = lens(900.0, x, y)
    solved = solve_hips(projected(joints + hips[:, None], camera), joints, camera)
    assert np.allclose(solved, hips, atol=1e-6)
    again = projected(joints + solved[:, None], camera)
    assert np.abs(again - projected(joints + hips[:, None], camera)).max() < 0.01


def test_an_off_centre_lens_is_solved_from_the_joints() -> None:
    square, (hips, joints) = PaddedSquare(1280, 720), people()
    camera = lens(1500.0, 560.0, 410.0)
    placed = through_lens(hips, joints, camera, square)
    seen = projected(joints + hips[:, None], square.intrinsics)

    def error(where: np.ndarray) -> np.ndarray:
        return np.square(projected(joints + where[:, None], camera) - seen).sum((1, 2))

    best = error(placed.hips)
    for step in 0.02 * np.concatenate([np.eye(3), -np.eye(3)]):
        assert (error(placed.hips + step) >= best - 1e-6).all()
    assert np.allclose(placed.residual, np.sqrt(best / 44))
    assert np.allclose(placed.joints_2d, projected(joints + placed.hips[:, None], camera))


def test_weights_leave_joints_out() -> None:
    hips, joints = people()
    camera, weights = lens(900.0, 500.0, 420.0), np.ones((20, 44))
    seen = projected(joints + hips[:, None], camera)
    seen[:, 5:15] += 300
    weights[:, 5:15] = 0
    assert np.allclose(solve_hips(seen, joints, camera, weights), hips, atol=1e-6)


def test_depths_beyond_the_smallest_scale_are_clamped_and_said() -> None:
    square = PaddedSquare(640, 640)
    triple = np.array([[0.5, 0, 0], [SMALLEST_SCALE / 2, 0, 0], [-1, 0, 0]])
    depth = square.metres(triple, square.intrinsics)[:, 2]
    assert np.allclose(depth[1:], FOCAL / SMALLEST_SCALE)
    assert clamped(triple).tolist() == [False, True, True]


def test_nobody() -> None:
    placed = through_lens(np.zeros((0, 3)), np.zeros((0, 44, 3)), lens(900, 100, 100), PaddedSquare(640, 360))
    assert placed.hips.shape == (0, 3)
    assert placed.joints_2d.shape == (0, 44, 2)
