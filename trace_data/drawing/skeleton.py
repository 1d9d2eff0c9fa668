"""Skeletons in a picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.drawing.colours import ANNOTATED, PREDICTED, Colour, Picture
from trace_data.schema.keypoints import ALL_44, SKELETON

_SUBPIXEL = 4
"""Fractional bits of coordinates passed to OpenCV."""


def draw_skeleton(
    image: Picture,
    joints: npt.NDArray[np.floating],
    *,
    annotated: bool = False,
    colour: Colour | None = None,
    dashed: bool = False,
) -> None:
    """Draw one person into `image`.

    joints: (24 or 44, 2 or 3) px in the order of `ALL_44`; a third column is a confidence. Joints that are not
    finite or have confidence 0 are left out, with their bones. `annotated` chooses the pale colours, `colour` one
    colour for both sides.
    """
    points = np.asarray(joints, np.float64)
    confident = points[:, 2] > 0 if points.shape[-1] == 3 else np.ones(len(points), bool)
    seen = confident & np.all(np.abs(points[:, :2]) < 1e5, axis=-1)  # NaN compares as False
    sides = ANNOTATED if annotated else PREDICTED
    colours = sides if colour is None else dict.fromkeys(sides, colour)
    size = max(1, round(image.shape[0] / (260 if annotated else 160)))
    for a, b in SKELETON:
        if seen[a] and seen[b]:
            # the bone takes the side of its outer end: the clavicles start at the neck
            draw_line(image, points[a], points[b], colours[_side(b)], size, dashed=dashed)
    for i in np.flatnonzero(seen).tolist():
        radius = (size + (1 if i < 24 else 0)) << _SUBPIXEL
        cv2.circle(image, _fixed(points[i]), radius, colours[_side(i)], -1, cv2.LINE_AA, _SUBPIXEL)


def draw_line(
    image: Picture,
    start: npt.NDArray[np.float64],
    end: npt.NDArray[np.float64],
    colour: Colour,
    width: int = 1,
    *,
    dashed: bool = False,
) -> None:
    """Draw a line from `start` (2,) to `end` (2,), px; dashes are four times as long as the line is wide."""
    pieces = max(1, round(float(np.hypot(*(end - start)[:2])) / (4 * width))) if dashed else 1
    pieces = min(pieces, 1000)
    step = (end - start) / pieces
    for piece in range(0, pieces, 2):
        a, b = start + piece * step, start + (piece + 1) * step
        cv2.line(image, _fixed(a), _fixed(b), colour, width, cv2.LINE_AA, _SUBPIXEL)


def _side(joint: int) -> str:
    name = ALL_44[joint]
    return name[0] if name[:2] in ("L_", "R_") else "middle"


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.round(point[:2] * (1 << _SUBPIXEL)).astype(int)
    return int(x), int(y)
