"""The camera path of a video, from people."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from people_and_camera import LENS, SQUARE, Walkers, handheld, only, path
from scipy.spatial.transform import Rotation

from trace_data.geometry import transform
from trace_data.results.world_placement import placed
from trace_train.config.world import WorldConfig
from trace_train.inference.camera.camera_path import CameraPath, WorldCamera
from trace_train.inference.camera.frame_people import FramePeople
from trace_train.inference.camera.fusion import angles
from trace_train.inference.lens_change import projected, through_lens

TIME = np.arange(60) / 30
MOVING = WorldConfig(camera="moving")


def run(walkers: Walkers, said: list[FramePeople], config: WorldConfig = MOVING) -> WorldCamera:
    camera = CameraPath(config, SQUARE, LENS)
    for time, people in zip(TIME, said):
        camera.step(time, people)
    return camera.finish()


def errors(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Largest error of the rotation in degrees, and of the camera's centre in m."""
    turn = np.degrees(angles(found[:, :3, :3], expected[:, :3, :3])).max()
    return float(turn), float(np.abs(np.linalg.inv(found)[:, :3, 3] - np.linalg.inv(expected)[:, :3, 3]).max())


def nobody(people: FramePeople) -> FramePeople:
    return only(people, np.zeros(len(people.identity), bool))


def test_a_perfect_network_gives_the_true_camera() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    world = run(walkers, [walkers.said(t) for t in range(len(TIME))])
    turn, metres = errors(world.camera_from_world, walkers.camera_from_world)
    assert turn < 1e-6
    assert metres < 1e-6
    assert world.observed.all()
    assert max(world.residual.values()) < 1e-6
    assert world.facts["spread_degrees"] == 0


def test_a_static_camera_stands_still() -> None:
    walkers = Walkers.before(np.tile(np.eye(4), (60, 1, 1)), TIME)
    world = run(walkers, [walkers.said(t) for t in range(60)])
    turn, metres = errors(world.camera_from_world, walkers.camera_from_world)
    assert turn < 0.1
    assert metres < 0.01


def test_step_returns_the_path_so_far() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    camera = CameraPath(MOVING, SQUARE, LENS)
    steps = [camera.step(TIME[t], walkers.said(t)) for t in range(20)]
    assert np.array_equal(steps, camera.finish().camera_from_world)


def test_two_people_with_opposite_errors_meet_in_the_middle() -> None:
    walkers = Walkers.before(handheld(TIME), TIME, people=2)
    same = np.array([[-1.0, 0, 5], [1.0, 0, 5]])
    walkers = Walkers(camera_from_world=walkers.camera_from_world, hips=np.tile(same, (60, 1, 1)))
    error = Rotation.from_euler("y", [[0.3], [-0.3]], degrees=True).as_matrix()
    alone = []
    for k in (0, 1):
        said = [only(walkers.said(t, error=error), np.arange(2) == k) for t in range(60)]
        alone.append(errors(run(walkers, said).camera_from_world, walkers.camera_from_world)[0])
    together = run(walkers, [walkers.said(t, error=error) for t in range(60)])
    # the weights of the two differ a little, as their depths do
    assert errors(together.camera_from_world, walkers.camera_from_world)[0] < 0.15 * min(alone)
    assert together.facts["spread_degrees"] == pytest.approx(0.3, abs=0.02)


def test_somebody_90_degrees_off_is_left_out() -> None:
    walkers = Walkers.before(handheld(TIME), TIME, people=4)
    error = np.concatenate([np.tile(np.eye(3), (3, 1, 1)), Rotation.from_euler("x", [[90]], degrees=True).as_matrix()])
    world = run(walkers, [walkers.said(t, error=error) for t in range(60)])
    assert errors(world.camera_from_world, walkers.camera_from_world)[0] < 1e-3


def test_people_may_come_and_go() -> None:
    """Births, deaths and absences leave no trace, as long as somebody is seen in both frames."""
    walkers = Walkers.before(handheld(TIME), TIME, people=3)
    here = np.ones((60, 3), bool)
    here[:20, 0] = here[15:40, 1] = here[50:, 2] = False
    said = [only(walkers.said(t, since=here.argmax(0)), here[t]) for t in range(60)]
    world = run(walkers, said)
    turn, metres = errors(world.camera_from_world, walkers.camera_from_world)
    assert turn < 1e-6
    assert metres < 1e-6
    assert max(world.residual.values()) < 1e-6


def test_nobody_seen_decays_to_standing_still() -> None:
    turn = np.outer(TIME, [0, 0.5, 0])
    walkers = Walkers.before(path(turn, np.outer(TIME, [1.0, 0, 0])), TIME)
    said = [walkers.said(t) if t < 10 else nobody(walkers.said(t)) for t in range(60)]
    world = run(walkers, said)
    speeds = [np.degrees(angles(a[:3, :3], b[:3, :3])) * 30 for a, b in pairwise(world.camera_from_world)]
    assert speeds[8] == pytest.approx(np.degrees(0.5), rel=1e-6)
    assert all(late < early for early, late in pairwise(speeds[9:]))
    # half a second later it has slowed down to 37 %, at any frame rate
    assert speeds[9 + 15] == pytest.approx(speeds[9] * np.exp(-1), rel=1e-6)
    assert world.observed.tolist() == [True] * 10 + [False] * 50
    assert world.facts["observed"] == pytest.approx(1 / 6, abs=1e-4)


def test_the_decay_does_not_depend_on_the_rate() -> None:
    ends = []
    for rate in (30, 10):
        time = np.arange(2 * rate + 1) / rate
        walkers = Walkers.before(path(np.outer(time, [0, 0.5, 0]), np.zeros((len(time), 3))), time)
        camera = CameraPath(MOVING, SQUARE, LENS)
        for t, now in enumerate(time):
            camera.step(now, walkers.said(t) if now < 0.41 else nobody(walkers.said(t)))
        ends.append(camera.finish().camera_from_world[-1])
    assert np.degrees(angles(ends[0][:3, :3], ends[1][:3, :3])) < 1e-6


