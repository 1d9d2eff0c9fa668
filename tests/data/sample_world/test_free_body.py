"""The free body: what its surface, landmarks, regressors and skinning must be like, and the files written from it."""

from __future__ import annotations

import dataclasses
import itertools
import pickle
import pickletools
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation

from trace_data.sample_world.bodies import write_body_models
from trace_data.sample_world.free_body import PARTS, FreeBody, load_free_body
from trace_data.sample_world.python2_pickle import write_python2_pickle
from trace_data.unpickle.reader import load_pickle, to_array

KINDS = ("male", "female", "neutral", "infant")
# docs/reference/joints.md#horizontal-flip
FLIP = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
# left, right: docs/reference/assets.md#extra-vertex-joints
LANDMARKS = {
    "eye": (2800, 6260), "ear": (583, 4071), "big toe": (3216, 6617), "small toe": (3226, 6624), "heel": (3387, 6787),
    "thumb": (2746, 6191), "index": (2319, 5782), "middle": (2445, 5905), "ring": (2556, 6016), "pinky": (2673, 6133),
}  # fmt: skip
NOSE = 332
Floats = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def body() -> FreeBody:
    return load_free_body("neutral")


def volume(vertices: Floats, faces: npt.NDArray[np.int64]) -> float:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return float(np.sum(a * np.cross(b, c)) / 6)


def posed(body: FreeBody, rotations: dict[int, list[float]]) -> tuple[Floats, Floats]:
    pose = np.zeros((1, 24, 3))
    for joint, vector in rotations.items():
        pose[0, joint] = vector
    vertices, joints = body.pose(pose, np.zeros((1, 10)), np.zeros((1, 3)))
    return vertices[0], joints[0]


@pytest.mark.parametrize("kind", KINDS)
def test_arrays_have_the_shapes_of_a_smpl_file(kind: str) -> None:
    body = load_free_body(kind)
    shapes = {
        "v_template": (6890, 3), "shapedirs": (6890, 3, 300), "posedirs": (6890, 3, 207), "weights": (6890, 24),
        "J_regressor": (24, 6890), "regressor_extra": (9, 6890), "regressor_h36m": (17, 6890),
        "kid_template": (6890, 3),
    }  # fmt: skip
    for name, shape in shapes.items():
        array = getattr(body, name)
        assert (array.shape, array.dtype) == (shape, np.float64), name
        assert np.isfinite(array).all(), name
    assert body.faces.shape == (13776, 3)


@pytest.mark.parametrize("name", ["faces", "lod_faces"])
def test_surface_is_closed_connected_without_holes_and_faces_outward(body: FreeBody, name: str) -> None:
    faces = getattr(body, name)
    directed = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(directed, axis=0)) == len(directed), "a directed edge occurs once"
    edges = np.unique(np.sort(directed, axis=1), axis=0)
    assert 2 * len(edges) == len(directed), "every edge has a face on both sides"
    used = np.unique(faces)
    assert len(used) - len(edges) + len(faces) == 2, "genus 0"
    label = np.arange(6890)
    while True:  # spread the smallest label over the edges until nothing changes
        before = label.copy()
        np.minimum.at(label, edges[:, 0], before[edges[:, 1]])
        np.minimum.at(label, edges[:, 1], before[edges[:, 0]])
        if np.array_equal(before, label):
            break
    assert len(np.unique(label[used])) == 1
    assert 0.03 < volume(body.v_template, faces) < 0.12, "cubic metres of a person"
    if name == "faces":
        assert len(used) == 6890


