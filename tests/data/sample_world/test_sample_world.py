"""The sample world: its annotations are exact, its pixels agree with them, and a seed decides every byte."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trace_cli.main import run
from trace_data.adapters import ADAPTERS, find_sequences, load_adapter, read_record
from trace_data.assets.body_model import BodyModel
from trace_data.errors import ConfigError, OutputError
from trace_data.progress import Progress
from trace_data.sample_world import make
from trace_data.sample_world.allocation import FURTHER, allocate, further
from trace_data.sample_world.backdrop import Backdrop
from trace_data.sample_world.figure import CLOTHES
from trace_data.sample_world.make import Parameters, make_sample, read_summary
from trace_data.sample_world.people import PEOPLE, SHARES, Role, cast, draw_person, people_of
from trace_data.sample_world.scene import Scene, all_joints, another_view, draw_scene, render_scene
from trace_data.verify.datasets import verify_datasets

SMALL = {"sequences": 42, "frames": 2, "height": 64}
"""Few enough to be drawn quickly, as many as it takes for every dataset to have all its splits."""
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


@pytest.mark.slow
def test_another_seed_gives_other_pictures(world: Path, tmp_path: Path, no_bodies: None) -> None:
    make_sample(tmp_path / "other", seed=8, jobs=1, sequences=3, frames=2, height=64)
    pictures = [{v for k, v in _digest(w).items() if k.endswith(".jpg")} for w in (world, tmp_path / "other")]
    assert len(pictures[1]) == 6 and not pictures[0] & pictures[1]


def test_nobody_is_in_two_splits_of_all_datasets_together(world: Path) -> None:
    """People are told apart by their shape, which each dataset writes in its own way; Penn Action has none."""
    shown: dict[str, set[bytes]] = {"train": set(), "val": set(), "test": set()}
    counts: Counter[str] = Counter()
    for name in ADAPTERS:
        for split in load_adapter(name).SPEC.splits:
            for ref in find_sequences(name, world / "datasets", split):
                record = read_record(ref)
                counts[name] += 1
                assert record.provenance["synthetic"] == "true" and len(record.frames) == SMALL["frames"]
                shapes = {
                    np.float32(np.round(p.body.betas.reshape(-1, 10)[0], 4)).tobytes()
                    for p in record.people
                    if p.body is not None and name != "penn-action"
                }
                assert len(shapes) == len(record.people) or name == "penn-action"
                shown[split] |= shapes
    summary = read_summary(world, Parameters(seed=7, **SMALL))
    assert summary is not None and counts == summary.sequences_of and set(counts) == set(ADAPTERS)
    assert all(shown.values()) and not any(shown[a] & shown[b] for a, b in (("train", "val"), ("train", "test")))
    assert not shown["val"] & shown["test"]
    penn = {person for _, role in allocate(cast(7, 42))["penn-action"] for person in role.people}
    drawn = {person: np.float32(np.round(draw_person(7, person).betas, 4)).tobytes() for person in range(84)}
    seen = {person for person, shape in drawn.items() if shape in set.union(*shown.values())}
    assert len(seen) == len(set.union(*shown.values())), "everybody is somebody of the cast"
    assert summary.people == len(seen | penn)


@pytest.mark.parametrize("name", FURTHER)
def test_further_ones_are_there_where_they_were_asked_for(
    tmp_path: Path, packs: Path, no_bodies: None, name: str
) -> None:
    small = {"sequences": 3, "frames": 2, "height": 64}
    made = make_sample(tmp_path / "two", also=[name], jobs=1, **small)
    assert made.sequences_of[name] == made.sequences - 3 and made.frames == 2 * made.sequences
    found = read_summary(tmp_path / "two", Parameters(also=(name,), **small))
    assert found is not None and found.sequences == made.sequences
    assert read_summary(tmp_path / "two", Parameters(**small)) is None, "a world without it is another one"
    report = verify_datasets((name,), made.datasets, depth="geometry", packs=packs)
    assert report.ok and report.datasets[0].synthetic
    assert sum(report.datasets[0].sequences.values()) == made.sequences_of[name]
    assert report.datasets[0].frames == 2 * made.sequences_of[name]
    with pytest.raises(ConfigError, match=name):
        make_sample(tmp_path / "three", also=["a further one"], **small)


def test_people_of_further_test_sets_are_in_no_training_sequence() -> None:
    for name in FURTHER:
        for seed, sequences in ((0, 3), (7, 900)):
            roles = further(name, seed, sequences)
            assert len({index for index, _ in roles}) == len(roles)
            assert all(person in people_of(role.split) for _, role in roles for person in role.people)


def test_mupots_is_there_where_it_was_asked_for_and_shows_people_of_the_test_split(tmp_path: Path) -> None:
    small = {"sequences": 3, "frames": 2, "height": 64}
    made = make_sample(tmp_path / "world", also=["mupots"], jobs=1, **small)
    report = verify_datasets(("mupots",), made.datasets, depth="geometry")
    assert report.ok and report.datasets[0].synthetic and report.datasets[0].sequences == {"test": 8}
    assert made.sequences_of["mupots"] == 8
    for number, share in ((320, 20), (800, 20), (10, 8)):
        roles = further("mupots", 0, number)
        assert 8 <= len(roles) <= share
        people = {person for _, role in roles for person in role.people}
        assert people <= set(people_of("test")) and all(len(set(role.people)) == 2 for _, role in roles)


def test_it_verifies_with_the_words_of_the_readme(
    world: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path))
    words = ["verify-datasets", "--root", str(world / "datasets"), "--packs", str(packs), "--depth", "geometry"]
    assert run([*words, "--jobs", "1"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "/train/" in line]
    sides = {line.split("/")[0]: line.split()[-1] for line in rows}
    assert sides == {**dict.fromkeys(ADAPTERS, "✓"), "penn-action": "–"}, "where nothing is compared, nothing is well"
    report = verify_datasets((), world / "datasets", depth="geometry", packs=packs)
    assert report.ok and report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.01


def test_files_are_those_of_the_release(world: Path) -> None:
    found = _annotations(world)
    assert {name.split("/")[0] for name in found} == {"train", "validation", "test"}
    assert len(found) == len(allocate(cast(7, 42))["3dpw"])
    for name, data in found.items():
        n, people = SMALL["frames"], len(data["poses"])
        assert data["sequence"].shape == () and str(data["sequence"]) == name.split("/")[1]
        assert data["img_frame_ids"].dtype == np.uint16 and data["img_frame_ids"].tolist() == [0, 2]
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
        assert cv2.imread(str(pictures[0])).shape == (64, 64, 3)


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
        np.testing.assert_allclose(rotation @ rotation.swapaxes(1, 2), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-9)
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


def test_a_large_world_has_more_people_to_learn_from_and_the_same_to_be_tested_on() -> None:
    people = {split: {p for role in cast(0, 2000) if role.split == split for p in role.people} for split in PEOPLE}
    assert people["train"] >= set(people_of("train")) and len(people["train"]) == 1400 // 4
    assert {split: sorted(people[split]) for split in SHARES} == {split: people_of(split) for split in SHARES}
    assert len(set().union(*people.values())) == sum(map(len, people.values()))


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


def test_force_removes_no_dataset_but_its_own(tmp_path: Path, no_bodies: None) -> None:
    real = tmp_path / "datasets/Penn_Action/labels/0001.mat"
    real.parent.mkdir(parents=True)
    real.write_text("real")
    with pytest.raises(OutputError, match="holds datasets/Penn_Action, which is not a sample world's"):
        make_sample(tmp_path, jobs=1, sequences=3, frames=2, height=64, force=True)
    assert real.read_text() == "real" and [file.name for file in tmp_path.iterdir()] == ["datasets"]


SCRIPT = """
import sys
from pathlib import Path
from trace_data.sample_world import make

