"""The camera's rotation from a textured background, and whether it stands still."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from people_and_camera import LENS, SQUARE, Walkers, path
from scipy.spatial.transform import Rotation

from trace_train.config.world import WorldConfig
from trace_train.inference.camera.background import BackgroundMotion, reduced
from trace_train.inference.camera.camera_path import CameraPath
from trace_train.inference.camera.frame_people import FramePeople
from trace_train.inference.camera.fusion import angles

RNG = np.random.default_rng(0)
NO_BOXES = np.zeros((0, 4))
TIME = np.arange(20) / 20


def wall() -> np.ndarray:
    """A far wall with random blots, (1440, 2560), seen by the first camera as if it were four pictures large."""
    coarse = RNG.integers(0, 255, (180, 320)).astype(np.uint8)
    return cv2.GaussianBlur(cv2.resize(coarse, (2560, 1440), interpolation=cv2.INTER_CUBIC), (0, 0), 2)


WALL = wall()


def seen(rotation: np.ndarray) -> np.ndarray:
    """The wall (720, 1280) through a camera that was turned by `rotation` (3, 3), from its axes to the world's."""
    shift = np.array([[1, 0, 640], [0, 1, 360], [0, 0, 1.0]])
    homography = shift @ LENS @ rotation @ np.linalg.inv(LENS)
    return cv2.warpPerspective(WALL, homography, (1280, 720), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def pan(degrees: float, frames: int = 20) -> np.ndarray:
    """Rotations (T, 3, 3) of a camera that turns and rolls a little."""
    step = np.arange(frames)[:, None] * np.radians(degrees) * [0.2, 1.0, 0.1]
    return Rotation.from_rotvec(step).as_matrix()


def test_the_rotation_of_a_turning_camera() -> None:
    background, turns = BackgroundMotion(LENS), pan(0.7)
    total = np.eye(3)
    for k in range(20):
        step = background.step(seen(turns[k]), NO_BOXES)
        if not k:
            assert step is None
            continue
        assert step is not None and step.rotation is not None
        assert step.only_turns
        assert np.degrees(angles(step.rotation, turns[k].T @ turns[k - 1])) < 0.05
        total = step.rotation @ total
    assert np.degrees(angles(total, turns[-1].T)) < 0.2


def test_people_are_left_out() -> None:
    """A large person who walks against the pan changes nothing, if the box is known."""
    background, turns = BackgroundMotion(LENS), pan(0.5, 2)
    body = RNG.integers(0, 255, (500, 500), np.uint8)
    boxes = [np.array([[300.0 + 60 * k, 100, 500, 500]]) for k in (0, 1)]
    for k in (0, 1):
        picture = seen(turns[k])
        picture[100:600, 300 + 60 * k : 800 + 60 * k] = body
        step = background.step(picture, boxes[k])
    assert step is not None and step.rotation is not None
    assert np.degrees(angles(step.rotation, turns[1].T @ turns[0])) < 0.05


def test_a_reduced_picture_with_the_width_of_the_frame_says_the_same() -> None:
    whole, small = BackgroundMotion(LENS), BackgroundMotion(LENS)
    box = np.array([[100.0, 300, 200, 200]])
    for rotation in pan(0.7, 2):
        picture = seen(rotation)
        assert reduced(picture).shape == (360, 640)
        steps = whole.step(picture, box), small.step(reduced(picture), box, width=picture.shape[1])
    assert steps[0] is not None and steps[1] is not None and steps[0].flow > 1
    np.testing.assert_array_equal(steps[0].rotation, steps[1].rotation)
    assert steps[0].flow == steps[1].flow


def test_parallax_is_no_rotation() -> None:
    """Halves of the picture at different depths, past which the camera moves."""
    background = BackgroundMotion(LENS)
    for k in (0, 1):
        near, far = np.roll(WALL, -40 * k, axis=1), np.roll(WALL, -4 * k, axis=1)
        step = background.step(np.concatenate([far[360:720, :1280], near[720:1080, :1280]]), NO_BOXES)
    assert step is not None
    assert not step.only_turns


@pytest.mark.parametrize("picture", [np.zeros((90, 160), np.uint8), np.full((90, 160, 3), 200, np.uint8)])
def test_a_blank_background_says_nothing(picture: np.ndarray) -> None:
    background = BackgroundMotion(LENS)
    assert background.step(picture, NO_BOXES) is None
    assert background.step(picture, NO_BOXES) is None


def test_pictures_of_another_size_are_not_compared() -> None:
    background = BackgroundMotion(LENS)
    background.step(seen(np.eye(3)), NO_BOXES)
    assert background.step(seen(np.eye(3))[:300], NO_BOXES) is None


def nobody(walkers: Walkers, t: int) -> FramePeople:
    said = walkers.said(t)
    return FramePeople(
        identity=said.identity[:0], score=said.score[:0], hips=said.hips[:0], triple=said.triple[:0], boxes=NO_BOXES,
        world_motion=None, world_rotation=None,
    )  # fmt: skip


@pytest.mark.parametrize("anybody", [True, False])
def test_a_static_camera_is_noticed(anybody: bool) -> None:
    """Noise of the picture and of people does not move it."""
    walkers = Walkers.before(np.tile(np.eye(4), (20, 1, 1)), TIME)
    camera, picture = CameraPath(WorldConfig(), SQUARE, LENS), seen(np.eye(3))
    error = Rotation.from_rotvec(np.radians([[0.3, 0, 0], [0, 0.2, 0], [0.1, 0.1, 0]])).as_matrix()
    for t in range(20):
        noise = RNG.normal(0, 3, picture.shape)
        shown = np.clip(picture + noise, 0, 255).astype(np.uint8)
        camera.step(TIME[t], walkers.said(t, error=error) if anybody else nobody(walkers, t), shown)
    world = camera.finish()
    assert np.array_equal(world.camera_from_world, np.tile(np.eye(4), (20, 1, 1)))
    assert world.observed.all()
    assert world.facts["source"] == "static"
    assert "detected" in world.facts["judged"]


def test_sharp_people_whom_nobody_detected_do_not_move_a_static_camera() -> None:
    """They have the strongest corners of the picture, and what the network says of the camera is wrong."""
    walkers = Walkers.before(np.tile(np.eye(4), (20, 1, 1)), TIME)
    camera, picture = CameraPath(WorldConfig(), SQUARE, LENS), 110 + seen(np.eye(3)) // 8
    person = RNG.integers(0, 256, (picture.shape[0] // 2, picture.shape[1] // 4), dtype=np.uint8)
    error = np.tile(Rotation.from_euler("y", 3, degrees=True).as_matrix(), (3, 1, 1))
    for t in range(20):
        shown = picture.copy()
        shown[40 : 40 + person.shape[0], 4 * t : 4 * t + person.shape[1]] = person
        camera.step(TIME[t], walkers.said(t, error=error), shown)
    assert camera.finish().facts["source"] == "static"


def test_a_slow_pan_is_no_static_camera() -> None:
    """0.15 px a frame is below what counts as motion between frames, and adds up."""
    walkers, turns = Walkers.before(np.tile(np.eye(4), (20, 1, 1)), TIME), pan(0.015, 20)
    config = WorldConfig(still_drift=1.0)
    camera = CameraPath(config, SQUARE, LENS)
    for t in range(20):
        camera.step(TIME[t], nobody(walkers, t), seen(turns[t]))
    assert camera.finish().facts["source"] == "background"


def test_a_moving_camera_is_not_called_static_for_want_of_pictures() -> None:
    walkers = Walkers.before(np.tile(np.eye(4), (20, 1, 1)), TIME)
    camera = CameraPath(WorldConfig(), SQUARE, LENS)
    for t in range(20):
        camera.step(TIME[t], walkers.said(t))
    assert camera.finish().facts["source"] == "fused"


def test_the_background_turns_the_camera_where_people_are_wrong() -> None:
    turns = pan(0.7)
    truth = path(Rotation.from_matrix(turns).as_rotvec(), np.zeros((20, 3)))
    walkers = Walkers.before(truth, TIME)
    error = np.tile(Rotation.from_euler("y", 1, degrees=True).as_matrix(), (3, 1, 1))
    ends = {}
    for source in ("moving", "background"):
        camera = CameraPath(WorldConfig(camera=source), SQUARE, LENS)
        for t in range(20):
            camera.step(TIME[t], walkers.said(t, error=error), seen(turns[t]))
        world = camera.finish()
        ends[source] = np.degrees(angles(world.camera_from_world[-1, :3, :3], truth[-1, :3, :3]))
        centre = np.linalg.inv(world.camera_from_world)[:, :3, 3]
    assert ends["moving"] > 15
    assert ends["background"] < 0.3
    # it only turns, whatever people say
    assert np.abs(centre).max() < 1e-9
    assert world.facts["source"] == "background"
    assert world.facts["turns_from_background"] == 1
