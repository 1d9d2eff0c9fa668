"""Random motions of the sample world, as anatomical joint angles.

Angles are radians; arrays are (T, 2, ...), left side first, and mirrored for the right side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator], Array]

ACTIVITIES = {
    "walk": 0.3,
    "run": 0.03,
    "turn": 0.14,
    "stand": 0.39,
    "crouch": 0.04,
    "lunge": 0.04,
    "kick": 0.03,
    "bow": 0.03,
}
"""Activities and their probabilities."""


@dataclass(slots=True)
class Controls:
    """Angles over T moments."""

    legs: Array
    """(T, 2, 5): thigh forward from the vertical, thigh outward, toes outward, knee bend, foot pitch (toes down)."""
    arms: Array
    """(T, 2, 5): swing forward, azimuth (0 sideways, pi/2 forward), elevation (0 down, pi up), twist, elbow bend."""
    trunk: Array
    """(T, 3): bend forward, turn left, lean right, distributed over the spine."""
    head: Array
    """(T, 3): nod, turn left, tilt, distributed over neck and head."""
    pelvis: Array
    """(T, 3): pitch forward, turn left (added to the heading), roll."""
    kind: str
    """One of `ACTIVITIES`."""


def draw_controls(rng: np.random.Generator, times: Array, kind: str) -> Controls:
    """Angles for one of `ACTIVITIES` at `times` (T) seconds; the arms come from `draw_arms`."""
    count = len(times)
    sway = wobble(rng, times, 0.05, 3)
    made = Controls(
        legs=np.zeros((count, 2, 5)),
        arms=draw_arms(rng, times),
        trunk=keyed(rng, times, lambda r: r.normal(0, [0.1, 0.2, 0.09])) + sway,
        head=keyed(rng, times, lambda r: r.normal([0.05, 0, 0], [0.18, 0.4, 0.1])),
        pelvis=np.zeros((count, 3)) + 0.5 * wobble(rng, times, 0.05, 3),
        kind=kind,
    )
    if kind in ("walk", "run", "turn"):
        _stride(rng, times, made)
    elif kind == "kick":
        _kick(rng, times, made)
    else:
        _plant(rng, times, made)
    return made


def keyed(rng: np.random.Generator, times: Array, draw: Draw) -> Array:
    """Smooth interpolation (T, ...) of values of shape (...) drawn every 0.6 to 1.2 s."""
    step = rng.uniform(0.6, 1.2)
    place = (times - times[0]) / step + rng.uniform()
    keys = np.stack([draw(rng) for _ in range(int(place[-1]) + 2)])
    index = place.astype(int)
    part = place - index
    ease = (part * part * (3 - 2 * part)).reshape(-1, *[1] * (keys.ndim - 1))
    curve: Array = keys[index] * (1 - ease) + keys[index + 1] * ease
    return curve


def wobble(rng: np.random.Generator, times: Array, size: float, channels: int) -> Array:
    """Slow noise (T, channels) of amplitude about `size`."""
    rate, phase = rng.uniform(1.5, 5, (2, channels)), rng.uniform(0, 2 * np.pi, (2, channels))
    unrest: Array = size / 2 * np.sin(times[:, None, None] * rate + phase).sum(1)
    return unrest


ARMS: dict[str, tuple[float, list[float], list[float]]] = {
    "hang": (0.56, [-0.3, -0.2, 0.16, -0.3, 0.1], [0.35, 0.2, 0.4, 0.3, 0.6]),
    "wave": (0.07, [0, -0.2, 1.3, -1.7, 0.7], [0, 0.5, 2.1, -1.0, 1.8]),
    "point": (0.08, [0, 0, 0.9, -0.8, 0], [0, 1.6, 1.9, 0.5, 0.35]),
    "raise": (0.04, [0, -0.2, 2.0, -0.6, 0], [0, 0.7, 2.8, 0.6, 0.6]),
    "hold": (0.12, [-0.2, -0.1, 0.2, -0.5, 1.2], [0.5, 0.6, 0.7, 0.3, 2.1]),
    "akimbo": (0.05, [-0.4, -0.4, 0.8, 0.8, 1.2], [-0.1, -0.1, 1.05, 1.1, 1.5]),
    "back": (0.03, [-1.0, -0.3, 0.2, -0.3, 0.1], [-0.4, 0.2, 0.6, 0.3, 0.9]),
    "any": (0.05, [-0.3, -0.4, 0.2, -1.2, 0], [0.4, 1.5, 2.2, 0.8, 2.0]),
}
"""Probability of each arm gesture, and the ranges of its five angles (see `Controls.arms`)."""


def draw_arms(rng: np.random.Generator, times: Array) -> Array:
    """(T, 2, 5) arm angles; both sides are equal in a third of the cases."""
    names, shares = list(ARMS), np.array([share for share, _, _ in ARMS.values()])
    picked = rng.choice(len(names), size=2, p=shares / shares.sum())
    if rng.uniform() < 0.33:
        picked[1] = picked[0]
    arms = np.zeros((len(times), 2, 5))
    for side, name in enumerate(names[i] for i in picked):
        low, high = np.array(ARMS[name][1:])
        home = rng.uniform(size=5)
        away = keyed(rng, times, lambda r: r.uniform(size=5))
        arms[:, side] = low + (0.65 * home + 0.35 * away) * (high - low)
        if name == "wave":
            beat = np.sin(2 * np.pi * rng.uniform(1.2, 2.2) * times + rng.uniform(0, 6))
            arms[:, side, 4] += rng.uniform(0.2, 0.45) * beat
    arms[..., 4] = np.clip(arms[..., 4], 0, 2.4)
    return arms


def _bump(phase: Array, centre: float, width: float) -> Array:
    """A bell curve over a cycle; `centre` and `width` in half cycles."""
    away = np.angle(np.exp(1j * (phase - centre * np.pi)))
    bell: Array = np.exp(-((away / (width * np.pi)) ** 2))
    return bell


def _stride(rng: np.random.Generator, times: Array, made: Controls) -> None:
    """Walking, running, or turning on the spot: a leg's cycle begins at heel strike, its first half is the stance."""
    run, turn = made.kind == "run", made.kind == "turn"
    reach = rng.uniform(0.15, 0.3) if turn else rng.uniform(0.5, 0.7) if run else rng.uniform(0.3, 0.48)
    rate = rng.uniform(1.2, 1.45) if run else rng.uniform(0.8, 1.05)
    lift = (1.6 if run else 1.0) * rng.uniform(0.85, 1.1)
    phase = 2 * np.pi * rate * times[:, None] + rng.uniform(0, 2 * np.pi) + np.array([0, np.pi])
    legs = made.legs
    legs[..., 0] = 0.06 + 0.1 * run + reach * np.cos(phase) + 0.25 * lift * _bump(phase, 1.6, 0.3)
    legs[..., 1] = rng.uniform(0.0, 0.06)
    legs[..., 2] = rng.uniform(-0.05, 0.2)
    legs[..., 3] = 0.08 + 0.15 * run + lift * _bump(phase, 1.4, 0.33) + 0.2 * _bump(phase, 0.3, 0.25)
    legs[..., 4] = -0.25 * _bump(phase, 0.0, 0.12) + 0.8 * _bump(phase, 1.12, 0.22)
    made.pelvis[:, 0] += 0.12 * run
    made.pelvis[:, 1] += 0.12 * np.cos(phase[:, 1])
    if turn:
        made.pelvis[:, 1] += rng.choice([-1, 1]) * rng.uniform(1.2, 3) * (times - times.mean())
    made.trunk[:, 1] += 0.2 * np.cos(phase[:, 0])
    if rng.uniform() < 0.75:
        swing = -np.cos(phase) * rng.uniform(0.25, 0.55)
        made.arms[..., 0] = swing * (1.2 if run else 1.0)
        made.arms[..., 1] = rng.uniform(-0.1, 0.2)
        made.arms[..., 2] = rng.uniform(0.16, 0.32)
        made.arms[..., 3] = 0.0
        made.arms[..., 4] = (rng.uniform(1.3, 1.7) if run else rng.uniform(0.2, 0.5)) + 0.3 * swing


