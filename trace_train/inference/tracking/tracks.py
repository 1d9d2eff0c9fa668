"""The people that a tracker knows: arrays with a row for each, predicted and corrected together.

Position and velocity follow a Kalman filter of constant velocity. Its covariance is kept along the line of sight and
across it, because depth is the uncertain part of a position (variance grows with its square).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trace_train.config.tracker import TrackerConfig
from trace_train.inference.tracking.observation import Floats, Observation, picture_motion, unit

Rows = npt.NDArray[np.int64]


@dataclass(slots=True, kw_only=True, eq=False)
class TrackTable:
    """N people."""

    identity: Rows
    """(N,) from 1; -1, -2, ... while a new person is not confirmed."""
    hits: Rows
    """(N,) detections matched so far."""
    first_frame: Rows
    """(N,) frame of the first one."""
    first_time: Floats
    """(N,) its time, s."""
    last_frame: Rows
    """(N,) frame of the latest one."""
    last_time: Floats
    """(N,) its time, s."""
    placed: npt.NDArray[np.bool_]
    """(N,) whether position and joints mean something: not after a cut."""
    position: Floats
    """(N, 3) m, camera, at the time of the latest frame."""
    velocity: Floats
    """(N, 3) m/s."""
    variance: Floats
    """(N, 2, 3) along and across the line of sight: of position, m², its covariance with velocity, of velocity."""
    joints: Floats
    """(N, 14, 2) LSP joints, px, moved along with the position."""
    size: Floats
    """(N,) size in the picture, px."""
    px_per_m: Floats
    """(N,) px of the picture in a metre across the line of sight."""
    feature: Floats
    """(N, C) running mean, of length 1."""
    betas: Floats
    """(N, 10) running mean."""

    @classmethod
    def empty(cls) -> TrackTable:
        """No people. The number of features is taken over from the first ones."""
        return cls(
            identity=np.zeros(0, int), hits=np.zeros(0, int), first_frame=np.zeros(0, int), first_time=np.zeros(0),
            last_frame=np.zeros(0, int), last_time=np.zeros(0), placed=np.zeros(0, bool), position=np.zeros((0, 3)),
            velocity=np.zeros((0, 3)), variance=np.zeros((0, 2, 3)), joints=np.zeros((0, 14, 2)), size=np.zeros(0),
            px_per_m=np.zeros(0), feature=np.zeros((0, 0)), betas=np.zeros((0, 10)),
        )  # fmt: skip

    @classmethod
    def start(cls, identity: Rows, people: Observation, frame: int, time: float, config: TrackerConfig) -> TrackTable:
        """A track for each of the `people`, with `identity` (N,)."""
        count = len(identity)
        variance = np.zeros((count, 2, 3))
        variance[:, :, 0] = noise(people.position, config)
        variance[:, :, 2] = config.speed**2
        return cls(
            identity=identity, hits=np.ones(count, int), first_frame=np.full(count, frame),
            first_time=np.full(count, time), last_frame=np.full(count, frame), last_time=np.full(count, time),
            placed=np.ones(count, bool), position=people.position.copy(), velocity=np.zeros((count, 3)),
            variance=variance, joints=people.joints.copy(), size=people.size.copy(), px_per_m=people.px_per_m.copy(),
            feature=people.feature.copy(), betas=people.betas.copy(),
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.identity)

    def keep(self, rows: Rows | npt.NDArray[np.bool_]) -> TrackTable:
        """The people `rows`."""
        return TrackTable(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def joined(self, others: TrackTable) -> TrackTable:
        """These people, then `others`."""
        if not len(self) or not len(others):
            return others if not len(self) else self
        both = [(field.name, getattr(self, field.name), getattr(others, field.name)) for field in fields(self)]
        return TrackTable(**{name: np.concatenate([own, other]) for name, own, other in both})

    def predict(self, seconds: float, time: float, config: TrackerConfig) -> None:
        """Move everybody on to `time`, `seconds` after the latest frame. Who was not seen then slows down."""
        unseen = self.last_time < time - seconds
        self.velocity[unseen] *= np.exp(-seconds / config.slowing)
        motion = self.velocity * seconds
        self.joints += picture_motion(self.position, motion, self.px_per_m)[:, None]
        self.position = self.position + motion
        place, both, speed = np.moveaxis(self.variance, -1, 0)  # views
        drift = config.speed_drift**2 * seconds
        place += seconds * (2 * both + seconds * (speed + drift / 3))
        both += seconds * (speed + drift / 2)
        speed += drift

    def correct(
        self,
        rows: Rows,
        people: Observation,
        missed: Floats,
        frame: int,
        time: float,
        share: float,
        config: TrackerConfig,
    ) -> None:
        """Put the detections `people` (M, ...) into `rows` (M,).

        `missed` (M, 3) m: detected position minus the one that was expected, with which they were matched.
        `share`: weight of the detections in the running means, once there are many.
        """
        if not len(rows):
            return
        variance = self.variance[rows]
        gain = variance[:, :, :2] / (variance[:, :, :1] + noise(people.position, config)[:, :, None])
        sight = unit(people.position)
        surprise = people.position - self.position[rows]
        self.position[rows] = people.position - missed + _gained(gain[:, :, 0], missed, sight)
        self.velocity[rows] += _gained(gain[:, :, 1], surprise, sight)
        left = 1 - gain[:, :, 0]
        self.variance[rows, :, 2] -= gain[:, :, 1] * variance[:, :, 1]
        self.variance[rows, :, 1] *= left
        self.variance[rows, :, 0] *= left
        weight = np.maximum(share, 1 / (self.hits[rows] + 1.0))[:, None]
        self.feature[rows] = unit(self.feature[rows] + weight * (people.feature - self.feature[rows]))
        self.betas[rows] += weight * (people.betas - self.betas[rows])
        self.joints[rows], self.size[rows], self.px_per_m[rows] = people.joints, people.size, people.px_per_m
        self.hits[rows] += 1
        self.last_frame[rows], self.last_time[rows], self.placed[rows] = frame, time, True

    def state_dict(self) -> dict[str, Any]:
        """The arrays as tensors."""
        return {field.name: torch.from_numpy(getattr(self, field.name).copy()) for field in fields(self)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> TrackTable:
        """Tracks from `state_dict()`."""
        return cls(**{name: value.numpy().copy() for name, value in state.items()})


def noise(position: Floats, config: TrackerConfig) -> Floats:
    """(N, 2) m²: variance of detections at `position` (N, 3), along and across the line of sight."""
    share = np.array([config.noise_depth, config.noise_lateral])
    away: Floats = np.linalg.norm(position, axis=1)
    variance: Floats = config.noise_floor**2 + (share * away[:, None]) ** 2
    return variance


def _gained(gain: Floats, step: Floats, sight: Floats) -> Floats:
    """(M, 3) `step` (M, 3) times `gain` (M, 2), which is along and across `sight` (M, 3)."""
    along = (step * sight).sum(1, keepdims=True) * sight
    gained: Floats = gain[:, :1] * along + gain[:, 1:] * (step - along)
    return gained
