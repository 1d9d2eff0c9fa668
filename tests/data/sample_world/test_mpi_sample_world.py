"""The sample world as MPI-INF-3DHP: every layout comes back as it was drawn, and its annotations agree."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trace_data.adapters.mpi_inf_3dhp import find, inspect, read
from trace_data.assets.body_model import BodyModel
from trace_data.frames.video import Picture, contents
from trace_data.sample_world import mpi_inf_3dhp as world
from trace_data.sample_world.mpi_inf_3dhp_files import write_dictionaries
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import Scene, all_joints, draw_scene, render_scene
from trace_data.schema.check import check_record
from trace_data.schema.record import SequenceRecord
from trace_data.verify.datasets import verify_datasets

SEED, FRAMES, HEIGHT = 4, 5, 112
ROLES = [
    (0, Role("train", (3, 4))),
    (1, Role("train", (5,))),
    (2, Role("validation", (61,))),
    (3, Role("test", (71,))),
    (4, Role("test", (72, 73))),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default layout. Read only."""
    folder = tmp_path_factory.mktemp("world")
    world.write_mpi_inf_3dhp(folder, SEED, ROLES, FRAMES, HEIGHT)
    return folder


@pytest.fixture(scope="module")
def take() -> world.MpiTake:
    return world.draw_take(SEED, 0, ROLES[0][1], FRAMES, HEIGHT, subject=3, sequence=2, cameras=3)


def assert_as_drawn(record: SequenceRecord, scene: Scene, *, body: bool) -> None:
    """Camera, joints, body and speed are those of the scene."""
    assert check_record(record) == [] and record.provenance["synthetic"] == "true"
    assert record.fps == scene.fps and record.frame_ids.tolist() == list(range(FRAMES))
    np.testing.assert_allclose(record.camera.intrinsics[0], scene.camera.intrinsics, rtol=1e-6)
    assert record.camera.camera_from_world is not None and record.world_valid
    np.testing.assert_allclose(record.camera.camera_from_world[0], scene.camera.camera_from_world[0], atol=1e-6)
    performance, person = scene.performances[0], record.people[0]
    expected, _ = all_joints(performance)
    assert person.joints3d is not None and person.keypoints2d is not None
    joints, points = person.joints3d.to_44(), person.keypoints2d.to_44()
    known = joints[0, :, 3] > 0
    assert known.sum() == 22
    np.testing.assert_allclose(joints[:, known, :3], expected[:, known], atol=2e-6)
    pixels, _ = scene.camera.pixels(expected)
    seen = points[..., 2] > 0
    assert seen[:, known].mean() > 0.95
    np.testing.assert_allclose(points[seen][:, :2], pixels[seen], atol=1e-4)
    if body:
        assert person.body is not None and person.body_valid.all()
        np.testing.assert_array_equal(person.body.pose, performance.motion.pose[::2])
        np.testing.assert_array_equal(person.body.translation, performance.motion.translation[::2])
        np.testing.assert_array_equal(person.body.betas, np.tile(performance.person.betas, (FRAMES, 1)))


@pytest.mark.parametrize("layout", ["videos", "images", "packed"])
def test_a_take_comes_back(tmp_path: Path, take: world.MpiTake, layout: str) -> None:
    folder = tmp_path / "mpi_inf_3dhp"
    if layout == "packed":
        world.write_packed(folder, [take])
    else:
        world.write_official(folder, take, extracted=layout == "images")
    world.write_neural_annot(folder, [take])
    refs = find(tmp_path, "train")
    assert [ref.name for ref in refs] == [f"S3_Seq2_video_{camera}" for camera in (0, 1, 2)] and inspect(tmp_path) == []
    assert take.scenes[0].fps == 50.0
    whole = 0
    for ref, camera in zip(refs, (0, 1, 2)):
        record = read(ref)
        if layout == "packed":  # only frames in which all joints are seen
            joints = world.seen_by(take.calibrations[camera], take.world_joints)[0]
            assert len(record.frames) == ((joints >= 0) & (joints < HEIGHT)).all((1, 2)).sum()
        if len(record.frames) == FRAMES:
            assert_as_drawn(record, take.scenes[camera], body=True)
            whole += 1
    assert whole == 3 or (layout == "packed" and whole)
    pictures = [image for image, _ in render_scene(take.scenes[1])]
    record = read(refs[1])
    for content, row in zip(contents(record.frames), record.frame_ids):
        found: Any = content.pixels if isinstance(content, Picture) else cv2.imread(str(content))
        assert np.abs(found.astype(float) - pictures[int(row)]).mean() < 8, "lossy, but the same picture"


