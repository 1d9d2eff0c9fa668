"""Recorded motions: files of AMASS's form are read as they are meant, and people of the sample world move like them."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny_amass
from scipy.spatial.transform import Rotation
from turned_results import example

from trace_cli.main import run
from trace_data.adapters import ADAPTERS, find_sequences, load_adapter, read_record
from trace_data.adapters.base import SequenceRef
from trace_data.errors import AnnotationError, ConfigError
from trace_data.export.amass import amass_arrays, npz_bytes
from trace_data.export.rate import clock
from trace_data.motions.amass import EDGE, motion_files, read_amass
from trace_data.progress import SILENT
from trace_data.results.file import read_result
from trace_data.sample_world import make, tasks
from trace_data.sample_world.allocation import FURTHER, allocate, further
from trace_data.sample_world.film import FPS, FRAMES, draw_film, name_of
from trace_data.sample_world.film_files import TRUTH, write_film
from trace_data.sample_world.make import Parameters, make_sample, read_summary
from trace_data.sample_world.people import Role, cast
from trace_data.sample_world.recorded import RECORDED, MotionClip, allocate_clips, recorded_motion
from trace_data.sample_world.scene import draw_scene
from trace_data.sample_world.tasks import draw, films_of, movers, with_motions
from trace_data.schema.record import SequenceRecord
from trace_data.verify.datasets import verify_datasets

SMALL: dict[str, Any] = {"sequences": 42, "frames": 2, "height": 64}
HEAD, PELVIS, L_HIP, R_HIP, L_TOES, R_TOES, L_ANKLE, R_ANKLE = 15, 0, 1, 2, 10, 11, 7, 8


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Bewegung ü") / "amass"
    tiny_amass.write_collection(folder, seconds=12)
    return folder


def walk(folder: Path, rate: float, yaw: float = 0.0, seconds: float = 6.0, **form: Any) -> Path:
    pose, trans = tiny_amass.walking(seconds, rate, yaw)
    return tiny_amass.write(folder, "walk", tiny_amass.content(pose, trans, rate, **form), form.get("body", "smplh"))


def about_y(radians: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return Rotation.from_euler("y", radians[:, None]).as_matrix()


# the reader


@pytest.mark.parametrize("gender", ["male", "Female", b"MALE", np.array(b"neutral"), np.array(["male"], object)])
@pytest.mark.parametrize("body", tiny_amass.COLUMNS)
def test_both_forms_are_read_whatever_they_say_of_the_person(tmp_path: Path, body: Any, gender: Any) -> None:
    file = walk(tmp_path, 120.0, body=body, gender=gender)
    found, (pose, _) = read_amass(file), tiny_amass.walking(6.0, 120.0)
    assert found.rate == 120 and found.seconds == pytest.approx(6.0)
    np.testing.assert_array_equal(found.pose[:, 1:22], pose.reshape(-1, 22, 3)[:, 1:])
    assert not found.pose[:, 22:].any(), "hands of another model"


@pytest.mark.parametrize("rate", [120.0, 100.0, 59.94, 59.0, 30.0, 24.0])
def test_time_is_the_files_and_no_stride(tmp_path: Path, rate: float) -> None:
    """Somebody who turns and walks evenly is where and how they are at each time, at any rate of the file."""
    times = np.arange(round(10 * rate) + 1) / rate
    pose, trans = np.zeros((len(times), 22, 3)), np.outer(times, [1.0, 0.5, 0.0])
    pose[:, 0, 2], pose[:, 18, 1] = 0.9 * times, -0.2 * times
    file = tiny_amass.write(tmp_path, "turn", tiny_amass.content(pose.reshape(-1, 66), trans, rate))
    asked = np.arange(0, 9.9, 1 / 60)
    rotations, path = read_amass(file).at(asked)
    upright = Rotation.from_euler("x", -np.pi / 2).as_matrix()
    np.testing.assert_allclose(rotations[:, 0], about_y(0.9 * asked) @ upright, atol=1e-9)
    np.testing.assert_allclose(rotations[:, 18], about_y(-0.2 * asked), atol=1e-9)
    np.testing.assert_allclose(path - path[0], np.outer(asked, [1.0, 0.0, -0.5]), atol=1e-9)


def test_half_a_circle_between_frames_is_one_turn_and_not_a_jump(tmp_path: Path) -> None:
    pose = np.zeros((3, 22, 3))
    pose[:, 16, 0] = 3.1, -3.1, -3.0  # axis-angle leaps where the rotation hardly moves
    file = tiny_amass.write(tmp_path, "leap", tiny_amass.content(pose.reshape(3, 66), np.zeros((3, 3)), 10.0))
    rotations, _ = read_amass(file).at(np.linspace(0, 0.2, 50))
    steps = Rotation.from_matrix(np.swapaxes(rotations[:-1, 16], 1, 2) @ rotations[1:, 16]).magnitude()
    assert steps.max() < 0.01


def test_files_of_motions_are_told_from_those_beside_them(collection: Path, tmp_path: Path) -> None:
    found = [file.relative_to(collection).as_posix() for file in motion_files(collection)]
    assert found == [
        "CMU/00/00_01_poses.npz", "CMU/01/01_01_stageii.npz", "CMU/02/02_01_poses.npz", "CMU/03/03_01_stageii.npz",
    ]  # fmt: skip
    for name in ("x_poses.npz", "x_stageii.npz", "y_STAGEII.npz", "._y_poses.npz"):
        (tmp_path / name).touch()
    (tmp_path / "again").symlink_to(tmp_path)
    assert [file.name for file in motion_files(tmp_path)] == ["x_poses.npz", "y_STAGEII.npz"], "each motion once"
    (tmp_path / "x_poses.npz").rename(tmp_path / "x_stagei.npz")
    for name in ("x_stageii.npz", "y_STAGEII.npz"):
        (tmp_path / name).unlink()
    with pytest.raises(ConfigError, match="holds no motion") as caught:
        motion_files(tmp_path)
    assert caught.value.where == str(tmp_path)


@pytest.mark.parametrize("layout", ["smplh", "smplx"])
def test_what_trace_export_writes_is_read_back(tmp_path: Path, layout: Any) -> None:
    result = example("z")
    file = tmp_path / "a_poses.npz"
    file.write_bytes(npz_bytes(amass_arrays(result, 0, clock(result), layout=layout, gender="neutral")))
    found, rows, level = read_amass(file), result.rows_of(0), example("y")
    frames = result.row_frame[rows]
    expected = Rotation.from_rotvec(level.pose[rows, :22].reshape(-1, 3))
    turned = Rotation.from_rotvec(found.pose[frames, :22].reshape(-1, 3))
    assert (turned.inv() * expected).magnitude().max() < 1e-5
    pelvis = level.joints[rows, 0]
    np.testing.assert_allclose(np.diff(found.path[frames], axis=0), np.diff(pelvis, axis=0), atol=1e-5)


Change = Callable[[dict[str, Any]], object]
BROKEN: dict[str, tuple[Change, str]] = {
    "NaN in poses": (lambda c: c["poses"].__setitem__((2, 5), np.nan), "poses"),
    "infinite path": (lambda c: c["trans"].__setitem__((0, 0), np.inf), "trans"),
    "poses of SMPL": (lambda c: c.update(poses=c["poses"][:, :72]), "72 columns"),
    "flat poses": (lambda c: c.update(poses=c["poses"].ravel()), "shape"),
    "another length": (lambda c: c.update(trans=c["trans"][:-1]), "trans"),
    "one frame": (lambda c: c.update(poses=c["poses"][:1], trans=c["trans"][:1]), "1 frames"),
    "no poses": (lambda c: c.pop("poses"), "no poses"),
    "no path": (lambda c: c.pop("trans"), "no trans"),
    "rate 0": (lambda c: c.update(mocap_framerate=np.array(0.0)), "mocap_framerate"),
    "rate below 0": (lambda c: c.update(mocap_framerate=np.array(-120)), "mocap_framerate"),
    "NaN as rate": (lambda c: c.update(mocap_framerate=np.array(np.nan)), "mocap_framerate"),
    "two rates": (lambda c: c.update(mocap_frame_rate=np.array(120.0)), "one rate"),
    "no rate": (lambda c: c.pop("mocap_framerate"), "no mocap_framerate"),
    "rate in words": (lambda c: c.update(mocap_framerate=np.array("fast")), "mocap_framerate"),
    "millimetres": (lambda c: c["trans"].__imul__(1000), "1,000 at most"),
    "degrees": (lambda c: c["poses"].__imul__(180 / np.pi), "radians"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(tmp_path: Path, case: str) -> None:
    pose, trans = tiny_amass.walking(2.0, 60.0)
    arrays = tiny_amass.content(pose, trans + 2, 60.0)
    change, word = BROKEN[case]
    change(arrays)
    file = tiny_amass.write(tmp_path, "walk", arrays)
    with pytest.raises(AnnotationError, match=word) as caught:
        read_amass(file)
    assert caught.value.where == str(file) and caught.value.hint


def test_what_is_no_archive_or_wants_to_run_something_is_named(tmp_path: Path) -> None:
    cut, hostile, absent = (tmp_path / f"{name}_poses.npz" for name in ("cut", "hostile", "absent"))
    cut.write_bytes(walk(tmp_path, 60.0).read_bytes()[:5000])

    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("ran",)

    np.savez(hostile, poses=np.array([Runs()], object), trans=np.zeros((3, 3)), mocap_framerate=np.array(60.0))
    for file in (cut, hostile, absent):
        with pytest.raises(AnnotationError) as caught:
            read_amass(file)
        assert str(file) in str(caught.value.where)


# motions of people


@pytest.mark.parametrize("yaw", [0.0, 0.7, -1.6, 3.0])
@pytest.mark.parametrize("heading", [0.0, 2.2, -2.9])
def test_who_walks_ahead_in_amass_walks_ahead_on_the_floor_with_the_head_up(
    tmp_path: Path, yaw: float, heading: float
) -> None:
    clip, times = MotionClip(walk(tmp_path, 120.0, yaw), 1.25), np.arange(120) / 60
    role = Role("train", (3,), (clip,))
    scene = draw_scene(2, 0, role, 60, 64)
    person = scene.performances[0]
    joints = person.joints
    assert person.motion.kind == RECORDED
    assert (joints[:, HEAD, 1] - joints[:, PELVIS, 1] > 0.5).all()
    assert (joints[:, PELVIS, 1] - joints[:, [L_ANKLE, R_ANKLE], 1].max(1) > 0.4).all()
    assert person.points[..., 1].min() == pytest.approx(0, abs=1e-9), "on the floor"
    assert joints[:, [L_TOES, R_TOES], 1].min(1).max() < 0.25, "and never far above it"
    way = joints[-1, PELVIS] - joints[0, PELVIS]
    assert np.hypot(way[0], way[2]) == pytest.approx(tiny_amass.SPEED * 59 / 30, rel=0.02) and abs(way[1]) < 0.1
    ahead = np.cross(joints[:, L_HIP] - joints[:, R_HIP], [0.0, 1.0, 0.0])
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    assert (ahead @ (way / np.linalg.norm(way)) > 0.99).all(), "the way they look, left being left"
    motion = recorded_motion(clip, times, heading, np.array([0.4, -0.3]), 60)
    turned = Rotation.from_rotvec(motion.pose[60, 0]).apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(turned, [np.sin(heading), 0, np.cos(heading)], atol=1e-6)
    np.testing.assert_allclose(motion.translation[60, [0, 2]], [0.4, -0.3], atol=1e-9)


@pytest.mark.parametrize("shot", ["fixed", "turning", "handheld"])
def test_who_runs_far_stays_before_the_camera_and_its_backdrop(tmp_path: Path, shot: Any) -> None:
    pose, trans = tiny_amass.walking(8.0, 60.0)
    trans[:, :2] *= 5 / tiny_amass.SPEED
    clip = MotionClip(tiny_amass.write(tmp_path, "run", tiny_amass.content(pose, trans, 60.0)), 1.0)
    for index in range(4):
        scene = draw_scene(1, index, Role("train", (3,), (clip,)), 150, 64, shot=shot)
        assert np.ptp(scene.performances[0].joints[:, 0], axis=0).max() > 10
        pixels, depth = scene.camera.pixels(scene.performances[0].joints)
        assert (depth > 0.5).all() and np.isfinite(pixels).all()
        ahead = scene.camera.camera_from_world[:, 2, :3]
        assert (ahead @ ahead[75]).min() > 0.5


def overlapping(clips: list[MotionClip], lengths: list[float]) -> int:
    """Pairs of stretches of one file that share some time."""
    placed = sorted((str(clip.file), clip.begin, clip.begin + length) for clip, length in zip(clips, lengths))
    return sum(a[0] == b[0] and b[1] < a[2] - 1e-6 for a, b in pairwise(placed))


@pytest.mark.parametrize("seed", range(4))
def test_stretches_lie_inside_and_repeat_only_when_there_is_nothing_left(collection: Path, seed: int) -> None:
    files = motion_files(collection)
    rng = np.random.default_rng(seed)
    lengths = [float(rng.uniform(2, 4)), *[float(rng.uniform(0.4, 0.7))] * 40]
    clips = allocate_clips(files, lengths, seed)
    for clip, length in zip(clips, lengths):
        assert clip.begin >= EDGE and clip.begin + length <= read_amass(clip.file).seconds - EDGE + 1e-6
    assert not overlapping(clips, lengths)
    assert {clip.file for clip in clips[:4]} == set(files), "files take turns"
    assert clips == allocate_clips(files, lengths, seed) != allocate_clips(files, lengths, seed + 1)
    room = sum(int((read_amass(file).seconds - 2 * EDGE) / 0.5 + 1e-9) for file in files)
    assert not overlapping(allocate_clips(files, [0.5] * room, seed), [0.5] * room), "all of it"
    assert overlapping(allocate_clips(files, [0.5] * (room + 3), seed), [0.5] * (room + 3)) == 3


def test_too_short_motions_are_refused_with_the_longest(tmp_path: Path) -> None:
    files = [walk(tmp_path / name, 120.0, seconds=seconds) for name, seconds in (("a", 1.5), ("b", 2.5))]
    assert {clip.file for clip in allocate_clips(files, [0.4, 0.4], 0)} == {files[1]}
    with pytest.raises(ConfigError, match=r"0\.50 s") as caught:
        allocate_clips(files, [0.4, 0.6], 0)
    assert caught.value.where == str(tmp_path) and caught.value.hint


@pytest.mark.parametrize("number", [3, 20, 320])
def test_everybody_who_moves_gets_a_motion_of_their_own(number: int) -> None:
    """Cameras that show a performance again need none, and splits come one after the other."""
    allocation = allocate(cast(1, number)) | {name: further(name, 1, number) for name in FURTHER}
    wanted = movers(allocation)
    clips = [MotionClip(Path(f"{n}"), 0.0) for n in range(sum(people for _, _, people in wanted))]
    moved = with_motions(allocation, iter(clips))
    given = [clip for roles in moved.values() for _, role in roles for clip in role.motions]
    assert sorted(given, key=lambda clip: int(clip.file.name)) == clips
    for name, roles in moved.items():
        for (_, role), (_, before) in zip(roles, allocation[name], strict=True):
            assert (role.split, role.people) == (before.split, before.people)
            alone = name in ("h36m", "mpi-inf-3dhp")
            given_all = len(role.motions) == (1 if alone else len(role.people))
            assert given_all or (not role.motions and name in ("h36m", "mpi-inf-3dhp", "rich"))
    last = {
        split: max(
            int(c.file.name) for roles in moved.values() for _, r in roles if r.split == split for c in r.motions
        )
        for split in ("train", "validation")
    }
    assert last["train"] < last["validation"]


def test_two_people_do_not_run_into_each_other_and_a_film_shows_what_was_recorded(tmp_path: Path) -> None:
    file = walk(tmp_path, 100.0, seconds=14)
    clips = tuple(MotionClip(file, begin) for begin in (1.0, 1.5, 2.0))
    film = draw_film(3, 0, 96, motions=clips)
    assert film.recorded and not draw_film(3, 0, 96).recorded
    assert all(len(p.joints) == FRAMES for p in film.performances)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        gap = film.performances[first].joints[:, :, None] - film.performances[second].joints[:, None]
        assert np.linalg.norm(gap, axis=-1).min() > 0.2
    pillar = film.pillar.points[:, [0, 2]].mean(0)
    walked = np.concatenate([p.joints[:, :, [0, 2]].reshape(-1, 2) for p in film.performances])
    assert np.linalg.norm(walked - pillar, axis=1).min() > 0.5


# the world


@pytest.fixture(scope="module")
def no_bodies() -> Iterator[None]:
    """The body-model files have their own tests; they are 300 MB and not needed here."""
    patch = pytest.MonkeyPatch()
    patch.setattr(make, "write_body_models", lambda folder: folder.mkdir(exist_ok=True))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def world(collection: Path, tmp_path_factory: pytest.TempPathFactory, no_bodies: None) -> Path:
    out = tmp_path_factory.mktemp("moved") / "sample"
    make_sample(out, seed=7, jobs=1, motions=collection, **SMALL)
    return out


def records(world: Path) -> Iterator[tuple[SequenceRef, SequenceRecord]]:
    for name in ADAPTERS:
        for split in load_adapter(name).SPEC.splits:
            for ref in find_sequences(name, world / "datasets", split):
                yield ref, read_record(ref)


def test_a_world_of_recorded_motions_says_so_everywhere(world: Path, collection: Path) -> None:
    read = list(records(world))
    assert {ref.dataset for ref, _ in read} == set(ADAPTERS)
    assert all("licence" in record.provenance["motions"] for _, record in read)
    assert all(record.provenance["synthetic"] == "true" for _, record in read)
    note, listed = ((world / name).read_text() for name in (make.NOTE, make.MOTIONS))
    assert "RECORDED" in note and "licence" in note and "nothing is derived" not in note and "CC0" in note
    used = [line for line in listed.splitlines() if line.endswith(".npz")]
    assert used == [file.relative_to(collection).as_posix() for file in motion_files(collection)]
    summary = json.loads((world / make.DONE).read_text())
    assert summary["motion_files"] == 4 and str(collection) not in json.dumps(summary) + listed


def test_it_verifies_and_people_move_differently(world: Path, packs: Path) -> None:
    report = verify_datasets((), world / "datasets", depth="geometry", packs=packs)
    assert report.ok and report.largest_reprojection_px is not None and report.largest_reprojection_px < 0.01
    poses = [
        person.body.pose.reshape(-1, 24, 3)[0, 1:22].round(4).tobytes()
        for ref, record in records(world)
        for person in record.people
        if person.body is not None and ref.dataset == "3dpw"
    ]
    assert len(set(poses)) == len(poses) > 15


def test_the_same_motions_give_the_same_bytes_and_others_another_world(
    world: Path, collection: Path, tmp_path: Path, no_bodies: None
) -> None:
    def annotations(folder: Path) -> dict[str, str]:
        files = sorted((folder / "datasets/3DPW").rglob("*.*"))
        return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}

    small = {**SMALL, "sequences": 3}
    made = [tmp_path / name for name in ("one", "two", "drawn")]
    for out, motions in zip(made, (collection, collection, None)):
        make_sample(out, seed=7, jobs=1, motions=motions, **small)
    one, two, drawn = map(annotations, made)
    assert one == two and not set(one.values()) & set(drawn.values())
    assert not (made[2] / make.MOTIONS).exists() and "nothing is derived" in (made[2] / make.NOTE).read_text()
    assert not any("motions" in record.provenance for _, record in records_of_3dpw(made[2]))
    stored = json.loads((made[0] / make.DONE).read_text())["motions"]
    found = read_summary(made[0], Parameters(seed=7, motions=stored, **small))
    assert found is not None and found.motion_files == 4
    assert read_summary(made[0], Parameters(seed=7, **small)) is None
    make_sample(made[0], seed=7, jobs=1, force=True, **small)
    assert annotations(made[0]) == drawn and not (made[0] / make.MOTIONS).exists()


def records_of_3dpw(world: Path) -> Iterator[tuple[SequenceRef, SequenceRecord]]:
    return ((ref, read_record(ref)) for ref in find_sequences("3dpw", world / "datasets", "train"))


def test_pose_files_of_the_world_hold_what_was_recorded(world: Path, collection: Path) -> None:
    """Each body's joints, relative to their parents, are those of one of the walks at some moment."""
    walked = np.concatenate([read_amass(file).pose[:, 1:22] for file in motion_files(collection)]).reshape(-1, 63)
    for file in sorted((world / "datasets/3DPW/sequenceFiles").glob("*/*.pkl"))[:6]:
        for poses in pickle.loads(file.read_bytes(), encoding="latin1")["poses"]:
            away = np.abs(walked - poses[0, 3:66]).max(1).min()
            assert away < 0.02, "between two frames of the file"


