"""The BEDLAM adapter against the sample world, which writes in the renderer's axes: what went in comes out."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_bedlam
from found_at_depth import assert_error_found, errors
from tiny_bedlam import CLOSEUP, ORBIT, STATIC, ZOOM, change_csv, change_npz, motions

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.bedlam import SPEC, find, inspect, read
from trace_data.adapters.bedlam.scenes import scene_name, scenes_in
from trace_data.adapters.bedlam.stage import camera_of, seen_by
from trace_data.adapters.bedlam.tables import CameraTable
from trace_data.assets.bodies import load_bodies
from trace_data.builder.build import build_shards
from trace_data.frames.video import Picture, contents
from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.sample_world.scene import all_joints
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.shards.rows import rows_of
from trace_data.verify.datasets import verify_datasets

FLIP = np.diag([1.0, -1.0, -1.0])
"""From the sample world, y up, to the renderer's, y down."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_bedlam.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "BEDLAM")


def everything(folder: Path) -> dict[str, SequenceRef]:
    return {ref.name: ref for split in SPEC.splits for ref in find(folder.parent, split)}


def record_of(folder: Path, scene: str, number: int = 0) -> SequenceRecord:
    return read_record(everything(folder)[f"{scene}/seq_{number:06d}"])


def test_what_went_in_comes_out(world: Path, packs: Path) -> None:
    truth, bodies = tiny_bedlam.truth(), load_bodies(packs)
    refs = everything(world)
    assert set(refs) == set(truth) and inspect(world.parent) == []
    for name, ref in refs.items():
        record, take = read(ref), truth[name]
        frames = len(take.zoom)
        assert check_record(record) == [] and ref.frames == len(record.frames) == frames
        assert record.split == ("val" if take.scene.role.split == "validation" else "train")
        assert record.fps == 30 and record.frame_ids.tolist() == list(range(frames))
        assert record.world_valid and record.world_up == (0.0, -1.0, 0.0) and record.everyone_annotated.all()
        assert record.provenance["synthetic"] == "true" and "11th" in record.provenance["betas"]
        assert record.camera.moving == (take.kind == "orbit")
        assert len(record.camera.intrinsics) == (frames if take.kind == "zoom" else 1)
        intrinsics, extrinsics = record.camera.per_frame(frames)
        np.testing.assert_allclose(intrinsics, take.intrinsics, rtol=1e-7)
        turn = np.eye(4)
        turn[:3, :3] = FLIP
        np.testing.assert_allclose(extrinsics @ turn, take.scene.camera.camera_from_world, atol=2e-7)
        assert len(record.people) == len(take.scene.performances)
        for person, performance in zip(record.people, take.scene.performances):
            body, motion = person.body, performance.motion
            assert body is not None and body.gender == person.gender == "neutral" and person.present.all()
            assert person.name == f"rp_synthetic_posed_{performance.person.index:03d}"
            np.testing.assert_array_equal(body.betas, np.tile(performance.person.betas.astype(np.float32), (frames, 1)))
            np.testing.assert_array_equal(body.pose[:, 1:], motion.pose[::2, 1:])
            root = FLIP @ matrix_from_axis_angle(motion.pose[::2, 0])
            np.testing.assert_allclose(matrix_from_axis_angle(body.pose[:, 0]), root, atol=1e-12)
            placed = bodies.place(body)
            assert placed is not None
            joints = all_joints(performance)[0]
            np.testing.assert_allclose(placed[0], joints @ FLIP.T, atol=5e-5)  # what the packs and float32 cost
            pixels = project(intrinsics, transform(extrinsics, placed[0]))
            wanted = project(take.intrinsics, transform(take.scene.camera.camera_from_world, joints))
            np.testing.assert_allclose(pixels, wanted, atol=0.02)


