"""Identities over a video, scored on boxes: MOTA, IDF1, HOTA and id switches, as counts that add up over videos.

Formulas: docs/reference/inference.md#tracking-metric-formulas. MOTA and IDF1 pair boxes as motmetrics does, with an IoU
of at least 0.01; HOTA is TrackEval's. All in NumPy and float64.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_IOU = 0.01
"""Of a pair in MOTA and IDF1: the published evaluation is almost ungated."""
ALPHAS = np.arange(0.05, 0.99, 0.05)
"""The 19 IoU thresholds of HOTA."""
_EPS = float(np.finfo(np.float64).eps)
_NEVER = 1e6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedBoxes:
    """N boxes, ordered by frame; an identity has at most one in a frame."""

    frame: Ints
    """(N,) frame numbers, ascending."""
    identity: Ints
    """(N,) identities, any whole numbers."""
    box: Floats
    """(N, 4) left, top, width, height."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackingCounts:
    """What the scores are computed from; counts of several videos are added for the scores of all of them."""

    people: float = 0.0
    """Annotated person-frames."""
    misses: float = 0.0
    false_alarms: float = 0.0
    switches: float = 0.0
    """Annotated people who are found under another identity than when they were last found."""
    idtp: float = 0.0
    """Person-frames found under the one identity that stands for the person in the whole video."""
    idfn: float = 0.0
    idfp: float = 0.0
    hota_tp: Floats
    """(19,) pairs at each of `ALPHAS`, as are the next three."""
    hota_fn: Floats
    hota_fp: Floats
    hota_association: Floats
    """(19,) sum over pairs of the association accuracy of their identities."""

    def __add__(self, other: TrackingCounts) -> TrackingCounts:
        return TrackingCounts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def mota(self) -> float:
        """1 − (misses + false alarms + switches) / people; NaN without people."""
        return 1 - _ratio(self.misses + self.false_alarms + self.switches, self.people)

    @property
    def idf1(self) -> float:
        """NaN without people and boxes."""
        return _ratio(2 * self.idtp, 2 * self.idtp + self.idfp + self.idfn)

    @property
    def detection_accuracy(self) -> float:
        """Mean DetA over the thresholds."""
        return float(self._detection().mean())

    @property
    def association_accuracy(self) -> float:
        """Mean AssA over the thresholds."""
        return float(self._association().mean())

    @property
    def hota(self) -> float:
        """Mean over the thresholds of sqrt(DetA · AssA)."""
        return float(np.sqrt(self._detection() * self._association()).mean())

    def _detection(self) -> Floats:
        accuracy: Floats = self.hota_tp / np.maximum(1, self.hota_tp + self.hota_fn + self.hota_fp)
        return accuracy

    def _association(self) -> Floats:
        accuracy: Floats = self.hota_association / np.maximum(1, self.hota_tp)
        return accuracy


def no_counts() -> TrackingCounts:
    """The counts of nothing, to begin a sum with."""
    zero = np.zeros(len(ALPHAS))
    return TrackingCounts(hota_tp=zero, hota_fn=zero, hota_fp=zero, hota_association=zero)


def count_tracking(truth: TrackedBoxes, found: TrackedBoxes, frames: Ints) -> TrackingCounts:
    """Compare the tracks of one video in the given annotated frames; boxes of other frames are left out."""
    ours = [_in_frames(boxes, frames) for boxes in (truth, found)]
    truth_id, found_id = (np.unique(boxes.identity, return_inverse=True)[1] for boxes in ours)
    pairs = []
    for rows, columns in zip(*(_rows_by_frame(boxes, frames) for boxes in ours)):
        iou = box_ious(ours[0].box[rows], ours[1].box[columns])
        pairs.append((truth_id[rows], found_id[columns], iou))
    counts: dict[str, Any] = {**_clear(pairs), **_identities(pairs, truth_id, found_id)}
    counts.update(_hota(pairs, truth_id, found_id))
    return TrackingCounts(people=float(len(truth_id)), **counts)


_Frames = list[tuple[Ints, Ints, Floats]]
"""Of each frame: identities (A,) of the truth and (B,) found, numbered from 0, and the IoU (A, B) of their boxes."""


