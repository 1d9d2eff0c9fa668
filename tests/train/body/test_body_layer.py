"""The torch body layer against the NumPy model, smplx, and finite differences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from trace_data.assets.body_model import BodyModel
from trace_data.schema.keypoints import L_HIP, R_HIP
from trace_train.body.aged_layer import AgedBodyLayer
from trace_train.body.layer import BodyLayer
from trace_train.body.skinning import skin
from trace_train.build import read_pack
from trace_train.geometry.rotations import matrix_from_axis_angle

KID = torch.eye(11)[10:]
"""Betas of the kid template."""


@pytest.fixture(scope="module")
def layer(packs: Path) -> BodyLayer:
    return BodyLayer(read_pack(packs / "SMPL_FEMALE.pth"))


@pytest.fixture(scope="module")
def kid_layer(packs: Path) -> BodyLayer:
    return BodyLayer(read_pack(packs / "SMPLA_FEMALE.pth"))


def poses(count: int, *, betas: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    pose = torch.randn(count, 24, 3, generator=generator) * 0.5
    return pose, torch.randn(count, betas, generator=generator)


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


def test_equals_the_model_of_smplx_with_translation(layer: BodyLayer, packs: Path) -> None:
    smplx = pytest.importorskip("smplx")
    pack = {key: value.numpy() for key, value in read_pack(packs / "SMPL_FEMALE.pth").items()}
    pack["posedirs"] = pack["posedirs"].T.reshape(-1, 3, 207)  # it reads the file's arrays, not the pack's
    pack["kintree_table"] = np.stack([pack["kintree_table"], np.arange(24)])
    pose, betas = poses(6)
    translation = torch.randn(6, 3, generator=torch.Generator().manual_seed(9)) * 3
    model = smplx.SMPL("", data_struct=smplx.utils.Struct(**pack), batch_size=6)
    expected = model(
        betas=betas, global_orient=pose[:, 0], body_pose=pose[:, 1:].flatten(1), transl=translation, pose2rot=True
    )
    out = layer(matrix_from_axis_angle(pose), betas, vertices=True)
    assert out.vertices is not None
    placed = (out.root + translation)[:, None]
    assert torch.allclose(out.vertices + placed, expected.vertices, atol=1e-5)
    assert torch.allclose(out.joints[:, :24] + placed, expected.joints[:, :24], atol=1e-5)
    assert torch.equal(layer.faces, model.faces_tensor)


def test_any_regressor_even_a_full_one(packs: Path) -> None:
    pack = dict(read_pack(packs / "SMPL_FEMALE.pth"))
    full = torch.rand(26, 6890, generator=torch.Generator().manual_seed(1))
    full /= full.sum(1, keepdim=True)
    pack |= {"J_regressor_extra9": full[:9], "J_regressor_h36m17": full[9:]}
    pose, betas = poses(3)
    out = BodyLayer(pack)(matrix_from_axis_angle(pose), betas, vertices=True)
    assert out.vertices is not None
    assert torch.allclose(out.joints[:, 35:], full[:9] @ out.vertices, atol=1e-5)
    assert torch.allclose(out.joints_h36m, full[9:] @ out.vertices, atol=1e-5)


def test_kid_parameter(kid_layer: BodyLayer, layer: BodyLayer, packs: Path) -> None:
    pose, betas = poses(5, betas=11)
    rotations = matrix_from_axis_angle(pose)
    out = kid_layer(rotations, betas, vertices=True)
    assert out.vertices is not None
    model = BodyModel.load(packs / "SMPLA_FEMALE.pth")
    expected = model.vertices(pose.numpy(), betas.numpy()) - out.root[:, None].numpy()
    np.testing.assert_allclose(out.vertices.numpy(), expected, atol=1e-5)
    joints = model.joints44(pose.numpy(), betas.numpy()) - out.root[:, None].numpy()
    np.testing.assert_allclose(out.joints.numpy(), joints, atol=1e-5)
    adult = layer(rotations, betas[:, :10])
    assert torch.equal(kid_layer(rotations, betas[:, :10]).joints, kid_layer(rotations, betas * (1 - KID)).joints)
    assert torch.allclose(kid_layer(rotations, betas[:, :10]).joints, adult.joints, atol=1e-6)
    with pytest.raises(ValueError, match="11 betas for a body of 10"):
        layer(rotations, betas)


def test_infants_are_posed_by_their_own_model(kid_layer: BodyLayer, packs: Path) -> None:
    infant = BodyLayer(read_pack(packs / "SMIL_NEUTRAL.pth"))
    aged = AgedBodyLayer(kid_layer, infant)
    pose, betas = poses(5, betas=21)
    betas[:, 10] = torch.tensor([0.9, 0.0, 0.8, 0.81, -1.0])
    rotations = matrix_from_axis_angle(pose)
    for given, own in ((betas, betas[:, 11:]), (betas[:, :11], betas[:, :10])):
        out = aged(rotations, given, vertices=True)
        small, grown = infant(rotations, own, vertices=True), kid_layer(rotations, betas[:, :11], vertices=True)
        for row, right in enumerate((small, grown, grown, small, grown)):
            for name in ("joints", "joints_h36m", "root", "vertices"):
                assert torch.allclose(getattr(out, name)[row], getattr(right, name)[row], atol=1e-6), (row, name)
    assert aged(rotations, betas).vertices is None
    assert aged(rotations[1:2], betas[1:2]).joints.shape == (1, 44, 3)
    upright = aged(torch.eye(3).expand(3, 24, 3, 3), torch.tensor([[0.0], [0.7], [1.0]]) * KID, vertices=True).vertices
    assert upright is not None
    adult_height, child_height, infant_height = np.ptp(upright[..., 1].numpy(), axis=1)
    assert infant_height < 1 < child_height < adult_height
    with pytest.raises(ValueError, match="10 betas, expected 11 or 21"):
        aged(rotations, betas[:, :10])


def test_joints_alone_are_the_joints_of_the_mesh(layer: BodyLayer) -> None:
    pose, betas = poses(4)
    rotations = matrix_from_axis_angle(pose)
    assert torch.equal(layer(rotations, betas).joints, layer(rotations, betas, vertices=True).joints)
    assert layer(rotations, betas).vertices is None
    empty = layer(rotations[:0], betas[:0], vertices=True)
    assert (empty.joints.shape, empty.vertices.shape) == ((0, 44, 3), (0, 6890, 3))


def test_joints_alone_cost_little(layer: BodyLayer) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    pose, betas = poses(8)
    operations = []
    for vertices in (False, True):
        with FlopCounterMode(display=False) as counter:
            layer(matrix_from_axis_angle(pose), betas, vertices=vertices)
        operations.append(counter.get_total_flops())
    assert operations[0] < 0.1 * operations[1]


@pytest.mark.parametrize("bodies", [0, 1, 32, 70])
def test_skinning_in_parts_is_skinning(bodies: int) -> None:
    generator = torch.Generator().manual_seed(bodies)
    transforms = torch.randn(bodies, 24, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    points = torch.randn(bodies, 3, 50, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(24, 50, generator=generator, dtype=torch.float64)
    pull = torch.randn(bodies, 50, 3, generator=generator, dtype=torch.float64)
    blended = torch.einsum("njab,jv->nvab", transforms, weights)
    whole = (blended[..., :3] @ points.transpose(1, 2)[..., None])[..., 0] + blended[..., 3]
    parts = skin(transforms, points, weights)
    assert torch.allclose(parts, whole, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad((x * pull).sum(), (transforms, points)) for x in (parts, whole))):
        assert torch.allclose(a, b, atol=1e-12)


def test_compiled_layer_is_the_layer(layer: BodyLayer) -> None:
    # what a compiler sees is written out without parts
    pose, betas = poses(3)
    rotations = matrix_from_axis_angle(pose)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)(rotations, betas, vertices=True)
    plain = layer(rotations, betas, vertices=True)
    assert torch.allclose(compiled.vertices, plain.vertices, atol=1e-6)
    assert torch.allclose(compiled.joints, plain.joints, atol=1e-6)


@pytest.mark.parametrize("pose", [torch.zeros(2, 24, 3), poses(2)[0]], ids=["rest", "posed"])
def test_gradient_in_double_precision(packs: Path, pose: torch.Tensor) -> None:
    layer = BodyLayer(read_pack(packs / "SMPLA_FEMALE.pth")).double()

    def points(axis_angle: torch.Tensor, betas: torch.Tensor) -> tuple[torch.Tensor, ...]:
        out = layer(matrix_from_axis_angle(axis_angle), betas, vertices=True)
        assert out.vertices is not None
        return out.joints, out.joints_h36m, out.root, out.vertices

    given = (pose.double().requires_grad_(), poses(2, betas=11)[1].double().requires_grad_())
    assert points(*given)[3].dtype == torch.float64
    assert torch.autograd.gradcheck(points, given, fast_mode=True)


def test_backward_holds_less_than_smplx(layer: BodyLayer, packs: Path) -> None:
    lbs = pytest.importorskip("smplx.lbs").lbs
    pack = read_pack(packs / "SMPL_FEMALE.pth")
    pose, betas = (value.requires_grad_() for value in poses(10))
    rotations = matrix_from_axis_angle(pose)

    def held(work: Callable[[], object]) -> int:
        storages = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            alive = work()
        constants = {value.untyped_storage().data_ptr() for value in (*pack.values(), *layer.buffers())}
        assert alive is not None
        return sum(size for place, size in storages.items() if place not in constants)

    names = ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")
    theirs = held(lambda: lbs(betas, pose.flatten(1), *(pack[name] for name in names)))
    assert held(lambda: layer(rotations, betas, vertices=True)) < 0.5 * theirs
    assert held(lambda: layer(rotations, betas)) < 0.05 * theirs


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


@pytest.mark.parametrize("bodies", [0, 1, 40])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_any_number_of_bodies_has_a_mesh_on_any_device(
    bodies: int, device: str, packs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)  # the meta device has no autocast
    rotations, betas = torch.eye(3).expand(bodies, 24, 3, 3).to(device), torch.zeros(bodies, 10, device=device)
    other = BodyLayer(read_pack(packs / "SMPL_FEMALE.pth")).to(device)
    out = other(rotations.clone().requires_grad_(), betas, vertices=True)
    assert out.vertices is not None
    shapes = [tuple(part.shape) for part in (out.joints, out.joints_h36m, out.root, out.vertices)]
    assert shapes == [(bodies, 44, 3), (bodies, 17, 3), (bodies, 3), (bodies, 6890, 3)]
    out.vertices.sum().backward()


@pytest.mark.parametrize("kids", [[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], []])
def test_nobody_of_an_age_as_a_gpu_computes_it(kids: list[float], packs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown, infant = (BodyLayer(read_pack(packs / name)) for name in ("SMPLA_NEUTRAL.pth", "SMIL_NEUTRAL.pth"))
    aged = AgedBodyLayer(grown, infant)
    rotations = torch.eye(3).expand(len(kids), 24, 3, 3)
    betas = torch.zeros(len(kids), 11)
    betas[:, 10] = torch.tensor(kids)
    expected = aged(rotations, betas, vertices=True)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # skinning takes the path of a GPU
    out = aged(rotations, betas, vertices=True)
    assert out.vertices is not None and expected.vertices is not None
    torch.testing.assert_close(out.vertices, expected.vertices)
