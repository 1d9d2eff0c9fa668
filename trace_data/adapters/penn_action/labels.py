"""Labels of a sequence, common to both layouts of Penn Action."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile
from trace_data.schema.record import Split

PAGE = "https://dreamdragon.github.io/PennAction/"
JOINTS = 13
LARGEST_SCALE = 5.0
"""No picture was enlarged so much: frames have 640 px at most."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Labels:
    """The labels of T frames."""

    file: Path
    numbers: npt.NDArray[np.int64]
    """(T,) frame numbers of the files, increasing."""
    points: npt.NDArray[np.float64]
    """(T, 13, 3) x and y as counted in the files (`first_pixel`), and visibility, 0 or 1."""
    size: tuple[int, int] | None
    """Width and height of the frames in the labels; None if not given."""
    synthetic: bool
    view: str = ""
    """Side from which the person is seen (`front`, `back`, `left`, `right`); empty if not given."""


def split_of(source: AnnotationFile, key: str, value: object) -> Split:
    """The split for a train flag (1 or -1). Raises AnnotationError."""
    flag = source.array(key, value, None)
    if flag.size != 1 or flag.item() not in (1.0, -1.0):
        raise source.wrong(key, f"is {flag.ravel()[:4].tolist()}", "1 (train) or -1 (test)")
    return "train" if flag.item() == 1 else "test"


def first_pixel(points: npt.NDArray[np.float64]) -> float:
    """Where the top-left pixel stands on both axes, from points (T, 13, 3).

    Coordinates were counted from 1 and then scaled with the picture, by s. A point that nobody labelled stands at
    (s, s); one that is hidden may stand anywhere. 1 where no point tells it, which is at most 0.4 px off
    (docs/reference/datasets.md#penn-action-coordinates).
    """
    x, y, visible = points.reshape(-1, 3).T
    unlabelled = x[(visible == 0) & (x == y) & (x > 0) & (x < LARGEST_SCALE)]
    values, counts = np.unique(unlabelled, return_counts=True)
    return float(values[counts.argmax()]) if len(values) else 1.0


def checked_points(source: AnnotationFile, key: str, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The points, after checking that their last column has only 0 and 1. Raises AnnotationError."""
    flags = points[..., 2]
    if bad := flags[(flags != 0) & (flags != 1)].tolist():
        raise source.wrong(key, f"is {bad[0]:g} at {len(bad)} joints", "0 or 1")
    return points
