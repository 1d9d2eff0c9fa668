"""Torch rotations against SciPy's, and their behaviour where formulas divide by zero."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trace_train.geometry.rotations import (
    IDENTITY_6D,
    axis_angle_from_matrix,
    geodesic,
    matrix_from_6d,
    matrix_from_axis_angle,
    sixd_from_matrix,
)


def random_vectors(count: int = 200) -> np.ndarray:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(count, 3))
    lengths = generator.uniform(0, np.pi, (count, 1))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) * lengths


def test_axis_angle_agrees_with_scipy_both_ways() -> None:
    vectors = random_vectors()
    matrices = matrix_from_axis_angle(torch.from_numpy(vectors))
    np.testing.assert_allclose(matrices.numpy(), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(axis_angle_from_matrix(matrices).numpy(), vectors, atol=1e-7)


@pytest.mark.parametrize("axis", [(np.pi, 0, 0), (0, np.pi, 0), (0, 0, np.pi), (0, 0, 0), (1e-9, 0, 0)])
def test_half_turns_and_the_identity_survive(axis: tuple[float, float, float]) -> None:
    vector = torch.tensor([axis], dtype=torch.float64)
    matrix = matrix_from_axis_angle(vector)
    back = matrix_from_axis_angle(axis_angle_from_matrix(matrix))
    assert torch.allclose(back, matrix, atol=1e-9)


def test_gradient_is_finite_and_right_at_zero_rotation() -> None:
    vector = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    matrix = matrix_from_axis_angle(vector)
    # d R[2, 1] / d x = 1 at the identity: a small turn about x moves y towards z
    (gradient,) = torch.autograd.grad(matrix[0, 2, 1], vector)
    assert torch.allclose(gradient, torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))


def test_6d_holds_the_first_two_columns_interleaved() -> None:
    matrix = matrix_from_axis_angle(torch.from_numpy(random_vectors(5)))
    six = sixd_from_matrix(matrix)
    assert torch.equal(six[:, 0::2], matrix[:, :, 0]) and torch.equal(six[:, 1::2], matrix[:, :, 1])
    assert torch.allclose(matrix_from_6d(six), matrix, atol=1e-9)
    assert torch.equal(matrix_from_6d(torch.tensor(IDENTITY_6D)), torch.eye(3))


def test_any_6d_gives_a_rotation() -> None:
    matrix = matrix_from_6d(torch.randn(100, 6, generator=torch.Generator().manual_seed(1)).double())
    assert torch.allclose(matrix @ matrix.transpose(1, 2), torch.eye(3).double().expand(100, 3, 3), atol=1e-9)
    assert torch.allclose(torch.linalg.det(matrix), torch.ones(100).double())


def test_the_angle_between_rotations() -> None:
    g = torch.Generator().manual_seed(2)
    base = matrix_from_axis_angle(torch.randn(200, 3, generator=g))
    axis = torch.nn.functional.normalize(torch.randn(200, 3, generator=g), dim=-1)
    angle = torch.linspace(0, math.pi, 200)
    found = geodesic(base, base @ matrix_from_axis_angle(axis * angle[:, None]))
    assert torch.allclose(found, angle, atol=2e-3) and torch.allclose(found[:190], angle[:190], atol=2e-5)
    tiny = geodesic(torch.eye(3), matrix_from_axis_angle(torch.tensor([1e-4, 0.0, 0.0])))
    assert tiny.item() == pytest.approx(1e-4, rel=1e-3), "an arc cosine would find nothing in float32"


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_the_angle_has_a_finite_gradient_at_both_ends(angle: float) -> None:
    turn = matrix_from_axis_angle(torch.tensor([0.0, angle, 0.0])).requires_grad_()
    (gradient,) = torch.autograd.grad(geodesic(torch.eye(3), turn), turn)
    assert bool(gradient.isfinite().all())