def test_landmarks_lie_where_their_names_say(body: FreeBody) -> None:
    v = body.v_template
    at = {name: (v[left], v[right]) for name, (left, right) in LANDMARKS.items()}
    for name, (left, right) in at.items():
        assert left[0] > 0.01 > -0.01 > right[0], name
        np.testing.assert_allclose(left, right * [-1, 1, 1], atol=1e-9, err_msg=name)
    nose, (ear, _), (eye, _) = v[NOSE], at["ear"], at["eye"]
    assert abs(nose[0]) < 1e-9
    assert nose[2] > eye[2] > ear[2] + 0.05
    assert nose[1] < eye[1] < v[:, 1].max() - 0.05
    floor = v[:, 1].min()
    for name in ("big toe", "small toe", "heel"):
        assert at[name][0][1] - floor < 0.06, name
    assert at["big toe"][0][2] > at["heel"][0][2] + 0.2
    assert at["small toe"][0][0] > at["big toe"][0][0], "the small toe is the outer one"
    fingers = [at[name][0] for name in ("thumb", "index", "middle", "ring", "pinky")]
    assert all(a[2] > b[2] for a, b in itertools.pairwise(fingers)), "palms down: from thumb in front to pinky"
    assert fingers[2][0] == v[:, 0].max(), "the middle finger reaches farthest"


@pytest.mark.parametrize("kind", KINDS)
def test_rest_pose_is_a_t_pose_facing_z(kind: str) -> None:
    body = load_free_body(kind)
    J = body.J_regressor @ body.v_template
    scale = np.ptp(body.v_template[:, 1])
    arm = J[[16, 18, 20]]
    assert np.ptp(arm[:, 1]) < 0.015 * scale and np.ptp(arm[:, 2]) < 0.015 * scale
    assert (np.diff(arm[:, 0]) > 0.1 * scale).all()
    assert J[1, 0] > 0 > J[2, 0]
    assert (np.diff(J[[7, 4, 1, 3, 6, 9, 12, 15], 1]) > 0).all(), "from the ankle up to the head"


@pytest.mark.parametrize("kind", ["neutral", "infant"])
def test_weights_and_regressors_are_shares_and_mirror_images(kind: str) -> None:
    body = load_free_body(kind)
    for rows in (body.weights, body.J_regressor, body.regressor_extra, body.regressor_h36m):
        assert (rows >= 0).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(body.v_template[body.mirror] * [-1, 1, 1], body.v_template, atol=1e-9)
    np.testing.assert_allclose(body.weights[body.mirror][:, FLIP], body.weights, atol=1e-9)
    np.testing.assert_allclose(body.J_regressor[FLIP][:, body.mirror], body.J_regressor, atol=1e-9)


def test_extra_joints_have_the_right_rows(body: FreeBody) -> None:
    J = body.J_regressor @ body.v_template
    r_hip, l_hip, neck, top, pelvis, thorax, spine, jaw, head = body.regressor_extra @ body.v_template
    assert l_hip[0] > 0.05 and r_hip[0] < -0.05
    np.testing.assert_allclose(pelvis, (l_hip + r_hip) / 2, atol=1e-9)
    heights = [p[1] for p in (pelvis, spine, thorax, neck, jaw, head, top)]
    assert heights == sorted(heights)
    assert top[1] > body.v_template[:, 1].max() - 0.01
    h36m = body.regressor_h36m @ body.v_template
    same = {2: 4, 3: 7, 5: 5, 6: 8, 11: 16, 12: 18, 13: 20, 14: 17, 15: 19, 16: 21}
    np.testing.assert_allclose(h36m[list(same)], J[list(same.values())], atol=1e-9)
    assert h36m[1, 0] > 0 > h36m[4, 0], "left leg first"
    assert (np.diff(h36m[[0, 7, 8, 9, 10], 1]) > 0).all()