def test_a_video_says_whose_motions_it_shows(collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "write_film", partial(write_film, frames=2))
    clips = allocate_clips(motion_files(collection), [FRAMES / FPS] * 3, 0)
    for number, motions in enumerate((clips, [])):
        [film] = films_of(1, 64, iter(motions))
        draw(tmp_path / str(number), 0, 4, 64, film, SILENT)
        result = read_result(tmp_path / str(number) / f"videos/{name_of(0)}{TRUTH}")
        assert ("licence" in result.about) == (not number) and result.about["synthetic"] is True


def test_motions_too_short_for_videos_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    tiny_amass.write_collection(tmp_path / "amass", seconds=6)
    with pytest.raises(ConfigError, match=r"8\.00 s"):
        make_sample(tmp_path / "world", motions=tmp_path / "amass", videos=1, jobs=1, **SMALL)
    assert not (tmp_path / "world").exists()


def test_a_broken_motion_is_named_before_anything_is_written(collection: Path, tmp_path: Path) -> None:
    folder = tmp_path / "amass"
    files = tiny_amass.write_collection(folder, seconds=4)
    pose, trans = tiny_amass.walking(4.0, 120.0)
    trans[100, 1] = np.nan
    tiny_amass.write(folder, "CMU/00/00_01", tiny_amass.content(pose, trans, 120.0))
    with pytest.raises(AnnotationError, match="trans") as caught:
        make_sample(tmp_path / "world", motions=folder, jobs=1, **SMALL)
    assert caught.value.where == str(files[0]) and not (tmp_path / "world").exists()


def test_the_command_says_whose_licence_holds(
    collection: Path, tmp_path: Path, no_bodies: None, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["--count", "3", "--clip-frames", "2", "--height", "64", "--jobs", "1"]
    assert run(["make-sample", str(tmp_path / "world"), *sizes, "--motions", str(collection)]) == 0
    said = capsys.readouterr().out
    assert "from 3 files" in said and "licence" in said and make.MOTIONS in said
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        assert run(["make-sample", str(tmp_path / "no"), *sizes, "--motions", str(tmp_path / folder)]) == 2
    assert not (tmp_path / "no").exists()
