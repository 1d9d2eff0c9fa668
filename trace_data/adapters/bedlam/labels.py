"""2D joints of the label files (`all_npz_12_smpl_training/<scene>_6fps.npz`), where they lie beside the videos.

They are projections of the same bodies through the same camera, in every fifth frame, for some of the people: what a
reader of bodies and cameras can be compared with. Nothing else of these files is used
(docs/reference/further-datasets.md#bedlam-label-file).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.bedlam.scenes import scene_name
from trace_data.adapters.files import Stamp, stamp
from trace_data.adapters.listing import entry, is_folder, listing
from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.keypoints import SMPL_24, Keypoints
from trace_data.unpickle.reader import load_npz, to_array

FOLDERS = ("all_npz_12_smpl_training", "bedlam_labels/all_npz_12_smpl_training")
_FILE = re.compile(r"(.+?)(?:_6fps|_30fps)?\.npz", re.IGNORECASE)
_IMAGE = re.compile(r"(?:.*/)?([^/]+)_(\d{4,})\.png", re.IGNORECASE)
_AGAIN = "unpack all_npz_12_smpl_training.zip again, or move it away"

Rows = Mapping[tuple[str, str], tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
"""Sequence and subject to numbers of frames (n,) and points (n, 24, 2), px."""


def labels_file(folder: Path, scene: str) -> Path | None:
    """The labels of a scene below the dataset's folder; None when there are none."""
    for names in FOLDERS:
        place: Path | None = folder
        for name in names.split("/"):
            place = None if place is None or not is_folder(place) else entry(place, name)
        if place is None or not is_folder(place):
            continue
        for name in listing(place).files:
            match = _FILE.fullmatch(name)
            if match and scene_name(match[1]).lower() == scene.lower():
                return place / name
    return None


def points_of(file: Path, sequence: str, subject: str, frames: int) -> Keypoints | None:
    """The joints of a subject over so many frames, unseen where they have no row; None when they have none, and in
    older files, which do not say whose rows they are. Raises AnnotationError."""
    numbers, points = _rows(file, stamp(file)).get((sequence, subject), (None, None))
    if numbers is None or points is None:
        return None
    if numbers.max() >= frames:
        what = f"has frame {numbers.max()} of {sequence}, which has {frames}"
        raise AnnotationError(what, where=file, hint=_AGAIN)
    spread = np.zeros((frames, len(SMPL_24), 3))
    spread[numbers, :, :2] = points - 0.5  # the renderer's pixels begin at their corners
    spread[numbers, :, 2] = 1.0
    return Keypoints(layout="SMPL_24", points=spread, projected=True, compared_only=True)


@lru_cache(maxsize=2)
def _rows(file: Path, _: Stamp) -> Rows:
    try:
        held = load_npz(file, only=("imgname", "gtkps", "sub"))
        if lost := [key for key in ("imgname", "gtkps") if key not in held]:
            raise AnnotationError(f"has no {', '.join(lost)}", where=file, hint=_AGAIN)
        points = to_array(held["gtkps"], name="gtkps", shape=(len(held["imgname"]), None, None), where=file)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=_AGAIN) from error
    if points.shape[1] < len(SMPL_24) or points.shape[2] < 2:
        what = f"gtkps has shape {points.shape}, expected 24 joints or more of 2 coordinates or more"
        raise AnnotationError(what, where=file, hint=_AGAIN)
    if len(held.get("sub", ())) != len(points):
        return {}
    found: defaultdict[tuple[str, str], dict[int, int]] = defaultdict(dict)
    for row, (image, subject) in enumerate(zip(held["imgname"].tolist(), held["sub"].tolist())):
        match = _IMAGE.fullmatch(str(image))
        if match is None:
            raise AnnotationError(f"imgname has {str(image)!r}, expected <seq>/<seq>_0000.png", where=file, hint=_AGAIN)
        found[match[1], str(subject)][int(match[2])] = row
    return {
        key: (np.array(list(rows), np.int64), points[list(rows.values())][:, : len(SMPL_24), :2])
        for key, rows in found.items()
    }