def test_limbs_go_where_the_rotation_says(body: FreeBody) -> None:
    quarter = np.pi / 2
    rest, joints = posed(body, {})
    np.testing.assert_allclose(joints, body.J_regressor @ body.v_template, atol=1e-12)
    _, moved = posed(body, {16: [0, 0, -quarter]})
    direction = (moved[20] - moved[16]) / np.linalg.norm(moved[20] - moved[16])
    np.testing.assert_allclose(direction, [0, -1, 0], atol=0.05)  # the left arm hangs down
    _, moved = posed(body, {18: [0, -quarter, 0]})
    assert moved[20, 2] - moved[18, 2] > 0.2  # the left forearm points forward
    _, moved = posed(body, {5: [quarter, 0, 0]})
    assert moved[8, 2] - moved[5, 2] < -0.3  # the right shank points backward

    vector = [0.3, -0.8, 0.5]
    vertices, moved = posed(body, {20: vector})
    hand = body.weights[:, [20, 22]].sum(axis=1) > 1 - 1e-12
    expected = Rotation.from_rotvec(vector).apply(rest[hand] - joints[20]) + joints[20]
    assert hand.sum() > 100
    np.testing.assert_allclose(vertices[hand], expected, atol=1e-3)
    vertices, _ = posed(body, {0: vector})
    np.testing.assert_allclose(vertices, Rotation.from_rotvec(vector).apply(rest - joints[0]) + joints[0], atol=1e-9)


def test_a_subset_of_vertices_and_translation(body: FreeBody) -> None:
    draw = np.random.default_rng(0)
    pose, betas, shift = draw.normal(0, 0.3, (3, 24, 3)), draw.normal(size=(3, 300)), draw.normal(size=(3, 3))
    chosen = np.unique(body.lod_faces)
    everything, joints = body.pose(pose, betas, shift)
    some, same_joints = body.pose(pose, betas, np.zeros((3, 3)), vertices=chosen)
    np.testing.assert_allclose(some + shift[:, None], everything[:, chosen], atol=1e-12)
    np.testing.assert_allclose(same_joints + shift[:, None], joints, atol=1e-12)


def test_pose_correctives_keep_the_volume_and_stay_small(body: FreeBody) -> None:
    bent = {joint: [1.6, 0.0, 0.0] for joint in (4, 5)} | {18: [0.0, -1.6, 0.0], 19: [0.0, 1.6, 0.0]}
    with_correctives, _ = posed(body, bent)
    pose = np.zeros((1, 24, 3))
    for joint, vector in bent.items():
        pose[0, joint] = vector
    bare = dataclasses.replace(body, posedirs=np.zeros_like(body.posedirs))
    without = bare.pose(pose, np.zeros((1, 10)), np.zeros((1, 3)))[0][0]
    full, better, worse = (volume(v, body.faces) for v in (body.v_template, with_correctives, without))
    assert worse < better < 1.02 * full
    assert 0.001 < np.linalg.norm(with_correctives - without, axis=1).max() < 0.05


def test_betas_make_plausible_people(body: FreeBody) -> None:
    betas = np.random.default_rng(0).normal(size=(200, 10))
    y = body.v_template[:, 1] + betas @ body.shapedirs[:, 1, :10].T
    heights = np.ptp(y, axis=1)
    assert 1.65 < heights.mean() < 1.8
    assert 0.05 < heights.std() < 0.12
    assert np.ptp(y[np.argmax(betas[:, 0])]) > np.ptp(y[np.argmin(betas[:, 0])])
    spread = np.linalg.norm(body.shapedirs, axis=(0, 1))
    assert (np.diff(spread[:10]) < 0).all(), "principal components come in the order of what they carry"
    assert spread[16:].min() > 0 and spread[16:].max() < 0.1 * spread[0]


def test_heights_of_the_kinds(body: FreeBody) -> None:
    tall = {kind: np.ptp(load_free_body(kind).v_template[:, 1]) for kind in KINDS}
    assert 0.5 < tall["infant"] < 1 < np.ptp(body.kid_template[:, 1]) < 1.4
    assert tall["female"] < tall["neutral"] < tall["male"] < 1.9


