"""Synthetic camera motion: moving crops of static-camera clips (docs/reference/datasets.md#dynamic-camera).

The window follows a person or pans like a hand-held camera. Its size is constant within a clip. Its position is not
rounded to pixels; the published code rounds it, so its pans move in whole pixels.
"""

from __future__ import annotations

import numpy as np

from trace_data.schema.clip import ClipAnnotations, Window
from trace_train.streaming.person_boxes import Array, PersonBoxes, damped, held

ACROSS = {"single": 7, "return": 4, "shaking": 1, "static": 1}
"""Relative frequency of each curve for horizontal motion, out of 13."""
UPWARDS = {"static": 5, "return": 2, "single": 2, "shaking": 1}
"""Relative frequency of each curve for vertical motion, out of 10."""
TREMBLE = 0.01
"""Amplitude of the noise on curves, in half sizes of the window."""
SMALLEST_SIDE = 8.0
"""Minimum side of a window, px."""
ENOUGH_JOINTS = 3
"""If at least this many joints are visible in every frame, the window follows their box only."""


def windows_along(path: Array, side: float) -> tuple[Window, ...]:
    """Windows of side `side` (px) centred on a path (T, 2)."""
    return tuple(Window(left=float(x - side / 2), top=float(y - side / 2), side=side) for x, y in path)


def tracking(
    annotations: ClipAnnotations, places: PersonBoxes, generator: np.random.Generator, scale: tuple[float, float]
) -> tuple[Window, ...] | None:
    """Windows that follow a person with a centre in every frame; None if there is no such person.

    Half the side is the largest half side of the person's boxes, times a random factor from `scale`. The window is
    centred on the joints visible in all frames, so that joints that come and go do not make it jump.
    """
    throughout = np.flatnonzero(np.isfinite(places.centers[..., 0]).all(axis=1))
    if not len(throughout):
        return None
    person = int(generator.choice(throughout))
    low, high = places.low[person], places.high[person]
    side = max(generator.uniform(*scale) * float((high - low).max()), SMALLEST_SIDE)
    points = annotations.kp2d[person, ..., :2].astype(np.float64) + 0.5
    inside = ((points >= 0) & (points <= (annotations.width, annotations.height))).all(axis=2)
    always = (inside & (annotations.kp2d[person, ..., 2] > 0)).all(axis=0)
    if always.sum() >= ENOUGH_JOINTS:
        low, high = points[:, always].min(axis=1), points[:, always].max(axis=1)
    return windows_along(held((low + high) / 2, places.centers[person], side / 2), side)


def panning(
    base: Window,
    extent: tuple[float, float],
    centers: Array,
    frames: int,
    generator: np.random.Generator,
    reach: tuple[float, float],
) -> tuple[Window, ...]:
    """Windows that pan around `base`.

    `extent`: half width and half height, px, the unit of the curves (those of the picture if `base` is the whole
    letter-boxed frame). `centers` (T, 2): the pan is damped until these stay inside. `reach`: horizontal and vertical
    amplitude of the curves, in `extent`.
    """
    across = pan_curve(_draw(ACROSS, generator), frames, reach[0], generator)
    upwards = pan_curve(_draw(UPWARDS, generator), frames, reach[1], generator)
    offsets = np.stack([across, upwards], axis=1) * extent
    middle = np.array([base.left, base.top]) + base.side / 2
    return windows_along(middle + damped(offsets, middle, centers, base.side / 2), base.side)


def pan_curve(mode: str, frames: int, reach: float, generator: np.random.Generator) -> Array:
    """(T,) position of the camera over time, in half sizes of its window."""
    time = np.arange(frames) / max(1, frames - 1)
    noise = (generator.random(frames) - 0.5) * TREMBLE
    sign = generator.choice((-1.0, 1.0))
    if mode == "single":  # from rest to a target
        shape = np.sin(np.pi / 2 * time) if generator.random() < 0.5 else time
        return np.asarray(sign * shape * reach * generator.uniform(0.4, 1.0) + noise)
    if mode == "return":  # to a turning point and back
        turn = time[generator.integers(frames)]
        shape = np.sin(np.pi / 2 * (1 + time - turn)) - generator.uniform(0.5, 1.5)
        return np.asarray(sign * shape * reach * generator.random() + noise)
    if mode == "shaking":
        return np.asarray(noise / TREMBLE / generator.integers(10, 20))
    return np.zeros(frames)


def _draw(modes: dict[str, int], generator: np.random.Generator) -> str:
    odds = np.array(list(modes.values()), np.float64)
    return str(generator.choice(list(modes), p=odds / odds.sum()))