if __name__ == "__main__":
    make.write_body_models = lambda folder: folder.mkdir(exist_ok=True)
    make.make_sample(Path(sys.argv[1]), seed=7, jobs=2, sequences=42, frames=2, height=64)
"""


@pytest.mark.slow
def test_a_killed_run_is_completed_to_the_same_bytes(world: Path, tmp_path: Path, no_bodies: None) -> None:
    """Killed when a random number of files is there, at jobs 2; completed, it is the world that jobs 1 has drawn."""
    out, script = tmp_path / "sample", tmp_path / "draw.py"
    script.write_text(SCRIPT)
    whole = _digest(world)
    enough = random.Random().randint(1, 9 * len(whole) // 10)
    process = subprocess.Popen([sys.executable, str(script), str(out)], start_new_session=True)
    while sum(file.is_file() for file in out.rglob("*")) < enough and process.poll() is None:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"over before it had {enough} files"
    assert read_summary(out, Parameters(seed=7, **SMALL)) is None, f"at {enough} files"
    kept = {file: file.stat().st_mtime_ns for file in (out / "datasets/3DPW/sequenceFiles").rglob("*.pkl")}
    with pytest.raises(OutputError, match="not empty"):
        make_sample(out, seed=9, jobs=1, **SMALL)

    progress = Counted()
    summary = make_sample(out, seed=7, jobs=2, progress=progress, **SMALL)
    assert _digest(out) == whole, f"killed at {enough} files"
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    assert progress.done + progress.skipped == progress.total == summary.sequences == 42
    assert progress.skipped >= len(kept) and summary.frames == 84


class Counted(Progress):
    """Adds up what it is told."""

    total = done = skipped = 0

    def begin(self, title: str, total: int, unit: str = "items") -> None:
        self.total = total

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.done += amount

    def skip(self, amount: int) -> None:
        self.skipped += amount


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
