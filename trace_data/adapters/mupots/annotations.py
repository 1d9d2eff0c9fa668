"""`annot.mat` and `occlusion.mat` of a sequence: cells of frames x people

Facts: docs/reference/further-datasets.md#mupots-files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import readable
from trace_data.adapters.matlab5 import matlab_shapes, read_matlab
from trace_data.errors import AnnotationError

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

PAGE = "https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson/"
JOINTS = 17
MOST_PEOPLE = 16
"""The release has two or three in a sequence; more are frames taken for people."""
_AGAIN = f"unpack MultiPersonTestSet.zip of {PAGE} again"
_LABELS, _OCCLUSION = "annotations", "occlusion_labels"
_ROWS = {"annot2": 2, "annot3": 3, "univ_annot3": 3}
"""Coordinates of each array of joints."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceAnnotations:
    """The labels of T frames and P people. A column is the same person in all of them; what is not valid is zero."""

    valid: Flags
    """(T, P) whether the person is annotated in the frame."""
    points: Array
    """(T, P, 17, 2) px."""
    joints: Array
    """(T, P, 17, 3) metres, camera axes: `annot3`."""
    universal: Array
    """(T, P, 17, 3) the same of a body of standard height, metres: `univ_annot3`. It projects elsewhere."""
    synthetic: bool


def annotated_frames(file: Path) -> int:
    """The number of frames in an `annot.mat`, from its headers only. Raises AnnotationError."""
    readable(file)
    shape = matlab_shapes(file, hint=_AGAIN).get(_LABELS)
    if shape is None:
        raise wrong(file, _LABELS, "is missing", "the variable of the release")
    return _frames_and_people(file, _LABELS, shape)[0]


def read_annotations(file: Path) -> SequenceAnnotations:
    """An `annot.mat`. Raises AnnotationError."""
    readable(file)
    content = read_matlab(file, (_LABELS, "synthetic"), hint=_AGAIN)
    cells = _cells(file, _LABELS, content.get(_LABELS))
    valid = np.zeros(cells.shape, bool)
    arrays = {key: np.zeros((*cells.shape, JOINTS, width)) for key, width in _ROWS.items()}
    for place in np.ndindex(cells.shape):
        key, entry = _named(_LABELS, place), _entry(file, _named(_LABELS, place), cells[place])
        if entry is None or not _flag(file, f"{key}.isValidFrame", entry.get("isValidFrame")):
            continue  # its numbers are NaN, zero, or anything
        valid[place] = True
        for name, width in _ROWS.items():
            arrays[name][place] = _numbers(file, f"{key}.{name}", entry.get(name), (width, JOINTS)).T
    return SequenceAnnotations(
        valid=valid,
        points=arrays["annot2"],
        joints=arrays["annot3"] / 1000,
        universal=arrays["univ_annot3"] / 1000,
        synthetic="synthetic" in content,
    )


def read_occlusion(file: Path, valid: Flags) -> Flags:
    """(T, P, 17) which joints are hidden, in an `occlusion.mat` beside labels of which `valid` (T, P) count.

    Raises AnnotationError.
    """
    readable(file)
    cells = _cells(file, _OCCLUSION, read_matlab(file, (_OCCLUSION,), hint=_AGAIN).get(_OCCLUSION))
    if cells.shape != valid.shape:
        raise wrong(file, _OCCLUSION, f"has shape {cells.shape}", f"{valid.shape}, as annot.mat has")
    hidden = np.zeros((*valid.shape, JOINTS), bool)
    for place in zip(*np.nonzero(valid)):
        key = _named(_OCCLUSION, place)
        labels = _numbers(file, key, cells[place], (1, JOINTS))[0]
        if not np.isin(labels, (0, 1)).all():
            raise wrong(file, key, f"has {labels[~np.isin(labels, (0, 1))][0]:g}", "0 or 1")
        hidden[place] = labels == 1
    return hidden


def wrong(file: Path, key: str, found: str, expected: str, hint: str = _AGAIN) -> AnnotationError:
    """An error about `file` with what was found and expected."""
    return AnnotationError(f"{key} {found}, expected {expected}", where=file, hint=hint)


def _named(variable: str, place: tuple[int, ...]) -> str:
    """A cell as MATLAB writes it, counted from 1."""
    return f"{variable}{{{place[0] + 1},{place[1] + 1}}}"


def _frames_and_people(file: Path, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 2 or min(shape) < 1 or shape[1] > MOST_PEOPLE:
        raise wrong(file, key, f"has shape {shape}", "frames x people")
    return shape


def _cells(file: Path, key: str, value: npt.NDArray[Any] | None) -> npt.NDArray[np.object_]:
    if value is None or value.dtype != object or not isinstance(value.flat[0] if value.size else None, np.ndarray):
        found = "is missing" if value is None else f"is of type {value.dtype} and shape {value.shape}"
        raise wrong(file, key, found, "a cell array of frames x people")
    _frames_and_people(file, key, value.shape)
    return value


def _entry(file: Path, key: str, cell: npt.NDArray[Any]) -> dict[str, Any] | None:
    """The struct in a cell; None of an empty one."""
    if cell.size == 0:
        return None
    held = cell.item() if cell.size == 1 else None
    if not isinstance(held, dict):
        raise wrong(file, key, f"is of type {cell.dtype} and shape {cell.shape}", "a struct")
    return held


def _flag(file: Path, key: str, value: npt.NDArray[Any] | None) -> bool:
    found = _numbers(file, key, value, (1, 1)).item()
    if found not in (0, 1):
        raise wrong(file, key, f"is {found:g}", "0 or 1")
    return found == 1


def _numbers(file: Path, key: str, value: npt.NDArray[Any] | None, shape: tuple[int, int]) -> Array:
    if value is None:
        raise wrong(file, key, "is missing", "the fields of the release")
    if value.dtype.kind not in "biuf" or value.shape != shape:
        raise wrong(file, key, f"is of type {value.dtype} and shape {value.shape}", f"numbers of shape {shape}")
    array = value.astype(np.float64)
    if bad := int((~np.isfinite(array)).sum()):
        raise wrong(file, key, f"has {bad} NaN or infinite values", "finite numbers")
    return array
