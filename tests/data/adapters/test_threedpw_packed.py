"""3DPW as others packed it: against the official form of the same scenes, and against small files written here."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tiny_3dpw
import tiny_3dpw_packed as tiny
from found_at_depth import Payload

from trace_data.adapters import read_record
from trace_data.adapters.threedpw import find, inspect, read
from trace_data.adapters.threedpw.placement import solve_translation
from trace_data.assets.body_model import BodyModel, neutral_betas
from trace_data.builder.build import build_shards
from trace_data.errors import AnnotationError
from trace_data.geometry import matrix_from_axis_angle, transform
from trace_data.sample_world.people import Role
from trace_data.sample_world.threedpw import write_sequence
from trace_data.sample_world.threedpw_packed import Form, write_packed
from trace_data.schema.body import GENDERS
from trace_data.schema.check import check_record
from trace_data.schema.keypoints import LSP_14
from trace_data.schema.record import SequenceRecord, Split
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import LocalStore
from trace_data.verify.datasets import DEPTHS, Depth, verify_datasets
from trace_train.build import body_layers
from trace_train.evaluation.baselines import ConstantPredictor

ROLES: list[tuple[int, Role]] = [(0, Role("train", (1, 2))), (1, Role("validation", (61,))), (2, Role("test", (72,)))]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
FORMS: tuple[Form, ...] = ("annots", "vibe")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same scenes in all forms."""
    root = tmp_path_factory.mktemp("worlds")
    folders = {form: root / form / "3DPW" for form in ("official", *FORMS)}
    for index, role in ROLES:
        write_sequence(folders["official"], 4, index, role, 6, 128)
    for form in FORMS:
        folders[form].mkdir(parents=True)
        write_packed(folders[form], 4, ROLES, 6, 128, form)
    return folders


def problems(folder: Path, depth: Depth = "geometry") -> list[str]:
    report = verify_datasets(["3dpw"], folder.parent, depth=depth)
    return [f"{p.severity}: {p.what}" for p in report.datasets[0].problems]


def only(folder: Path, split: Split) -> SequenceRecord:
    (ref,) = find(folder.parent, split)
    record = read(ref)
    assert check_record(record) == [] and record.provenance["layout"] == ref.layout
    assert ref.frames == len(record.frames)
    return record


@pytest.mark.parametrize("split", SPLITS)
def test_annots_give_the_records_of_the_release(worlds: dict[str, Path], split: Split) -> None:
    packed, official = only(worlds["annots"], split), only(worlds["official"], split)
    assert (packed.key, packed.fps, packed.world_valid) == (official.key, 30.0, True)
    kept = [official.frame_ids.tolist().index(number) for number in packed.frame_ids]
    assert [file.name for file in packed.frames] == [official.frames[i].name for i in kept]  # type: ignore[union-attr]
    assert packed.camera.known and packed.camera.moving
    np.testing.assert_array_equal(packed.camera.intrinsics, official.camera.intrinsics)
    assert packed.camera.camera_from_world is not None and official.camera.camera_from_world is not None
    np.testing.assert_array_equal(packed.camera.camera_from_world, official.camera.camera_from_world[kept])
    for one, other in zip(packed.people, official.people, strict=True):
        assert one.body is not None and other.body is not None and one.body.whole
        assert (one.name, one.gender, one.body.gender) == (other.name, other.gender, other.body.gender)
        np.testing.assert_array_equal(one.present, other.present[kept])
        here = one.present
        roots = [matrix_from_axis_angle(p.body.pose[:, 0])[w] for p, w in ((one, here), (other, kept)) if p.body]
        np.testing.assert_allclose(roots[0], roots[1][here], atol=1e-9)
        np.testing.assert_array_equal(one.body.pose[here, 1:], other.body.pose[kept][here, 1:])
        np.testing.assert_array_equal(one.body.translation[here], other.body.translation[kept][here])
        np.testing.assert_array_equal(one.body.betas[here], other.body.betas[kept][here])
        assert one.joints3d is not None and other.joints3d is not None
        np.testing.assert_allclose(one.joints3d.points[here], other.joints3d.points[kept][here], atol=1e-9)
        assert one.keypoints2d is not None and other.keypoints2d is not None
        np.testing.assert_array_equal(one.keypoints2d.points[here], other.keypoints2d.points[kept][here])


