"""World metrics on trajectories whose error is known, and against other implementations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.metrics import world

G = torch.Generator().manual_seed(0)


def walk(seed: float, frames: int = 40) -> Tensor:
    """A path (T, 3) by formula."""
    t = torch.arange(frames).double() / 10
    parts = [torch.sin(1.1 * t + seed), 0.3 * torch.cos(2.3 * t + seed), 0.5 * t + 0.1 * torch.sin(3 * t * seed)]
    return torch.stack(parts, dim=1)


def body(frames: int) -> Tensor:
    """Joints (T, 24, 3) that walk."""
    return walk(1.0, frames)[:, None] + 0.4 * torch.randn(1, 24, 3, generator=G).double()


def similar_to(points: Tensor, scale: float) -> Tensor:
    turn = matrix_from_axis_angle(torch.tensor([0.3, -1.2, 0.8]).double())
    return scale * points @ turn.mT + torch.tensor([3.0, -2.0, 5.0])


def test_a_trajectory_in_other_coordinates_has_no_error() -> None:
    true = body(30)
    for scale in (1.0, 0.4):
        seen = similar_to(true, scale)
        for align in (world.first_two, world.similar):
            assert float(world.joint_errors(seen, true, align(seen, true)).max()) < 1e-9
        path, other = true[:, 0], seen[:, 0]
        assert float(world.trajectory_error(other, path, world.similar(other, path))) < 1e-9
        rigid = float(world.trajectory_error(other, path, world.rigid(other, path)))
        assert (rigid < 1e-9) == (scale == 1.0)
        assert float(world.path_length(other) / world.path_length(path)) == pytest.approx(scale)


def test_alignment_from_two_frames_is_no_better_than_from_all() -> None:
    for _ in range(20):
        true = body(30)
        seen = similar_to(true, 0.7) + 0.05 * torch.randn(30, 24, 3, generator=G).double()
        w, wa = (world.joint_errors(seen, true, align(seen, true)) for align in (world.first_two, world.similar))
        assert float(w.square().mean()) > float(wa.square().mean()) and float(w.mean()) > float(wa.mean())


def test_a_drift_after_two_frames_is_the_error_from_two_frames() -> None:
    true = body(12)
    drift = torch.zeros(12, 1, 3).double()
    drift[2:, 0, 1] = 0.02 * torch.arange(1, 11).double()
    errors = world.joint_errors(true + drift, true, world.first_two(true + drift, true))
    assert errors.tolist() == pytest.approx([0, 0, *(0.02 * k for k in range(1, 11))], abs=1e-9)


def test_root_translation_error_of_a_known_drift() -> None:
    # a straight walk of 10 m, seen 10 % too long: the middles are aligned, and the error grows to 0.5 m at both ends
    true = torch.zeros(101, 3).double()
    true[:, 0] = 0.1 * torch.arange(101).double()
    found = world.root_translation_error(1.1 * true + 4, true)
    expected = np.abs(np.linspace(-0.5, 0.5, 101)) / 10
    assert found.numpy() == pytest.approx(expected, abs=1e-9)


def test_rigid_alignment_agrees_with_scipy() -> None:
    a, b = torch.randn(25, 3, generator=G).double(), torch.randn(25, 3, generator=G).double()
    _, turn, shift = world.rigid(a, b)
    expected, _ = Rotation.align_vectors((b - b.mean(0)).numpy(), (a - a.mean(0)).numpy())
    np.testing.assert_allclose(turn.numpy(), expected.as_matrix(), atol=1e-8)
    np.testing.assert_allclose((turn @ a.mean(0) + shift).numpy(), b.mean(0).numpy(), atol=1e-9)


@pytest.mark.parametrize(
    ("seed", "similar", "rigid", "length"),
    [
        (1, 0.17948487196338386, 0.7252766347855951, 3.894706269586847),
        (2, 0.18780909205032695, 0.6872875042087465, 4.544890599691549),
        (3, 0.1969593546975156, 0.5869807701820439, 4.7286153731135165),
    ],
)
def test_trajectory_errors_are_those_of_evo(seed: int, similar: float, rigid: float, length: float) -> None:
    """Numbers of evo 1.38.1: `align` with and without scale, RMSE of the translation part, path length."""
    found, true = 1.7 * walk(seed)[:, [1, 2, 0]] + torch.tensor([1.0, 2.0, 3.0]), walk(seed + 0.3)
    assert float(world.trajectory_error(found, true, world.similar(found, true))) == pytest.approx(similar, rel=1e-9)
    assert float(world.trajectory_error(found, true, world.rigid(found, true))) == pytest.approx(rigid, rel=1e-9)
    assert float(world.path_length(true)) == pytest.approx(length, rel=1e-9)


def test_from_the_start_neither_scale_nor_direction_is_forgiven() -> None:
    true = walk(1.0)
    seen = true + torch.tensor([7.0, 8.0, 9.0])
    assert float(world.trajectory_error(seen, true, world.from_start(seen, true))) < 1e-9
    longer = 2 * true
    expected = float((true - true[0]).square().sum(-1).mean().sqrt())
    assert float(world.trajectory_error(longer, true, world.from_start(longer, true))) == pytest.approx(expected)


@pytest.mark.parametrize("fps", [25.0, 30.0, 60.0])
def test_jitter_is_a_third_derivative_in_real_time(fps: float) -> None:
    time = torch.arange(20).double()[:, None, None] / fps
    joints = torch.randn(1, 24, 3, generator=G).double() + torch.tensor([0.0, 3.0, 4.0]) * time**3 / 6
    assert world.jitter(joints, fps).tolist() == pytest.approx([0.5] * 17, rel=1e-6)  # 5 m/s^3


def test_feet_slide_only_where_they_should_stand() -> None:
    true, seen = torch.zeros(4, 2, 3).double(), torch.zeros(4, 2, 3).double()
    true[2:, 0, 0] = 0.02  # the first vertex makes one step of 2 cm
    seen[:, :, 1] = 0.003 * torch.arange(4)[:, None]
    slid, stands = world.foot_sliding(seen, true, 30.0)
    assert stands.tolist() == [[True, True], [False, True], [True, True]]
    assert slid.flatten().tolist() == pytest.approx([0.003] * 6)
    slid, stands = world.foot_sliding(seen, true, 60.0)  # the same steps in half the time
    assert slid.flatten().tolist() == pytest.approx([0.006] * 6) and stands.tolist()[1] == [False, True]


def test_angles_are_those_of_scipy_and_exact_near_zero() -> None:
    a, b = Rotation.random(50, random_state=0), Rotation.random(50, random_state=1)
    found = world.rotation_angle(torch.from_numpy(a.as_matrix()), torch.from_numpy(b.as_matrix()))
    np.testing.assert_allclose(found.numpy(), np.degrees((a.inv() * b).magnitude()), atol=1e-5)
    small = matrix_from_axis_angle(torch.tensor([[0.0, 1e-7, 0.0]]).double())
    assert world.rotation_angle(small, torch.eye(3)[None]).item() == pytest.approx(np.degrees(1e-7), rel=1e-3)
