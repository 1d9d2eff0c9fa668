"""The torch body layer against the NumPy model, smplx, and finite differences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from trace_data.body_model import BodyModel
from trace_data.schema.keypoints import L_HIP, R_HIP
from trace_train.body_layer import BodyLayer
from trace_train.build import read_pack
from trace_train.rotations import matrix_from_axis_angle


@pytest.fixture(scope="module")
def layer(packs: Path) -> BodyLayer:
    return BodyLayer(read_pack(packs / "SMPL_FEMALE.pth"))


def poses(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    pose = torch.randn(count, 24, 3, generator=generator) * 0.5
    return pose, torch.randn(count, 10, generator=generator)


def test_equals_the_numpy_model(layer: BodyLayer, packs: Path) -> None:
    model = BodyModel.load(packs / "SMPL_FEMALE.pth")
    pose, betas = poses(7)
    out = layer(matrix_from_axis_angle(pose), betas, vertices=True)
    assert out.vertices is not None
    expected = model.joints44(pose.numpy(), betas.numpy())
    root = 0.5 * (expected[:, R_HIP] + expected[:, L_HIP])
    np.testing.assert_allclose(out.root.numpy(), root, atol=1e-5)
    np.testing.assert_allclose(out.joints.numpy(), expected - root[:, None], atol=1e-5)
    h36m = model.joints_h36m17(pose.numpy(), betas.numpy())
    np.testing.assert_allclose(out.joints_h36m.numpy(), h36m - root[:, None], atol=1e-5)
    vertices = model.vertices(pose.numpy(), betas.numpy(), None)
    np.testing.assert_allclose(out.vertices.numpy(), vertices - root[:, None], atol=1e-5)


def test_equals_smplx(layer: BodyLayer, packs: Path) -> None:
    lbs = pytest.importorskip("smplx.lbs")
    pack = read_pack(packs / "SMPL_FEMALE.pth")
    pose, betas = poses(3)
    vertices, joints = lbs.lbs(
        betas,
        pose.flatten(1),
        pack["v_template"],
        pack["shapedirs"],
        pack["posedirs"],
        pack["J_regressor"],
        pack["kintree_table"],
        pack["weights"],
    )
    out = layer(matrix_from_axis_angle(pose), betas, vertices=True)
    assert out.vertices is not None
    assert torch.allclose(out.vertices + out.root[:, None], vertices, atol=1e-5)
    assert torch.allclose(out.joints[:, :24] + out.root[:, None], joints, atol=1e-5)


def test_joints_alone_are_the_joints_of_the_mesh(layer: BodyLayer) -> None:
    pose, betas = poses(4)
    rotations = matrix_from_axis_angle(pose)
    assert torch.equal(layer(rotations, betas).joints, layer(rotations, betas, vertices=True).joints)
    assert layer(rotations, betas).vertices is None
    assert layer(rotations[:0], betas[:0]).joints.shape == (0, 44, 3)


def test_gradient_matches_finite_differences_at_the_rest_pose(layer: BodyLayer) -> None:
    pose = torch.zeros(1, 24, 3, requires_grad=True)
    betas = torch.zeros(1, 10, requires_grad=True)
    weights = torch.randn(44, 3, generator=torch.Generator().manual_seed(0))
    value = (layer(matrix_from_axis_angle(pose), betas).joints[0] * weights).sum()
    by_pose, by_betas = torch.autograd.grad(value, (pose, betas))
    assert bool(by_pose.isfinite().all())

    def at(p: torch.Tensor, b: torch.Tensor) -> float:
        return float((layer(matrix_from_axis_angle(p), b).joints[0].double() * weights).sum())

    step = 1e-2  # float32 inside: central differences of a smooth function are good to about 1e-3 here
    for joint, axis in [(0, 1), (1, 0), (16, 2), (18, 1)]:
        delta = torch.zeros(1, 24, 3)
        delta[0, joint, axis] = step
        numeric = (at(delta, torch.zeros(1, 10)) - at(-delta, torch.zeros(1, 10))) / (2 * step)
        assert float(by_pose[0, joint, axis]) == pytest.approx(numeric, abs=5e-3, rel=5e-3)
    delta = torch.zeros(1, 10)
    delta[0, 0] = 1.0
    numeric = (at(torch.zeros(1, 24, 3), delta) - at(torch.zeros(1, 24, 3), -delta)) / 2
    assert float(by_betas[0, 0]) == pytest.approx(numeric, abs=1e-3, rel=1e-3)


def test_stays_in_float32_under_autocast(layer: BodyLayer) -> None:
    pose, betas = poses(2)
    rotations = matrix_from_axis_angle(pose)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = layer(rotations, betas)
    assert half.joints.dtype == torch.float32 and torch.equal(half.joints, layer(rotations, betas).joints)
