"""The default tracker: who keeps an identity, who gets one, and who does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from walking_people import NOISY, PERFECT, Noise, Path, Scene, Walker, detections, identities, person, track

from trace_data.results.result import SEEN
from trace_train.config.tracker import TrackerConfig
from trace_train.inference.frame_detections import Assignment, FrameDetections
from trace_train.inference.tracking.costs import keypoint_similarity, pairs
from trace_train.inference.tracking.observation import network_motion, observe
from trace_train.inference.tracking.tracker import PeopleTracker
from trace_train.inference.tracking.tracks import TrackTable

NOBODY = detections([])
ALONE = {
    "position": {"joints_weight": 0, "feature_weight": 0, "shape_weight": 0},
    "joints": {"position_weight": 0, "feature_weight": 0, "shape_weight": 0},
    "feature": {"position_weight": 0, "joints_weight": 0, "shape_weight": 0},
    "shape": {"position_weight": 0, "joints_weight": 0, "feature_weight": 0},
}
"""Weights that leave one term of the cost."""


def tracker(**changes: Any) -> PeopleTracker:
    return PeopleTracker(TrackerConfig(**changes))


def line(x: float, z: float, across: float = 0.0, away: float = 0.0) -> Path:
    """Somebody who walks straight; m and m/s."""
    return lambda time: (x + across * time, 0.0, z + away * time)


def run(
    tracker: PeopleTracker, frames: Sequence[FrameDetections], rate: float = 30.0, cuts: Sequence[int] = ()
) -> list[Assignment]:
    found = [
        assignment
        for number, people in enumerate(frames)
        for assignment in tracker.step(number / rate, people, cut=number in cuts)
    ]
    return [*found, *tracker.finish()]


def seen(assignments: Sequence[Assignment], identity: int) -> list[int]:
    """Frames in which a person was reported."""
    return sorted(assignment.frame for assignment in assignments if assignment.identity == identity)


def cost_of(tracks: TrackTable, people: FrameDetections, *, network: bool = False, **changes: Any) -> float:
    """The cost of the first track and the first detection, a thirtieth of a second after the tracks."""
    config, step = TrackerConfig(**changes), 1 / 30
    tracks.predict(step, 1.0 + step, config)
    motion = network_motion(people) if network else None
    near = pairs(tracks, observe(people), 1.0 + step, config, motion=motion, seconds=step)
    return float(near.cost[(near.track == 0) & (near.detection == 0)][0])


def started(*people: dict[str, Any]) -> TrackTable:
    """Tracks of people first seen at 1 s."""
    return TrackTable.start(np.arange(1, len(people) + 1), observe(detections(people)), 0, 1.0, TrackerConfig())


@pytest.mark.parametrize("network", [False, True])
def test_constant_velocity_costs_nothing(network: bool) -> None:
    velocity = np.array([0.9, 0.3, 1.2])
    tracks = started(person((1, 0, 5)))
    if not network:
        tracks.velocity[:] = velocity
    people = detections([person(np.array([1, 0, 5]) + velocity / 30, motion=velocity / 30)])
    assert cost_of(tracks, people, network=network, **ALONE["position"]) == pytest.approx(0, abs=1e-9)
    assert cost_of(started(person((1, 0, 5))), people, **ALONE["position"]) > 0.005


def test_velocity_is_learnt_from_positions() -> None:
    config, step = TrackerConfig(), 1 / 30
    tracks, velocity = started(person((0, 0, 5))), np.array([1.5, 0, -0.5])
    for frame in range(1, 60):
        tracks.predict(step, 1 + frame * step, config)
        people = observe(detections([person(np.array([0, 0, 5]) + velocity * frame * step)]))
        tracks.correct(np.array([0]), people, people.position - tracks.position, frame, 1 + frame * step, 0.1, config)
    assert tracks.velocity[0] == pytest.approx(velocity, abs=0.05)


@pytest.mark.parametrize("term", ALONE)
def test_each_term_prefers_the_right_person(term: str) -> None:
    alike = detections([person((0, 0, 5), looks=1)])
    place = (0, 0, 5) if term in ("feature", "shape") else (0.3, 0, 5)
    other = detections([person(place, looks=2 if term in ("feature", "shape") else 1)])
    assert cost_of(started(person((0, 0, 5), looks=1)), alike, **ALONE[term]) == pytest.approx(0, abs=1e-9)
    assert cost_of(started(person((0, 0, 5), looks=1)), other, **ALONE[term]) > 0.2


def test_depth_counts_less_the_farther_people_are() -> None:
    near, far = (
        cost_of(started(person((0, 0, z))), detections([person((0, 0, z + 0.4))]), **ALONE["position"]) for z in (3, 12)
    )
    across = cost_of(started(person((0, 0, 12))), detections([person((0.4, 0, 12))]), **ALONE["position"])
    assert far < near
    assert far < across


def test_keypoint_similarity_is_relative_to_size() -> None:
    joints = np.random.default_rng(0).uniform(0, 100, (1, 14, 2))
    moved, size = joints + 5, np.array([100.0])
    assert keypoint_similarity(joints, joints, size)[0] == 1
    assert keypoint_similarity(joints, moved, size)[0] == pytest.approx(
        keypoint_similarity(joints * 2, moved * 2, size * 2)[0]
    )
    assert keypoint_similarity(joints, moved, size)[0] > keypoint_similarity(joints, moved, size / 2)[0]


def test_motion_of_the_network_is_metres_through_the_true_lens() -> None:
    values = person((1, 0.2, 5), motion=(0.1, 0.05, 0.3))
    stretch = np.array([[1, 0, 0.1], [0, 1, -0.05], [0, 0, 1.7]])  # principal point and focal length
    values["hips"] = stretch @ values["hips"]
    motion = network_motion(detections([values]))
    assert motion is not None
    assert motion[0] == pytest.approx(stretch @ (0.1, 0.05, 0.3), abs=1e-9)


def test_people_are_confirmed_and_their_first_frames_reported() -> None:
    frames = [NOBODY, *[detections([person((0, 0, 4))])] * 6]
    one = tracker()
    found = [one.step(number / 30, people) for number, people in enumerate(frames)]
    assert [len(assignments) for assignments in found] == [0, 0, 0, 0, 4, 1, 1]
    assert {(a.identity, a.state, a.detection) for assignments in found for a in assignments} == {(1, SEEN, 0)}


def test_numbers_go_from_left_to_right() -> None:
    people = detections([person((x, 0, 4), looks=n) for n, x in enumerate((0.5, -1, 1.5))])
    found = run(tracker(), [people] * 6)
    assert {(assignment.detection, assignment.identity) for assignment in found} == {(1, 1), (0, 2), (2, 3)}


@pytest.mark.parametrize("frame", range(1, 25, 5))
def test_one_missed_frame_keeps_the_identity(frame: int) -> None:
    frames = [detections([person((0.03 * n, 0, 4))]) for n in range(30)]
    frames[frame] = NOBODY
    found = run(tracker(), frames)
    assert seen(found, 1) == [n for n in range(30) if n != frame]
    assert {assignment.identity for assignment in found} == {1}


@pytest.mark.parametrize("rate", [30, 15, 8])
@pytest.mark.parametrize("noise", [PERFECT, NOISY], ids=["perfect", "noisy"])
@pytest.mark.parametrize("term", [{}, ALONE["position"]], ids=["all terms", "position alone"])
def test_two_people_cross(rate: int, noise: Noise, term: dict[str, Any]) -> None:
    scene = Scene(people=[Walker(path=line(-2, 5, 1.2)), Walker(path=line(2, 6.5, -1.2))], seconds=3.5)
    frames = scene.frames(rate, noise)
    received = identities(track(tracker(**term), frames), frames)
    assert (received[1], received[2]) == ([1], [2])


@pytest.mark.parametrize("rate", [30, 10])
@pytest.mark.parametrize("noise", [PERFECT, NOISY], ids=["perfect", "noisy"])
def test_an_occlusion_of_two_seconds_keeps_the_identity(rate: int, noise: Noise) -> None:
    walkers = [Walker(path=line(-2, 5, 0.6), hidden=[(1.5, 3.5)]), Walker(path=line(2.5, 6, -0.2))]
    frames = Scene(people=walkers, seconds=5).frames(rate, noise)
    received = identities(track(tracker(), frames), frames)
    assert (received[1], received[2]) == ([1], [2])


def test_who_is_hidden_longer_than_remembered_is_new() -> None:
    frames = [*[detections([person((0, 0, 4))])] * 10, *[NOBODY] * 61, *[detections([person((0, 0, 4))])] * 10]
    assert {a.identity for a in run(tracker(remember=2.1), frames)} == {1}
    assert {a.identity for a in run(tracker(remember=2.0), frames)} == {1, 2}


@pytest.mark.parametrize("slot", range(8))
def test_somebody_enters_at_any_slot_of_a_chunk(slot: int) -> None:
    other = person((-1, 0, 4))
    frames = [detections([other] if n < 8 + slot else [other, person((1, 0, 4), looks=1)]) for n in range(24)]
    assert seen(run(tracker(), frames), 2) == list(range(8 + slot, 24))


def test_empty_frames_age_tracks() -> None:
    one = tracker()
    for number in range(10):
        one.step(number / 30, detections([person((0, 0, 4))]))
    before = one.state_dict()["tracks"]["variance"].clone()
    one.step(11 / 30, NOBODY)
    assert (one.state_dict()["tracks"]["variance"][0, :, 0] > before[0, :, 0]).all()
    one.step(4.0, NOBODY)
    assert not len(one.state_dict()["tracks"]["identity"])


def test_nobody_is_invented() -> None:
    assert run(tracker(), [NOBODY] * 20) == []
    flicker = [detections([person((0, 0, 4))]) if n % 4 == 0 else NOBODY for n in range(40)]
    assert run(tracker(), flicker) == []
    assert run(tracker(), [detections([person((0, 0, 4), score=0.25)])] * 20) == []


def test_low_scores_continue_a_track_but_start_none() -> None:
    low, high = [detections([person((0, 0, 4), score=score)]) for score in (0.2, 0.9)]
    assert seen(run(tracker(), [high] * 6 + [low] * 10 + [high] * 4), 1) == list(range(20))
    found = run(tracker(), [high] * 6 + [NOBODY] * 2 + [low] * 5)
    assert seen(found, 1) == list(range(6)), "a lost person returns with a high score only"


@pytest.mark.parametrize("people", [1, 2, "largest"])
def test_the_limit_is_never_exceeded(people: int | str) -> None:
    random, limit = np.random.default_rng(0), people if isinstance(people, int) else 1
    walkers = [
        Walker(path=line(random.uniform(-3, 3), random.uniform(4, 9), random.uniform(-1, 1)),
               present=(start := random.uniform(0, 5), start + random.uniform(0.5, 5)))
        for _ in range(8)
    ]  # fmt: skip
    frames = Scene(people=walkers, seconds=8).frames(30, NOISY)
    for remember in (0.0, 0.3, 3.0):
        found = track(tracker(people=people, remember=remember), frames)
        count = np.bincount([assignment.frame for assignment in found])
        assert count.max() == limit
        assert len({(assignment.frame, assignment.identity) for assignment in found}) == len(found)


def test_a_limit_takes_the_nearest_and_largest_the_largest() -> None:
    near, far = person((1, 0, 4)), person((-1, 0, 5))
    far["joints_2d"] = far["joints_2d"] * 2
    frames = [detections([near, far])] * 8
    assert {assignment.detection for assignment in run(tracker(people=1), frames)} == {0}
    assert {assignment.detection for assignment in run(tracker(people="largest"), frames)} == {1}


def test_a_free_place_is_not_free_in_the_past() -> None:
    one, other = person((-1, 0, 4)), person((1, 0, 5), looks=1)
    frames = [detections([one, other])] * 20 + [detections([other])] * 20
    found = run(tracker(people=1, remember=0.2), frames)
    assert seen(found, 1) == list(range(20))
    assert seen(found, 2)[0] == 26


def test_after_a_cut_people_return_by_their_looks() -> None:
    first = [detections([person((-1, 0, 4), looks=1), person((1, 0, 5), looks=2)])] * 20
    second = [detections([person((-1, 0, 4), looks=2), person((0.5, 0, 6), looks=3)])] * 20
    found = run(tracker(), first + second, cuts=[20])
    assert seen(found, 1) == list(range(20)), "the place is no evidence across a cut"
    assert seen(found, 2) == list(range(40))
    assert seen(found, 3) == list(range(20, 40))
    assert {a.identity for a in run(tracker(return_cost=0), first + second, cuts=[20])} == {1, 2, 3, 4}


def test_two_who_look_the_same_are_not_confused_after_a_cut() -> None:
    first = [detections([person((-1, 0, 4), looks=1), person((1, 0, 5), looks=1)])] * 10
    found = run(tracker(), first + [detections([person((0, 0, 5), looks=1)])] * 10, cuts=[10])
    assert seen(found, 3) == list(range(10, 20))


def test_who_returns_elsewhere_is_recognised_within_reach() -> None:
    def frames(x: float) -> list[FrameDetections]:
        return [
            *[detections([person((-3, 0, 6), looks=1)])] * 10,
            *[NOBODY] * 15,
            *[detections([person((x, 0, 6), looks=1)])] * 10,
        ]

    reach = {"gate": 1.0, "return_speed": 6.0}
    assert {a.identity for a in run(tracker(**reach), frames(-0.5))} == {1}
    assert {a.identity for a in run(tracker(**reach), frames(5.0))} == {1, 2}


def test_short_videos_and_single_pictures() -> None:
    people = detections([person((0, 0, 4)), person((1.5, 0, 5), looks=1)])
    for count in (1, 2, 3):
        found = run(tracker(), [people] * count)
        assert {(a.identity, a.frame) for a in found} == {(n, t) for n in (1, 2) for t in range(count)}
    assert run(tracker(), [NOBODY, NOBODY, people]) == [], "seen at the very end only"


@pytest.mark.parametrize("motion", ["velocity", "network"])
def test_half_the_rate_gives_the_same_identities(motion: str) -> None:
    walkers = [
        Walker(path=line(-2, 5, 1.0)), Walker(path=line(2, 6.5, -1.0), present=(0.5, 9)),
        Walker(path=line(0, 8, 0, -0.5), present=(1.0, 3.0)), Walker(path=line(-1, 7, 0.2), hidden=[(2, 3.5)]),
    ]  # fmt: skip
    scene = Scene(people=walkers, seconds=5)
    common = []
    for rate in (30, 15):
        frames = scene.frames(rate, Noise(place=0.004, pixels=2, feature=0.2, betas=0.2))
        found = track(tracker(motion=motion), frames)
        common.append({
            (round(frames[a.frame][0] * 15, 6), frames[a.frame][2][a.detection], a.identity)
            for a in found if (frames[a.frame][0] * 15) % 1 < 1e-6
        })  # fmt: skip
    assert common[0] == common[1]
    assert len({identity for _, _, identity in common[0]}) == len(walkers)


def test_uneven_times_are_no_matter() -> None:
    random = np.random.default_rng(0)
    times = np.cumsum(random.uniform(0.01, 0.2, 60))
    one = tracker()
    found = [a for time in times for a in one.step(time, detections([person(line(-3, 6, 1.2)(time))]))]
    assert seen(found, 1) == list(range(60))


def test_times_must_grow() -> None:
    one = tracker()
    one.step(1.0, NOBODY)
    with pytest.raises(ValueError, match="later"):
        one.step(1.0, NOBODY)


def test_it_goes_on_from_any_moment() -> None:
    walkers = [Walker(path=line(-2, 5, 1.0), hidden=[(1, 1.5)]), Walker(path=line(2, 6.5, -1.0))]
    frames = [(time, people) for time, people, _ in Scene(people=walkers, seconds=3).frames(20, NOISY)]
    whole = [[*one.step(time, people, cut=n == 40)] for one in [tracker()] for n, (time, people) in enumerate(frames)]
    for moment in (0, 1, 3, 25, 40, 41, 59):
        first, second = tracker(), tracker()
        found = [[*first.step(time, people, cut=n == 40)] for n, (time, people) in enumerate(frames[:moment])]
        second.load_state_dict(first.state_dict())
        found += [[*second.step(time, people, cut=n == 40)] for n, (time, people) in enumerate(frames) if n >= moment]
        assert found == whole


def test_a_weightless_or_upside_down_configuration_is_refused() -> None:
    for changes in ({**ALONE["joints"], "joints_weight": 0}, {"keep_score": 0.5}, {"people": 0}):
        with pytest.raises(ValidationError):
            TrackerConfig(**changes)
