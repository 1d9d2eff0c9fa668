"""The default tracker: people confirmed over time, predicted while they are hidden, recognised when they return.

Source: docs/reference/inference.md#tracker-of-this-project; described in docs/tracking.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.results.result import SEEN
from trace_train.config.tracker import TrackerConfig
from trace_train.inference.frame_detections import Assignment, FrameDetections
from trace_train.inference.tracking.costs import appearance_cost, pairs
from trace_train.inference.tracking.hungarian import assign
from trace_train.inference.tracking.observation import Observation, network_motion, observe, unit
from trace_train.inference.tracking.tracks import Rows, TrackTable, noise

Mask = npt.NDArray[np.bool_]
EPSILON = 1e-6
"""Rounding of times, s."""


class PeopleTracker:
    """Tracker of one video (`Tracker`). Only frames in which somebody was detected are reported, as SEEN."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self._tracks = TrackTable.empty()
        self._waiting: dict[int, list[tuple[int, int]]] = {}
        """Frame and detection of people who are not confirmed, by their negative identity."""
        self._reported: Counter[int] = Counter()
        """People reported of each frame that somebody who waits was seen in."""
        self._identities = 0
        self._candidates = 0
        self._frame = 0
        self._shot = 0
        """First frame of the shot."""
        self._time = -np.inf

    def step(self, time: float, people: FrameDetections, *, cut: bool = False) -> Sequence[Assignment]:
        """The assignments that are certain after the frame at `time` (s). `cut`: a new shot begins with this frame.

        Raises ValueError if `time` is not later than the frame before.
        """
        if time <= self._time:
            raise ValueError(f"frame {self._frame} is at {time:g} s, expected later than {self._time:g} s")
        done = self._end_shot() if cut else []
        seconds = time - self._time if self._frame > self._shot else 0.0
        frame, self._time = self._frame, time
        self._forget()
        self._tracks.predict(seconds, time, self.config)
        chosen = np.flatnonzero(people.score >= self.config.keep_score)
        seen, high = observe(people).at(chosen), people.score[chosen] >= self.config.score
        motion = network_motion(people) if self.config.motion == "network" else None
        motion = motion[chosen] if motion is not None else None

        rows, found, missed = self._match(seen, high, motion, seconds)
        share = 1 - np.exp(-seconds / self.config.appearance_seconds)
        self._tracks.correct(rows, seen.at(found), missed, frame, time, share, self.config)
        for identity, detection in zip(self._tracks.identity[rows].tolist(), chosen[found].tolist()):
            if identity > 0:
                done.append(Assignment(frame=frame, detection=detection, identity=identity, state=SEEN))
                self._reported[frame] += 1
            else:
                self._waiting[identity].append((frame, detection))
        if self._waiting:
            self._drop_unlikely()
        high[found] = False
        new = np.flatnonzero(high)
        self._start(seen.at(new), chosen[new].tolist())
        if self._waiting:
            done += self._confirm(self._ready())
        self._forget_counts()
        self._frame += 1
        return done

    @property
    def settled(self) -> int:
        """Frames before this number receive no further assignments."""
        return min((hits[0][0] for hits in self._waiting.values() if hits), default=self._frame)

    def finish(self) -> Sequence[Assignment]:
        """The people of shots that were too short to confirm anybody."""
        return self._end_shot()

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {
            "tracks": self._tracks.state_dict(),
            "waiting": {key: [list(hit) for hit in hits] for key, hits in self._waiting.items()},
            "reported": dict(self._reported),
            "identities": self._identities,
            "candidates": self._candidates,
            "frame": self._frame,
            "shot": self._shot,
            "time": self._time,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._tracks = TrackTable.from_state(state["tracks"])
        self._waiting = {key: [(frame, at) for frame, at in hits] for key, hits in state["waiting"].items()}
        self._reported = Counter(state["reported"])
        self._identities, self._candidates = state["identities"], state["candidates"]
        self._frame, self._shot, self._time = state["frame"], state["shot"], state["time"]

    @property
    def _limit(self) -> float:
        """Most people in a frame."""
        people = self.config.people
        return 1 if people == "largest" else np.inf if people == "all" else people

    def _match(
        self, seen: Observation, high: Mask, motion: npt.NDArray[np.float64] | None, seconds: float
    ) -> tuple[Rows, Rows, npt.NDArray[np.float64]]:
        """Tracks (M,), their detections (M,) and what the expected positions missed (M, 3), m."""
        tracks = self._tracks
        near = pairs(tracks, seen, self._time, self.config, motion=motion, seconds=seconds)
        cost = np.full((len(tracks), len(high)), np.inf)
        cost[near.track, near.detection] = near.cost
        matched = np.full(len(tracks), -1)
        confirmed = tracks.identity > 0
        just_seen = tracks.last_frame == self._frame - 1
        for who, which in ((confirmed, high), (confirmed & just_seen, ~high), (~confirmed, high)):
            free = which.copy()
            free[matched[matched >= 0]] = False
            rows, columns = np.flatnonzero(who & (matched < 0)), np.flatnonzero(free)
            if len(rows) and len(columns):
                picked, of = assign(cost[np.ix_(rows, columns)], self.config.match_cost)
                matched[rows[picked]] = columns[of]
        rows = np.flatnonzero(matched >= 0)
        found = matched[rows]
        if motion is None:
            return rows, found, seen.position[found] - tracks.position[rows]
        before = tracks.position[rows] - tracks.velocity[rows] * seconds
        return rows, found, seen.position[found] - motion[found] - before

    def _start(self, people: Observation, detections: list[int]) -> None:
        """Begin to watch `people`, who may turn out to be new."""
        keys = [-self._candidates - number for number in range(1, len(detections) + 1)]
        self._candidates += len(keys)
        self._waiting |= {key: [(self._frame, detection)] for key, detection in zip(keys, detections)}
        new = TrackTable.start(np.array(keys, int), people, self._frame, self._time, self.config)
        self._tracks = self._tracks.joined(new)

    def _forget(self) -> None:
        """Forget who was lost too long ago."""
        limit = np.where(self._tracks.placed, self.config.remember, self.config.remember_cut)
        late = (self._tracks.identity > 0) & (self._time - self._tracks.last_time > limit + EPSILON)
        # somebody seen in the frame before is not lost, however slow the video
        self._remove(late & (self._tracks.last_frame < self._frame - 1))

    def _drop_unlikely(self) -> None:
        """Stop watching people who were missed too often."""
        tracks, config = self._tracks, self.config
        misses = self._frame - tracks.first_frame + 1 - tracks.hits
        allowed = np.maximum(tracks.hits, config.birth_hits) * (1 / config.birth_share - 1)
        self._remove((tracks.identity < 0) & (misses > allowed + EPSILON))

    def _remove(self, rows: Mask) -> None:
        if rows.any():
            for identity in self._tracks.identity[rows].tolist():
                self._waiting.pop(identity, None)
            self._tracks = self._tracks.keep(~rows)

    def _ready(self) -> Rows:
        """People seen in this frame who can be confirmed, in the order in which they are numbered."""
        tracks, config = self._tracks, self.config
        share = tracks.hits / (self._frame - tracks.first_frame + 1)
        ready = (tracks.identity < 0) & (tracks.hits >= config.birth_hits) & (share >= config.birth_share - EPSILON)
        ready &= (tracks.last_frame == self._frame) & (self._time - tracks.first_time >= config.birth_seconds - EPSILON)
        return self._ordered(np.flatnonzero(ready))

    def _ordered(self, rows: Rows) -> Rows:
        """People in the order of their claim: the largest, the nearest, or the first, from left to right."""
        tracks = self._tracks.keep(rows)
        if self.config.people == "largest":
            return rows[np.argsort(-tracks.size, kind="stable")]
        if self.config.people != "all":
            return rows[np.argsort(tracks.position[:, 2], kind="stable")]
        left_to_right = tracks.position[:, 0] / np.maximum(tracks.position[:, 2], EPSILON)
        return rows[np.lexsort((left_to_right, tracks.first_frame))]

    def _confirm(self, rows: Rows) -> list[Assignment]:
        """Give the people `rows` an identity, that of somebody lost or a new one, as far as the limit allows."""
        done: list[Assignment] = []
        returned = self._returned(rows)
        replaced = np.zeros(len(self._tracks), bool)
        limit = self._limit
        places = limit - np.count_nonzero((self._tracks.identity > 0) & self._tracks.placed)
        for row in sorted(rows.tolist(), key=lambda row: row not in returned):  # those who return come first
            tracks, former = self._tracks, returned.get(row)
            key = int(tracks.identity[row])
            needs_place = former is None or not tracks.placed[former]
            if needs_place and places < 1:
                self._waiting[key] = []  # when a place is free, it is not free in the past
                continue
            places -= needs_place
            if former is None:
                self._identities += 1
                tracks.identity[row] = self._identities
            else:
                replaced[former] = True
                tracks.identity[row] = tracks.identity[former]
                tracks.hits[row] += tracks.hits[former]
                tracks.feature[row] = unit(tracks.feature[row] + tracks.feature[former])
                tracks.betas[row] = (tracks.betas[row] + tracks.betas[former]) / 2
            for frame, detection in self._waiting.pop(key):
                if self._reported[frame] < limit:
                    self._reported[frame] += 1
                    identity = int(tracks.identity[row])
                    done.append(Assignment(frame=frame, detection=detection, identity=identity, state=SEEN))
        self._remove(replaced)
        return done

    def _returned(self, rows: Rows) -> dict[int, int]:
        """Which of the new people `rows` are lost ones, as rows: those who look alike, and like nobody else."""
        tracks, config = self._tracks, self.config
        lost = np.flatnonzero((tracks.identity > 0) & (tracks.last_frame < self._frame))
        if not (len(rows) and len(lost) and config.return_cost):
            return {}
        new, old = tracks.keep(rows), tracks.keep(lost)
        cost = appearance_cost(new, old, config)
        step = np.linalg.norm(new.position[:, None] - old.position[None], axis=-1)
        reach = config.return_speed * (self._time - old.last_time)
        reach = reach + config.gate_deviations * np.sqrt(noise(old.position, config).max(1))
        possible = (new.first_frame[:, None] > old.last_frame) & ((step <= reach) | ~old.placed)
        cost = np.where(possible, cost, np.inf)
        at, of = assign(cost, config.return_cost)
        best = cost[at, of]
        others = cost.copy()
        others[at, of] = np.inf
        clear = np.minimum(others[at].min(1, initial=np.inf), others[:, of].min(0, initial=np.inf))
        sure = clear >= best + config.return_margin
        return dict(zip(rows[at[sure]].tolist(), lost[of[sure]].tolist()))

    def _end_shot(self) -> list[Assignment]:
        """Confirm the people of a shot too short to confirm anybody, and lose everybody."""
        tracks = self._tracks
        whole = (tracks.identity < 0) & (tracks.first_frame == self._shot)
        whole &= tracks.hits >= self.config.birth_share * (self._frame - self._shot)
        done = self._confirm(self._ordered(np.flatnonzero(whole)))
        self._remove(self._tracks.identity < 0)
        self._tracks.placed[:] = False
        self._shot = self._frame
        return done

    def _forget_counts(self) -> None:
        """Forget how many people were reported of frames before the first hit of everybody who waits."""
        for frame in [frame for frame in self._reported if frame < self.settled]:
            del self._reported[frame]
