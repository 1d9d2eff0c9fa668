"""Results arranged for a file or a page."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from example_result import example_result, free_joints
from scipy.spatial.transform import Rotation, Slerp

from trace_data.errors import ConfigError
from trace_data.geometry import project, transform
from trace_data.results.check import check_result
from trace_data.results.result import ASSUMED_UP, Result
from trace_data.results.rows import chosen
from trace_data.results.scene import FEET, SOLE, SceneOptions, Up, arrange, cut, in_place, moved, only_people, resampled

LEVEL = SceneOptions(origin="world", ground="none")


def turned(result: Result, degrees: float) -> Result:
    """The result as if its first camera were tilted about x, without knowing it."""
    change = np.eye(4)
    change[:3, :3] = Rotation.from_euler("x", degrees, degrees=True).as_matrix()
    return replace(moved(result, change), up=np.array(ASSUMED_UP))


def posed(result: Result) -> np.ndarray:
    """Kinematic joints (N, 24, 3) in the world by the body model, from a result's pose, shape and place."""
    joints, rest = free_joints(result.pose, result.betas[result.row_person])
    return joints[:, :24] - joints[:, :1] + (rest + result.translation)[:, None]


def in_picture(result: Result) -> np.ndarray:
    camera = result.camera_from_world[result.row_frame]
    return project(result.intrinsics[0], transform(camera, result.joints))


def test_a_rigid_change_moves_the_bodies_with_the_pelvis_term() -> None:
    """With betas that move the pelvis at rest: turning the translation alone would be wrong by decimetres."""
    result, change = example_result(frames=10), np.eye(4)
    change[:3, :3] = Rotation.from_rotvec([0.4, -1.0, 2.0]).as_matrix()
    change[:3, 3] = 1, 2, 3
    new = moved(result, change)
    check_result(new)
    assert np.abs(posed(new) - transform(change, posed(result))).max() < 1e-5
    assert np.abs(new.joints - posed(new)).max() < 1e-5
    naive = transform(change, result.translation[:, None].astype(np.float64))[:, 0]
    assert np.linalg.norm(new.translation - naive, axis=1).max() > 0.1
    assert np.abs(in_picture(new) - result.joints_2d[:, :24]).max() < 0.01
    for name in ("root_in_camera", "translation_in_camera", "joints_2d"):
        assert getattr(new, name) is getattr(result, name)


@pytest.mark.parametrize("up, axis", [("y", (0, 1, 0)), ("z", (0, 0, 1))])
def test_up_is_up(up: Up, axis: tuple[float, float, float]) -> None:
    scene = arrange(example_result(frames=30), SceneOptions(up=up))
    check_result(scene)
    assert np.allclose(scene.up, axis, atol=1e-6)
    height = scene.joints @ np.array(axis)
    # heads above feet, feet on the floor
    assert (height[:, 15] - height[:, FEET].min(1)).min() > 1.0
    assert np.abs(height[:, FEET].min(1) - SOLE).max() < 0.15
    assert scene.about["scene"]["level"] == "known"


def test_the_camera_axes_are_left_alone() -> None:
    result = example_result(frames=10)
    scene = arrange(result, SceneOptions(up="camera", origin="world"))
    assert np.array_equal(scene.camera_from_world, result.camera_from_world)
    assert np.allclose(scene.joints, result.joints, atol=1e-6)
    assert scene.about["scene"]["ground"] == "none"


def test_y_and_z_up_differ_by_a_quarter_turn() -> None:
    result = example_result(frames=10)
    y, z = (arrange(result, SceneOptions(up=up)).joints for up in ("y", "z"))
    assert np.allclose(z, np.stack([y[..., 0], -y[..., 2], y[..., 1]], axis=-1), atol=1e-5)


def test_the_level_is_found_from_how_people_stand() -> None:
    result = turned(example_result(frames=90, known_up=True), 12.0)
    scene = arrange(result, LEVEL)
    check_result(scene)
    spine = scene.joints[:, 12] - scene.joints[:, 0]
    lean = np.degrees(np.arccos((spine[:, 1] / np.linalg.norm(spine, axis=1)).mean()))
    assert lean < 10
    assert "guess" in scene.about["scene"]["level"]
    raw = arrange(result, replace(LEVEL, level="none"))
    assert np.allclose(raw.about["scene"]["world_from_result"], np.diag([1, -1, -1, 1]))


def test_too_few_upright_people_give_no_level() -> None:
    result = turned(example_result(frames=90, known_up=False), 85.0)
    scene = arrange(result, LEVEL)
    assert scene.about["scene"]["level"].startswith("none")
    assert np.allclose(scene.about["scene"]["world_from_result"], np.diag([1, -1, -1, 1]))


def test_the_first_pelvis_is_above_the_origin() -> None:
    scene = arrange(example_result(frames=10, people=1), SceneOptions())
    assert np.allclose(scene.joints[0, 0, [0, 2]], 0, atol=1e-6)
    assert scene.joints[0, FEET, 1].min() == pytest.approx(SOLE, abs=1e-6)
    free = arrange(example_result(frames=10, people=1), SceneOptions(ground="none"))
    assert np.allclose(free.joints[0, 0], 0, atol=1e-6)