def test_every_depth_is_well_and_shards_hold_what_was_drawn(world: Path, packs: Path, tmp_path: Path) -> None:
    report = verify_datasets(["bedlam"], world.parent, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic and not report.datasets[0].problems
    assert report.datasets[0].sequences == {"train": 5, "val": 2}
    index = build_shards(["bedlam"], world.parent, tmp_path, packs=packs, splits=["train"], check="geometry").index
    assert not index.bad and verify_shards(tmp_path).ok
    number = next(i for i, entry in enumerate(index.sequences) if ORBIT in entry.name)
    clip = ShardReader(tmp_path).annotations(ClipRef(sequence=number, start=0, stride=1, length=3))
    for person, performance in enumerate(
        tiny_bedlam.truth()[f"{ORBIT}/{index.sequences[number].name[-10:]}"].scene.performances
    ):
        joints = all_joints(performance)[0][:3] @ FLIP.T
        np.testing.assert_allclose(clip.kp3d[person, :, :, :3], joints, atol=5e-5)
    assert clip.masks["world"].all() and clip.masks["translation"].all()
    assert clip.masks["center"].all() and clip.masks["joints3d"].all()


def test_label_files_beside_the_videos_are_compared_and_not_built(folder: Path, packs: Path, tmp_path: Path) -> None:
    tiny_bedlam.label(folder)
    record = record_of(folder, CLOSEUP)
    assert record.people[0].keypoints2d is not None and record.people[0].keypoints2d.projected
    assert (record.people[0].keypoints2d.points[:, 0, 2] > 0).tolist() == [True, False, False, False]
    report = verify_datasets(["bedlam"], folder.parent, depth="geometry", packs=packs)
    assert report.ok and report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.02
    rows = rows_of(record, load_bodies(packs).complete(record)).people
    assert not rows["masks/pose2d"].any() and rows["masks/center"].all()


def test_labels_tell_wrong_angles_and_older_ones_do_not_say_whose_they_are(folder: Path, packs: Path) -> None:
    tiny_bedlam.label(folder)
    file = folder / STATIC / "ground_truth/camera/seq_000000_camera.csv"
    change_csv(file, lambda rows: [row.__setitem__(4, str(float(row[4]) + 3)) for row in rows[1:]])

    assert_error_found("bedlam", folder.parent, "geometry", "meet the 2D joints", packs)
    [found] = errors("bedlam", folder.parent, "geometry", packs)
    assert STATIC in found
    labels = folder / "all_npz_12_smpl_training" / f"{STATIC}_6fps.npz"
    change_npz(labels, lambda held: held.pop("sub"))
    labels.rename(labels.with_name(f"{STATIC}_30fps.npz"))
    assert (
        errors("bedlam", folder.parent, "geometry", packs) == []
        and record_of(folder, STATIC).people[0].keypoints2d is None
    )
    labels.with_name(f"{STATIC}_30fps.npz").write_bytes(b"PK")
    [found] = errors("bedlam", folder.parent, "content", packs)
    assert "_30fps.npz" in found


def test_without_body_models_the_turned_translation_is_not_written(world: Path, packs: Path) -> None:
    record = record_of(world, ORBIT)
    alone = rows_of(record, {}).people
    assert alone["masks/root_rotation"].all() and alone["masks/body_pose"].all()
    assert not alone["masks/translation"].any() and (alone["people/translation"] == 0).all()
    whole = rows_of(record, load_bodies(packs).complete(record)).people
    assert whole["masks/translation"].all() and whole["masks/world"].all() and whole["masks/shape"].all()
    body = record.people[0].body
    assert body is not None and body.translation is not None
    apart = np.linalg.norm(whole["people/translation"][whole["people/person"] == 0] - body.translation, axis=1)
    assert (apart > 0.3).all(), "the pelvis is not at the origin of a body at rest"


def test_videos_show_what_belongs_to_their_frames(world: Path) -> None:
    for scene in (ZOOM, CLOSEUP):
        record, take = record_of(world, scene), tiny_bedlam.truth()[f"{scene}/seq_000000"]
        for content, image in zip(contents(record.frames), take.pictures()):
            assert isinstance(content, Picture) and content.pixels.shape == image.shape
            assert image.shape[:2] == (record.camera.height, record.camera.width)
            assert np.abs(content.pixels.astype(int) - image).mean() < 12  # a lossy codec


def test_angles_turn_right_look_up_and_lean_right() -> None:
    """By the renderer's own description, without the formulas: where the axes of the picture point."""

    def axes(yaw: float, pitch: float, roll: float, portrait: bool = False) -> np.ndarray:
        one = np.ones(1)
        table = CameraTable(
            position=np.zeros((1, 3)), yaw=yaw * one, pitch=pitch * one, roll=roll * one, focal=36 * one,
            sensor=np.array([[36, 20.25]]), hfov=np.degrees(2 * np.arctan(0.5)) * one,
        )  # fmt: skip
        camera = camera_of(table, (1280, 720), portrait, Path("a.csv"))
        assert (camera.width, camera.height) == ((720, 1280) if portrait else (1280, 720))
        np.testing.assert_allclose(camera.intrinsics[0, (0, 1), (0, 1)], 1280)
        np.testing.assert_allclose(camera.intrinsics[0, :2, 2], np.array([camera.width, camera.height]) / 2 - 0.5)
        assert camera.camera_from_world is not None
        return camera.camera_from_world[0, :3, :3]

    right, down, ahead = np.eye(3)
    np.testing.assert_allclose(axes(0, 0, 0), [right, down, ahead], atol=1e-12)
    np.testing.assert_allclose(axes(90, 0, 0), [-ahead, down, right], atol=1e-12)
    np.testing.assert_allclose(axes(0, 90, 0), [right, ahead, -down], atol=1e-12)
    np.testing.assert_allclose(axes(0, 0, 90), [down, -right, ahead], atol=1e-12)
    np.testing.assert_allclose(axes(0, 0, 90, portrait=True), [right, down, ahead], atol=1e-12)


@pytest.mark.parametrize(
    ("folder_name", "name"),
    [
        ("20221020-3-8_250_highbmihand_zoom_highSchoolGym_a", "20221020_3-8_250_highbmihand_zoom_highSchoolGym_a"),
        ("20221010_3_10_500_batch01hand", "20221010_3-10_500_batch01hand"),
        (" 20221018_1_250_batch01hand_zoom_suburb_b", "20221018_1_250_batch01hand_zoom_suburb_b"),
        ("20221010_3_1000_batch01hand", "20221010_3_1000_batch01hand"),
        ("20221018_3-8_250_batch01hand", "20221018_3-8_250_batch01hand"),
    ],
)
def test_spellings_of_a_scene_are_one(folder_name: str, name: str) -> None:
    assert scene_name(folder_name) == name


def test_parts_of_a_scene_may_lie_under_two_spellings_and_in_a_folder_of_the_split(folder: Path) -> None:
    (folder / "training").mkdir()
    (folder / ZOOM).rename(folder / "training" / ZOOM)
    other = folder / f" {ZOOM.replace('20221020_', '20221020-')}"
    other.mkdir()
    (folder / "training" / ZOOM / "mp4").rename(other / "mp4")
    (folder / f"{ZOOM}_6fps" / "png").mkdir(parents=True)
    scenes = {scene.name: scene for scene in scenes_in(folder)}
    assert len(scenes) == 6 and len(scenes[ZOOM].folders) == 2
    assert inspect(folder.parent) == [] and len(record_of(folder, ZOOM).frames) == tiny_bedlam.FRAMES


@pytest.mark.parametrize("between", [("{0}", "moving_body_para", "{1}"), ("moving_body_para", "{0}", "{1}")])
def test_older_releases_have_a_folder_more(folder: Path, world: Path, between: tuple[str, ...]) -> None:
    for file in (folder / "smpl_ground_truth").rglob("motion_seq.npz"):
        names = [part.format(file.parents[1].name, file.parent.name) for part in between]
        target = folder / "moved" / Path(*names) / file.name
        target.parent.mkdir(parents=True)
        file.rename(target)
    shutil.rmtree(folder / "smpl_ground_truth")
    (folder / "moved").rename(folder / "smpl_ground_truth")
    assert inspect(folder.parent) == []
    assert [p.name for p in record_of(folder, ORBIT).people] == [p.name for p in record_of(world, ORBIT).people]


def test_cells_may_have_blanks_and_the_table_a_byte_order_mark(folder: Path, world: Path) -> None:
    file = folder / STATIC / "be_seq.csv"
    change_csv(file, lambda rows: rows.__setitem__(slice(None), [[f" {cell} " for cell in row] for row in rows]))
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    one, other = record_of(folder, STATIC).people[0].body, record_of(world, STATIC).people[0].body
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.translation, other.translation)


