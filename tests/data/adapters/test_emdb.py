"""The EMDB adapter against the sample world, which writes from positions and its own camera: what went in comes out."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_emdb
from repository import ROOT
from tiny_emdb import CLIMB, FRAMES, NEITHER, STAIRS, WALK, annotation, change, images

from trace_data.adapters import canonical_names, read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.emdb import SPEC, find, inspect, read
from trace_data.adapters.emdb.sequences import EMDB1, EMDB2
from trace_data.assets.bodies import load_bodies
from trace_data.builder.build import build_shards
from trace_data.geometry import project, transform
from trace_data.sample_world import emdb as twin
from trace_data.sample_world.scene import all_joints
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.shards.rows import rows_of
from trace_data.verify.datasets import verify_datasets

GOOD = [True, True, True, False, True, True]
"""Of the sequences in which somebody is hidden."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_emdb.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "EMDB")


def everything(folder: Path) -> dict[str, SequenceRef]:
    return {ref.name: ref for split in SPEC.splits for ref in find(folder.parent, split)}


def record_of(folder: Path, name: str = STAIRS) -> SequenceRecord:
    return read_record(everything(folder)[name])


def test_what_went_in_comes_out(world: Path, packs: Path) -> None:
    truth, bodies = tiny_emdb.truth(), load_bodies(packs)
    refs = everything(world)
    assert list(refs) == sorted(truth) and inspect(world.parent) == [] and find(world.parent, "train") == []
    for name, ref in refs.items():
        record, take = read(ref), truth[name]
        turn, performance = take.phone_from_world, take.scene.performances[0]
        [person], body = record.people, record.people[0].body
        assert [finding for finding in check_record(record) if finding.severity == "error"] == []
        assert record.split == "test" and ref.frames == len(record.frames) == FRAMES
        assert record.fps == 30 and record.frame_ids.tolist() == list(range(FRAMES))
        assert record.world_up == (0.0, 1.0, 0.0) and record.camera.moving and not record.everyone_annotated.any()
        assert record.provenance["synthetic"] == "true" and record.remarks == ()
        intrinsics, extrinsics = record.camera.per_frame(FRAMES)
        assert (record.camera.width, record.camera.height) == take.scene.camera.size
        np.testing.assert_array_equal(intrinsics[0], take.scene.camera.intrinsics)
        np.testing.assert_allclose(extrinsics @ turn, take.scene.camera.camera_from_world, atol=1e-12)
        assert person.name == name[:2] and body is not None and body.whole and body.origin == "model"
        assert body.gender == person.gender == ("neutral" if name == NEITHER else performance.person.gender)
        assert person.present.tolist() == person.body_valid.tolist() == take.good.tolist()
        np.testing.assert_array_equal(body.betas, np.tile(performance.person.betas.astype(np.float32), (FRAMES, 1)))
        limbs = performance.motion.pose[::2].reshape(FRAMES, 24, 3)[:, 1:]
        np.testing.assert_array_equal(body.pose[:, 1:], limbs.astype(np.float32))
        placed = bodies.place(body)
        assert placed is not None
        joints = all_joints(performance)[0]
        np.testing.assert_allclose(placed[0], transform(turn, joints), atol=5e-5)  # what the packs and float32 cost
        wanted = project(take.scene.camera.intrinsics, transform(take.scene.camera.camera_from_world, joints))
        np.testing.assert_allclose(project(intrinsics, transform(extrinsics, placed[0])), wanted, atol=0.02)
    assert {record_of(world, name).people[0].gender for name in refs} == {"male", "female", "neutral"}