def test_parts_tell_left_from_right(body: FreeBody) -> None:
    for part, name in enumerate(PARTS):
        vertices, faces = body.v_template[body.parts == part], body.faces[body.face_parts == part]
        assert len(vertices) > 50 and len(faces) > 100, name
        side = {"left": 1, "right": -1}.get(name.split("_")[0])
        if side:
            assert (side * body.v_template[faces][..., 0] > -1e-6).all(), "no clothed face reaches over the middle"
    assert body.lod_face_parts.shape == body.lod_faces.shape[:1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_body_models(tmp_path_factory.mktemp("bodies"))


def test_pickles_speak_python_2(files: dict[str, Path]) -> None:
    opcodes = list(pickletools.genops(files["infant"].read_bytes()))
    named = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert named == {
        "__builtin__ set", "chumpy.ch Ch", "chumpy.reordering Select", "numpy dtype", "numpy ndarray",
        "numpy.core.multiarray _reconstruct", "scipy.sparse.csc csc_matrix",
    }  # fmt: skip
    kinds = {opcode.name for opcode, _, _ in opcodes}
    assert {"SHORT_BINSTRING", "BINSTRING", "NEWOBJ"} <= kinds
    assert not [kind for kind in kinds if "UNICODE" in kind or "BYTES" in kind or kind == "STACK_GLOBAL"]
    assert opcodes[0][0].name == "PROTO" and opcodes[0][1] == 2


@pytest.mark.parametrize("kind", ["male", "infant"])
def test_files_read_back_as_the_body(files: dict[str, Path], kind: str) -> None:
    body, content = load_free_body(kind), load_pickle(files[kind])
    assert "not SMPL" in content["synthetic"]
    expected = {
        "v_template": body.v_template, "posedirs": body.posedirs, "weights": body.weights, "f": body.faces,
        "J_regressor": body.J_regressor, "shapedirs": body.shapedirs[..., : 20 if kind == "infant" else 300],
    }  # fmt: skip
    for name, array in expected.items():
        np.testing.assert_array_equal(to_array(content[name], name=name, shape=array.shape), array, err_msg=name)
    table = to_array(content["kintree_table"], name="kintree_table", dtype=np.int64)
    assert table.shape == (2, 24) and table[0, 0] == 2**32 - 1
    assert np.array_equal(table[0, 1:], body.parents[1:]) and np.array_equal(table[1], np.arange(24))
    assert np.load(files["regressor_h36m"]).shape == (17, 6890)


def test_plain_values_survive_pythons_own_reader(tmp_path: Path) -> None:
    value = {"a": [1, -2, None, True], "b": (0, "text"), "c": np.arange(6, dtype=np.uint32).reshape(2, 3)}
    write_python2_pickle(value, tmp_path / "x.pkl")
    read = pickle.loads((tmp_path / "x.pkl").read_bytes(), encoding="latin1")
    np.testing.assert_array_equal(read.pop("c"), value.pop("c"))
    assert read == value
    with pytest.raises(TypeError, match="complex"):
        write_python2_pickle(1j, tmp_path / "y.pkl")


def test_smplx_poses_the_same_body(body: FreeBody, tmp_path: Path) -> None:
    """smplx is an independent implementation of the same skinning."""
    smplx, torch = pytest.importorskip("smplx"), pytest.importorskip("torch")
    names = ("v_template", "posedirs", "weights", "J_regressor")
    content = {name: getattr(body, name) for name in names} | {"f": body.faces, "shapedirs": body.shapedirs[..., :10]}
    content["kintree_table"] = np.array([[2**32 - 1, *body.parents[1:]], range(24)])
    (tmp_path / "smpl").mkdir()
    (tmp_path / "smpl/SMPL_NEUTRAL.pkl").write_bytes(pickle.dumps(content))
    model = smplx.create(str(tmp_path), model_type="smpl", gender="neutral", batch_size=2, dtype=torch.float64)
    draw = np.random.default_rng(0)
    pose, betas, shift = draw.normal(0, 0.5, (2, 24, 3)), draw.normal(size=(2, 10)), draw.normal(size=(2, 3))
    with torch.inference_mode():
        tensors = [torch.tensor(x) for x in (betas, pose[:, 1:].reshape(2, -1), pose[:, 0], shift)]
        output = model(betas=tensors[0], body_pose=tensors[1], global_orient=tensors[2], transl=tensors[3])
    vertices, joints = body.pose(pose, betas, shift)
    np.testing.assert_allclose(output.vertices.numpy(), vertices, atol=1e-6)
    np.testing.assert_allclose(output.joints.numpy()[:, :24], joints, atol=1e-6)
