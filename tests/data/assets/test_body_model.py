"""The NumPy body against smplx's own skinning of the same arrays, and against itself where smplx says nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trace_data.assets.body_model import BodyModel, hip_midpoint, neutral_betas
from trace_data.assets.packs import load_pack
from trace_data.schema.keypoints import ALL_44, LSP_14


@pytest.fixture(scope="module")
def model(packs: Path) -> BodyModel:
    return BodyModel.load(packs / "SMPL_MALE.pth")


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    pose = rng.normal(0, 0.6, (70, 24, 3))
    pose[0] = 0
    pose[1, 0] = (np.pi, 0, 0)
    return pose, rng.normal(0, 1.5, (70, 10)), rng.normal(0, 3, (70, 3))


def smplx_vertices_and_joints(path: Path, pose: np.ndarray, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    torch = pytest.importorskip("torch")
    lbs = pytest.importorskip("smplx.lbs").lbs
    pack = {key: torch.from_numpy(value).double() for key, value in load_pack(path).items()}
    vertices, joints = lbs(
        torch.from_numpy(betas),
        torch.from_numpy(pose.reshape(len(pose), -1)),
        pack["v_template"],
        pack["shapedirs"],
        pack["posedirs"],
        pack["J_regressor"],
        pack["kintree_table"].long(),
        pack["weights"],
    )
    return vertices.numpy(), joints.numpy()


def test_equals_smplx(model: BodyModel, packs: Path, people: tuple[np.ndarray, ...]) -> None:
    pose, betas, translation = people
    vertices, joints = smplx_vertices_and_joints(packs / "SMPL_MALE.pth", pose, betas)
    assert np.abs(model.vertices(pose, betas, translation) - vertices - translation[:, None]).max() < 1e-5
    assert np.abs(model.joints44(pose, betas, translation)[:, :24] - joints - translation[:, None]).max() < 1e-5


def test_joints_are_those_of_the_full_mesh(model: BodyModel, packs: Path, people: tuple[np.ndarray, ...]) -> None:
    pack = load_pack(packs / "SMPL_MALE.pth")
    pose, betas, translation = people
    vertices = model.vertices(pose, betas, translation)
    joints = model.joints44(pose, betas, translation)
    assert np.allclose(joints[:, 24:35], vertices[:, pack["extra_joints_index"][:11]], atol=1e-6)
    # regressor rows of a file may sum to one only within float32
    assert np.allclose(joints[:, 35:], pack["J_regressor_extra9"] @ vertices, atol=1e-5)
    seventeen = model.joints_h36m17(pose, betas, translation)
    assert np.allclose(seventeen, pack["J_regressor_h36m17"] @ vertices, atol=1e-5)


def test_translation_moves_every_point(model: BodyModel, people: tuple[np.ndarray, ...]) -> None:
    pose, betas, translation = people
    for points in (model.vertices, model.joints44, model.joints_h36m17):
        moved = points(pose[:3], betas[:3], translation[:3]) - points(pose[:3], betas[:3])
        assert np.allclose(moved, translation[:3, None], atol=1e-12)


def test_rest_pose_stands_upright_with_left_on_positive_x(model: BodyModel) -> None:
    joints = model.joints44(np.zeros((1, 24, 3)), np.zeros((1, 10)))[0]
    for index, name in enumerate(ALL_44):
        if name.startswith("L_"):
            assert joints[index, 0] > 0 > joints[ALL_44.index("R_" + name[2:]), 0], name
    assert joints[ALL_44.index("Head_top"), 1] > joints[ALL_44.index("L_Knee"), 1] > joints[ALL_44.index("L_Heel"), 1]
    seventeen = model.joints_h36m17(np.zeros((1, 24, 3)), np.zeros((1, 10)))[0]
    for index, name in enumerate(LSP_14):
        assert np.linalg.norm(seventeen[index] - joints[ALL_44.index(name)]) < 0.15, name


def test_root_turns_about_the_pelvis(model: BodyModel) -> None:
    pose = np.zeros((2, 24, 3))
    pose[1, 0] = (0, np.pi / 2, 0)
    still, turned = model.joints44(pose, np.ones((2, 10)))
    assert np.allclose(still[0], turned[0])
    quarter = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    assert np.allclose(turned - turned[0], (still - still[0]) @ quarter.T, atol=1e-9)


def test_kid_direction_leads_to_the_kid_template(packs: Path, body_models: Path) -> None:
    model = BodyModel.load(packs / "SMPLA_MALE.pth")
    kid = np.load(next(body_models.rglob("smpl_kid_template.npy")))
    betas = np.zeros((2, 11))
    betas[1, 10] = 1
    adult, small = model.rest_vertices(betas)
    assert np.allclose(small, kid - kid.mean(axis=0), atol=1e-6)
    assert np.allclose(adult, load_pack(packs / "SMPL_MALE.pth")["v_template"], atol=1e-7)


def test_neutral_betas_against_a_plain_solve(packs: Path) -> None:
    male, neutral = (BodyModel.load(packs / f"SMPL_{name}.pth") for name in ("MALE", "NEUTRAL"))
    betas = np.random.default_rng(5).normal(size=(3, 10))
    found = neutral_betas(male, neutral, betas)
    shapes = load_pack(packs / "SMPL_NEUTRAL.pth")["shapedirs"].reshape(-1, 10).astype(np.float64)
    system = np.concatenate([shapes, np.tile(np.eye(3), (6890, 1))], axis=1)
    target = (male.rest_vertices(betas) - neutral.rest_vertices(np.zeros((1, 10)))).reshape(3, -1)
    assert np.allclose(found, np.linalg.lstsq(system, target.T, rcond=None)[0][:10].T, atol=1e-6)
    assert np.allclose(neutral_betas(neutral, neutral, betas), betas, atol=1e-6)


def test_hip_midpoint(model: BodyModel) -> None:
    joints = model.joints44(np.zeros((1, 24, 3)), np.zeros((1, 10)), np.array([[1.0, 2, 3]]))
    middle = (joints[0, ALL_44.index("L_Hip")] + joints[0, ALL_44.index("R_Hip")]) / 2
    assert np.allclose(hip_midpoint(joints), [middle])
    assert abs(middle[0] - 1) < 0.05


def test_wrong_batch_is_an_error(model: BodyModel) -> None:
    with pytest.raises(ValueError, match="2 poses but 3 shapes"):
        model.joints44(np.zeros((2, 24, 3)), np.zeros((3, 10)))