def _clear(frames: _Frames) -> dict[str, float]:
    """Misses, false alarms and switches: the last pairs of all people are kept while they overlap at all."""
    last: dict[int, int] = {}
    misses = false_alarms = switches = 0
    for truth, found, iou in frames:
        cost = np.where(iou >= LEAST_IOU, 1 - iou, _NEVER)
        there = {int(h): column for column, h in enumerate(found)}
        free_rows, free = set(range(len(truth))), set(range(len(found)))
        for row, o in enumerate(truth.tolist()):
            column = there.get(last.get(o, -1))
            if column in free and cost[row, column] < _NEVER:
                free_rows.remove(row)
                free.remove(column)
        rows, columns = np.array(sorted(free_rows), int), np.array(sorted(free), int)
        for r, c in zip(*linear_sum_assignment(cost[np.ix_(rows, columns)])):
            row, column = int(rows[r]), int(columns[c])
            if cost[row, column] < _NEVER:
                o, h = int(truth[row]), int(found[column])
                switches += last.get(o, h) != h
                last[o] = h
                free_rows.remove(row)
                free.remove(column)
        misses += len(free_rows)
        false_alarms += len(free)
    return {"misses": float(misses), "false_alarms": float(false_alarms), "switches": float(switches)}


def _identities(frames: _Frames, truth_id: Ints, found_id: Ints) -> dict[str, float]:
    """IDTP, IDFN and IDFP of the best one-to-one assignment of whole identities."""
    together = _matrix(truth_id, found_id)
    for truth, found, iou in frames:
        together[np.ix_(truth, found)] += iou >= LEAST_IOU
    hits = float(together[linear_sum_assignment(-together)].sum())
    return {"idtp": hits, "idfn": len(truth_id) - hits, "idfp": len(found_id) - hits}


def _hota(frames: _Frames, truth_id: Ints, found_id: Ints) -> dict[str, Floats]:
    potential = _matrix(truth_id, found_id)
    for truth, found, iou in frames:
        either = iou.sum(0)[None] + iou.sum(1)[:, None] - iou
        potential[np.ix_(truth, found)] += np.divide(iou, either, out=np.zeros_like(iou), where=either > _EPS)
    lengths = _lengths(truth_id, len(potential))[:, None] + _lengths(found_id, potential.shape[1])[None]
    alignment = potential / (lengths - potential)
    count = len(ALPHAS)
    hits, misses, false_alarms = np.zeros(count), np.zeros(count), np.zeros(count)
    matched = np.zeros((count, *potential.shape))
    for truth, found, iou in frames:
        rows, columns = linear_sum_assignment(-alignment[np.ix_(truth, found)] * iou)
        paired = iou[rows, columns] >= ALPHAS[:, None] - _EPS
        hits += paired.sum(1)
        misses += len(truth) - paired.sum(1)
        false_alarms += len(found) - paired.sum(1)
        matched[:, truth[rows], found[columns]] += paired
    association = (matched * matched / np.maximum(1, lengths - matched)).sum((1, 2))
    return {"hota_tp": hits, "hota_fn": misses, "hota_fp": false_alarms, "hota_association": association}


def box_ious(a: Floats, b: Floats) -> Floats:
    """Intersection over union (A, B) of boxes (A, 4) and (B, 4): left, top, width, height."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    shared = (high - low).clip(0).prod(-1)
    either = (a[:, 2] * a[:, 3])[:, None] + (b[:, 2] * b[:, 3])[None] - shared
    ious: Floats = np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
    return ious


def _in_frames(boxes: TrackedBoxes, frames: Ints) -> TrackedBoxes:
    here = np.isin(boxes.frame, frames)
    return TrackedBoxes(frame=boxes.frame[here], identity=boxes.identity[here], box=boxes.box[here].astype(np.float64))


def _rows_by_frame(boxes: TrackedBoxes, frames: Ints) -> list[Ints]:
    rows = defaultdict(list)
    for row, frame in enumerate(boxes.frame.tolist()):
        rows[frame].append(row)
    return [np.array(rows[frame], np.int64) for frame in frames.tolist()]


def _matrix(truth_id: Ints, found_id: Ints) -> Floats:
    return np.zeros((truth_id.max(initial=-1) + 1, found_id.max(initial=-1) + 1))


def _lengths(identity: Ints, count: int) -> Floats:
    return np.bincount(identity, minlength=count).astype(np.float64)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
