"""The published tracker behaves as it was measured to (docs/reference/inference.md#tracker-step)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from walking_people import detections, person, triple

from trace_data.results.result import INHERITED, SEEN
from trace_train.config.tracker import PublishedTrackerConfig, TrackerConfig
from trace_train.inference.frame_detections import Assignment, FrameDetections
from trace_train.inference.tracking.build import build_tracker
from trace_train.inference.tracking.published import PublishedTracker

NOBODY = detections([])


def tracker(**changes: Any) -> PublishedTracker:
    return PublishedTracker(PublishedTrackerConfig(**changes))


def run(tracker: PublishedTracker, frames: Sequence[FrameDetections]) -> list[Assignment]:
    found = [assignment for number, people in enumerate(frames) for assignment in tracker.step(number / 30, people)]
    return [*found, *tracker.finish()]


def rows(assignments: Sequence[Assignment]) -> list[tuple[int, int]]:
    return [(assignment.identity, assignment.frame) for assignment in assignments]


def test_the_configuration_chooses_it() -> None:
    assert isinstance(build_tracker(TrackerConfig(kind="published")), PublishedTracker)


def test_motion_costs_as_if_there_were_no_offsets() -> None:
    """0 after the birth, then one frame of motion; two at the start of a chunk, then 0."""
    published, velocity = tracker(), np.array([0.02, 0.01, 0.0])
    costs = []
    for frame in range(18):
        people = detections([person(velocity * frame + (0, 0, 4), motion=velocity if frame else (0, 0, 0))])
        if frame:
            costs.append(float(published.distances(people, published.filtered(people))[0, 0]))
        published.step(frame / 30, people)
    one = float(np.linalg.norm((1.2 * 0.02, 2.5 * 0.01)))
    expected = [0, *[one] * 6, 2 * one, 0, *[one] * 6, 2 * one, 0]
    assert costs == pytest.approx(expected, abs=1e-5)


def test_one_missed_frame_ends_a_track() -> None:
    frames = [detections([person((0, 0, 4))])] * 24
    frames[11] = detections([person((0, 0, 4), score=0.1)])
    assert {identity for identity, _ in rows(run(tracker(chunk_rows=1), frames))} == {1, 2}
    assert {identity for identity, _ in rows(run(tracker(chunk_rows=1, forget=1), frames))} == {1}


def test_a_miss_in_the_middle_deletes_the_chunk() -> None:
    frames = [detections([person((0, 0, 4))])] * 24
    frames[12] = detections([person((0, 0, 4), score=0.1)])  # 4 and 3 rows
    assert {frame for _, frame in rows(run(tracker(), frames))} == {*range(8), *range(16, 24)}


def test_a_person_found_again_stays_where_they_were_lost() -> None:
    published = tracker(forget=5)
    here, there = person((0, 0, 4)), person((0.3, 0, 4))
    for number, people in enumerate([[here], [person((0, 0, 4), score=0.1)], [there]]):
        published.step(number / 30, detections(people))
    again = detections([there])
    assert published.distances(again, np.array([0]))[0, 0] == pytest.approx(1.2 * 0.3, abs=1e-4)
    published.step(0.1, again)
    assert published.distances(again, np.array([0]))[0, 0] == pytest.approx(0, abs=1e-6)


def test_the_limit_is_that_of_births_and_can_be_exceeded() -> None:
    one, four = [person((-2, 0, 6))], [person((-2 + 1.3 * n, 0, 6 - n)) for n in range(4)]
    frames = [detections(one), *[detections(four)] * 7]
    assert {identity for identity, _ in rows(run(tracker(people=2), frames))} == {1, 2, 3}
    assert {identity for identity, _ in rows(run(tracker(people=1), frames))} == {1}


def test_the_nearest_are_born_first() -> None:
    people = [person((-2 + 1.3 * n, 0, 6 - n)) for n in range(4)]
    found = run(tracker(people=2), [detections(people)] * 8)
    assert {(assignment.identity, assignment.detection) for assignment in found} == {(1, 3), (2, 2)}


@pytest.mark.parametrize(("score", "count"), [(0.79, 1), (0.81, 2)])
def test_newcomers_need_a_score_of_0_8(score: float, count: int) -> None:
    frames = [detections([person((-1, 0, 4), score=0.35)])] * 8
    frames += [detections([person((-1, 0, 4)), person((1, 0, 4), score=score)])] * 8
    assert len({identity for identity, _ in rows(run(tracker(accept_new=True), frames))}) == count


def test_somebody_who_enters_late_in_a_chunk_appears_in_the_next() -> None:
    other = [person((-1, 0, 4))]
    frames = [detections(other)] * 3 + [detections([*other, person((1, 0, 4))])] * 13
    assert min(frame for identity, frame in rows(run(tracker(people=2), frames)) if identity == 2) == 8


def test_frames_without_detections_are_no_calls() -> None:
    frames = [*[detections([person((0, 0, 4))])] * 8, *[NOBODY] * 100, *[detections([person((0, 0, 4))])] * 8]
    assert {identity for identity, _ in rows(run(tracker(), frames))} == {1}
    assert run(tracker(), [NOBODY] * 16) == []


def test_lost_people_are_reported_as_inherited() -> None:
    frames = [detections([person((0, 0, 4))])] * 8 + [detections([person((0, 0, 4), score=0.1)])] * 8
    found = run(tracker(forget=40), frames)
    assert [(a.detection, a.state) for a in found] == [(0, SEEN)] * 8 + [(-1, INHERITED)] * 8


def test_poor_detections_are_replaced_by_what_is_remembered() -> None:
    good, poor = [detections([person((0, 0, 4), score=score)]) for score in (0.9, 0.4)]
    found = run(tracker(feature_score=0.5), [poor] * 8 + [good] * 8 + [poor] * 8)
    states = [(a.detection, a.state) for a in found]
    assert states == [(0, INHERITED)] * 8 + [(0, SEEN)] * 8 + [(-1, INHERITED)] * 8


def test_filters_of_far_people_and_duplicates() -> None:
    published = tracker()
    people = [person((0, 0, 4), score=0.5), person((0.05, 0, 4), score=0.9), person((0, 0, 17))]
    assert published.filtered(detections(people)).tolist() == [1]
    assert published.filtered(detections(people[:1] + people[2:])).tolist() == [0]
    # chains: the middle one removes the last, and is removed itself
    step = np.array([0, 0.04, 0])
    chain = [person((0, 0, 4), score=score) for score in (0.9, 0.8, 0.7)]
    for number, values in enumerate(chain):
        values["triple"] = triple(np.array([0, 0, 4.0])) + number * step
    assert published.filtered(detections(chain)).tolist() == [0]


def test_a_large_motion_is_taken_for_none() -> None:
    published = tracker()
    published.step(0, detections([person((0, 0, 4))]))
    for motion, expected in ((0.1, 0.1), (0.2, 0.4)):
        people = detections([person((0.2 if motion == 0.1 else 0.4, 0, 4), motion=(motion, 0, 0))])
        cost = published.distances(people, np.array([0]))[0, 0]
        assert cost == pytest.approx(1.2 * expected, abs=1e-4)


def test_it_goes_on_from_any_moment() -> None:
    random = np.random.default_rng(0)
    frames = [
        detections([person((n, 0, 4), score=random.uniform(0.1, 0.9)) for n in range(3) if random.random() < 0.8])
        for _ in range(30)
    ]
    settings: dict[str, Any] = {"people": 3, "forget": 2, "chunk_rows": 3}
    whole = run(tracker(**settings), frames)
    for moment in (0, 5, 8, 29):
        first, second = tracker(**settings), tracker(**settings)
        found = [a for n, people in enumerate(frames[:moment]) for a in first.step(n / 30, people)]
        second.load_state_dict(first.state_dict())
        assert [*found, *run(second, frames[moment:])] == whole