@pytest.mark.parametrize("split", SPLITS)
def test_databases_give_the_bodies_in_the_cameras_frame(worlds: dict[str, Path], packs: Path, split: Split) -> None:
    packed, official = only(worlds["vibe"], split), only(worlds["official"], split)
    kept = [official.frame_ids.tolist().index(number) for number in packed.frame_ids]
    extrinsics = official.camera.camera_from_world
    assert extrinsics is not None and packed.camera.camera_from_world is None and not packed.world_valid
    np.testing.assert_array_equal(packed.camera.intrinsics, official.camera.intrinsics)
    assert packed.provenance["synthetic"] == "true"
    for one, other in zip(packed.people, official.people, strict=True):
        assert one.body is not None and other.body is not None
        assert one.body.known == {"root_rotation", "body_pose", "shape"} and one.gender == "neutral"
        here = one.body_valid
        np.testing.assert_array_equal(here, one.present)
        np.testing.assert_allclose(one.body.pose[here, 1:], other.body.pose[kept][here, 1:], atol=1e-6)
        roots = matrix_from_axis_angle(one.body.pose[:, 0])
        expected = extrinsics[kept, :3, :3] @ matrix_from_axis_angle(other.body.pose[kept, 0])
        np.testing.assert_allclose(roots[here], expected[here], atol=1e-5)
        models = {name: BodyModel.load(packs / f"SMPL_{name.upper()}.pth") for name in (other.gender, "neutral")}
        shapes = neutral_betas(models[other.gender], models["neutral"], other.body.betas[:1])
        np.testing.assert_allclose(one.body.betas[here], np.repeat(shapes, here.sum(), 0), atol=1e-4)
        # joints meet those of the release in the camera's frame, though the file has them elsewhere
        assert one.joints3d is not None and other.joints3d is not None
        places = transform(extrinsics[kept], other.joints3d.to_44()[kept][..., :3])
        found = one.joints3d.to_44()
        for joint in (4, 5, 7, 8, 16, 17, 18, 19, 20, 21):
            np.testing.assert_allclose(found[here, joint, :3], places[here, joint], atol=1e-4)
        assert one.keypoints2d is not None and other.keypoints2d is not None
        points, expected = one.keypoints2d.to_44(), other.keypoints2d.to_44()[kept]
        named = [i for i in range(44) if points[:, i, 2].any()]
        np.testing.assert_array_equal(points[here][:, named], expected[here][:, named])
        assert len(named) <= 12 and 37 not in named and 38 not in named


@pytest.mark.parametrize("form", FORMS)
def test_worlds_agree_below_a_pixel(worlds: dict[str, Path], packs: Path, form: Form) -> None:
    report = verify_datasets(["3dpw"], worlds[form].parent, depth="geometry", packs=packs)
    assert report.ok and problems(worlds[form]) == []
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 1e-3
    bodies = [consistency.body_mm for consistency in report.datasets[0].geometry]
    assert all(b is not None and b.worst < 0.1 for b in bodies) if form == "annots" else bodies == [None] * 3


def test_stale_cameras_are_not_called_bodies_of_another_gender(
    worlds: dict[str, Path], packs: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(worlds["annots"], tmp_path / "3DPW")

    def drift(content: dict[str, Any]) -> None:
        for poses in content["extrinsics"].values():
            poses[:, :3, 3] += np.linspace((0.2, 0, 0), (0.5, 0.1, 0.2), len(poses))

    tiny.change_npz(folder / "camera_annots.npz", drift)
    problems = verify_datasets(["3dpw"], tmp_path, depth="geometry", packs=packs).datasets[0].problems
    errors = [f"{p.what} {p.hint}" for p in problems if p.severity == "error"]
    assert errors and all("stale camera poses" in what and "gender" not in what for what in errors), errors


def test_shards_of_a_database_hold_what_it_knows(worlds: dict[str, Path], packs: Path, tmp_path: Path) -> None:
    report = build_shards(["3dpw"], worlds["vibe"].parent, tmp_path, packs=packs)
    assert report.bad == () and report.warnings == ()
    with h5py.File(tmp_path / "3dpw-train-00000.h5") as shard:
        masks = {name: bool(shard[f"masks/{name}"][:].all()) for name in shard["masks"]}
        assert not any(shard[f"masks/{name}"][:].any() for name in ("translation", "world"))
        assert [name for name, held in masks.items() if not held] == ["translation", "world"]
        np.testing.assert_allclose(shard["people/betas"][:], shard["people/betas_neutral"][:])
        assert (shard["people/kp3d"][..., 3].sum(1) == 14).all() and shard["frame_masks/intrinsics"][:].all()
    # nobody has a whole body, with its place: only joints can be compared
    constants = ConstantPredictor.fit(ShardReader(LocalStore(tmp_path)), body_layers(packs, GENDERS))
    assert constants.body is None and constants.joints is not None
    assert int((constants.joints != 0).any(-1).sum()) == 14


def test_writing_again_gives_the_same_bytes(worlds: dict[str, Path], tmp_path: Path) -> None:
    for form in FORMS:
        folder = tmp_path / form / "3DPW"
        folder.mkdir(parents=True)
        write_packed(folder, 4, ROLES, 6, 128, form)
        files = sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())
        assert files == sorted(str(f.relative_to(worlds[form])) for f in worlds[form].rglob("*") if f.is_file())
        assert [name for name in files if (folder / name).read_bytes() != (worlds[form] / name).read_bytes()] == []
        for split in SPLITS:  # and the pictures are those of the official form
            for one, other in zip(only(folder, split).frames, only(worlds["official"], split).frames):
                assert isinstance(one, Path) and isinstance(other, Path)
                assert one.name != other.name or one.read_bytes() == other.read_bytes()


