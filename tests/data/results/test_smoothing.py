"""Smooth results: they still agree with themselves, and motion stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from example_result import example_result, free_joints
from scipy.spatial.transform import Rotation

from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.results.bodies import Bodies
from trace_data.results.check import check_result
from trace_data.results.paths import at_times
from trace_data.results.result import INHERITED, PREDICTED, SEEN, Result
from trace_data.results.rows import chosen
from trace_data.results.smoothing import Mode, fill_gaps, smooth
from trace_data.results.world_placement import rigid_inverse

R_ELBOW, R_WRIST = 19, 21
MODES: tuple[Mode, ...] = ("causal", "offline")


def noisy(result: Result, *, degrees: float = 1.0, metres: float = 0.01, seed: int = 0) -> Result:
    """The result with jitter on all rotations and places in the camera."""
    rng, bodies = np.random.default_rng(seed), Bodies.of(result)
    shake = Rotation.from_rotvec(rng.normal(0, np.radians(degrees), (len(bodies.pelvis) * 24, 3))).as_matrix()
    return replace(
        bodies,
        rotation=bodies.rotation @ shake.reshape(-1, 24, 3, 3),
        pelvis=bodies.pelvis + rng.normal(0, metres, bodies.pelvis.shape),
    ).written(result)


def in_picture(result: Result) -> np.ndarray:
    """The kinematic joints (N, 24, 2) of the bodies in the world, seen through the camera."""
    camera = result.camera_from_world[result.row_frame]
    lens = result.intrinsics[result.row_frame if len(result.intrinsics) > 1 else 0]
    return project(lens, transform(camera, result.joints))


def bent(result: Result, angle: np.ndarray) -> Result:
    """Everybody's right elbow is bent by `angle` (T,), rad."""
    bodies = Bodies.of(result)
    rotation = bodies.rotation.copy()
    turn = np.zeros((len(rotation), 3))
    turn[:, 1] = angle[result.row_frame]
    rotation[:, R_ELBOW] = matrix_from_axis_angle(turn)
    return replace(bodies, rotation=rotation).written(result)


def elbow(result: Result) -> np.ndarray:
    """(N,) angle of the right elbow about its axis, rad."""
    return result.pose[:, R_ELBOW, 1]


def test_bodies_come_back_unchanged() -> None:
    result = example_result(frames=30)
    back = Bodies.of(result).written(result)
    for name in ("joints", "translation", "translation_in_camera", "hips_in_camera"):
        assert np.abs(getattr(back, name) - getattr(result, name)).max() < 2e-6, name
    assert np.abs(back.joints_2d - result.joints_2d).max() < 2e-3
    assert np.abs(back.box - result.box).max() < 2e-3
    check_result(back)


def test_bones_of_a_result_pose_as_the_body_model_does() -> None:
    result = example_result(frames=10)
    rng = np.random.default_rng(1)
    bodies = Bodies.of(result)
    turned = matrix_from_axis_angle(rng.normal(0, 0.5, (*bodies.rotation.shape[:2], 3)))
    posed = replace(bodies, rotation=turned).written(result)
    pose = np.concatenate([posed.root_in_camera[:, None], posed.pose[:, 1:]], axis=1)
    expected, _ = free_joints(pose, result.betas[result.row_person])
    found = transform(result.camera_from_world[result.row_frame], posed.joints)
    assert np.abs((found - found[:, :1]) - (expected[:, :24] - expected[:, :1])).max() < 1e-5


def test_off_changes_nothing() -> None:
    result = example_result(frames=10)
    assert smooth(result, "off") is result


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("irregular", [False, True])
def test_a_smooth_result_agrees_with_itself(mode: Mode, irregular: bool) -> None:
    result = noisy(example_result(frames=60, irregular=irregular))
    smoothed = smooth(result, mode)
    check_result(smoothed)
    assert np.abs(in_picture(smoothed) - smoothed.joints_2d[:, :24]).max() < 0.01
    assert smoothed.about["smoothing"] == mode