def test_disagreement_is_called_a_guess() -> None:
    walkers = Walkers.before(handheld(TIME), TIME, people=2)
    error = Rotation.from_euler("y", [[8], [-8]], degrees=True).as_matrix()
    world = run(walkers, [walkers.said(t, error=error) for t in range(60)])
    assert "guess" in world.facts["judged"]
    assert "degrees" in world.warnings[0]


def test_one_person_is_called_a_guess_without_a_warning() -> None:
    walkers = Walkers.before(handheld(TIME), TIME, people=1)
    world = run(walkers, [walkers.said(t) for t in range(60)])
    assert "guess" in world.facts["judged"]
    assert world.facts["spread_degrees"] is None
    assert not world.warnings


def test_a_network_without_a_world_stands_still_and_says_so() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    camera = CameraPath(MOVING, SQUARE, LENS)
    for t in range(60):
        said = walkers.said(t)
        camera.step(
            TIME[t],
            FramePeople(
                identity=said.identity, score=said.score, hips=said.hips, triple=said.triple, boxes=said.boxes,
                world_motion=None, world_rotation=None,
            ),
        )  # fmt: skip
    world = camera.finish()
    assert np.array_equal(world.camera_from_world, np.tile(np.eye(4), (60, 1, 1)))
    assert world.observed.tolist() == [True] + [False] * 59
    assert "guess" in world.warnings[0]
    assert np.isnan(list(world.residual.values())).all()


def test_a_cut_leaves_the_camera_where_it_was() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    camera = CameraPath(MOVING, SQUARE, LENS)
    for t in range(60):
        camera.step(TIME[t], walkers.said(t), cut=t == 30)
    world = camera.finish()
    assert np.array_equal(world.camera_from_world[30], world.camera_from_world[29])
    assert not world.observed[30]
    assert world.observed[31]
    assert world.facts["cuts"] == 1
    assert "cut" in world.warnings[0]


def test_a_static_camera_may_be_told() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    world = run(walkers, [walkers.said(t) for t in range(60)], WorldConfig(camera="static"))
    assert np.array_equal(world.camera_from_world, np.tile(np.eye(4), (60, 1, 1)))
    assert world.facts["source"] == "static"
    # the network saw the camera move: by how much is left as the residual
    assert max(world.residual.values()) > 0.1


def test_an_empty_video() -> None:
    world = CameraPath(MOVING, SQUARE, LENS).finish()
    assert world.camera_from_world.shape == (0, 4, 4)
    json.dumps(world.facts, allow_nan=False)


def test_going_on_from_a_saved_state_changes_nothing() -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    said = [nobody(walkers.said(t)) if 25 < t < 40 else walkers.said(t) for t in range(60)]
    pictures = np.random.default_rng(5).integers(0, 255, (60, 90, 160), np.uint8)
    whole = CameraPath(WorldConfig(), SQUARE, LENS)
    parts = CameraPath(WorldConfig(), SQUARE, LENS)
    for t in range(60):
        whole.step(TIME[t], said[t], pictures[t])
        if t == 30:
            saved = parts.state_dict()
            parts = CameraPath(WorldConfig(), SQUARE, LENS)
            parts.load_state_dict(saved)
        parts.step(TIME[t], said[t], pictures[t])
    first, second = whole.finish(), parts.finish()
    assert np.array_equal(first.camera_from_world, second.camera_from_world)
    assert first.facts == second.facts
    assert first.residual == second.residual


def test_the_state_can_be_saved_safely(tmp_path: object) -> None:
    walkers = Walkers.before(handheld(TIME), TIME)
    camera = CameraPath(WorldConfig(), SQUARE, LENS)
    for t in range(3):
        camera.step(TIME[t], walkers.said(t), np.zeros((90, 160), np.uint8))
    file = f"{tmp_path}/state.pth"
    torch.save(camera.state_dict(), file)
    other = CameraPath(WorldConfig(), SQUARE, LENS)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert np.array_equal(other.finish().camera_from_world, camera.finish().camera_from_world)


@pytest.mark.parametrize("focal", [700.0, 2000.0])
def test_bodies_in_the_world_are_where_the_picture_has_them(focal: float) -> None:
    """With a given lens, too: the world is made from the bodies in the camera, never scaled on its own."""
    walkers, rng = Walkers.before(handheld(TIME), TIME), np.random.default_rng(6)
    lens = LENS.copy()
    lens[[0, 1], [0, 1]] = focal
    joints, rest = rng.normal(0, 0.35, (3, 44, 3)), rng.normal(0, 0.2, (3, 3))
    camera = CameraPath(MOVING, SQUARE, lens)
    for t in range(20):
        said = walkers.said(t)
        hips = through_lens(SQUARE.metres(said.triple, SQUARE.intrinsics), joints, lens, SQUARE).hips
        camera_from_world = camera.step(TIME[t], replace(said, hips=hips))
        body = placed(
            pose_in_camera=rng.normal(0, 1, (3, 24, 3)),
            hips_in_camera=hips,
            joints=joints,
            rest_pelvis=rest,
            camera_from_world=np.tile(camera_from_world, (3, 1, 1)),
            intrinsics=np.tile(lens, (3, 1, 1)),
        )
        seen = projected(transform(camera_from_world, body.joints), lens)
        assert np.abs(seen - body.joints_2d[:, :24]).max() < 0.01
        # the hips are where the network saw them
        assert np.allclose(projected(hips, lens), projected(said.hips, LENS), atol=1e-6)