def some_missing(name: str, content: dict[str, Any]) -> None:
    """Person 0 is not detected in frames 0 and 1, person 1 has no camera in frame 3; nobody is there in frame 4."""
    content["poses2d"][0][[0, 1, 4]] = 0
    content["poses2d"][1][4] = 0
    content["campose_valid"][1][3] = 0


@pytest.mark.parametrize("form", FORMS)
def test_frames_are_in_order_of_time_and_gaps_stay(tmp_path: Path, form: Form) -> None:
    """Nobody's shape depends on who else is there, and no frame moves to the end.

    Rows T2, T4 and T5 of docs/reference/datasets.md#defects-of-the-published-training-code.
    """
    folder = tiny.pack(tmp_path, {"train": 1}, form, change=some_missing)
    (ref,) = find(folder, "train")
    assert inspect(folder) == [] or form == "vibe"
    record = read(ref)
    assert check_record(record) == [] and ref.frames == 5
    np.testing.assert_array_equal(record.frame_ids, [0, 1, 2, 3, 5])
    assert [str(file)[-9:-4] for file in record.frames] == ["00000", "00001", "00002", "00003", "00005"]
    first, second = record.people
    assert (first.name, second.name) == ("0", "1")
    np.testing.assert_array_equal(first.present, [0, 0, 1, 1, 1])
    np.testing.assert_array_equal(second.present, [1, 1, 1, form == "vibe", 1])
    np.testing.assert_array_equal(second.body_valid, [1, 1, 1, 0, 1])
    np.testing.assert_array_equal(record.everyone_annotated, first.present & second.present)
    official = tiny_3dpw.annotation("train_walk_00", 6, 2, 0, (96, 64))
    some_missing("", official)
    for number, person in enumerate(record.people):
        assert person.body is not None and person.joints3d is not None and person.keypoints2d is not None
        for row, frame in enumerate(record.frame_ids):
            if person.body_valid[row]:
                np.testing.assert_allclose(person.body.pose[row].ravel(), official["poses"][number][frame], atol=1e-9)
                shape = tiny.BETAS + number if form == "vibe" else official["betas"][number]
                np.testing.assert_array_equal(person.body.betas[row], shape)
                assert person.keypoints2d.points[row, :, 2].sum() > 8
            else:
                assert (person.joints3d.points[row] == 0).all()


def test_neck_and_head_top_are_never_the_nose(tmp_path: Path) -> None:
    """Whatever confidence a file gives them (docs/reference/joints.md#neck-and-head-top-in-databases-of-3dpw)."""

    def seen(name: str, content: dict[str, Any]) -> None:
        content["poses2d"][0][:, :, 0] = (50, 20, 0.9)

    folder = tiny.pack(tmp_path, {"train": 1, "test": 1}, "vibe", change=lambda n, c: seen(n, c) if "test" in n else 0)
    for word in ("train", "test"):
        file = folder / "vibe_db" / f"3dpw_{word}_db.pt"
        tiny.change_db(file, lambda c: c["joints2D"][..., 12:, 2].__iadd__(1))
    for split in ("train", "test"):
        for person in only(folder, split).people:  # type: ignore[arg-type]
            assert person.keypoints2d is not None and person.joints3d is not None
            assert not person.keypoints2d.points[:, [LSP_14.index("Neck_LSP"), LSP_14.index("Head_top")]].any()
            assert person.joints3d.points[:, 12:, 3].all(), "in 3D they are their own"


