"""A camera path from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from people_and_camera import LENS, SQUARE, Walkers, handheld
from scipy.spatial.transform import Rotation

from trace_data.results.camera_files import CameraFile, CameraFileError
from trace_train.config.world import WorldConfig
from trace_train.inference.camera.camera_path import CameraPath, WorldCamera
from trace_train.inference.camera.fusion import angles
from trace_train.inference.camera.given import GivenPath

TIME = np.arange(150) / 30


def given(path: np.ndarray, *, unit: float = 1.0, time: np.ndarray | None = TIME) -> CameraFile:
    """The path in another world and unit of length."""
    away = np.eye(4)
    away[:3, :3], away[:3, 3] = Rotation.from_rotvec([1.0, 2, 0.5]).as_matrix(), (5, -3, 2)
    camera = path @ away
    camera[:, :3, 3] /= unit
    return CameraFile(
        source=Path("slam.txt"), kind="tum", time=time, camera_from_world=camera, intrinsics=None, image_size=None,
        distorted=False, up=None,
    )  # fmt: skip


def run(walkers: Walkers, file: CameraFile, config: WorldConfig | None = None, noise: float = 0.0) -> WorldCamera:
    camera = CameraPath(config or WorldConfig(), SQUARE, LENS, GivenPath(file))
    rng = np.random.default_rng(0)
    for t, now in enumerate(TIME):
        people = walkers.said(t)
        # monocular places err mostly along the ray
        camera.step(now, replace(people, hips=people.hips * (1 + rng.normal(0, noise, (len(people.hips), 1)))))
    return camera.finish()


def off(world: WorldCamera, walkers: Walkers) -> float:
    """Largest distance of camera centres from the truth, m."""
    truth = np.linalg.inv(walkers.camera_from_world)[:, :3, 3]
    return float(np.abs(np.linalg.inv(world.camera_from_world)[:, :3, 3] - truth).max())


def test_the_path_of_the_file_in_the_world_of_the_first_frame() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    world = run(walkers, given(walkers.camera_from_world), WorldConfig(camera_scale="file"))
    assert off(world, walkers) < 1e-9
    assert angles(world.camera_from_world[:, :3, :3], walkers.camera_from_world[:, :3, :3]).max() < 1e-9
    assert world.observed.all()
    assert world.facts["source"] == "given"


@pytest.mark.parametrize("unit", [0.1, 1.0, 7.0])
def test_the_scale_is_solved_from_people(unit: float) -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    world = run(walkers, given(walkers.camera_from_world, unit=unit))
    assert world.facts["scale"] == pytest.approx(unit, rel=0.05)
    assert off(world, walkers) < 0.15
    assert not world.warnings


def test_the_scale_survives_noise_in_depth() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    world = run(walkers, given(walkers.camera_from_world, unit=3.0), noise=0.02)
    assert world.facts["scale"] == pytest.approx(3.0, rel=0.25)
    assert world.facts["scale_error"] > 0


def test_a_camera_on_a_tripod_has_no_scale_and_this_is_said() -> None:
    walkers = Walkers.before(np.tile(np.eye(4), (150, 1, 1)), TIME)
    world = run(walkers, given(walkers.camera_from_world))
    assert world.facts["scale"] == 1
    assert world.facts["scale_error"] is None
    assert "guess" in world.facts["scale_from"]
    assert world.warnings


def test_other_times_are_interpolated() -> None:
    fine = np.linspace(-0.1, 5.1, 900)
    walkers = Walkers.before(handheld(TIME), TIME)
    start = np.linalg.inv(handheld(fine))[np.searchsorted(fine, 0)]
    file = given(handheld(fine) @ start, time=fine)
    world = run(walkers, file, WorldConfig(camera_scale="file"))
    assert off(world, walkers) < 0.02


def test_a_video_longer_than_the_times_of_the_file() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    file = given(walkers.camera_from_world[:100], time=TIME[:100])
    with pytest.raises(CameraFileError, match=r"3\.300") as caught:
        run(walkers, file)
    assert caught.value.where == "slam.txt"


def test_cameras_without_times_belong_to_frames() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    world = run(walkers, given(walkers.camera_from_world, time=None), WorldConfig(camera_scale="file"))
    assert off(world, walkers) < 1e-9


@pytest.mark.parametrize("count", [149, 151])
def test_another_length_names_both_counts(count: int) -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    more = np.concatenate([walkers.camera_from_world, walkers.camera_from_world[-1:]])
    with pytest.raises(CameraFileError, match=f"{count} cameras.*150") as caught:
        run(walkers, given(more[:count], time=None))
    assert caught.value.where == "slam.txt"


def test_up_of_the_file_is_turned_into_the_world() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    file = given(walkers.camera_from_world)
    up = np.array([0.0, 0, 1])
    world = run(walkers, replace(file, kind="result", up=up))
    assert world.up is not None
    assert np.allclose(world.up, file.camera_from_world[0, :3, :3] @ up)
    assert "scale_error" not in world.facts


def test_going_on_keeps_the_first_camera() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    file = given(walkers.camera_from_world)
    whole, part = (CameraPath(WorldConfig(), SQUARE, LENS, GivenPath(file)) for _ in range(2))
    for t in range(60):
        expected = whole.step(TIME[t], walkers.said(t))
        if t == 30:
            saved = part.state_dict()
            part = CameraPath(WorldConfig(), SQUARE, LENS, GivenPath(file))
            part.load_state_dict(saved)
        assert np.allclose(part.step(TIME[t], walkers.said(t)), expected, atol=1e-12)
