"""Label files (`all_npz_12_smpl_training/<scene>_6fps.npz`): where they lie, which frames they are about, and their 2D
joints.

A row is about one person in one image, every fifth frame, some of the people. Beside videos only the 2D joints are
used: projections of the same bodies through the same camera, with which a reader of bodies and cameras can be compared
(docs/reference/further-datasets.md#bedlam-label-file).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.bedlam.scenes import scene_name
from trace_data.adapters.files import Stamp, stamp
from trace_data.adapters.listing import below, is_folder, listing
from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.keypoints import SMPL_24, Keypoints
from trace_data.unpickle.reader import load_npz, to_array

FOLDERS = ("all_npz_12_smpl_training", "bedlam_labels/all_npz_12_smpl_training")
AGAIN = "unpack all_npz_12_smpl_training.zip again, or move it away"
_FILE = re.compile(r"(.+?)(?:_6fps|_30fps)?\.npz", re.IGNORECASE)
_IMAGE = re.compile(r"(?:.*/)?([^/]+)_(\d{4,9})\.png", re.IGNORECASE)

Numbers = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]
Rows = Mapping[tuple[str, str], tuple[Numbers, Array]]
"""Sequence and subject to numbers of frames (n,) and points (n, 24, 2), px."""


def labels_file(folder: Path, scene: str) -> Path | None:
    """The labels of a scene below the dataset's folder; None when there are none."""
    for names in FOLDERS:
        place = below(folder, *names.split("/"))
        if place is None or not is_folder(place):
            continue
        for name in listing(place).files:
            match = _FILE.fullmatch(name)
            if match and scene_name(match[1]).lower() == scene.lower():
                return place / name
    return None


def labelled_frames(file: Path) -> Mapping[str, Numbers]:
    """Sequence to the numbers of its labelled frames, ascending. Raises AnnotationError."""
    return _labelled(file, stamp(file))


@lru_cache(maxsize=32)
def _labelled(file: Path, _: Stamp) -> Mapping[str, Numbers]:
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    for sequence, number in images_of(file, load(file, ("imgname",))):
        numbers[sequence].add(number)
    return {name: np.array(sorted(numbers[name]), np.int64) for name in sorted(numbers)}


def load(file: Path, keys: Collection[str], optional: Collection[str] = ()) -> dict[str, npt.NDArray[Any]]:
    """These arrays of a label file. Raises AnnotationError."""
    try:
        held = load_npz(file, only=(*keys, *optional))
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=AGAIN) from error
    if lost := [key for key in keys if key not in held]:
        raise AnnotationError(f"has no {', '.join(lost)}", where=file, hint=AGAIN)
    if "imgname" in held and (held["imgname"].ndim != 1 or not len(held["imgname"])):
        raise AnnotationError(f"imgname has shape {held['imgname'].shape}, expected names", where=file, hint=AGAIN)
    return held


def numbers_in(file: Path, held: Mapping[str, npt.NDArray[Any]], key: str, *shape: int | None) -> Array:
    """An array of a label file, a row for each image name, each of `shape`. Raises AnnotationError."""
    try:
        found: Array = to_array(held[key], name=key, shape=(len(held["imgname"]), *shape), where=file)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=AGAIN) from error
    return found


def images_of(file: Path, held: Mapping[str, npt.NDArray[Any]]) -> list[tuple[str, int]]:
    """Sequence and frame of each row. Raises AnnotationError."""
    found = []
    for image in held["imgname"].tolist():
        match = _IMAGE.fullmatch(str(image))
        if match is None:
            what = f"imgname has {str(image)[:80]!r}, expected <seq>/<seq>_0000.png"
            raise AnnotationError(what, where=file, hint=AGAIN)
        found.append((match[1], int(match[2])))
    return found


def points_in(file: Path, held: Mapping[str, npt.NDArray[Any]]) -> Array:
    """(M, 24, 2) the joints of the body in each row, px of which the first is 0.5. Raises AnnotationError."""
    points = numbers_in(file, held, "gtkps", None, None)
    if points.shape[1] < len(SMPL_24) or points.shape[2] < 2:
        what = f"gtkps has shape {points.shape}, expected 24 joints or more of 2 coordinates or more"
        raise AnnotationError(what, where=file, hint=AGAIN)
    return points[:, : len(SMPL_24), :2].copy()  # of 127


def points_of(file: Path, sequence: str, subject: str, frames: int) -> Keypoints | None:
    """The joints of a subject over so many frames, unseen where they have no row; None when they have none, and in
    older files, which do not say whose rows they are. Raises AnnotationError."""
    numbers, points = _rows(file, stamp(file)).get((sequence, subject), (None, None))
    if numbers is None or points is None:
        return None
    if numbers.max() >= frames:
        what = f"has frame {numbers.max()} of {sequence}, which has {frames}"
        raise AnnotationError(what, where=file, hint=AGAIN)
    spread = np.zeros((frames, len(SMPL_24), 3))
    spread[numbers, :, :2] = points - 0.5  # the renderer's pixels begin at their corners
    spread[numbers, :, 2] = 1.0
    return Keypoints(layout="SMPL_24", points=spread, projected=True, compared_only=True)


@lru_cache(maxsize=2)
def _rows(file: Path, _: Stamp) -> Rows:
    held = load(file, ("imgname", "gtkps"), ("sub",))
    points = points_in(file, held)
    if len(held.get("sub", ())) != len(points):
        return {}
    found: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row, ((sequence, number), subject) in enumerate(zip(images_of(file, held), held["sub"].tolist())):
        found[sequence, str(subject)][number] = row
    return {key: (np.array(list(rows), np.int64), points[list(rows.values())]) for key, rows in found.items()}
