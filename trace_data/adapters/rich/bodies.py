"""The people of a sequence: a pickle for each frame and subject, `00046/017.pkl`.

Facts: docs/reference/further-datasets.md#rich-files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile
from trace_data.adapters.listing import listing
from trace_data.adapters.rich.folders import SPEC
from trace_data.adapters.smplx_bodies import JOINTS
from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.body import Gender
from trace_data.unpickle.reader import load_pickle

Array = npt.NDArray[np.float64]

GENDERS: dict[int, Gender] = {
    **dict.fromkeys((*range(9), 11, 14, 15, 20), "male"),
    **dict.fromkeys((9, 10, 12, 13, 16, 17, 18, 19, 21), "female"),
}
"""Of the 22 subjects, as `resource/gender.json` of the makers' tools has them."""
FARTHEST = 100.0
"""Metres from camera 0 within which everybody is."""
_FRAME = re.compile(r"\d{5,9}")
_SUBJECT = re.compile(r"(\d{1,3})\.pkl", re.IGNORECASE)
_WIDTHS = {"global_orient": 3, "body_pose": 3 * (JOINTS - 1), "transl": 3}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """One person over the N frames in which a body was fitted."""

    number: int
    frames: npt.NDArray[np.int64]
    """(N,) numbers of these frames, ascending."""
    pose: Array
    """(N, 22, 3) axis-angle, radians, SMPL-X."""
    translation: Array
    """(N, 3) metres, of SMPL-X."""

    @property
    def gender(self) -> Gender:
        return GENDERS[self.number]


def body_frames(folder: Path) -> npt.NDArray[np.int64]:
    """The numbers of the frames that have a folder of bodies, ascending."""
    return np.array(sorted(int(name) for name in listing(folder).folders if _FRAME.fullmatch(name)), np.int64)


def read_subjects(folder: Path) -> list[Subject]:
    """Everybody in a sequence, by number. Raises AnnotationError."""
    found: dict[int, list[tuple[int, Array]]] = {}
    for name in sorted(listing(folder).folders, key=len):
        if not _FRAME.fullmatch(name):
            continue
        inside = listing(folder / name)
        for file in (*inside.files, *inside.broken):
            if match := _SUBJECT.fullmatch(file):
                if int(match[1]) not in GENDERS:
                    what = f"there is no subject {match[1]} in the release, which has 000 to {max(GENDERS):03d}"
                    hint = "a file that was renamed, or of a later release, whose genders are not known here"
                    raise AnnotationError(what, where=folder / name / file, hint=hint)
                found.setdefault(int(match[1]), []).append((int(name), read_body(folder / name / file)))
    subjects = []
    for number, rows in sorted(found.items()):
        rows.sort(key=lambda row: row[0])
        values = np.stack([row[1] for row in rows])
        subjects.append(
            Subject(
                number=number,
                frames=np.array([row[0] for row in rows], np.int64),
                pose=values[:, :-3].reshape(-1, JOINTS, 3),
                translation=values[:, -3:],
            )
        )
    return subjects


def read_body(file: Path) -> Array:
    """(69,) root, body and translation in a pickle. Raises AnnotationError."""
    try:
        source = AnnotationFile(file, load_pickle(file), SPEC.page)
    except AssetError as error:
        raise AnnotationError(error.message, where=file, hint=error.hint) from error
    parts = []
    for key, width in _WIDTHS.items():
        values = source.array(key, source.value(key), None)
        if values.shape not in {(1, width), (width,)}:
            raise source.wrong(key, f"has shape {values.shape}", f"1x{width}")
        parts.append(values.reshape(width))
    if (most := float(np.abs(parts[-1]).max())) > FARTHEST:
        raise source.wrong("transl", f"is {most:,.0f} m from camera 0", f"{FARTHEST:.0f} m at most", "of another unit")
    return np.concatenate(parts)