@pytest.mark.parametrize("mode", MODES)
def test_rows_and_their_states_stay(mode: Mode) -> None:
    result = example_result(frames=60)
    smoothed = smooth(result, mode)
    for name in ("row_person", "row_frame", "state", "score", "betas", "time", "world_residual"):
        assert np.array_equal(getattr(smoothed, name), getattr(result, name), equal_nan=name == "world_residual")


@pytest.mark.parametrize("mode", MODES)
def test_jitter_becomes_less(mode: Mode) -> None:
    result = example_result(frames=90, people=1, moving=False)
    shaken = noisy(result)

    def jerk(of: Result) -> float:
        return float(np.linalg.norm(np.diff(of.joints, 3, axis=0), axis=-1).mean())

    assert jerk(smooth(shaken, mode)) < (0.3 if mode == "offline" else 0.5) * jerk(shaken)
    error = np.linalg.norm(smooth(shaken, mode).joints - result.joints, axis=-1).mean()
    if mode == "offline":
        assert error < 0.75 * np.linalg.norm(shaken.joints - result.joints, axis=-1).mean()


@pytest.mark.parametrize("rate", [3.0, 4.0])
def test_a_clap_stays_a_clap(rate: float) -> None:
    """An elbow swings through 60 degrees, several times a second: nine tenths of the swing and more are left."""
    still = example_result(frames=90, people=1, moving=False)
    angle = np.radians(30) * np.sin(2 * np.pi * rate * (still.time - still.time[0]))
    clap = noisy(bent(still, angle), degrees=0.5, metres=0.003)
    smoothed = smooth(clap, "offline")
    kept = np.linalg.lstsq(angle[:, None], elbow(smoothed), rcond=None)[0][0]
    assert kept > 0.9
    # where the hands meet, too
    peaks = np.abs(angle) > 0.95 * np.radians(30)
    left = np.abs(elbow(smoothed)[peaks]) / np.abs(angle[peaks])
    assert left.mean() > 0.9
    assert left.min() > 0.8


def test_a_clap_survives_the_causal_filter_late() -> None:
    still = example_result(frames=90, people=1, moving=False)
    phase = 2 * np.pi * 3 * (still.time - still.time[0])
    found = elbow(smooth(bent(still, np.radians(30) * np.sin(phase)), "causal"))
    waves = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    assert np.linalg.norm(np.linalg.lstsq(waves, found, rcond=None)[0]) > 0.85 * np.radians(30)


def test_offline_has_no_delay_and_causal_has_some() -> None:
    still = example_result(frames=120, people=1, moving=False)
    result = bent(still, np.radians(30) * np.sin(2 * np.pi * (still.time - still.time[0])))

    def delay(of: Result) -> int:
        found = [np.sum(elbow(result)[40:80] * elbow(of)[40 + k : 80 + k]) for k in range(-6, 7)]
        return int(np.argmax(found)) - 6

    assert delay(smooth(result, "offline")) == 0
    assert 0 < delay(smooth(result, "causal")) <= 4


def test_causal_does_not_look_ahead() -> None:
    result = noisy(example_result(frames=40, people=1))
    begin = chosen(result, np.flatnonzero(result.row_frame < 20))
    frames = {
        "time": result.time[:20],
        "frame_id": result.frame_id[:20],
        "camera_observed": result.camera_observed[:20],
    }
    begin = replace(begin, **frames, camera_from_world=result.camera_from_world[:20])
    assert np.array_equal(smooth(begin, "causal").pose, smooth(result, "causal").pose[:20])