def test_the_scene_is_moved_as_one() -> None:
    """Distances between people, and between people and cameras, stay."""
    result = example_result(frames=40)
    scene = arrange(result, SceneOptions())

    def apart(of: Result) -> np.ndarray:
        centre = -np.einsum("tji,tj->ti", of.camera_from_world[:, :3, :3], of.camera_from_world[:, :3, 3])
        return np.linalg.norm(
            of.joints[:, :1] - np.concatenate([centre[None], of.joints[:40, 0][None]]).reshape(-1, 3), axis=-1
        )

    assert np.abs(apart(scene) - apart(result)).max() < 1e-5


def test_people_are_chosen_by_identity_or_name() -> None:
    result = example_result(frames=20)
    two = only_people(result, ["3", str(result.person_name[1])])
    check_result(two)
    assert two.person.tolist() == [2, 3]
    assert len(two.row_person) == (result.row_person >= 1).sum()
    assert np.array_equal(two.joints, result.joints[result.row_person >= 1])


def test_an_unknown_person_is_named() -> None:
    with pytest.raises(ConfigError, match="'7'") as caught:
        arrange(example_result(frames=5), SceneOptions(person=("7",)))
    assert caught.value.where == "--person"


def test_a_part_keeps_its_times() -> None:
    result = example_result(frames=60)
    part = cut(result, result.time[20], result.time[39])
    check_result(part)
    assert np.array_equal(part.time, result.time[20:40])
    inside = (result.row_frame >= 20) & (result.row_frame < 40)
    assert np.array_equal(part.joints, result.joints[inside])
    assert np.array_equal(part.row_frame, result.row_frame[inside] - 20)


def test_a_part_outside_the_video_is_an_error() -> None:
    with pytest.raises(ConfigError, match="covers") as caught:
        cut(example_result(frames=5), 100, None)
    assert caught.value.where == "--start, --end"


@pytest.mark.parametrize("fps", [24.0, 60.0])
def test_resampled_rotations_agree_with_scipy(fps: float) -> None:
    result = example_result(frames=60, people=1, moving=False)
    new = resampled(result, fps)
    check_result(new)
    assert np.allclose(np.diff(new.time), 1 / fps)
    assert len(new.row_frame) == len(new.time)
    for joint in range(24):
        way = Slerp(result.time, Rotation.from_rotvec(result.pose[:, joint]))
        turn = way(new.time).inv() * Rotation.from_rotvec(new.pose[:, joint])
        assert turn.magnitude().max() < 1e-4
    places = np.stack([np.interp(new.time, result.time, result.joints[:, 0, k]) for k in range(3)], axis=-1)
    assert np.abs(new.joints[:, 0] - places).max() < 1e-5


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    result = example_result(frames=30)
    new = resampled(result, 30.0)
    assert np.array_equal(new.row_frame, result.row_frame)
    assert np.array_equal(new.state, result.state)
    assert np.abs(new.joints - result.joints).max() < 1e-5
    assert np.abs(new.joints_2d - result.joints_2d).max() < 0.01


def test_resampling_makes_nobody_in_a_gap() -> None:
    result = example_result(frames=80, people=2)
    new = resampled(result, 100.0)
    check_result(new)
    times = new.time[new.row_frame[new.row_person == 1]]
    away = result.time[40], result.time[60]
    assert not ((times > away[0] - 1 / 30 + 1e-6) & (times < away[1] - 1e-6)).any()
    assert np.abs(in_picture(new) - new.joints_2d[:, :24]).max() < 0.01


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_that_is_none(fps: float) -> None:
    with pytest.raises(ConfigError, match="rate") as caught:
        resampled(example_result(frames=3), fps)
    assert caught.value.where == "--fps"


@pytest.mark.parametrize("factor", [1e9, 1e300])
def test_times_that_would_make_more_frames_than_any_memory_holds(factor: float) -> None:
    result = example_result(frames=3)
    with pytest.raises(ConfigError, match="frames") as caught:
        resampled(dataclasses.replace(result, time=result.time * factor), 60.0)
    assert caught.value.where == "--fps" and "--end" in str(caught.value.hint)


def test_people_on_the_spot_keep_their_height() -> None:
    result = arrange(example_result(frames=40), SceneOptions())
    still = in_place(result, vertical=1)
    check_result(still)
    for person in range(3):
        rows = still.rows_of(person)
        assert np.ptp(still.joints[rows, 0][:, [0, 2]], axis=0).max() < 1e-5
    assert np.allclose(still.joints[:, 0, 1], result.joints[:, 0, 1], atol=1e-5)
    assert np.allclose(still.pose, result.pose, atol=1e-5)


def test_everything_at_once() -> None:
    options = SceneOptions(
        up="z", person=("1", "2"), start=0.5, end=2.5, fps=25, smooth="offline", fill_gaps=True, in_place=True
    )
    scene = arrange(example_result(frames=90, irregular=True), options)
    check_result(scene)
    assert scene.about["scene"]["in_place"]
    assert scene.person.tolist() == [1, 2]


def test_a_result_without_people_is_turned_all_the_same() -> None:
    empty = chosen(example_result(frames=10), np.zeros(0, int))
    scene = arrange(empty, SceneOptions(fps=15, smooth="offline", fill_gaps=True))
    check_result(scene)
    assert scene.about["scene"]["origin"] == "world"
    assert np.allclose(scene.up, (0, 1, 0))
