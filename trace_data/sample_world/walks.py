"""Scripted motion of people in videos: they walk, stop, turn and walk on, their arms hanging or swinging."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.geometry import axis_angle_from_matrix
from trace_data.sample_world.gestures import Controls, draw_controls
from trace_data.sample_world.motion import Motion, Skeleton, arms_collide, body_rotations, walk_on_ground

Array = npt.NDArray[np.float64]

RAMP = 0.6
"""Seconds from standing to walking at full stride, and back."""
CADENCE = 0.85
"""Of a stroll, relative to the walking of the datasets' people."""
HANGING = np.array([0.0, 0.0, 0.22, -0.3, 0.3])
"""Angles of an arm that hangs down (see `Controls.arms`)."""

SWINGING = 0.4
"""Arms that are raised further than this, radians, do something else than swing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Where somebody is, and when they walk; otherwise they stand."""

    heading: float
    """Radians at the beginning; 0 is +z."""
    at: tuple[float, tuple[float, float]]
    """A time (s), and the place (x, z) in metres at that time."""
    walking: tuple[tuple[float, float], ...]
    """First and last second of each walk, in order."""
    turns: tuple[tuple[float, float], ...] = ()
    """Times (s) at which the person turns to the left, and by how much, radians."""


def draw_walk(rng: np.random.Generator, times: Array, walk: Walk, skeleton: Skeleton) -> Motion:
    """The motion of a script at `times` (T) seconds, evenly spaced."""
    pace = _pace(times, walk)
    strides = CADENCE * np.cumsum(pace) * (times[1] - times[0])  # a clock that stands still while the person does
    walking = draw_controls(rng, strides, "walk")
    standing = draw_controls(rng, times, "stand")
    heading = walk.heading + sum(
        (angle * _ease((times - middle) / (2 * RAMP) + 0.5) for middle, angle in walk.turns), np.zeros(len(times))
    )
    standing.arms = np.tile(HANGING, (len(times), 2, 1))
    for attempt in range(30):
        if walking.arms[..., 2].max() > SWINGING or attempt >= 25:
            walking.arms = standing.arms
        rotations = body_rotations(_mixed(walking, standing, pace), heading)
        if not arms_collide(skeleton, rotations):
            break
        walking = draw_controls(rng, strides, "walk")
    # people drift to the side of their stronger steps: turned so that the first walk leads where it should
    drift = _drift(walk_on_ground(skeleton, rotations), times, walk)
    rotations = body_rotations(_mixed(walking, standing, pace), heading - drift)
    path = walk_on_ground(skeleton, rotations)
    when, (x, z) = walk.at
    there = path[int(np.abs(times - when).argmin())]
    shift = np.array([x - there[0], 0.0, z - there[2]])
    return Motion(axis_angle_from_matrix(rotations), path + shift, "walk")


def _drift(path: Array, times: Array, walk: Walk) -> float:
    """Angle from the heading to where the first walk went, radians; 0 if the person turns before it ends."""
    begin, end = np.clip(np.searchsorted(times, walk.walking[0]), 0, len(times) - 1) if walk.walking else (0, 0)
    way = path[end] - path[begin]
    if np.hypot(way[0], way[2]) < 0.5 or any(middle - 2 * RAMP < times[end] for middle, _ in walk.turns):
        return 0.0
    return float(np.angle(np.exp(1j * (np.arctan2(way[0], way[2]) - walk.heading))))


def _pace(times: Array, walk: Walk) -> Array:
    """(T,) from 0, standing, to 1, walking."""
    pace = np.zeros(len(times))
    for begin, end in walk.walking:
        pace = np.maximum(pace, np.minimum(_ease((times - begin) / RAMP + 0.5), _ease((end - times) / RAMP + 0.5)))
    return pace


def _ease(share: Array) -> Array:
    """Smoothly from 0 to 1 while `share` goes from 0 to 1."""
    s = np.clip(share, 0, 1)
    eased: Array = s * s * (3 - 2 * s)
    return eased


def _mixed(walking: Controls, standing: Controls, pace: Array) -> Controls:
    def mix(a: Array, b: Array) -> Array:
        share = pace.reshape(-1, *[1] * (a.ndim - 1))
        mixed: Array = share * a + (1 - share) * b
        return mixed

    return Controls(
        legs=mix(walking.legs, standing.legs),
        arms=mix(walking.arms, standing.arms),
        trunk=mix(walking.trunk, standing.trunk),
        head=mix(walking.head, standing.head),
        pelvis=mix(walking.pelvis, standing.pelvis),
        kind="walk",
    )