@pytest.mark.parametrize("mode", MODES)
def test_gaps_are_not_smoothed_across(mode: Mode) -> None:
    """What comes after an absence does not depend on what was before it."""
    result = noisy(example_result(frames=60, people=1))
    there = (result.row_frame < 20) | (result.row_frame >= 40)
    cut = chosen(result, np.flatnonzero(there))
    late = chosen(result, np.flatnonzero(result.row_frame >= 40))
    assert np.allclose(smooth(cut, mode).pose[20:], smooth(late, mode).pose, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_somebody_who_walks_evenly_stays_in_place(mode: Mode) -> None:
    """At the ends of a video, too; the causal filter lags behind by less than a tenth of a second."""
    result = example_result(frames=60, people=1, moving=False)
    bodies = Bodies.of(result)
    walked = bodies.pelvis[:1] + np.outer(result.time - result.time[0], [1.4, 0, 0.5])
    rotation = np.tile(bodies.rotation[:1], (60, 1, 1, 1))
    even = replace(bodies, rotation=rotation, pelvis=walked).written(result)
    apart = np.linalg.norm(smooth(even, mode).joints - even.joints, axis=-1).max()
    assert apart < (1e-4 if mode == "offline" else 0.15)


def test_half_the_rate_gives_the_same_motion() -> None:
    result = example_result(frames=121, people=1)
    half = chosen(result, np.flatnonzero(result.row_frame % 2 == 0))
    half = replace(
        half,
        row_frame=half.row_frame // 2,
        time=result.time[::2],
        frame_id=result.frame_id[::2],
        camera_from_world=result.camera_from_world[::2],
        camera_observed=result.camera_observed[::2],
    )
    apart = np.linalg.norm(smooth(half).joints - smooth(result).joints[::2], axis=-1)
    assert apart.max() < 0.01


def test_a_short_gap_is_filled_where_the_person_was() -> None:
    result = example_result(frames=90, people=2)
    away = (result.row_person == 0) & (result.row_frame >= 30) & (result.row_frame < 45)
    assert (result.state[away] == SEEN).all()
    filled = fill_gaps(chosen(result, np.flatnonzero(~away)))
    check_result(filled)
    rows = np.flatnonzero((filled.row_person == 0) & (filled.row_frame >= 30) & (filled.row_frame < 45))
    assert len(rows) == 15
    assert (filled.state[rows] == PREDICTED).all()
    assert (filled.score[rows] == 0).all()
    assert np.linalg.norm(filled.joints[rows, 0] - result.joints[away][:, 0], axis=-1).max() < 0.1
    assert np.abs(in_picture(filled) - filled.joints_2d[:, :24]).max() < 0.01


def test_long_gaps_and_ends_stay_open() -> None:
    result = example_result(frames=160, people=3)
    filled = fill_gaps(result)
    # the second person is away for longer than a second, the third enters late, the first ends predicted
    assert np.array_equal(filled.row_frame, result.row_frame)
    assert np.array_equal(filled.state, result.state)


def test_predicted_rows_in_a_gap_are_made_anew() -> None:
    result = example_result(frames=90, people=1)
    state = result.state.copy()
    state[30:40] = PREDICTED
    drifted = result.translation_in_camera.copy()
    lost = replace(Bodies.of(result), pelvis=Bodies.of(result).pelvis + np.where(state == PREDICTED, 1, 0)[:, None])
    lost = replace(lost.written(result), state=state)
    assert np.linalg.norm(lost.translation_in_camera[35] - drifted[35]) > 1
    filled = fill_gaps(lost)
    assert len(filled.state) == 90
    assert np.linalg.norm(filled.translation_in_camera[35] - drifted[35]) < 0.1
    assert np.array_equal(filled.state, state)
    assert INHERITED not in filled.state


def test_a_result_without_people() -> None:
    result = chosen(example_result(frames=10), np.zeros(0, int))
    for mode in MODES:
        check_result(smooth(fill_gaps(result), mode))


@pytest.mark.parametrize("mode", MODES)
def test_a_single_frame_stays_as_it_is(mode: Mode) -> None:
    result = example_result(frames=1, people=1)
    smoothed = smooth(result, mode)
    check_result(smoothed)
    assert np.allclose(smoothed.joints, result.joints, atol=1e-6)


def test_a_path_between_its_times_agrees_with_scipy() -> None:
    from scipy.spatial.transform import Slerp

    path, time = example_result(frames=20).camera_from_world, np.arange(20.0)
    wanted = np.linspace(0, 19, 77)
    found, pose = rigid_inverse(at_times(time, path, wanted)), rigid_inverse(path)
    expected = Slerp(time, Rotation.from_matrix(pose[:, :3, :3]))(wanted).as_matrix()
    assert np.allclose(found[:, :3, :3], expected, atol=1e-12)
    for axis in range(3):
        assert np.allclose(found[:, axis, 3], np.interp(wanted, time, pose[:, axis, 3]), atol=1e-12)
