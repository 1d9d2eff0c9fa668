"""The annotation files of DynaCam. Each is read once per process for all its sequences; arrays are checked and copied
on access."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import Stamp, stamp
from trace_data.errors import AnnotationError, AssetError, nearest
from trace_data.schema.keypoints import LAYOUTS, LEAST_CONFIDENCE, Keypoints
from trace_data.unpickle.machine import DROPPED
from trace_data.unpickle.reader import load_npz

Array = npt.NDArray[np.float64]

NOT_READ = "kp3ds"
"""Skipped key: a third of a file, of unknown meaning."""
JOINT_SETS = {25: "OpenPose_25", 44: "ALL_44", 17: "COCO_17"}
"""Joint set by the number of joints: releases differ (docs/reference/joints.md#number-of-2d-joints-in-dynacam)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotations:
    """The content of one annotation file."""

    file: Path
    sequences: Mapping[str, Mapping[str, Any]]
    """Arrays of each sequence."""
    listed: Mapping[str, Any]
    """Frame numbers of each sequence in `sequence_dict`."""
    synthetic: bool

    def ids_of(self, name: str) -> npt.NDArray[np.int64] | None:
        """Frame numbers of a sequence; None if invalid."""
        try:
            return _ids(self.sequences.get(name, {}).get("frame_ids", self.listed.get(name)))
        except (TypeError, ValueError):
            return None

    def sequence(self, name: str) -> AnnotatedSequence:
        """One sequence with all frames in temporal order. Raises AnnotationError."""
        where = f"{self.file}[{name}]"
        if name not in self.sequences:
            near = nearest(name, self.sequences)
            raise AnnotationError("is not in the file" + (f", but {near} is" if near else ""), where=where)
        values, listed = self.sequences[name], self.listed.get(name)
        try:
            ids = _ids(values.get("frame_ids", listed))
            listed_ids = ids if listed is None else _ids(listed)
        except (TypeError, ValueError) as error:
            raise AnnotationError(f"frame_ids: {error}", where=where, hint="copy the annotations again") from error
        if not np.array_equal(ids, listed_ids):
            what = f"frame_ids has {_words(ids)}, sequence_dict {_words(listed_ids)}"
            raise AnnotationError(what, where=where, hint="one of them was changed: copy the annotations again")
        order = np.argsort(ids, kind="stable")
        if len(ids) == 0 or (np.diff(ids[order]) == 0).any():
            raise AnnotationError(f"frame_ids has {_words(ids)}, expected each once, at least one", where=where)
        return AnnotatedSequence(where=where, values=values, ids=ids[order], chosen=order, length=len(ids))


def _ids(value: Any) -> npt.NDArray[np.int64]:
    """Frame numbers, stored as numbers or as strings of digits."""
    words = value.ravel().tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(words, (list, tuple)):
        raise TypeError(f"is a {type(value).__name__}, expected a list of frame numbers")
    numbers = [int(word) for word in words]
    if any(not isinstance(word, str) and word != number for word, number in zip(words, numbers)):
        raise ValueError("has fractions, expected whole numbers")
    return np.array(numbers, np.int64)


def _words(ids: npt.NDArray[np.int64]) -> str:
    return f"{len(ids)} numbers" + (f" from {ids.min()} to {ids.max()}" if len(ids) else "")


def open_annotations(file: Path) -> Annotations:
    """The content of an annotation file. Raises AnnotationError if it is missing, damaged or of another kind."""
    return _read(file, stamp(file))


@lru_cache(maxsize=2)  # both halves of a split
def _read(file: Path, _: Stamp) -> Annotations:
    try:
        content = load_npz(file, each=lambda key, value: DROPPED if key == NOT_READ else value)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=error.hint) from error
    value: Any = content.get("annots")
    annots = value.item() if isinstance(value, np.ndarray) and value.shape == () else value
    if not isinstance(annots, Mapping):
        what = "no annots" if value is None else f"a {type(annots).__name__}"
        raise AnnotationError(f"has {what}, expected a dict under annots", where=file, hint="copy the file again")
    listed = annots.get("sequence_dict", {})
    return Annotations(
        file=file,
        sequences={
            str(name): entry for name, entry in annots.items() if name != "sequence_dict" and isinstance(entry, Mapping)
        },
        listed={str(name): ids for name, ids in listed.items()} if isinstance(listed, Mapping) else {},
        synthetic="synthetic" in annots,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnnotatedSequence:
    """Arrays of one sequence at selected frames, copied and checked on access."""

    where: str
    values: Mapping[str, Any]
    ids: npt.NDArray[np.int64]
    """(T,) numbers of the selected frames, ascending."""
    chosen: npt.NDArray[np.int64]
    """(T,) their rows."""
    length: int
    """Number of rows of the arrays."""

    def at(self, frames: npt.NDArray[np.int64]) -> AnnotatedSequence:
        """Select frames by indices into `ids`."""
        return AnnotatedSequence(
            where=self.where, values=self.values, ids=self.ids[frames], chosen=self.chosen[frames], length=self.length
        )

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    @property
    def identities(self) -> list[int]:
        """Track ids of the S people."""
        array = self._array("person_id", (-1,))
        if len(array) == 0 or not np.array_equal(array, np.rint(array)):
            raise self.wrong("person_id", f"is {array.tolist()}", "a whole number for each person")
        return [int(identity) for identity in array]

    def people(self, key: str, *sides: int, flat: bool = False) -> Array:
        """(S, T, *sides); a side of -1 may have any length. `flat`: the sides may be stored flattened."""
        return self._array(key, (len(self.identities), self.length), sides, flat)[:, self.chosen]

    def frames(self, key: str, *sides: int, flat: bool = False) -> Array:
        """(T, *sides), as `people`."""
        return self._array(key, (self.length,), sides, flat)[self.chosen]

    def points(self, key: str = "kp2ds") -> Keypoints:
        """(S, T, K, 3) px and confidence; zero for joints that are not visible. See also `schema.wild_points`."""
        points = self._array(key, (len(self.identities), self.length), (-1, -1), finite=False)[:, self.chosen]
        if points.shape[2] not in JOINT_SETS or points.shape[3] not in (2, 3):
            joints = " or ".join(f"{count} ({name})" for count, name in sorted(JOINT_SETS.items()))
            what = f"has {points.shape[2]} joints of {points.shape[3]} numbers"
            raise self.wrong(key, what, f"{joints} of 3")
        if points.shape[3] == 2:  # without confidence, points at or beyond the left edge are missing
            points = np.concatenate([points, points[..., :1] > 0], axis=3)
        # as in the published loader of the panorama half
        seen = points[..., 2:] >= LEAST_CONFIDENCE
        points = np.where(seen, np.minimum(points, (np.inf, np.inf, 1.0)), 0.0)
        return Keypoints(layout=JOINT_SETS[points.shape[2]], points=points)

    def hips(self) -> Array:
        """(S, T, 2) px of the hip midpoint; NaN if a hip is not visible."""
        points = self.points()
        names = LAYOUTS[points.layout]
        pair = points.points[:, :, [names.index("R_Hip"), names.index("L_Hip")]]
        seen = np.all(pair[..., 2:] > 0, axis=2)
        middle: Array = np.where(seen, pair[..., :2].mean(axis=2), np.nan)
        return middle

    def wrong(self, key: str, found: str, expected: str) -> AnnotationError:
        """An error that names the key."""
        return AnnotationError(f"{key} {found}, expected {expected}", where=self.where, hint="copy the file again")

    def _array(
        self, key: str, first: tuple[int, ...], last: tuple[int, ...] = (), flat: bool = False, *, finite: bool = True
    ) -> Array:
        """A float64 copy of shape `first` + `last` (-1: any length). `flat`: `last` may be stored flattened."""
        shape = first + last
        if key not in self:
            raise self.wrong(key, "is missing", f"the keys of the release, found {', '.join(map(str, self.values))}")
        try:
            array = np.array(self.values[key], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.wrong(key, f"is no array of numbers ({error})", f"shape {_sides(shape)}") from error
        if flat and array.shape == (*first, math.prod(last)):
            array = array.reshape(shape)
        if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape)):
            raise self.wrong(key, f"has shape {array.shape}", _sides(shape))
        if finite and not np.isfinite(array).all():
            first_bad = np.argwhere(~np.isfinite(array))[0].tolist()
            what = f"has {int((~np.isfinite(array)).sum())} NaN or infinite values, first at {first_bad}"
            raise self.wrong(key, what, "finite numbers")
        return array


def _sides(shape: tuple[int, ...]) -> str:
    return "x".join("n" if side < 0 else str(side) for side in shape)