def test_geometry_agrees_at_sub_pixel_level(root: Path, packs: Path) -> None:
    report = verify_datasets(["mpi-inf-3dhp"], root, depth="geometry", packs=packs)
    dataset = report.datasets[0]
    assert report.ok and dataset.problems == () and dataset.synthetic
    assert dataset.sequences == {"train": 2, "val": 1, "test": 2} and dataset.people == 5
    assert len(dataset.geometry) == 5
    assert report.largest_reprojection_px is not None and report.largest_reprojection_px < 1e-3
    neutral = BodyModel.load(packs / "SMPL_NEUTRAL.pth")
    for ref in find(root, "train"):
        person = read(ref).people[0]
        assert person.body is not None and person.joints3d is not None
        posed = neutral.joints44(person.body.pose, person.body.betas, person.body.translation)
        joints = person.joints3d.to_44()
        apart = np.linalg.norm(posed - joints[..., :3], axis=-1)[joints[..., 3] > 0]
        assert len(apart) == 22 * FRAMES and apart.max() < 5e-5


@pytest.mark.parametrize("packed", [False, True])
def test_a_test_subject_comes_back(tmp_path: Path, packed: bool) -> None:
    scene = draw_scene(SEED, 3, Role("test", (71,)), FRAMES, HEIGHT, shot="fixed", fps=25.0, neutral=True)
    folder = tmp_path / "mpi_inf_3dhp" / "mpi_inf_3dhp_test_set"
    entries = world.write_test_subject(folder, 2, scene, packed=packed)
    if packed:
        write_dictionaries(folder / "annots.npz", annots=entries)
    record = read(find(tmp_path, "test")[0])
    assert record.frame_ids.tolist() == [1, 2, 3, 4] and record.provenance["synthetic"] == "true"
    np.testing.assert_allclose(record.camera.intrinsics[0], scene.camera.intrinsics, atol=1e-6)
    expected, _ = all_joints(scene.performances[0])
    camera = scene.camera.camera_from_world[0]
    joints = record.people[0].joints3d.to_44()  # type: ignore[union-attr]
    known = joints[0, :, 3] > 0
    assert known.sum() == 14
    seen = expected[1:, known] @ camera[:3, :3].T + camera[:3, 3]
    np.testing.assert_allclose(joints[:, known, :3], seen, atol=1e-9)
    report = verify_datasets(["mpi-inf-3dhp"], tmp_path, depth="geometry")
    assert report.ok and report.largest_reprojection_px is not None and report.largest_reprojection_px < 1e-6


def test_more_sequences_are_more_cameras_and_a_subject_is_one_person(tmp_path: Path) -> None:
    world.write_mpi_inf_3dhp(tmp_path, 0, [(index, Role("train", (index, 50))) for index in range(16)], 2, 64)
    refs = find(tmp_path, "train")
    assert len(refs) == 16 and find(tmp_path, "val") == [] and find(tmp_path, "test") == []
    assert [ref.name for ref in refs][:4] == [
        "S1_Seq1_video_0",
        "S1_Seq1_video_1",
        "S1_Seq2_video_0",
        "S2_Seq1_video_0",
    ]
    shapes: dict[str, set[bytes]] = {}
    for ref in refs:
        body = read(ref).people[0].body
        assert body is not None
        shapes.setdefault(ref.name[:2], set()).add(body.betas[0].tobytes())
    assert all(len(found) == 1 for found in shapes.values()) and len(set.union(*shapes.values())) == 7


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_same_seed_gives_the_same_bytes_and_what_is_complete_is_kept(root: Path, tmp_path: Path) -> None:
    world.write_mpi_inf_3dhp(tmp_path, SEED, ROLES, FRAMES, HEIGHT)
    whole = digests(root)
    assert digests(tmp_path) == whole and len(whole) == 3 * 3 + 2 * (1 + FRAMES) + 1
    kept = tmp_path / "mpi_inf_3dhp/S2/Seq1/imageSequence/video_0.avi"
    kept.write_bytes(b"kept")
    (tmp_path / "mpi_inf_3dhp/S1/Seq1/annot.mat").unlink()  # as if it had been interrupted there
    (tmp_path / "mpi_inf_3dhp/S1/Seq1/imageSequence/video_0.avi").unlink()
    world.write_mpi_inf_3dhp(tmp_path, SEED, ROLES, FRAMES, HEIGHT)
    assert kept.read_bytes() == b"kept"
    found = digests(tmp_path)
    assert {name for name in whole if found[name] != whole[name]} == {"mpi_inf_3dhp/S2/Seq1/imageSequence/video_0.avi"}
