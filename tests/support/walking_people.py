"""People who walk through a scene, as a detector would see them, and who they really are.

Their places are smooth functions of time, so a video and its copy at another rate show the same scene.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from standing_figure import standing

from trace_data.schema.keypoints import ALL_44, L_HIP, R_HIP
from trace_train.geometry.camera import FOCAL
from trace_train.inference.frame_detections import Assignment, FrameDetections, Tracker

FOCAL_PX = 1000.0
SIZE = np.array([1280.0, 720.0])
FEATURES = 32
STANDING = standing(ALL_44, 1)[0]
ALWAYS = (-np.inf, np.inf)
Path = Callable[[float], Sequence[float]]
"""Hip midpoint in the world at a time (s): x, y, z in metres; x right, y down, z forward."""


@dataclass(frozen=True, kw_only=True)
class Walker:
    """Somebody, numbered by their place in the scene."""

    path: Path
    present: tuple[float, float] = ALWAYS
    """Times, s, of entering and leaving."""
    hidden: Sequence[tuple[float, float]] = ()
    """Times, s, at which nobody can see them."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How a detector errs."""

    place: float = 0.0
    """Standard deviation across the line of sight, m per m of distance; five times that in depth."""
    pixels: float = 0.0
    feature: float = 0.0
    """Standard deviation of the feature, relative to its length."""
    betas: float = 0.0
    misses: float = 0.0
    """Share of people who are overlooked."""
    false_alarms: float = 0.0
    """Mean number of people in a frame who are not there."""
    low_scores: float = 0.0
    """Share of people found with a low score."""
    motion: float = 0.0
    """Standard deviation of the motion, m."""


