"""The RICH adapter against the sample world, which writes from positions and draws lenses with OpenCV."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_rich
from repository import ROOT
from tiny_rich import BURPEE, FRAMES, MIDDLE, TOSS, calibration, change, images

from trace_data.adapters import canonical_names, read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.rich import SPEC, find, inspect, read
from trace_data.adapters.rich.bodies import GENDERS
from trace_data.builder.build import build_shards
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.verify.datasets import verify_datasets

NEAR = 0.1
"""Share of a person's height within which it is about where it is."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset in the tree of the makers' tools. Read only."""
    return tiny_rich.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "RICH")


def everything(folder: Path) -> dict[str, SequenceRef]:
    return {ref.name: ref for split in SPEC.splits for ref in find(folder.parent, split)}


def record_of(folder: Path, name: str = f"{BURPEE}/cam_00") -> SequenceRecord:
    return read_record(everything(folder)[name])


def test_what_went_in_comes_out(world: Path) -> None:
    truth, refs = tiny_rich.truth(), everything(world)
    assert sorted(refs) == sorted(truth) and len(refs) == 8
    for name, ref in refs.items():
        record, take = read(ref), truth[name]
        assert [finding for finding in check_record(record) if finding.severity == "error"] == []
        assert record.split == ref.split == take.name.split and record.fps == 30 and record.remarks == ()
        assert record.frame_ids.tolist() == list(take.numbers) and ref.frames == len(record.frames) == FRAMES
        assert record.world_valid and record.world_up is None and not record.everyone_annotated.any()
        assert record.provenance["approximate_pose"] == "smplx" and record.provenance["synthetic"] == "true"
        camera, turn = record.camera, take.rig_from_world[:3, :3]
        assert not camera.moving and (camera.width, camera.height) == take.scene.camera.size
        np.testing.assert_allclose(camera.intrinsics[0], take.scene.camera.intrinsics, rtol=1e-12)
        assert camera.camera_from_world is not None
        np.testing.assert_allclose(
            camera.camera_from_world[0] @ take.rig_from_world, take.scene.camera.camera_from_world[0], atol=1e-12
        )
        assert take.camera != 0 or np.allclose(camera.camera_from_world[0], np.eye(4))
        lens = np.zeros(5) if camera.distortion is None else camera.distortion
        np.testing.assert_array_equal(lens, np.pad(take.lens, (0, 5 - len(take.lens))))
        assert [person.name for person in record.people] == [f"{subject:03d}" for subject in take.name.subjects]
        for person, performance, fitted in zip(record.people, take.scene.performances, take.fitted):
            assert person.present.tolist() == person.body_valid.tolist() == fitted.tolist()
            body, pose = person.body, performance.motion.pose[::2].reshape(-1, 24, 3)
            assert body is not None and body.known == {"root_rotation", "body_pose"} and body.translation is None
            assert body.gender == person.gender == performance.person.gender and person.joints3d is None
            root = axis_angle_from_matrix(turn @ matrix_from_axis_angle(pose[:, 0])).astype(np.float32)
            np.testing.assert_array_equal(body.pose[fitted, 0], root[fitted])
            np.testing.assert_array_equal(body.pose[fitted, 1:22], pose[fitted, 1:22].astype(np.float32))
            assert not body.pose[:, 22:].any() and not body.betas.any()
    assert {record_of(world, name).people[0].gender for name in refs} == {"male", "female"}


def test_people_are_about_where_they_are_in_the_picture(world: Path) -> None:
    for name, take in tiny_rich.truth().items():
        record = record_of(world, name)
        for person, performance in zip(record.people, take.scene.performances):
            points = person.keypoints2d
            assert points is not None and points.place_only and not points.built
            straight, matrix = take.scene.camera.pixels(performance.joints)[0], take.scene.camera.intrinsics
            plane = (straight - matrix[:2, 2]) / np.diag(matrix)[:2]
            rays = np.concatenate([plane, np.ones((*plane.shape[:2], 1))], axis=2).reshape(-1, 3)
            bent = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, take.lens)[0].reshape(straight.shape)
            shown = points.points[..., 2] > 0
            apart = np.linalg.norm(points.points[..., :2] - bent, axis=2)[shown]
            assert apart.max() < NEAR * np.ptp(straight[..., 1])
            assert (shown.sum(axis=1) >= 20)[person.present].all() and not shown[~person.present].any()


def test_every_depth_is_well_and_shards_hold_rotations_and_places_alone(
    world: Path, packs: Path, tmp_path: Path
) -> None:
    report = verify_datasets(["rich"], world.parent, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic
    assert report.datasets[0].sequences == {"train": 2, "val": 2, "test": 4}
    index = build_shards(["rich"], world.parent, tmp_path, packs=packs, check="geometry").index
    assert not index.bad and verify_shards(tmp_path).ok
    reader = ShardReader(tmp_path)
    for number, entry in enumerate(index.sequences):
        take, record = tiny_rich.truth()[entry.name], record_of(world, entry.name)
        assert entry.provenance["approximate_pose"] == "smplx" and not entry.moving
        clip = reader.annotations(ClipRef(sequence=number, start=0, stride=1, length=3))
        for person, annotated in enumerate(record.people):
            assert annotated.body is not None
            np.testing.assert_array_equal(clip.pose[person], annotated.body.pose[:3].astype(np.float32))
            joints = take.scene.camera.pixels(take.scene.performances[person].joints)[0][:3]
            middle = joints[:, [0, 1, 2, 12, 13, 14, 16, 17]].mean(axis=1)
            assert np.linalg.norm(clip.center[person] - middle, axis=1).max() < NEAR * np.ptp(joints[..., 1])
            assert (clip.box[person][:, :2] < middle).all() and (clip.box[person][:, 2:] > middle).all()
        for mask in ("root_rotation", "body_pose", "center"):
            assert clip.masks[mask].all(), mask
        for mask in ("pose2d", "joints3d", "shape", "translation", "world", "everyone_annotated"):
            assert not clip.masks[mask].any(), mask
        assert not any(array.any() for array in (clip.kp2d, clip.kp3d, clip.betas, clip.translation))


def test_pictures_are_bent_by_their_lens_and_belong_to_their_frames(world: Path) -> None:
    for name, take in tiny_rich.truth().items():
        for file, image in zip(record_of(world, name).frames, take.pictures()):
            stored = cv2.imread(str(file))
            assert stored is not None and stored.shape == image.shape
            assert np.abs(stored.astype(int) - image).mean() < 12  # JPEG


def test_both_trees_and_older_archives_are_the_same(world: Path, tmp_path: Path) -> None:
    raw = tiny_rich.write(tmp_path / "raw", raw=True)
    older = tiny_rich.write(tmp_path / "older", raw=True)
    inner = older / "ps/project/multi-ioi/rich_release"
    inner.mkdir(parents=True)
    for name in ("train_body", "val_body", "test_body"):
        (older / name).rename(inner / name)
    (older / "scan_calibration").rename(older / "inner")
    (older / "scan_calibration").mkdir()
    (older / "inner").rename(older / "scan_calibration/scan_calibration")
    for folder in (raw, older):
        refs = everything(folder)
        assert refs.keys() == everything(world).keys() and len(inspect(folder.parent)) == 1
        for name in refs:
            one, other = read(refs[name]), record_of(world, name)
            assert one.provenance == other.provenance and len(one.people) == len(other.people)
            assert one.people[0].body is not None and other.people[0].body is not None
            np.testing.assert_array_equal(one.people[0].body.pose, other.people[0].body.pose)


def test_a_carried_camera_is_not_listed_and_said(world: Path) -> None:
    assert (images(world, 10)).is_dir() and not any(name.endswith("cam_10") for name in everything(world))
    [finding] = inspect(world.parent)
    assert finding.severity == "warning" and finding.key == f"test/{BURPEE}/cam_10" and "calibration" in finding.what


def test_who_was_not_fitted_in_a_frame_is_absent_there(world: Path) -> None:
    record = record_of(world, f"{TOSS}/cam_00")
    assert [person.present.tolist() for person in record.people] == [[True] * 6, [True] * 3 + [False] + [True] * 2]
    assert record.people[1].body is not None and not record.people[1].body.pose[3].any()


def test_frame_numbers_are_those_of_the_release(world: Path) -> None:
    record = record_of(world)
    assert record.frame_ids.tolist() == list(range(46, 52)) and MIDDLE in record.frame_ids
    assert not record.people[0].present[record.frame_ids == MIDDLE].any()


def test_views_on_their_side_are_those_whose_calibration_says_so(world: Path) -> None:
    sizes = {name: (record.camera.width, record.camera.height) for name in everything(world)
             if (record := record_of(world, name))}  # fmt: skip
    assert sizes[f"{TOSS}/cam_03"] == (72, 98) and sizes[f"{TOSS}/cam_00"] == (98, 72)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_the_lens_follows_pictures_that_were_re_encoded(folder: Path, factor: float) -> None:
    before = record_of(folder).camera.intrinsics[0]
    for file in images(folder).iterdir():
        image = cv2.imread(str(file))
        assert image is not None
        cv2.imwrite(str(file), cv2.resize(image, None, fx=factor, fy=factor))
    camera = record_of(folder).camera
    expected = np.diag([factor, factor, 1]) @ before
    expected[:2, 2] += (factor - 1) / 2  # pixels are counted from the centre of the first one
    np.testing.assert_allclose(camera.intrinsics[0], expected, rtol=0.01)
    assert (camera.width, camera.height) == (98 * factor, 72 * factor)


def test_pictures_of_any_format_are_read(folder: Path) -> None:
    for number, suffix in zip(range(46, 52), ("png", "bmp", "JPG", "jpg", "PNG", "jpeg")):
        file = images(folder) / f"{number:05d}_00.jpeg"
        image = cv2.imread(str(file))
        file.unlink()
        assert image is not None and cv2.imwrite(str(file.with_suffix(f".{suffix}")), image)
    (images(folder) / "._00046_00.jpeg").write_bytes(b"of macOS")
    assert len(record_of(folder).frames) == FRAMES and len(inspect(folder.parent)) == 1


def test_views_may_be_missing_and_bodies_need_no_images(folder: Path) -> None:
    shutil.rmtree(images(folder, 1))
    shutil.rmtree(folder / "data/images/val")
    assert len(everything(folder)) == 5 and len(inspect(folder.parent)) == 1


def test_genders_are_those_of_the_reference() -> None:
    page = (ROOT / "docs/reference/further-datasets.md").read_text(encoding="utf-8")
    assert "22 ids: male 0–8, 11, 14, 15, 20; female 9, 10, 12, 13, 16–19, 21" in page
    males = {*range(9), 11, 14, 15, 20}
    assert {number for number, gender in GENDERS.items() if gender == "male"} == males and len(GENDERS) == 22


def test_a_subject_that_the_name_does_not_have_is_said(folder: Path) -> None:
    for file in sorted((folder / "data/bodies/test" / BURPEE).glob("*/017.pkl")):
        file.rename(file.with_name("016.pkl"))
    record = record_of(folder)
    assert record.people[0].name == "016" and "016" in record.remarks[0]


def test_arrays_may_lack_the_leading_one_and_have_other_keys(folder: Path, world: Path) -> None:
    def flatten(content: dict[str, np.ndarray]) -> None:
        content.update({key: value[0].astype(np.float64) for key, value in content.items()}, note=np.array("x"))

    tiny_rich.change_all(folder, flatten)
    one, other = record_of(folder).people[0].body, record_of(world).people[0].body
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.pose, other.pose)


def test_somebody_who_leaves_the_picture_is_absent_there(folder: Path) -> None:
    change(tiny_rich.body(folder), lambda content: content["transl"].__setitem__((0, 0), -30))
    person = record_of(folder).people[0]
    assert person.present.tolist() == [True, True, False, False, True, True]


def test_a_lens_of_a_middling_number_of_coefficients_is_padded(folder: Path) -> None:
    text = calibration(folder).read_text()
    begin, end = text.index("<Distortion"), text.index("</Distortion>")
    lens = "<Distortion><rows>1</rows><cols>8</cols><data>1e-2 0 0 0 0 1e-3 0 0</data>"
    calibration(folder).write_text(text[:begin] + lens + text[end:])
    found = record_of(folder).camera.distortion
    assert found is not None and found.tolist() == [1e-2, 0, 0, 0, 0, 1e-3, 0, 0]


def test_it_is_meant_only_by_its_name() -> None:
    assert "rich" not in canonical_names(()) and canonical_names(["RICH"]) == ["rich"]