def test_the_release_comes_first_and_then_annots(tmp_path: Path) -> None:
    folder = tiny.pack(tmp_path, {"train": 1}, "vibe")
    assert find(folder, "train")[0].layout == "packed (vibe_db + camera_annots.npz + smpl_neutral_betas.npz)"
    other = tiny.pack(tmp_path / "a", {"train": 1}, "annots")
    (other / "annots.npz").rename(folder / "Annots.npz")
    assert find(folder, "train")[0].layout == "packed (annots.npz + camera_annots.npz)"
    official = tiny_3dpw.write(tmp_path / "o", {"train": 1, "val": 1, "test": 1}, frames=6)
    (official / "sequenceFiles").rename(folder / "SequenceFiles")
    assert find(folder, "train")[0].layout == "official (sequenceFiles)"
    assert only(folder, "train").people[0].gender == "male"
    (folder / "imageFiles").rename(folder / "imagefiles")
    assert len(only(folder, "train").frames) == 6


def test_databases_may_lie_beside_the_dataset(tmp_path: Path) -> None:
    folder = tiny.pack(tmp_path, {"train": 1}, "vibe")
    (folder / "vibe_db").rename(tmp_path / "vibe_db")
    assert len(find(tmp_path, "train")) == 1
    (tmp_path / "data").mkdir()
    (tmp_path / "vibe_db").rename(tmp_path / "data" / "vibe_db")
    assert len(find(tmp_path, "train")) == 1
    (tmp_path / "data" / "vibe_db" / "3dpw_train_db.pt").rename(folder / "3DPW_train_db.pt")
    assert len(find(tmp_path, "train")) == 1 and find(tmp_path, "val") == []


def test_optional_files_are_missed_and_said(tmp_path: Path) -> None:
    folder = tiny.pack(tmp_path, {"train": 1, "val": 1}, "vibe", cameras=False, betas=False)
    assert [f.what for f in inspect(folder)] == [
        "there is no camera_annots.npz: 3D joints cannot be compared with the pictures",
        "there is no smpl_neutral_betas.npz: shapes are not supervised",
        "there is no 3dpw_test_db.pt: no sequences of test",
    ]
    record = only(folder, "val")
    assert not record.camera.known and record.people[0].body is not None
    assert record.people[0].body.known == {"root_rotation", "body_pose"} and not record.people[0].body.betas.any()
    other = tiny.pack(tmp_path / "a", {"train": 1}, "annots", cameras=False)
    assert [f.what for f in inspect(other)] == [
        "there is no camera_annots.npz: the world of the bodies is lost, and 3D joints cannot be compared with the"
        " pictures"
    ]
    (ref,) = find(other, "train")
    assert ref.layout == "packed (annots.npz)"
    record = read_record(ref)
    assert check_record(record) == [] and not record.camera.known and not record.world_valid
    body, joints = record.people[1].body, record.people[1].joints3d
    assert body is not None and joints is not None
    assert body.known == {"root_rotation", "body_pose", "shape"} and not body.translation.any()
    content = tiny_3dpw.annotation("train_walk_00", 6, 2, 0, (96, 64))
    expected = content["jointPositions"][1].reshape(6, 24, 3) + content["cam_poses"][:, None, :3, 3]
    np.testing.assert_allclose(joints.points[..., :3], expected, atol=1e-12)


def test_a_sequence_in_two_databases_is_an_error(tmp_path: Path) -> None:
    """The public script makes its validation file from the test folder."""
    folder = tiny.pack(tmp_path, {"train": 1, "test": 1}, "vibe")
    test = folder / "vibe_db" / "3dpw_test_db.pt"
    (folder / "vibe_db" / "3dpw_val_db.pt").write_bytes(test.read_bytes())
    assert problems(folder, "layout") == ["error: the sequence is in more than one split"]