def test_a_motion_without_its_last_row_ends_a_frame_early(folder: Path) -> None:
    first, second = motions(folder)
    frames = tiny_bedlam.FRAMES
    change_npz(first, lambda held: held.update({key: held[key][: 3 + frames - 1] for key in ("poses", "trans")}))
    record = record_of(folder, ORBIT)
    assert record.people[0].present.tolist() == [True] * (frames - 1) + [False]
    assert record.people[1].present.all() and record.remarks == ()
    assert record.everyone_annotated.tolist() == [True] * (frames - 1) + [False]
    change_npz(second, lambda held: held.update({key: held[key][:1] for key in ("poses", "trans")}))
    assert any("ends 3 frames before" in remark for remark in record_of(folder, ORBIT).remarks)


def test_the_start_frame_is_the_row_of_frame_0(folder: Path, world: Path) -> None:
    change_csv(folder / ORBIT / "be_seq.csv", lambda rows: [
        row.__setitem__(-1, row[-1].replace("start_frame=3", "start_frame=4")) for row in rows
    ])  # fmt: skip
    moved, whole = record_of(folder, ORBIT).people[0].body, record_of(world, ORBIT).people[0].body
    assert moved is not None and whole is not None
    np.testing.assert_array_equal(moved.pose[:-1], whole.pose[1:])


