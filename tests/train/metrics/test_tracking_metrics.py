"""Tracking metrics against motmetrics and TrackEval, whose values `tools/tracking_golden.py` stored."""

from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np
import pytest
from repository import ROOT
from tracking_scene import SCENES, scene

from trace_train.metrics.tracking import TrackedBoxes, TrackingCounts, box_ious, count_tracking, no_counts

GOLDEN = np.load(ROOT / "tests" / "files" / "tracking_golden.npz")
CLEAR = {"num_objects": "people", "num_misses": "misses", "num_false_positives": "false_alarms",
         "num_switches": "switches", "idtp": "idtp", "idfn": "idfn", "idfp": "idfp", "mota": "mota",
         "idf1": "idf1"}  # fmt: skip
HOTA = {"HOTA": "hota", "DetA": "detection_accuracy", "AssA": "association_accuracy"}


def boxes(rows: np.ndarray) -> TrackedBoxes:
    return TrackedBoxes(frame=rows[:, 0].astype(int), identity=rows[:, 1].astype(int), box=rows[:, 2:])


def counted(truth: np.ndarray, found: np.ndarray) -> TrackingCounts:
    return count_tracking(boxes(truth), boxes(found), np.unique(truth[:, 0].astype(int)))


def golden(number: int) -> TrackingCounts:
    return counted(GOLDEN[f"truth_{number}"], GOLDEN[f"found_{number}"])


@pytest.mark.parametrize("number", range(SCENES))
def test_a_video_scores_as_the_reference_says(number: int) -> None:
    ours = golden(number)
    for name, own in CLEAR.items():
        assert getattr(ours, own) == pytest.approx(GOLDEN[f"clear_{name}"][number], abs=1e-9), name
    for name, own in HOTA.items():
        assert getattr(ours, own) == pytest.approx(GOLDEN[f"hota_{name}"][number].mean(), abs=1e-9), name


def test_pooled_videos_score_as_the_reference_says() -> None:
    ours = reduce(add, map(golden, range(SCENES)), no_counts())
    for name, own in CLEAR.items():
        assert getattr(ours, own) == pytest.approx(GOLDEN[f"clear_{name}"][-1], abs=1e-9), name
    for name, own in HOTA.items():
        assert getattr(ours, own) == pytest.approx(GOLDEN[f"hota_{name}"][-1].mean(), abs=1e-9), name
    plain = np.mean([golden(number).hota for number in range(SCENES)])
    assert abs(plain - ours.hota) > 0.01, "pooling and the plain mean are different things"


def test_the_scenes_are_those_of_the_script() -> None:
    for name, value in scene(4).items():
        np.testing.assert_array_equal(GOLDEN[f"{name}_4"], value)


def two_people(frames: int = 20) -> np.ndarray:
    return np.array([[t, k, 100 * k + t, 50, 40, 90] for t in range(frames) for k in (1, 2)], float)


def test_perfect_and_renamed_tracks_are_perfect() -> None:
    truth = two_people()
    found = truth * [1, 7, 1, 1, 1, 1]
    ours = counted(truth, found)
    assert (ours.mota, ours.idf1, ours.switches) == (1, 1, 0) and ours.hota == pytest.approx(1)


def test_a_swap_in_the_middle_is_two_switches_and_half_the_identities() -> None:
    truth = two_people()
    found = truth.copy()
    late = found[:, 0] >= 10
    found[late, 1] = 3 - found[late, 1]
    ours = counted(truth, found)
    assert (ours.switches, ours.idf1, ours.detection_accuracy) == (2, 0.5, 1)
    assert ours.mota == pytest.approx(1 - 2 / 40) and ours.association_accuracy == pytest.approx(1 / 3)


def test_people_who_come_back_under_a_new_identity_switch_once() -> None:
    truth = two_people()
    found = truth[(truth[:, 1] == 2) | (truth[:, 0] < 8) | (truth[:, 0] > 12)].copy()
    found[(found[:, 1] == 1) & (found[:, 0] > 12), 1] = 9
    ours = counted(truth, found)
    assert (ours.misses, ours.false_alarms, ours.switches) == (5, 0, 1)


def test_nobody_and_nothing_have_scores_too() -> None:
    truth, none = two_people(), np.zeros((0, 6))
    ours = counted(truth, none)
    assert (ours.mota, ours.idf1, ours.hota, ours.misses) == (0, 0, 0, 40)
    ours = count_tracking(boxes(none), boxes(truth), np.arange(20))
    assert (ours.false_alarms, ours.idfp, ours.hota) == (40, 40, 0) and np.isnan(ours.mota)
    ours = count_tracking(boxes(none), boxes(none), np.arange(3))
    assert np.isnan(ours.idf1) and ours.hota == 0


def test_frames_without_annotation_do_not_count() -> None:
    truth = two_people()[:20]
    ours = count_tracking(boxes(truth), boxes(two_people()), np.arange(10))
    assert ours.false_alarms == 0 and ours.mota == 1


def test_iou_of_boxes() -> None:
    a = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    b = np.array([[5, 0, 10, 10], [20, 20, 5, 5], [0, 0, 10, 10]], float)
    np.testing.assert_allclose(box_ious(a, b), [[1 / 3, 0, 1], [0, 0, 0]])