@pytest.mark.parametrize("compress", [0, 3])
def test_a_joblib_file_is_read_as_a_plain_one(tmp_path: Path, compress: int) -> None:
    joblib = pytest.importorskip("joblib")
    folder = tiny.pack(tmp_path, {"train": 1}, "vibe")
    before = only(folder, "train")
    file = folder / "vibe_db" / "3dpw_train_db.pt"
    content = joblib.load(file)
    joblib.dump(content, file, compress=compress)
    after = only(folder, "train")
    for one, other in zip(before.people, after.people, strict=True):
        assert one.body is not None and other.body is not None
        np.testing.assert_array_equal(one.body.pose, other.body.pose)


def test_placing_finds_the_shift_of_a_projection() -> None:
    rng = np.random.default_rng(0)
    intrinsics = np.array([[1900.0, 0, 530], [0, 1950.0, 960], [0, 0, 1]])
    joints = rng.normal(0, 0.4, (3, 14, 3)) + np.array([[0.3, -0.2, 4], [0, 0, 2.5], [1, 1, 9]])[:, None]
    image = joints @ intrinsics.T
    points = np.concatenate([image[..., :2] / image[..., 2:], np.ones((3, 14, 1))], 2)
    points[0, 9:] = 0
    points[1, 4:] = 0
    found = solve_translation(joints + np.array([5, -7, 100]), points, intrinsics)
    np.testing.assert_allclose(found[[0, 2], :, :3], joints[[0, 2]], atol=1e-9)
    assert (found[[0, 2], :, 3] == 1).all() and not found[1].any(), "four joints do not tell a place"
    nonsense = points.copy()
    nonsense[2, :, :2] = points[2, :, :2].mean(0) - 10 * (points[2, :, :2] - points[2, :, :2].mean(0))
    assert not solve_translation(joints, nonsense, intrinsics)[2].any(), (
        "a mirrored picture would lie behind the camera"
    )


Change = Callable[[dict[str, Any]], Any]
KEY = "train_walk_01.pkl"
ANNOTS: dict[str, tuple[Change, str]] = {
    "no joints": (lambda c: c.pop("kp3d"), "kp3d is missing"),
    "no joints of it": (lambda c: c["kp2d"].pop(KEY), "train_walk_01.pkl is missing"),
    "NaN": (lambda c: c["params"][KEY]["trans"][1].__setitem__((2, 0), np.nan), r"trans\[1\] has 1 NaN"),
    "frames short": (lambda c: c["kp3d"][KEY].__setitem__(0, np.ones((4, 24, 3))), "expected 6x24x3"),
    "a person short": (lambda c: c["kp2d"][KEY].pop(), "a list of 2 people"),
    "no gender": (lambda c: c["params"][KEY]["genders"].__setitem__(1, "x"), r"genders\[1\] is 'x'"),
    "few betas": (lambda c: c["params"][KEY].update(betas=np.ones((2, 6))), r"betas\[0\] has 6 coefficients"),
    "poses of other length": (lambda c: c["params"][KEY]["poses"].__setitem__(0, np.ones((6, 66))), "expected 6x72"),
}


@pytest.mark.parametrize("case", ANNOTS)
def test_malformed_annots_are_named(tmp_path: Path, case: str) -> None:
    change, message = ANNOTS[case]
    folder = tiny.pack(tmp_path, {"train": 2}, "annots")
    file = tiny.change_npz(folder / "annots.npz", change)
    refs = find(folder, "train")
    with pytest.raises(AnnotationError, match=message) as caught:
        read(refs[1])
    assert caught.value.where == str(file) and caught.value.hint


FINDING: dict[str, tuple[Change, str]] = {
    "no parameters": (lambda c: c.pop("params"), "params is missing"),
    "no split": (lambda c: c["params"][KEY].pop("split"), "split is missing"),
    "an unknown split": (lambda c: c["params"][KEY].update(split="dev"), "the split of train_walk_01.pkl is 'dev'"),
    "no indices": (
        lambda c: c["params"][KEY].update(valid_indices=[]),
        "valid_indices is a list, expected a list of one",
    ),
    "disorder": (
        lambda c: c["params"][KEY]["valid_indices"].__setitem__(0, [3, 2]),
        r"valid_indices\[0\] are not incr",
    ),
    "a list": (lambda c: c.update(params=[1]), "params holds a ndarray, expected a dict"),
}