def _plant(rng: np.random.Generator, times: Array, made: Controls) -> None:
    """Both feet on the ground: hip height is drawn, and determines the knees.

    With thigh and shin of length 1, hips `drop` above the ankles and the thigh at angle a, the shin leans by
    acos(drop - cos a).
    """
    low, high = {"stand": (1.93, 1.99), "crouch": (1.3, 1.75), "lunge": (1.5, 1.85), "bow": (1.85, 1.97)}[made.kind]
    front = int(rng.integers(2))

    def draw(r: np.random.Generator) -> Array:
        drop = r.uniform(low, high)
        even = np.arccos(drop / 2)
        thigh = even + r.normal(0, 0.06 if made.kind in ("stand", "bow") else 0.15, 2)
        if made.kind == "lunge":
            thigh[front] = even + r.uniform(0.2, 0.5)
            thigh[1 - front] = r.uniform(-0.55, -0.15)
        out = r.uniform(0.02, 0.16 if made.kind != "crouch" else 0.35, 2)
        return np.array([drop, *thigh, *out])

    key = _settle(rng, keyed(rng, times, draw))
    drop, thigh = key[:, :1], key[:, 1:3]
    made.legs[..., 0] = thigh
    made.legs[..., 1] = key[:, 3:5]
    made.legs[..., 2] = rng.uniform(0.0, 0.35, 2)
    made.legs[..., 3] = np.clip(thigh + np.arccos(np.clip(drop - np.cos(thigh), -1, 1)), 0, 2.5)
    if made.kind == "lunge":
        made.legs[:, 1 - front, 4] = rng.uniform(0.3, 0.7)
    if made.kind in ("crouch", "lunge"):
        made.pelvis[:, 0] += rng.uniform(0.05, 0.4)
    if made.kind == "bow":
        made.pelvis[:, 0] += rng.uniform(0.3, 0.8)
        made.trunk[:, 0] += rng.uniform(0.2, 0.5)


def _settle(rng: np.random.Generator, key: Array) -> Array:
    """Limit the change of stance per second for most people."""
    return key[:1] + rng.uniform(0.15, 1.0) * (key - key[:1])


def _kick(rng: np.random.Generator, times: Array, made: Controls) -> None:
    """Standing on one leg while the other kicks, steps up or balances."""
    free = int(rng.integers(2))
    made.legs[:, 1 - free, 0] = 0.1
    made.legs[:, 1 - free, 3] = 0.2
    made.legs[:, free] = keyed(rng, times, lambda r: r.uniform([0.1, 0.05, 0, 0.1, 0.1], [1.4, 0.4, 0.3, 1.7, 0.6]))
    made.legs[:, free, 4] += made.legs[:, free, 3] - made.legs[:, free, 0]
    made.pelvis[:, 2] += 0.08 * (1 if free else -1)