PERFECT = Noise()
NOISY = Noise(
    place=0.006, pixels=4.0, feature=0.5, betas=0.4, misses=0.1, false_alarms=0.3, low_scores=0.1, motion=0.02
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """People and a camera that turns and moves."""

    people: Sequence[Walker]
    seconds: float
    pan: Callable[[float], float] = field(default=lambda time: 0.0)
    """Angle of the camera to the right at a time, rad."""
    dolly: Path = field(default=lambda time: (0.0, 0.0, 0.0))
    occlusion: bool = True
    """Whether people hide others behind them."""

    def frames(
        self, rate: float, noise: Noise = PERFECT, seed: int = 0
    ) -> list[tuple[float, FrameDetections, list[int]]]:
        """Time, detections and truth of each frame: the walker's number from 1 for each detection, 0 for nobody."""
        return [self._frame(time, rate, noise, seed) for time in np.arange(round(self.seconds * rate)) / rate]

    def in_camera(self, walker: Walker, time: float) -> np.ndarray:
        """(3,) m."""
        angle = self.pan(time)
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        return np.asarray(turn @ (np.asarray(walker.path(time), float) - self.dolly(time)))

    def _frame(self, time: float, rate: float, noise: Noise, seed: int) -> tuple[float, FrameDetections, list[int]]:
        random = np.random.default_rng((seed, round(time * 1e6)))
        seen = [n for n, walker in enumerate(self.people) if self._is_visible(walker, time)]
        places = {n: self.in_camera(self.people[n], time) for n in seen}
        seen = [n for n in seen if not (self.occlusion and _is_behind(places[n], [places[o] for o in seen if o != n]))]
        truth, rows = [], []
        for n in seen:
            if random.random() < noise.misses:
                continue
            before = self.in_camera(self.people[n], time - 1 / rate) if time > 0 else places[n]
            score = random.uniform(0.2, 0.29) if random.random() < noise.low_scores else random.uniform(0.6, 0.9)
            looks = looks_of(n)
            phase = 2 * np.pi * (0.9 * time + n / 3)
            rows.append(_detected(places[n], places[n] - before, score, looks, phase, noise, random))
            truth.append(n + 1)
        for _ in range(random.poisson(noise.false_alarms)):
            place = np.array([random.uniform(-0.5, 0.5), random.uniform(-0.1, 0.1), 1.0]) * random.uniform(3, 12)
            looks, score = random.normal(size=FEATURES + 10), random.uniform(0.2, 0.6)
            rows.append(_detected(place, np.zeros(3), score, looks, 0.0, noise, random))
            truth.append(0)
        order = np.argsort([-row["score"] for row in rows], kind="stable")
        return float(time), detections([rows[i] for i in order]), [truth[i] for i in order]

    def _is_visible(self, walker: Walker, time: float) -> bool:
        place = self.in_camera(walker, time)
        inside = place[2] > 0.5 and bool((np.abs(place[:2] / place[2] * FOCAL_PX) < SIZE / 2).all())
        present = walker.present[0] <= time < walker.present[1]
        return inside and present and not any(start <= time < end for start, end in walker.hidden)


def _is_behind(place: np.ndarray, others: Sequence[np.ndarray]) -> bool:
    """Whether somebody 0.3 m to either side of the line of sight stands before the place."""
    return any(other[2] < place[2] - 0.2 and abs(place[0] / place[2] * other[2] - other[0]) < 0.3 for other in others)


def _detected(
    place: np.ndarray,
    motion: np.ndarray,
    score: float,
    looks: np.ndarray,
    phase: float,
    noise: Noise,
    random: np.random.Generator,
) -> dict[str, np.ndarray]:
    away = place / np.linalg.norm(place)
    error = random.normal(size=3) * noise.place * place[2]
    found = place + error + 4 * away * (away @ error)
    before = found - motion - random.normal(size=3) * noise.motion
    body = walking(phase)
    points = body + place
    joints_2d = points[:, :2] / points[:, 2:] * FOCAL_PX + SIZE / 2
    betas = looks[FEATURES:] + random.normal(size=10) * noise.betas
    feature = looks[:FEATURES] / np.linalg.norm(looks[:FEATURES])
    return {
        "score": np.float64(score), "front_score": np.float64(score), "zyx": np.zeros(3, int),
        "triple": triple(found), "triple_motion": triple(found) - triple(before), "hips": found,
        "rotations": np.broadcast_to(np.eye(3), (24, 3, 3)), "betas": betas,
        "joints": body, "joints_2d": joints_2d + random.normal(size=(44, 2)) * noise.pixels,
        "feature": feature + random.normal(size=FEATURES) * noise.feature / np.sqrt(FEATURES),
    }  # fmt: skip


def walking(phase: float) -> np.ndarray:
    """(44, 3) m, relative to the hip midpoint: somebody whose arms and legs swing."""
    body = STANDING - (STANDING[R_HIP] + STANDING[L_HIP]) / 2
    for side, sign in (("L", 1), ("R", -1)):
        for name, reach in (("Knee", 0.2), ("Ankle", 0.35), ("Elbow", -0.1), ("Wrist", -0.25)):
            body[ALL_44.index(f"{side}_{name}"), 0] += sign * reach * np.sin(phase)
    return body


@cache
def looks_of(number: int) -> np.ndarray:
    """(42,) feature and betas of somebody."""
    return np.random.default_rng((7, number)).normal(size=FEATURES + 10)


def triple(place: np.ndarray) -> np.ndarray:
    """(..., 3) camera triple s, y, x of places (..., 3) m in the 50-degree camera."""
    return FOCAL * np.stack([np.ones_like(place[..., 2]), place[..., 1], place[..., 0]], -1) / place[..., 2:]


def detections(rows: Sequence[dict[str, np.ndarray]]) -> FrameDetections:
    """Detections from one dictionary of a person's values each."""
    shapes = {
        "score": (), "front_score": (), "zyx": (3,), "triple": (3,), "triple_motion": (3,), "hips": (3,),
        "rotations": (24, 3, 3), "betas": (10,), "joints": (44, 3), "joints_2d": (44, 2), "feature": (FEATURES,),
    }  # fmt: skip
    values = {name: np.stack([row[name] for row in rows]) if rows else np.zeros((0, *s)) for name, s in shapes.items()}
    return FrameDetections(**values, world_motion=None, world_rotation=None)


def person(place: Sequence[float], *, score: float = 0.9, looks: int = 0, motion: Sequence[float] = (0, 0, 0)) -> dict:
    """The values of somebody at `place` (m) who looks like number `looks` and moved by `motion` (m)."""
    values = looks_of(looks)
    at = np.asarray(place, float)
    return _detected(at, np.asarray(motion, float), score, values, 0.0, PERFECT, np.random.default_rng(0))


def track(tracker: Tracker, frames: Sequence[tuple[float, FrameDetections, list[int]]]) -> list[Assignment]:
    """All assignments of a tracker for the frames."""
    found = [assignment for time, people, _ in frames for assignment in tracker.step(time, people)]
    return [*found, *tracker.finish()]


def identities(
    assignments: Sequence[Assignment], frames: Sequence[tuple[float, FrameDetections, list[int]]]
) -> dict[int, list[int]]:
    """Identities that each walker (0: nobody) received, in order, each once in a row."""
    received: dict[int, list[int]] = {}
    for assignment in sorted(assignments, key=lambda assignment: assignment.frame):
        if assignment.detection >= 0:
            of = received.setdefault(frames[assignment.frame][2][assignment.detection], [])
            if not of or of[-1] != assignment.identity:
                of.append(assignment.identity)
    return received