@pytest.mark.parametrize("case", FINDING)
def test_annots_without_a_split_are_not_searched(tmp_path: Path, case: str) -> None:
    change, message = FINDING[case]
    folder = tiny.pack(tmp_path, {"train": 2}, "annots")
    file = tiny.change_npz(folder / "annots.npz", change)
    with pytest.raises(AnnotationError, match=message) as caught:
        find(folder, "train")
    assert caught.value.where == str(file) and caught.value.hint
    assert len(problems(folder, "layout")) == 1


def column(key: str, change: Callable[[Any], Any]) -> Change:
    return lambda c: c.update({key: change(c[key])})


DATABASES: dict[str, tuple[Change, str]] = {
    "a column is missing": (lambda c: c.pop("valid"), "valid is missing"),
    "a row short": (column("pose", lambda v: v[:-1]), "the columns have .* expected the same number of rows"),
    "names without a person": (column("vid_name", lambda v: np.array(["walk"] * len(v))), "vid_name holds 'walk'"),
    "a frame twice": (column("frame_id", lambda v: np.zeros_like(v)), "frame_id repeats for train_walk_00_0"),
    "frames between": (column("frame_id", lambda v: v + 0.5), "frame_id holds what is no image number"),
    "frames shifted": (column("frame_id", lambda v: v + 1), "image_00006.jpg is missing"),
    "NaN": (column("joints3D", lambda v: v * np.nan), "joints3D has .* NaN"),
    "another joint set": (column("joints2D", lambda v: v[:, :12]), r"joints2D has shape \(24, 12, 3\)"),
    "a short pose": (column("pose", lambda v: v[:, :66]), r"pose has shape \(6, 66\), expected 6x72"),
    "empty": (lambda c: [c.update({key: value[:0]}) for key, value in c.items()], "the columns have"),
    "a list of lists": (column("joints2D", lambda v: [[1, 2], [3]] * 12), "joints2D is no array"),
}


@pytest.mark.parametrize("case", DATABASES)
def test_malformed_databases_are_named(tmp_path: Path, case: str) -> None:
    change, message = DATABASES[case]
    folder = tiny.pack(tmp_path, {"train": 2}, "vibe")
    file = tiny.change_db(folder / "vibe_db" / "3dpw_train_db.pt", change)
    with pytest.raises(AnnotationError, match=message) as caught:
        read(find(folder, "train")[0])
    assert caught.value.where == str(file) and caught.value.hint


