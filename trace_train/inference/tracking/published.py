"""The tracker of the published system: its order of operations, its constants and its faults, for comparison.

Sources: docs/reference/inference.md#detection-filters to docs/reference/inference.md#memory-unit. Not reproduced: the
invented person; rows of people of whom nothing is remembered, which are left out; and the first row of somebody found
again, which is the detection matched, where the published system decodes the cell of before the loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from trace_data.results.result import INHERITED, SEEN
from trace_train.config.tracker import PublishedTrackerConfig
from trace_train.geometry.camera import translation_from_triple
from trace_train.inference.frame_detections import Assignment, FrameDetections
from trace_train.inference.tracking.hungarian import assign
from trace_train.inference.tracking.observation import Floats
from trace_train.inference.tracking.tracks import Rows


@dataclass(slots=True, kw_only=True)
class _Track:
    identity: int
    place: list[float]
    """X, Y and 1 / (1 + Z), metres of the 50-degree camera; one frame old, except at birth."""
    score: float
    matched: int
    """Number of the call of the last match."""
    tracked: bool = True
    """False: Lost."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A track in a frame of the chunk."""

    frame: int
    identity: int
    score: float
    detection: int
    """-1: Lost."""


class PublishedTracker:
    """Tracker of one video (`Tracker`). Assignments come at the end of each chunk; lost people are INHERITED."""

    def __init__(self, config: PublishedTrackerConfig | None = None) -> None:
        self.config = config or PublishedTrackerConfig()
        self._tracks: list[_Track] = []
        self._rows: list[_Row] = []
        """Of the present chunk."""
        self._remembered: set[int] = set()
        """Identities of whom there is a feature in memory."""
        self._identities = 0
        self._calls = 0
        self._frame = 0

    def step(self, time: float, people: FrameDetections, *, cut: bool = False) -> Sequence[Assignment]:
        """The assignments of a chunk, at its last frame. Times and cuts play no role."""
        kept = self.filtered(people)
        if len(kept):
            self._update(people, kept)
        self._frame += 1
        return [] if self._frame % self.config.chunk else self._end_chunk()

    @property
    def settled(self) -> int:
        """Frames before this number, those of finished chunks, receive no further assignments."""
        return self._frame - self._frame % self.config.chunk

    def finish(self) -> Sequence[Assignment]:
        """The assignments of a last, shorter chunk."""
        return self._end_chunk()

    def filtered(self, people: FrameDetections) -> Rows:
        """(F,) detections that pass the filters of far people and of duplicates."""
        near = np.flatnonzero(people.triple[:, 0] > self.config.least_scale)
        apart = np.linalg.norm(people.triple[near, None] - people.triple[None, near], axis=-1)
        kept = np.ones(len(near), bool)
        for neighbours in apart < self.config.duplicate_distance:
            others = np.flatnonzero(neighbours)
            # a detection that is removed still removes others
            kept[others] &= others == others[np.argmax(people.score[near[others]])]
        return near[kept]

    def distances(self, people: FrameDetections, kept: Rows) -> Floats:
        """(N, F) weighted distance of each track to where the detections `kept` (F,) were one frame ago."""
        tracks = np.array([track.place for track in self._tracks]).reshape(-1, 3)
        step = (tracks[:, None] - self._before(people, kept)[None]) * self.config.axes
        distance: Floats = np.linalg.norm(step, axis=-1)
        return distance

    def _before(self, people: FrameDetections, kept: Rows) -> Floats:
        """(F, 3) where the detections `kept` were one frame ago: X, Y, 1 / (1 + Z)."""
        if people.triple_motion is None or self._frame % self.config.chunk == 0:
            return _place(people.triple[kept])
        motion = people.triple_motion[kept]
        large = np.linalg.norm(motion, axis=1, keepdims=True) > self.config.motion_limit
        return _place(people.triple[kept] - np.where(large, 0, motion))  # zeroed, not shortened

    def _update(self, people: FrameDetections, kept: Rows) -> None:
        """One call of the tracker with the detections `kept`, and its rows."""
        config, calls = self.config, self._calls + 1
        self._calls = calls
        kept = kept[people.score[kept] > (config.birth_score if calls == 1 else config.score)]
        before = self._before(people, kept)
        detection_of: dict[int, int] = {}
        rows, columns = assign(self.distances(people, kept), config.match_distance)
        for track, at in ((self._tracks[row], column) for row, column in zip(rows, columns)):
            track.score, track.matched = float(people.score[kept[at]]), calls
            if track.tracked:  # somebody found again stays where they were lost for one more frame
                track.place = before[at].tolist()
            track.tracked = True
            detection_of[track.identity] = int(kept[at])
        for row in np.setdiff1d(np.arange(len(self._tracks)), rows):
            self._tracks[row].tracked = False
        for detection in self._newcomers(people, np.delete(kept, columns)):
            self._identities += 1
            place, score = _place(people.triple[[detection]])[0], float(people.score[detection])
            born = _Track(identity=self._identities, place=place.tolist(), score=score, matched=calls)
            self._tracks.append(born)
            detection_of[born.identity] = int(detection)
        self._tracks = [track for track in self._tracks if track.tracked or calls - track.matched <= config.forget]
        self._rows += [
            _Row(self._frame, track.identity, track.score, detection_of.get(track.identity, -1))
            for track in self._tracks
        ]

    def _newcomers(self, people: FrameDetections, free: Rows) -> Rows:
        """Detections that start a track, of those without one, in the order of their identities."""
        config, score = self.config, people.score[free]
        if config.accept_new:
            return free[(score > config.new_score) | ((score > config.birth_score) & (not self._tracks))]
        if len(self._tracks) >= config.people:
            return free[:0]
        free = free[score > config.birth_score]
        nearest = np.argsort(_place(people.triple[free])[:, 2])[::-1]
        return free[nearest[: config.people]]  # so many in addition to those that exist

    def _end_chunk(self) -> list[Assignment]:
        """The rows of the chunk, of the tracks that have enough of them: track by track."""
        count = Counter(row.identity for row in self._rows)
        least = min(len({row.frame for row in self._rows}), self.config.chunk_rows)
        done = []
        for row in sorted(self._rows, key=lambda row: (row.identity, row.frame)):
            if count[row.identity] < least:
                continue
            good = row.detection >= 0 and row.score > self.config.feature_score
            if good:
                self._remembered.add(row.identity)
            elif row.detection < 0 and row.identity not in self._remembered:
                continue
            # a poor detection is replaced by what is remembered, if anything is
            at = -1 if not good and row.identity in self._remembered else row.detection
            state = SEEN if good else INHERITED
            done.append(Assignment(frame=row.frame, detection=at, identity=row.identity, state=state))
        self._rows = []
        return done

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "tracks": [asdict(track) for track in self._tracks],
            "rows": [asdict(row) for row in self._rows],
            "remembered": sorted(self._remembered),
            "identities": self._identities,
            "calls": self._calls,
            "frame": self._frame,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._tracks = [_Track(**values) for values in state["tracks"]]
        self._rows = [_Row(**values) for values in state["rows"]]
        self._remembered = set(state["remembered"])
        self._identities, self._calls, self._frame = state["identities"], state["calls"], state["frame"]


def _place(triple: Floats) -> Floats:
    """(F, 3) camera triples to X, Y and 1 / (1 + Z), metres of the 50-degree camera."""
    place: Floats = translation_from_triple(torch.from_numpy(triple), published=True).numpy()
    place[:, 2] = 1 / (1 + place[:, 2])
    return place