def test_every_depth_is_well_and_shards_hold_what_was_drawn(world: Path, packs: Path, tmp_path: Path) -> None:
    report = verify_datasets(["emdb"], world.parent, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic and report.datasets[0].sequences == {"test": 4}
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.02
    index = build_shards(["emdb"], world.parent, tmp_path, packs=packs, check="geometry").index
    assert not index.bad and verify_shards(tmp_path).ok
    reader = ShardReader(tmp_path)
    for number, entry in enumerate(index.sequences):
        part_2 = entry.name in EMDB2
        assert entry.provenance["emdb2"] == str(part_2).lower()
        assert entry.provenance["emdb1"] == str(entry.name in EMDB1).lower()
        clip = reader.annotations(ClipRef(sequence=number, start=0, stride=1, length=3))
        performance, turn = (take := tiny_emdb.truth()[entry.name]).scene.performances[0], take.phone_from_world
        joints = transform(turn, all_joints(performance)[0][:3])
        np.testing.assert_allclose(clip.kp3d[0, :, :, :3], joints, atol=5e-5)
        assert clip.masks["world"].all() == clip.masks["world"].any() == part_2
        for mask in ("root_rotation", "body_pose", "shape", "translation", "joints3d", "center"):
            assert clip.masks[mask].all(), mask
        assert not clip.masks["pose2d"].any() and not clip.masks["everyone_annotated"].any()


def test_nobody_is_supervised_where_somebody_is_hidden(world: Path, packs: Path) -> None:
    record = record_of(world)
    [person] = record.people
    assert person.present.tolist() == GOOD and person.body is not None and person.keypoints2d is not None
    assert (person.keypoints2d.points[..., 2] > 0).all(axis=1).tolist() == GOOD
    assert np.abs(person.body.pose[3]).max() > 0, "the release has a body there: the camera path needs none"
    rows = rows_of(record, load_bodies(packs).complete(record))
    assert rows.people_a_frame.tolist() == [int(good) for good in GOOD] and rows.usable == (((0, 3), (4, 6)),)
    assert len(record.frames) == FRAMES and record.camera.per_frame(FRAMES)[1].shape == (FRAMES, 4, 4)


def test_what_is_hidden_may_have_no_numbers(folder: Path) -> None:
    def lose(content: dict[str, dict[str, np.ndarray]]) -> None:
        for key in ("poses_root", "poses_body", "trans"):
            content["smpl"][key][3] = np.nan
        content["kp2d"][3] = np.inf  # type: ignore[index]

    whole = record_of(folder)
    change(annotation(folder), lose)
    record = record_of(folder)
    assert [f for f in check_record(record) if f.severity == "error"] == [] and record.remarks == ()
    body, other = record.people[0].body, whole.people[0].body
    assert body is not None and other is not None
    np.testing.assert_array_equal(body.pose[GOOD], other.pose[GOOD])
    assert not body.pose[3].any()


def test_pictures_belong_to_their_frames_and_hide_whom_they_should(world: Path) -> None:
    for name in (WALK, STAIRS):
        take, record = tiny_emdb.truth()[name], record_of(world, name)
        pixels = take.scene.camera.pixels(take.scene.performances[0].points)[0]
        for file, image, points, good in zip(record.frames, take.pictures(), pixels, take.good):
            stored = cv2.imread(str(file))
            assert stored is not None and stored.shape == image.shape
            assert np.abs(stored.astype(int) - image).mean() < 12  # JPEG
            seen = points[((points >= 0) & (points <= np.array(image.shape[1::-1]) - 1)).all(axis=1)]
            colours = image[np.rint(seen[:, 1]).astype(int), np.rint(seen[:, 0]).astype(int)]
            assert (len(np.unique(colours, axis=0)) == 1) != good


def test_points_of_the_release_are_compared_and_not_built(world: Path, packs: Path) -> None:
    record = record_of(world, WALK)
    points = record.people[0].keypoints2d
    assert points is not None and points.projected and points.compared_only and points.layout == "SMPL_24"
    np.testing.assert_allclose(
        points.points[..., :2],
        tiny_emdb.truth()[WALK].scene.camera.pixels(tiny_emdb.truth()[WALK].scene.performances[0].joints)[0],
        atol=1e-5,
    )
    rows = rows_of(record, load_bodies(packs).complete(record)).people
    assert not rows["masks/pose2d"].any() and rows["masks/center"].all()


def test_the_world_is_supervised_in_emdb_2_alone(world: Path) -> None:
    assert {name: record_of(world, name).world_valid for name in everything(world)} == {
        WALK: True, CLIMB: False, NEITHER: False, STAIRS: True,
    }  # fmt: skip
    assert "EMDB-2" in record_of(world, CLIMB).world_reason


def test_lists_are_those_of_the_reference_and_of_the_sample_world() -> None:
    page = (ROOT / "docs/reference/further-datasets.md").read_text(encoding="utf-8")
    stars = {short: name for name in EMDB1 for short in (f"{name[:5]}*", f"{name}*")}
    for title, listed in (("EMDB-1 (17)", EMDB1), ("EMDB-2 (25)", EMDB2)):
        row = next(line for line in page.splitlines() if line.startswith(f"| {title}"))
        named = re.split(r",\s*", row.strip("| ").split("|")[1].strip())
        assert tuple(stars.get(name, name) for name in named) == listed
    assert len(EMDB1) == 17 and len(EMDB2) == 25 and len({*EMDB1, *EMDB2}) == 39
    assert {name for name, parts in twin.NAMES.items() if "1" in parts} == set(EMDB1)
    assert {name for name, parts in twin.NAMES.items() if "2" in parts} == set(EMDB2)
    assert f"{twin.LAST[:2]}_{twin.LAST.split('/')[1]}" == next(iter(twin.NAMES))


def test_a_flag_that_contradicts_the_lists_is_followed_and_said(folder: Path) -> None:
    change(annotation(folder, CLIMB), lambda content: content.update(emdb2=True))
    record = record_of(folder, CLIMB)
    assert record.world_valid and record.provenance["emdb1"] == record.provenance["emdb2"] == "true"
    [remark] = record.remarks
    assert "emdb2 is True" in remark
    assert verify_datasets(["emdb"], folder.parent, depth="content").ok


@pytest.mark.parametrize("protocol", [0, 2, 3, 5])
def test_pickles_of_any_protocol_with_scalars_of_numpy_are_read(folder: Path, world: Path, protocol: int) -> None:
    def write(content: dict) -> None:
        content.update(emdb1=np.bool_(True), emdb2=np.True_, n_frames=np.int64(FRAMES), gender=np.array("Male"))
        content["good_frames_mask"] = content["good_frames_mask"].astype(np.uint8)
        content["smpl"]["betas"] = content["smpl"]["betas"][None].astype(np.float64)
        content["kp2d"] = np.concatenate([content["kp2d"], np.ones((FRAMES, 24, 1))], axis=2)
        content["camera"].update(width=np.int32(72), height=np.array(96))

    change(annotation(folder), write, protocol)
    one, other = record_of(folder), record_of(world)
    assert one.provenance == other.provenance and one.people[0].gender == "male"
    assert one.people[0].body is not None and other.people[0].body is not None
    np.testing.assert_array_equal(one.people[0].body.betas, other.people[0].body.betas)
    np.testing.assert_array_equal(one.people[0].present, other.people[0].present)


def test_files_beside_the_images_are_not_read(folder: Path) -> None:
    (annotation(folder).with_name(f"{STAIRS}_video.mp4")).write_bytes(b"no video")
    (annotation(folder).with_name(f"._{STAIRS}_data.pkl")).write_bytes(b"of macOS")
    (images(folder) / "._00000.jpg").write_bytes(b"of macOS")
    (folder / "P3").mkdir()
    (folder / "P4" / "notes").mkdir(parents=True)
    (folder / "LICENSE.txt").touch()
    assert inspect(folder.parent) == [] and len(everything(folder)) == 4
    assert len(record_of(folder).frames) == FRAMES


def test_folders_of_archives_and_other_letters_are_entered(folder: Path) -> None:
    (folder / "P6").rename(folder / "inner")
    (folder / "p6").mkdir()
    (folder / "inner").rename(folder / "p6" / "P6")
    (folder / "p6/P6/49_outdoor_big_stairs_down").rename(folder / "p6/P6/49_Outdoor_big_stairs_down")
    (folder / "p6/P6/49_Outdoor_big_stairs_down/images").rename(folder / "p6/P6/49_Outdoor_big_stairs_down/Images")
    assert inspect(folder.parent) == [] and len(record_of(folder, STAIRS).frames) == FRAMES
    assert len(everything(folder)) == 4


def test_the_folder_itself_may_be_the_root(folder: Path) -> None:
    assert [ref.name for ref in find(folder, "test")] == sorted(tiny_emdb.truth())


def test_it_is_meant_only_by_its_name() -> None:
    assert "emdb" not in canonical_names(()) and canonical_names(["EMDB"]) == ["emdb"]