def test_the_body_model_is_that_of_the_file_and_not_of_the_subject(folder: Path) -> None:
    change_npz(motions(folder)[0], lambda held: held.update(gender=np.array(b"female"), gender_sub=np.array("m")))
    people = record_of(folder, ORBIT).people
    assert [person.gender for person in people] == ["female", "neutral"]


def test_a_body_without_a_motion_is_visible_and_not_annotated(folder: Path) -> None:
    motions(folder)[1].unlink()
    record = record_of(folder, ORBIT)
    assert len(record.people) == 1 and not record.everyone_annotated.any()
    assert any("1 of 2 bodies" in remark for remark in record.remarks)
    [finding] = inspect(folder.parent)
    assert finding.severity == "warning" and "1 of 2 bodies" in finding.what
    assert verify_datasets(["bedlam"], folder.parent, depth="content").ok


def test_broken_betas_leave_a_body_out(folder: Path) -> None:
    change_npz(motions(folder)[0], lambda held: held["betas"].__setitem__(3, 113))
    record = record_of(folder, ORBIT)
    assert len(record.people) == 1 and not record.everyone_annotated.any()
    assert any("broken betas" in remark for remark in record.remarks)


def test_the_same_subject_twice_keeps_two_names(folder: Path) -> None:
    change_csv(folder / STATIC / "be_seq.csv", lambda rows: rows.append(rows[-1]))
    names = [person.name for person in record_of(folder, STATIC).people]
    assert len(names) == 2 and names[1] == f"{names[0]}#2"


def test_who_is_behind_the_camera_is_absent_and_who_is_beside_it_may_show(world: Path) -> None:
    record = record_of(world, STATIC)
    [person] = record.people
    assert person.body is not None and person.body.translation is not None
    extrinsics = np.linalg.inv(record.camera.per_frame(1)[1][0])
    pelvis = person.body.translation + person.body.turned @ np.array([0, -0.23, 0.03])

    def standing(place: list[float]) -> tuple[bool, bool]:
        """At a place of the camera's axes."""
        there = extrinsics[:3, :3] @ np.array(place) + extrinsics[:3, 3]
        body = dataclasses.replace(person.body, translation=person.body.translation + there - pelvis)  # type: ignore[type-var, union-attr]
        seen, beside = seen_by(record.camera, body)
        return bool(seen[0]), bool(beside[0])

    assert standing([0, 0, 4]) == (True, False)
    assert standing([0, 0, -4]) == (False, False)
    assert standing([9, 0, 4]) == (False, False)
    assert standing([0.2, 0, 0.3]) == (False, True)
    wide = 4 * record.camera.width / 2 / record.camera.intrinsics[0, 0, 0]
    assert standing([wide + 0.4, 0, 4]) == (True, False), "the pelvis is outside, an arm may be inside"
