"""The sample world: its annotations are exact, its pixels agree with them, and a seed decides every byte."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trace_data.body_model import BodyModel
from trace_data.errors import ConfigError, OutputError
from trace_data.sample_world import make
from trace_data.sample_world.backdrop import Backdrop
from trace_data.sample_world.figure import CLOTHES
from trace_data.sample_world.make import Parameters, make_sample, read_summary
from trace_data.sample_world.people import PEOPLE, Role, cast, draw_person
from trace_data.sample_world.scene import Scene, all_joints, another_view, draw_scene, render_scene

SMALL = {"sequences": 6, "frames": 4, "height": 120}
NAMES = {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 9: 5, 10: 8, 12: 4, 13: 7}
"""COCO_18 to SMPL_24 by name: neck, shoulders, elbows, wrists, knees, ankles."""


@pytest.fixture(scope="module")
def no_bodies() -> Any:
    """The body-model files have their own tests; they are 300 MB and not needed here."""
    patch = pytest.MonkeyPatch()
    patch.setattr(make, "write_body_models", lambda folder: folder.mkdir(exist_ok=True))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, no_bodies: None) -> Path:
    out = tmp_path_factory.mktemp("world") / "sample"
    make_sample(out, seed=7, jobs=1, **SMALL)
    return out


def _annotations(world: Path) -> dict[str, dict[str, Any]]:
    files = sorted((world / "datasets" / "3DPW" / "sequenceFiles").glob("*/*.pkl"))
    return {f"{f.parent.name}/{f.stem}": pickle.loads(f.read_bytes(), encoding="latin1") for f in files}


def _digest(world: Path) -> dict[str, str]:
    return {
        str(f.relative_to(world)): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(world.rglob("*"))
        if f.is_file()
    }


def test_same_seed_same_bytes_whatever_the_jobs(world: Path, tmp_path: Path, no_bodies: None) -> None:
    make_sample(tmp_path / "again", seed=7, jobs=2, **SMALL)
    assert _digest(tmp_path / "again") == _digest(world)
    make_sample(tmp_path / "other", seed=8, jobs=2, **SMALL)
    pictures = [{v for k, v in _digest(w).items() if k.endswith(".jpg")} for w in (world, tmp_path / "other")]
    assert not pictures[0] & pictures[1]


def test_files_are_those_of_the_release(world: Path) -> None:
    found = _annotations(world)
    assert {name.split("/")[0] for name in found} == {"train", "validation", "test"} and len(found) == 6
    for name, data in found.items():
        n, people = 4, len(data["poses"])
        assert data["sequence"].shape == () and str(data["sequence"]) == name.split("/")[1]
        assert data["img_frame_ids"].dtype == np.uint16 and data["img_frame_ids"].tolist() == [0, 2, 4, 6]
        assert data["cam_poses"].shape == (n, 4, 4) and data["cam_intrinsics"].shape == (3, 3)
        assert set(data["genders"]) <= {"m", "f"} and data["synthetic"] == "trace sample world"
        for key, shape in {
            "poses": (n, 72),
            "trans": (n, 3),
            "betas": (10,),
            "poses2d": (n, 3, 18),
            "jointPositions": (n, 72),
            "campose_valid": (n,),
            "poses_60Hz": (2 * n, 72),
            "trans_60Hz": (2 * n, 3),
        }.items():
            assert [a.shape for a in data[key]] == [shape] * people, key
        assert data["campose_valid"][0].dtype == np.uint8
        np.testing.assert_array_equal(data["poses_60Hz"][0][::2], data["poses"][0])
        pictures = sorted((world / "datasets/3DPW/imageFiles" / name.split("/")[1]).iterdir())
        assert [p.name for p in pictures] == [f"image_{i:05d}.jpg" for i in range(n)]
        assert cv2.imread(str(pictures[0])).shape == (120, 120, 3)


def test_detections_are_the_projected_joints(world: Path) -> None:
    checked = 0
    for data in _annotations(world).values():
        for joints, points in zip(data["jointPositions"], data["poses2d"]):
            for frame, pose in enumerate(data["cam_poses"]):
                for coco, joint in NAMES.items():
                    x, y, confidence = points[frame][:, coco]
                    if confidence == 0:
                        assert x == y == 0
                        continue
                    seen = data["cam_intrinsics"] @ (pose @ np.append(joints[frame, 3 * joint : 3 * joint + 3], 1))[:3]
                    np.testing.assert_allclose(seen[:2] / seen[2], (x, y), atol=1e-6)
                    checked += 1
    assert checked > 100


def test_cameras_move_and_are_rigid(world: Path) -> None:
    for data in _annotations(world).values():
        rotation = data["cam_poses"][:, :3, :3]
        np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(rotation), 1)
        assert np.abs(np.diff(data["cam_poses"], axis=0)).max() > 1e-4


def test_nobody_is_in_two_splits() -> None:
    roles = cast(0, 320)
    assert len(roles) == 320
    people = {split: {p for role in roles if role.split == split for p in role.people} for split in PEOPLE}
    assert {split: len(who) for split, who in people.items()} == PEOPLE
    assert sum(PEOPLE.values()) == len(set().union(*people.values())) >= 56
    assert 0.2 < np.mean([len(role.people) == 2 for role in roles]) < 0.4
    assert all(len(set(role.people)) == len(role.people) for role in roles)
    one, again = draw_person(0, 5), draw_person(0, 5)
    np.testing.assert_array_equal(one.betas, again.betas)
    assert not np.array_equal(one.betas, draw_person(0, 7).betas)


def test_people_are_large_and_stand_on_the_ground() -> None:
    shares, lowest, headings = [], [], []
    for index, role in enumerate(cast(0, 24)):
        scene = draw_scene(0, index, role, 4, 240)
        for part in scene.performances:
            pixels, _ = scene.camera.pixels(part.points)
            shares += list(np.ptp(pixels[..., 1], axis=1) / 240)
            lowest += list(part.points[..., 1].min(1))
            forward = np.cross(part.joints[2, 16] - part.joints[2, 17], [0, 1, 0])
            seen = scene.camera.camera_from_world[2, :3, :3] @ forward
            headings.append(np.arctan2(seen[0], seen[2]))
    assert np.mean(np.array(shares) >= 0.6) > 0.9
    assert np.abs(lowest).max() < 0.03
    assert len(set(np.floor(np.array(headings) / (np.pi / 4)).astype(int))) == 8  # every eighth of the circle


def _silhouette_scene(index: int) -> Any:
    """A scene of one person without shadow and noise over a green backdrop, in flat unmixed colours."""
    scene = draw_scene(1, index, Role("train", (index,)), 3, 240)
    flat = np.full((len(CLOTHES), 3), 200.0)
    for number, name in enumerate(CLOTHES):
        if name.startswith(("left", "right")):
            flat[number] = (0, 0, 250) if name.startswith("left") else (250, 0, 0)
    green = np.full((8, 8, 3), (0, 255, 0), np.uint8)
    bare = Backdrop(green, green[0, 0], 4.0, green, scene.backdrop.wall_from, scene.backdrop.foot, ())
    person = scene.performances[0]
    object.__setattr__(person.person, "colours", flat)
    for name, value in (("backdrop", bare), ("ambient", 1.0), ("grain", np.zeros_like(scene.grain))):
        object.__setattr__(scene, name, value)
    return scene, person


@pytest.mark.parametrize("index", [0, 3, 8, 11])
def test_pixels_agree_with_geometry(index: int) -> None:
    scene, person = _silhouette_scene(index)
    pixels, _ = scene.camera.pixels(person.points)
    checked = 0
    for frame, (image, _) in enumerate(render_scene(scene)):
        body = (image[..., 0] > 60) | (image[..., 2] > 60)
        y, x = np.nonzero(body)
        low, high = pixels[frame].min(0), pixels[frame].max(0)
        np.testing.assert_allclose([x.min(), y.min()], np.maximum(low, 0), atol=1.5)
        np.testing.assert_allclose([x.max(), y.max()], np.minimum(high, [319, 239]), atol=1.5)
        # the shin that is nearer shows its own side's colour, unless an arm hangs before it
        marks, depth = (a[0] for a in scene.camera.pixels(person.joints[frame : frame + 1]))
        shins = {"left": (4, 7), "right": (5, 8)}
        side = min(shins, key=lambda name: depth[list(shins[name])].sum())
        column, row = np.rint(marks[list(shins[side])].mean(0)).astype(int)
        arms = np.linalg.norm(marks[16:] - (column, row), axis=1).min()
        if row < 240 and arms > 30 and np.abs(np.diff(depth[[4, 5]])) > 0.03:
            own, other = (2, 0) if side == "left" else (0, 2)
            assert image[row, column, own] > 150 and image[row, column, other] < 60
            checked += 1
    assert checked


def test_refuses_what_is_not_its_own(world: Path, tmp_path: Path, no_bodies: None) -> None:
    with pytest.raises(OutputError, match="complete sample world"):
        make_sample(world, seed=7, jobs=1, **SMALL)
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        make_sample(tmp_path, jobs=1, **SMALL)
    make_sample(tmp_path, jobs=1, sequences=3, frames=2, height=64, force=True)
    assert (tmp_path / "letter.txt").read_text() == "mine"
    assert read_summary(tmp_path, Parameters(sequences=3, frames=2, height=64)) is not None
    assert read_summary(tmp_path, Parameters(sequences=4, frames=2, height=64)) is None
    assert (tmp_path / "SYNTHETIC.txt").is_file()
    for wrong in ({"sequences": 2}, {"frames": 1}, {"height": 10}, {"seed": -1}, {"jobs": 0}):
        with pytest.raises(ConfigError):
            make_sample(tmp_path / "new", **wrong)
    blocked = tmp_path / "letter.txt" / "below"
    with pytest.raises(OutputError, match="cannot be written"):
        make_sample(blocked, jobs=1, **SMALL)


def test_resumes_an_interrupted_run(world: Path, tmp_path: Path, no_bodies: None, monkeypatch: Any) -> None:
    out = tmp_path / "sample"

    class Stop(make.Progress):
        def advance(self, amount: int = 1, detail: str = "") -> None:
            if amount:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_sample(out, seed=7, jobs=1, progress=Stop(), **SMALL)
    assert read_summary(out, Parameters(seed=7, **SMALL)) is None
    first = next((out / "datasets/3DPW/sequenceFiles").glob("*/*.pkl"))
    before = first.stat().st_mtime_ns
    with pytest.raises(OutputError):
        make_sample(out, seed=9, jobs=1, **SMALL)
    summary = make_sample(out, seed=7, jobs=1, **SMALL)
    assert first.stat().st_mtime_ns == before
    assert summary.sequences == 6 and summary.frames == 24
    assert _digest(out) == _digest(world)


def place(scene: Scene) -> Any:
    """(T, 3) where the camera is, world metres."""
    pose = scene.camera.camera_from_world
    return -np.einsum("tji,tj->ti", pose[:, :3, :3], pose[:, :3, 3])


def test_cameras_stand_turn_or_move_and_views_share_what_is_played() -> None:
    role = Role("train", (3, 4))
    fixed = draw_scene(0, 5, role, 6, 120, shot="fixed", fps=50.0, neutral=True)
    turning = draw_scene(0, 5, role, 6, 120, shot="turning")
    handheld = draw_scene(0, 5, role, 6, 120)
    assert (np.ptp(fixed.camera.camera_from_world, axis=0) == 0).all()
    np.testing.assert_allclose(np.ptp(place(turning), axis=0), 0, atol=1e-12)
    assert np.ptp(turning.camera.camera_from_world[:, :3, :3], axis=0).max() > 1e-3
    assert np.ptp(place(handheld), axis=0).max() > 1e-3
    assert {p.person.gender for p in fixed.performances} == {"neutral"}
    other = another_view(fixed, 0, 1, np.pi / 2)
    assert other.performances is fixed.performances
    across = fixed.camera.camera_from_world[0, 2, :3] @ other.camera.camera_from_world[0, 2, :3]
    assert abs(across) < 0.25, "it looks from the side"
    for scene in (fixed, other, turning):
        for performance in scene.performances:
            pixels, depth = scene.camera.pixels(performance.joints)
            assert (depth > 0.5).all() and (pixels > 0).all() and (pixels < 120).all()
    images = [image for image, _ in render_scene(other)]
    assert len(images) == 6 and images[0].shape == (120, 120, 3)


def test_all_joints_are_those_of_the_packs(packs: Path) -> None:
    """The sample world knows its points by itself; the body model of the toolkit finds the same."""
    scene = draw_scene(0, 2, Role("train", (7,)), 3, 120, neutral=True)
    performance = scene.performances[0]
    joints, human = all_joints(performance)
    body = BodyModel.load(packs / "SMPL_NEUTRAL.pth")
    expected = body.joints44(
        performance.motion.pose[::2],
        np.broadcast_to(performance.person.betas, (3, 10)),
        performance.motion.translation[::2],
    )
    np.testing.assert_allclose(joints, expected, atol=2e-5)
    assert human.shape == (3, 17, 3)
    np.testing.assert_allclose(human[:, 0], joints[:, 39], atol=0.05)  # two pelvis regressors
