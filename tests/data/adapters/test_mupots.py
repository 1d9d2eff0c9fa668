"""The MuPoTS-3D adapter against the sample world: what went in comes out."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_mupots
from tiny_mupots import change_cells, of_each

from trace_data.adapters import canonical_name, canonical_names, read_record
from trace_data.adapters.mupots import OCCLUDED, SPEC, find, inspect
from trace_data.builder.build import build_shards
from trace_data.frames.image import decode, read_bytes
from trace_data.geometry import project
from trace_data.sample_world.scene import all_joints, render_scene
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.keypoints import ALL_44, LAYOUTS, MPI_INF_TEST_17
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.verify.datasets import verify_datasets


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_mupots.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / world.name)


def record_of(folder: Path, name: str = "TS1") -> SequenceRecord:
    return read_record(next(ref for ref in find(folder.parent, "test") if ref.name == name))


def test_what_went_in_comes_out(world: Path) -> None:
    truth, refs = tiny_mupots.truth(), find(world.parent, "test")
    assert [ref.name for ref in refs] == list(truth) and inspect(world.parent) == []
    assert find(world.parent, "train") == find(world.parent, "val") == []
    for ref in refs:
        record, take = read_record(ref), truth[ref.name]
        camera, frames = take.scene.camera, len(take.valid)
        assert check_record(record) == [] and ref.frames == len(record.frames) == frames
        assert record.frame_ids.tolist() == list(range(frames)) and record.fps == 30
        assert not record.world_valid and record.world_up is None and not record.everyone_annotated.any()
        assert record.provenance["synthetic"] == "true"
        assert (record.camera.width, record.camera.height) == camera.size
        assert record.camera.known and not record.camera.moving and record.camera.camera_from_world is None
        np.testing.assert_allclose(record.camera.intrinsics[0], camera.intrinsics, atol=1e-9)
        assert [person.name for person in record.people] == [f"{ref.name}/0", f"{ref.name}/1"]
        assert not take.valid.all()
        for column, person in enumerate(record.people):
            valid = take.valid[:, column]
            assert person.present.tolist() == valid.tolist()
            assert person.body is None and not person.body_valid.any()
            assert person.keypoints2d is not None and person.joints3d is not None and person.keypoints2d.projected
            assert person.keypoints2d.layout == person.joints3d.layout == "MuPoTS_17"
            found = person.joints3d.points
            np.testing.assert_allclose(found[valid, :, :3], take.joints[valid, column], atol=1e-12)
            assert (found[..., 3] == valid[:, None]).all() and not found[~valid].any()
            points, shown = person.keypoints2d.points, person.keypoints2d.points[..., 2] > 0
            np.testing.assert_allclose(points[shown, :2], take.points[:, column][shown], atol=1e-12)
            inside = ((take.points[:, column] >= 0) & (take.points[:, column] < camera.size)).all(axis=-1)
            assert (shown == inside & valid[:, None]).all() and not points[~shown].any()


def test_every_depth_is_well_and_shards_hold_what_was_drawn(world: Path, tmp_path: Path) -> None:
    report = verify_datasets(["mupots"], world.parent, depth="geometry")
    assert report.ok and report.datasets[0].synthetic and not report.datasets[0].problems
    assert report.datasets[0].sequences == {"test": 3}
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 1e-6
    index = build_shards(["mupots"], world.parent, tmp_path, splits=["test"], check="geometry").index
    assert not index.bad and verify_shards(tmp_path).ok
    [number] = [i for i, entry in enumerate(index.sequences) if entry.name == "TS2"]
    clip = ShardReader(tmp_path).annotations(ClipRef(sequence=number, start=0, stride=1, length=6))
    take = tiny_mupots.truth()["TS2"]
    assert clip.present.T.tolist() == take.valid.tolist() == clip.masks["joints3d"].T.tolist()
    assert clip.masks["pose2d"].T.tolist() == take.valid.tolist()
    for mask in ("root_rotation", "body_pose", "shape", "translation", "world"):
        assert not clip.masks[mask].any()
    assert not clip.masks["everyone_annotated"].any() and clip.masks["intrinsics"].all()
    for ours, joint in enumerate(LAYOUTS["MuPoTS_17"]):
        if joint in ALL_44:
            wanted = np.where(take.valid[..., None], take.joints[:, :, ours], 0)
            np.testing.assert_allclose(clip.kp3d[:, :, ALL_44.index(joint), :3].transpose(1, 0, 2), wanted, atol=1e-6)


def test_images_show_what_belongs_to_their_numbers(world: Path) -> None:
    for name, take in tiny_mupots.truth().items():
        for file, (image, _) in zip(record_of(world, name).frames, render_scene(take.scene)):
            assert isinstance(file, Path) and np.abs(decode(read_bytes(file), file).astype(int) - image).mean() < 6


def test_joints_are_those_of_the_person_and_not_of_the_universal_body(world: Path) -> None:
    for name, take in tiny_mupots.truth().items():
        record = record_of(world, name)
        said = dict(part.split() for part in record.provenance["universal"].split(", "))
        for column, performance in enumerate(take.scene.performances):
            own = all_joints(performance)[0]
            person = record.people[column]
            assert person.joints3d is not None
            length = np.linalg.norm(own[0, 4] - own[0, 7])
            found = np.linalg.norm(np.subtract(*person.joints3d.points[0, 12:14, :3]))
            np.testing.assert_allclose(found, length, atol=1e-9)
            np.testing.assert_allclose(float(said[person.name]), take.factors[column], atol=1e-6)
            assert take.factors[column] < 0.95, "else nothing could tell them apart"


def test_who_is_seen_and_not_annotated_is_no_row_and_no_miss(folder: Path) -> None:
    """However that is written: zeros, NaN, an empty cell, or anything in arrays that do not count."""
    before = record_of(folder)

    def strange(cells: Any) -> None:
        cells[3, 1]["isValidFrame"] = np.array([[0]], np.uint8)
        cells[3, 1]["annot3"] = np.full((3, 17), 1e9)
        cells[4, 1] = np.zeros((0, 0))

    change_cells(folder, strange)
    record = record_of(folder)
    assert check_record(record) == []
    assert record.people[1].present.tolist() == [True, False, True, False, False]
    assert record.people[0].present.tolist() == before.people[0].present.tolist()
    assert not record.everyone_annotated.any()


def test_a_column_without_any_label_is_nobody(folder: Path) -> None:
    change_cells(folder, of_each(lambda entry: entry.update(isValidFrame=np.zeros((1, 1))), column=0))
    record = record_of(folder)
    assert [person.name for person in record.people] == ["TS1/1"], "the column keeps its number"
    [warning] = check_record(record)
    assert warning.key == "people" and "nobody" in warning.what


def test_hidden_joints_count_less_and_all_of_them_where_nothing_is_said(folder: Path) -> None:
    def hide(cells: Any) -> None:
        cells[0, 1] = np.zeros((1, 17))
        cells[0, 1][0, [3, 14]] = 1

    change_cells(folder, hide, file="occlusion.mat")
    confidence = record_of(folder).people[1].keypoints2d.points[0, :, 2]  # type: ignore[union-attr]
    assert (confidence[[3, 14]] == OCCLUDED).all() and (np.delete(confidence, [3, 14]) == 1).all()
    (folder / "TS1/occlusion.mat").unlink()
    [finding] = inspect(folder.parent)
    assert finding.severity == "warning" and finding.key == "TS1" and "occlusion.mat" in finding.what
    points = record_of(folder).people[1].keypoints2d.points[0, :, 2]  # type: ignore[union-attr]
    assert (points == 1).all() and verify_datasets(["mupots"], folder.parent, depth="geometry").ok


def test_the_camera_is_that_of_all_people_and_frames_and_stands_up_to_a_wrong_point(folder: Path) -> None:
    wanted = record_of(folder).camera.intrinsics

    def displace(cells: Any) -> None:
        cells[0, 0]["annot2"][:, 4] += 40

    change_cells(folder, displace)
    np.testing.assert_allclose(record_of(folder).camera.intrinsics, wanted, atol=1e-6)


def test_points_that_a_pinhole_does_not_meet_are_no_projections(folder: Path) -> None:
    """As those of a lens are not: then their limit is that of detections."""
    rng = np.random.default_rng(0)
    change_cells(folder, of_each(lambda entry: entry.update(annot2=entry["annot2"] + rng.normal(0, 1.2, (2, 17)))))
    record = record_of(folder)
    assert record.camera.known and "1." in record.provenance["camera"]
    assert all(person.keypoints2d is not None and not person.keypoints2d.projected for person in record.people)


def test_a_universal_body_of_other_proportions_has_no_factor_and_that_is_said(folder: Path) -> None:
    def stretch(entry: dict[str, Any]) -> None:
        entry["univ_annot3"][:, :2] += 80

    change_cells(folder, of_each(stretch, column=1))
    record = record_of(folder)
    assert record.provenance["universal"].split()[0] == "TS1/0" and "TS1/1" not in record.provenance["universal"]
    assert any("TS1/1" in remark and "univ_annot3" in remark for remark in record.remarks)


def test_images_beyond_the_labels_are_said_and_not_used(folder: Path) -> None:
    shutil.copy(folder / "TS1/img_000004.jpg", folder / "TS1/img_000005.jpg")
    assert inspect(folder.parent) == [] and len(record_of(folder).frames) == 5
    [problem] = verify_datasets(["mupots"], folder.parent, depth="content").datasets[0].problems
    assert problem.severity == "warning" and "6 images, 5 annotated frames" in problem.what


@pytest.mark.parametrize("name", ["MuPoTS", "mupots-3d", "MuPoTS/MultiPersonTestSet"])
def test_names_of_the_folder(world: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(world, tmp_path / name)
    assert [ref.name for ref in find(tmp_path, "test")] == ["TS1", "TS2", "TS3"]
    assert len(find(tmp_path / name, "test")) == 3, "the folder itself is a root"


def test_sequences_are_in_order_of_their_numbers(folder: Path) -> None:
    (folder / "TS3").rename(folder / "TS10")
    (folder / "TS2").rename(folder / "ts2")
    assert [ref.name for ref in find(folder.parent, "test")] == ["TS1", "TS2", "TS10"]


def test_it_is_meant_only_by_its_name_and_has_one_split() -> None:
    assert "mupots" not in canonical_names(()) and SPEC.splits == ("test",)
    for word in ("mupots", "MuPoTS", "MuPoTS-3D", "mupots_3d"):
        assert canonical_name(word) == "mupots"


def test_joints_are_those_of_the_test_set_of_the_same_capture() -> None:
    assert LAYOUTS["MuPoTS_17"] is MPI_INF_TEST_17


def test_the_twin_projects_its_universal_joints_elsewhere() -> None:
    """So that a reader that takes them for the person's own is found."""
    take = tiny_mupots.truth()["TS2"]
    pelvis = take.joints[:, :, [14]]
    other = pelvis + take.factors[:, None, None] * (take.joints - pelvis)
    apart = np.linalg.norm(project(take.scene.camera.intrinsics, other) - take.points, axis=-1)
    assert np.median(apart[:, 1]) > 1
