"""`annots_smplkps.npz`: one dictionary of all images, read once, without holding it in memory completely."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.human36m.facts import AGAIN, numbers
from trace_data.adapters.packed_rows import PackedRows
from trace_data.errors import AnnotationError, AssetError
from trace_data.unpickle.machine import DROPPED, Each
from trace_data.unpickle.reader import load_npz

Array = npt.NDArray[np.float64]

LIMIT_BYTES = 64 << 30
"""Size limit of the annotation, one object array of all images and much larger than other files."""
CANDIDATE = 1
"""Index of the pose and root rotation used by the published loader, of three per entry."""
IMAGE = re.compile(r"(S(\d+)_[^_]+_([0-3]))_(\d+)(\.jpe?g|\.png)?", re.IGNORECASE)
"""Names of entries: clip, subject, camera and number of an image."""
POINTS = {"kp2d": (32, 2), "kp3d_mono": (32, 3), "kp3ds_smpl": (44, 3)}
BODY = {"poses": 72, "cam": 3}
"""Numbers of a candidate; poses may have 66."""
_WIDTHS = {key: count * width for key, (count, width) in POINTS.items()} | BODY
_ENDS = dict(zip(_WIDTHS, np.cumsum(list(_WIDTHS.values())).tolist()))


class Entries:
    """Annotations of one clip's images, ordered by number."""

    def __init__(self, rows: Array) -> None:
        self._rows = rows

    def get(self, key: str) -> Array | None:
        """(T, …) of a key of `POINTS` or `BODY`; None where an image lacks it."""
        values = self._rows[:, _ENDS[key] - _WIDTHS[key] : _ENDS[key]]
        if np.isnan(values).any():
            return None
        return values.reshape(len(values), *POINTS[key]) if key in POINTS else values


@lru_cache(maxsize=1)
def read_entries(state: tuple[str, int, int]) -> PackedRows:
    """Rows of all images by lower-case clip. Raises AnnotationError; errors of one clip are stored with it."""
    file = Path(state[0])
    rows = PackedRows(sum(_WIDTHS.values()))

    def take(key: Any, value: Any) -> Any:
        match = IMAGE.fullmatch(key) if isinstance(key, str) and isinstance(value, dict) else None
        if match is None:
            return value
        clip = match[1].lower()
        try:
            rows.add(clip, int(match[4]), _row(f"{match[1]}_{match[4]}.jpg", value, file))
        except AnnotationError as error:
            rows.refuse(clip, error)
        return DROPPED

    for name in dictionary(file, "annots", take):
        raise AnnotationError(f"entry {name!r} is not that of an image", where=file, hint=AGAIN)
    return rows


def dictionary(file: Path, key: str, each: Each | None = None) -> Mapping[Any, Any]:
    """The dict in a 0-d object array of a .npz file, `each` as in `load_npz`. Raises AnnotationError."""
    try:
        arrays = load_npz(file, limit_bytes=LIMIT_BYTES, of_images=True, each=each)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=error.hint) from error
    if key not in arrays:
        raise AnnotationError(f"has no {key}, found {', '.join(arrays)}", where=file, hint=AGAIN)
    value = arrays[key]
    held = value.item() if value.ndim == 0 else value
    if not isinstance(held, Mapping):
        raise AnnotationError(f"{key} is a {type(held).__name__}, expected a dict", where=file, hint=AGAIN)
    return held


def _row(image: str, entry: Mapping[str, Any], file: Path) -> Array:
    """All numbers of an image, NaN where a key is missing."""
    if "kp2d" not in entry:
        raise _wrong(image, "kp2d", f"is missing, found {', '.join(map(str, entry))}", file)
    parts = []
    for key, width in _WIDTHS.items():
        if key not in entry:
            parts.append(np.full(width, np.nan))
        elif key in POINTS:
            parts.append(_points(image, key, entry[key], file))
        else:
            parts.append(_candidate(image, key, entry[key], file))
    return np.concatenate(parts)


def _points(image: str, key: str, value: Any, file: Path) -> Array:
    array = _array(image, key, value, file)
    count, width = POINTS[key]
    if array.size != count * width:
        raise _wrong(image, key, f"holds {array.size} numbers, expected {count}x{width}", file)
    return array.reshape(-1)


def _candidate(image: str, key: str, value: Any, file: Path) -> Array:
    """The selected candidate; a pose of 66 numbers lacks the hands."""
    array = _array(image, key, value, file)
    if array.ndim != 2 or len(array) <= CANDIDATE:
        raise _wrong(image, key, f"has shape {array.shape}, expected 3xn", file)
    row = array[CANDIDATE]
    if len(row) not in ((66, 72) if key == "poses" else (3,)):
        raise _wrong(image, key, f"holds {len(row)} numbers, not {'66 or 72' if key == 'poses' else 3}", file)
    return np.pad(row, (0, BODY[key] - len(row)))


def _array(image: str, key: str, value: Any, file: Path) -> Array:
    try:
        shape = np.shape(value)
    except ValueError as error:
        raise _wrong(image, key, f"is no array ({error})", file) from error
    return numbers(value, shape, f"{image}: {key}", file)


def _wrong(image: str, key: str, found: str, file: Path) -> AnnotationError:
    return AnnotationError(f"{image}: {key} {found}", where=file, hint=AGAIN)
