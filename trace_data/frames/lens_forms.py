"""Lenses as COLMAP and nerfstudio write them, for files about a lens and for files about a camera's path.

Matrices have the centre of the first pixel at (0, 0). COLMAP puts the corner of the first pixel there, so half a pixel
is taken off; nerfstudio counts as OpenCV does (docs/reference/export.md#pixel-centres-of-other-tools).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import TraceError

_FOCALS = {
    "SIMPLE_PINHOLE": 1, "SIMPLE_RADIAL": 1, "RADIAL": 1, "PINHOLE": 2, "OPENCV": 2, "FULL_OPENCV": 2,
}  # fmt: skip
"""COLMAP's camera models and their number of focal lengths; behind the principal point stands the distortion."""
_BENT = ("k1", "k2", "k3", "k4", "p1", "p2")
_UNDISTORT = "undistort the pictures, for example with  colmap image_undistorter"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LensForm:
    """A pinhole, as a file states it."""

    matrix: npt.NDArray[np.float64]
    """(3, 3) px."""
    size: tuple[float, float] | None
    """Width and height of the pictures that it is about, px."""
    distorted: bool
    """Whether the file also has a distortion, which is passed over."""


def pinhole(fx: float, fy: float, cx: float, cy: float) -> npt.NDArray[np.float64]:
    """The matrix (3, 3) of these numbers, px."""
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)


def colmap_lenses(text: str, file: Path, error: type[TraceError]) -> dict[str, LensForm]:
    """The cameras of a `cameras.txt` by their ids. Raises `error`, with the line."""
    lenses = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            lenses[words[0]] = _colmap_lens(words[1:], f"{file}:{number}", error)
    return lenses


def _colmap_lens(words: list[str], where: str, error: type[TraceError]) -> LensForm:
    model = words[0] if words else ""
    if model not in _FOCALS:
        known = ", ".join(_FOCALS)
        raise error(f"the camera model {model!r} is not known, expected one of {known}", where=where, hint=_UNDISTORT)
    focals = _FOCALS[model]
    try:
        values = [float(word) for word in words[1:]]
    except ValueError as wrong:
        raise error(f"the line of a camera {model} does not hold its numbers: {wrong}", where=where) from wrong
    if len(values) < 2 + focals + 2 or not all(map(math.isfinite, values)):
        raise error(f"{len(values)} numbers, too few or not finite for a camera {model}", where=where)
    width, height, *values = values
    cx, cy = values[focals : focals + 2]
    return LensForm(
        matrix=pinhole(values[0], values[focals - 1], cx - 0.5, cy - 0.5),
        size=(width, height),
        distorted=any(values[focals + 2 :]),
    )


def nerfstudio_lens(
    entry: Mapping[str, Any], where: Path | str, error: type[TraceError], size: tuple[int, int] | None = None
) -> LensForm | None:
    """The lens of a `transforms.json`, or of one of its frames with what is said of all; None where none is stated.

    `size`: width and height of the pictures, px, if the file does not say them. Raises `error` for numbers that are
    none and for fisheye lenses.
    """
    if "FISHEYE" in str(entry.get("camera_model", "")).upper() or entry.get("is_fisheye"):
        raise error("a fisheye lens is no pinhole", where=where, hint=_UNDISTORT)

    def number(key: str) -> float | None:
        value = entry.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise error(f"{key} is {value!r:.40}, expected a positive number", where=where)
        return float(value)

    width, height = number("w"), number("h")
    stated = (width, height) if width is not None and height is not None else size
    angle, fx, fy, cx, cy = (number(key) for key in ("camera_angle_x", "fl_x", "fl_y", "cx", "cy"))
    if fx is None and angle is not None and stated is not None:
        fx = stated[0] / 2 / math.tan(angle / 2)
    if stated is not None:
        cx = (stated[0] - 1) / 2 if cx is None else cx
        cy = (stated[1] - 1) / 2 if cy is None else cy
    if fx is None or cx is None or cy is None:
        return None
    bent = any(isinstance(entry.get(key), int | float) and entry[key] for key in _BENT)
    return LensForm(matrix=pinhole(fx, fx if fy is None else fy, cx, cy), size=stated, distorted=bent)