CAMERAS: dict[str, tuple[Change, str]] = {
    "not of this sequence": (lambda c: c["intrinsics"].pop("train_walk_01"), "train_walk_01 is missing"),
    "another shape": (lambda c: c["intrinsics"].update(train_walk_01=np.eye(4)), r"intrinsics\['train_walk_01'\] has"),
    "no intrinsics": (lambda c: c.pop("intrinsics"), "intrinsics is missing"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", CAMERAS)
def test_malformed_cameras_are_named(tmp_path: Path, case: str, form: Form) -> None:
    change, message = CAMERAS[case]
    folder = tiny.pack(tmp_path, {"train": 2}, form)
    file = tiny.change_npz(folder / "camera_annots.npz", change)
    with pytest.raises(AnnotationError, match=message) as caught:
        read(find(folder, "train")[1])
    assert caught.value.where == str(file)


def test_cameras_of_fewer_frames_are_named(tmp_path: Path) -> None:
    folder = tiny.pack(tmp_path, {"train": 1}, "annots")
    few = np.tile(np.eye(4), (3, 1, 1))
    tiny.change_npz(folder / "camera_annots.npz", lambda c: c["extrinsics"].update(train_walk_00=few))
    with pytest.raises(AnnotationError, match="are of 3 frames, expected 6 or more"):
        read(find(folder, "train")[0])


def test_shapes_of_other_people_are_named(tmp_path: Path) -> None:
    folder = tiny.pack(tmp_path, {"train": 1}, "vibe")
    tiny.change_npz(folder / "smpl_neutral_betas.npz", lambda c: c["neutral_betas"]["train_walk_00.pkl"].pop())
    with pytest.raises(AnnotationError, match=r"train_walk_00.pkl is a list without \[1\]"):
        read(find(folder, "train")[0])


@pytest.mark.parametrize("form", FORMS)
def test_a_forbidden_class_runs_nothing(tmp_path: Path, form: Form) -> None:
    folder = tiny.pack(tmp_path, {"train": 1}, form)
    if form == "annots":
        tiny.change_npz(folder / "annots.npz", lambda c: c["params"].update(bad=Payload(tmp_path / "ran")))
    else:
        tiny.change_db(folder / "vibe_db" / "3dpw_train_db.pt", lambda c: c.update(bad=Payload(tmp_path / "ran")))
    with pytest.raises(AnnotationError, match=r"posix\.mkdir"):
        find(folder, "train")
    assert not (tmp_path / "ran").exists()


def swap(points: Any, pairs: list[tuple[int, int]]) -> Any:
    order = np.arange(points.shape[-2])
    for one, other in pairs:
        order[[one, other]] = other, one
    return points[..., order, :]


LSP_PAIRS = [(0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9)]
COCO_PAIRS = [(2, 5), (3, 6), (4, 7), (8, 11), (9, 12), (10, 13)]
NAME = "train_walk_01"


def of_name(content: dict[str, Any], key: str, change: Callable[[Any], Any]) -> None:
    rows = np.char.startswith(content["vid_name"], NAME)
    content[key][rows] = change(content[key][rows])


def exchange(content: dict[str, Any]) -> None:
    """Left and right of the 2D points."""
    points = [swap(array.transpose(0, 2, 1), COCO_PAIRS) for array in content["kp2d"][KEY]]
    content["kp2d"][KEY] = [array.transpose(0, 2, 1) for array in points]


def transpose(content: dict[str, Any]) -> None:
    content["extrinsics"][NAME] = content["extrinsics"][NAME].transpose(0, 2, 1)


TRAIN = "vibe_db/3dpw_train_db.pt"
WRONG: dict[str, tuple[Depth, str, Change, str]] = {
    "millimetres": ("content", "annots.npz", lambda c: [a.__imul__(1000) for a in c["kp3d"][KEY]], "m apart"),
    "left and right": ("geometry", "annots.npz", exchange, "left and right are exchanged for 0, 1"),
    "stale": (
        "geometry",
        "camera_annots.npz",
        lambda c: c["intrinsics"][NAME][:2, :2].__imul__(1.6),
        "meet the 2D joints at",
    ),
    "of larger frames": (
        "content",
        "camera_annots.npz",
        lambda c: c["intrinsics"][NAME].__imul__(1.6),
        "near the principal point",
    ),
    "transposed": ("content", "camera_annots.npz", transpose, "last row is not 0 0 0 1"),
    "a database in millimetres": ("content", TRAIN, lambda c: of_name(c, "joints3D", lambda v: v * 1000), "m apart"),
    "a database, left and right": (
        "geometry",
        TRAIN,
        lambda c: of_name(c, "joints2D", lambda v: swap(v, LSP_PAIRS)),
        "meet the 2D joints at",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_numbers_are_found_at_their_depth(tmp_path: Path, case: str) -> None:
    depth, name, change, message = WRONG[case]
    folder = tiny.pack(tmp_path, {"train": 2, "val": 1, "test": 1}, "vibe" if name == TRAIN else "annots")
    assert problems(folder) == []
    (tiny.change_db if name.endswith(".pt") else tiny.change_npz)(folder / name, change)
    for before in DEPTHS[: DEPTHS.index(depth)]:
        assert problems(folder, before) == []
    report = verify_datasets(["3dpw"], folder.parent, depth=depth)
    assert not report.ok
    found = report.datasets[0].problems
    assert any(message in problem.what for problem in found), found
    assert all(NAME in example for problem in found for example in problem.examples)


@pytest.mark.parametrize("form", FORMS)
def test_lost_and_broken_images_are_found(tmp_path: Path, form: Form) -> None:
    folder = tiny.pack(tmp_path, {"train": 2, "val": 1, "test": 1}, form, change=some_missing)
    images = folder / "imageFiles" / NAME
    (images / "image_00004.jpg").unlink()
    assert problems(folder) == [], "nobody is annotated in it"
    broken = images / "image_00003.jpg"
    broken.write_bytes(broken.read_bytes()[:-30])
    assert problems(folder, "layout") == []
    assert [line for line in problems(folder, "content") if "ends too early" in line]
    broken.unlink()
    assert problems(folder, "layout") == ["error: image_00003.jpg is missing (4 images, last 5)"]
    images.rename(images.with_name("elsewhere"))
    images.symlink_to(images)
    assert set(problems(folder, "layout")) == {
        "error: a symbolic link that leads back to itself",
        "warning: images without annotation",
    }
