"""The BEDLAM2 adapter against the sample world, which writes from positions and without the reader's formulas."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_bedlam2
from tiny_bedlam2 import CLOSEUP, DOLLY, FRAMES, PORTRAIT, STATIC, camera, change_csv, change_npz, motions

from trace_data.adapters import canonical_names, read_record
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.bedlam2 import IMAGES, SPEC, find, inspect, read
from trace_data.adapters.bedlam2.scenes import is_portrait
from trace_data.builder.build import build_shards
from trace_data.frames.video import Picture, contents
from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.sample_world.bedlam2 import subject_of
from trace_data.schema.check import check_record
from trace_data.schema.clip import ClipRef
from trace_data.schema.frame import TurnedFrame, VideoFrame
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checks.shards import verify_shards
from trace_data.shards.reader import ShardReader
from trace_data.verify.datasets import verify_datasets

FLIP = np.diag([1.0, -1.0, -1.0])
"""From the sample world, y up, to the adapter's, y down."""
NEAR = 0.1
"""Share of a person's height within which it is about where it is."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_bedlam2.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "BEDLAM2")


def everything(folder: Path) -> dict[str, SequenceRef]:
    return {ref.name: ref for split in SPEC.splits for ref in find(folder.parent, split)}


def record_of(folder: Path, scene: str = DOLLY) -> SequenceRecord:
    return read_record(everything(folder)[f"{scene}/seq_000000"])


def test_what_went_in_comes_out(world: Path) -> None:
    truth, refs = tiny_bedlam2.truth(), everything(world)
    assert set(refs) == set(truth) and len(refs) == 5 and find(world.parent, "test") == []
    for name, ref in refs.items():
        record, take = read(ref), truth[name]
        frames = len(take.zoom)
        assert [finding for finding in check_record(record) if finding.severity == "error"] == []
        assert ref.frames == len(record.frames) == frames and record.fps == 30 and record.split == "train"
        assert all(isinstance(frame, VideoFrame) for frame in record.frames)
        assert record.frame_ids.tolist() == list(range(frames)) and record.world_valid
        assert record.world_up == (0.0, -1.0, 0.0) and record.provenance["approximate_pose"] == "smplx"
        assert record.camera.moving == (take.kind in ("orbit", "dolly"))
        assert len(record.camera.intrinsics) == (frames if take.kind == "dolly" else 1)
        intrinsics, extrinsics = record.camera.per_frame(frames)
        np.testing.assert_allclose(intrinsics, take.intrinsics, rtol=1e-7)
        turn = np.eye(4)
        turn[:3, :3] = FLIP
        np.testing.assert_allclose(extrinsics @ turn, take.scene.camera.camera_from_world, atol=2e-7)
        performances = take.scene.performances[: 1 if take.scene_name == CLOSEUP else None]
        assert [person.name for person in record.people] == [subject_of(performance) for performance in performances]
        for person, performance in zip(record.people, performances):
            body, motion = person.body, performance.motion
            assert body is not None and body.known == {"root_rotation", "body_pose"} and body.translation is None
            assert body.gender == person.gender == "neutral" and person.present.all() and person.body_valid.all()
            np.testing.assert_array_equal(body.pose[:, 1:22], motion.pose[::2, 1:22])
            root = FLIP @ matrix_from_axis_angle(motion.pose[::2, 0])
            np.testing.assert_allclose(matrix_from_axis_angle(body.pose[:, 0]), root, atol=1e-12)
            assert not body.pose[:, 22:].any() and not body.betas.any() and person.joints3d is None
            assert person.keypoints2d is not None and person.keypoints2d.place_only
            seen = transform(take.scene.camera.camera_from_world, performance.joints)
            wanted = project(take.intrinsics, seen)[:, :22]
            apart = np.linalg.norm(person.keypoints2d.points[:, :22, :2] - wanted, axis=2)
            assert apart.max() < NEAR * np.ptp(wanted[..., 1])


def test_every_depth_is_well_and_shards_hold_rotations_places_and_cameras(
    world: Path, packs: Path, tmp_path: Path
) -> None:
    report = verify_datasets(["bedlam2"], world.parent, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic and report.datasets[0].sequences == {"train": 5}
    index = build_shards(["bedlam2"], world.parent, tmp_path, packs=packs, check="geometry").index
    assert not index.bad and verify_shards(tmp_path).ok
    reader = ShardReader(tmp_path)
    for number, entry in enumerate(index.sequences):
        clip, take = reader.annotations(ClipRef(sequence=number, start=0, stride=1, length=3)), tiny_bedlam2.truth()
        assert entry.world_valid and entry.provenance["approximate_pose"] == "smplx"
        np.testing.assert_allclose(clip.intrinsics, take[entry.name].intrinsics[:3], rtol=1e-6)
        for mask in ("root_rotation", "body_pose", "center"):
            assert clip.masks[mask].all(), mask
        for mask in ("pose2d", "joints3d", "shape", "translation", "world"):
            assert not clip.masks[mask].any(), mask
        assert clip.masks["everyone_annotated"].all() == (CLOSEUP not in entry.name)


def test_people_without_a_motion_are_visible_and_not_annotated(world: Path, folder: Path) -> None:
    record = record_of(world, CLOSEUP)
    assert (
        len(record.people) == 1
        and not record.everyone_annotated.any()
        and "1 of 2 bodies are left out" in record.remarks[0]
    )
    [finding] = inspect(world.parent)
    assert finding.severity == "warning" and CLOSEUP in finding.key and "withheld" in finding.hint
    assert record_of(folder).everyone_annotated.all()
    motions(folder)[0].unlink()
    assert not record_of(folder).everyone_annotated.any() and len(record_of(folder).people) == 1


def test_the_table_and_no_folder_says_which_camera_lies_on_its_side(world: Path, folder: Path) -> None:
    sizes = {scene: (record_of(world, scene).camera.width, record_of(world, scene).camera.height)
             for scene in (PORTRAIT, CLOSEUP, DOLLY)}  # fmt: skip
    assert sizes == {PORTRAIT: (72, 128), CLOSEUP: (128, 72), DOLLY: (128, 72)}
    table = folder / "bedlam2_scene_names.csv"
    assert " ai1004" in table.read_text() and is_portrait(table, PORTRAIT) and not is_portrait(table, CLOSEUP)
    text = table.read_text().replace(", ", ",").replace(PORTRAIT, PORTRAIT.replace("20240729_", "20240729-"))
    table.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert is_portrait(table, PORTRAIT) and record_of(folder, PORTRAIT).camera.height == 128


def test_videos_show_what_belongs_to_their_frames(world: Path) -> None:
    for name, take in tiny_bedlam2.truth().items():
        scene, _, _ = name.partition("/")
        if not name.endswith("seq_000000"):
            continue
        for content, image in zip(contents(record_of(world, scene).frames), take.pictures()):
            assert isinstance(content, Picture) and content.pixels.shape == image.shape
            assert np.abs(content.pixels.astype(int) - image).mean() < 12  # a lossy codec


@pytest.mark.parametrize("lying", [True, False])
def test_images_stand_for_a_video(folder: Path, lying: bool) -> None:
    take = tiny_bedlam2.truth()[f"{PORTRAIT}/seq_000000"]
    (folder / PORTRAIT / "mp4/seq_000000.mp4").unlink()
    place = folder / PORTRAIT / "png/seq_000000"
    place.mkdir(parents=True)
    for number, image in enumerate(take.pictures()):
        stored = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE) if lying else image
        cv2.imwrite(str(place / f"seq_000000_{number:04d}.png"), stored)
    ref = everything(folder)[f"{PORTRAIT}/seq_000000"]
    record = read(ref)
    assert ref.layout == IMAGES and len(record.frames) == FRAMES and len(inspect(folder.parent)) == 1
    assert all(isinstance(frame, TurnedFrame) for frame in record.frames) == lying
    (place / "seq_000000_0002.png").unlink()
    assert any("image 2 is missing" in finding.what for finding in inspect(folder.parent))


def test_frame_0_shows_the_row_of_its_start(folder: Path) -> None:
    before = record_of(folder).people[0].body

    def later(rows: list[list[str]]) -> None:
        row = next(row for row in rows if row[1] == "Body")
        row[-1] = row[-1].replace("start_frame=3", "start_frame=4")

    change_csv(folder / DOLLY / "be_seq.csv", later)
    after = record_of(folder).people[0].body
    assert before is not None and after is not None
    np.testing.assert_array_equal(after.pose[:-1], before.pose[1:])


def test_a_motion_that_ends_early_leaves_its_person_unannotated(folder: Path) -> None:
    change_npz(motions(folder)[1], lambda held: held.update({k: held[k][:2] for k in ("poses", "trans")}))
    record = record_of(folder)
    assert record.people[1].present.tolist() == record.everyone_annotated.tolist() == [True, True, False, False]


def test_shapes_of_any_length_are_not_read(folder: Path) -> None:
    lengths = {len(np.load(file)["betas"]) for file in (folder / "motions_npz_training").iterdir()}
    assert lengths == {16, 300}
    for file in motions(folder):
        change_npz(file, lambda held: held.update(betas=np.full(16, np.nan)))
    assert len(record_of(folder).people) == 2


def test_cameras_that_the_description_lacks_are_said_and_not_read(folder: Path) -> None:
    shutil.copy(camera(folder), camera(folder).with_name("seq_000009_camera.csv"))
    said = [finding for finding in inspect(folder.parent) if finding.key == DOLLY]
    assert len(said) == 1 and said[0].severity == "warning" and "seq_000009" in said[0].what
    assert len(everything(folder)) == 5


def test_the_tables_of_both_releases_are_read_by_the_same_code(world: Path) -> None:
    record = record_of(world, STATIC)
    assert not record.camera.moving and len(record.camera.intrinsics) == 1
    assert record.camera.camera_from_world is not None and len(record.camera.camera_from_world) == 1


def test_it_is_meant_only_by_its_name() -> None:
    assert "bedlam2" not in canonical_names(()) and canonical_names(["BEDLAM-2"]) == ["bedlam2"]
