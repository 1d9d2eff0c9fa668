"""Moving crops over clips of a static camera (docs/reference/datasets.md#dynamic-camera).

The window follows a person, or pans as somebody holding a camera would. Its size never changes within a clip, and its
place is never rounded to pixels: the published code rounds it, so its pans go in steps of a pixel.
"""

from __future__ import annotations

import numpy as np

from trace_data.schema.clip import ClipAnnotations, Window
from trace_train.streaming.person_boxes import Array, PersonBoxes, damped, held

ACROSS = {"single": 7, "return": 4, "shaking": 1, "static": 1}
"""How often, out of 13, each curve moves the window sideways."""
UPWARDS = {"static": 5, "return": 2, "single": 2, "shaking": 1}
"""How often, out of 10, each curve moves it up and down."""
TREMBLE = 0.01
"""Width of the noise on curves, in half sizes of the window."""
SMALLEST_SIDE = 8.0
"""A window is never smaller than this, px."""
ENOUGH_JOINTS = 3
"""When so many joints are seen in every frame, the window follows the box of these alone."""


def windows_along(path: Array, side: float) -> tuple[Window, ...]:
    """Windows of one size (px) with their centres along a path (T, 2)."""
    return tuple(Window(left=float(x - side / 2), top=float(y - side / 2), side=side) for x, y in path)


def tracking(
    annotations: ClipAnnotations, places: PersonBoxes, generator: np.random.Generator, scale: tuple[float, float]
) -> tuple[Window, ...] | None:
    """Windows that follow one person who has a centre in every frame; None when nobody has.

    Half the side is a factor drawn from `scale` times the largest half side of the person's boxes. The centre is that
    of the box of the joints seen throughout, so that a joint that comes and goes does not make the window jump.
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

    `extent`: half width and half height, px, in which the curves count (those of the picture, where `base` is the
    whole letter-boxed frame). `centers` (T, 2): the pan is damped until this person's stay inside. `reach`: how far
    curves go across and upwards, in `extent`.
    """
    across = pan_curve(_draw(ACROSS, generator), frames, reach[0], generator)
    upwards = pan_curve(_draw(UPWARDS, generator), frames, reach[1], generator)
    offsets = np.stack([across, upwards], axis=1) * extent
    middle = np.array([base.left, base.top]) + base.side / 2
    return windows_along(middle + damped(offsets, middle, centers, base.side / 2), base.side)


def pan_curve(mode: str, frames: int, reach: float, generator: np.random.Generator) -> Array:
    """(T,) place of the camera over time, in half sizes of its window."""
    time = np.arange(frames) / max(1, frames - 1)
    noise = (generator.random(frames) - 0.5) * TREMBLE
    sign = generator.choice((-1.0, 1.0))
    if mode == "single":  # from a stand to somewhere
        shape = np.sin(np.pi / 2 * time) if generator.random() < 0.5 else time
        return np.asarray(sign * shape * reach * generator.uniform(0.4, 1.0) + noise)
    if mode == "return":  # towards a turning point and back
        turn = time[generator.integers(frames)]
        shape = np.sin(np.pi / 2 * (1 + time - turn)) - generator.uniform(0.5, 1.5)
        return np.asarray(sign * shape * reach * generator.random() + noise)
    if mode == "shaking":
        return np.asarray(noise / TREMBLE / generator.integers(10, 20))
    return np.zeros(frames)


def _draw(modes: dict[str, int], generator: np.random.Generator) -> str:
    odds = np.array(list(modes.values()), np.float64)
    return str(generator.choice(list(modes), p=odds / odds.sum()))
