"""Checked access to the content of annotation files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, AssetError
from trace_data.unpickle.reader import load_npz


class AnnotationFile:
    """The content of a file by key. Every error is an AnnotationError with file, key, found and expected."""

    def __init__(self, file: Path, content: Any, page: str, *, inside: str = "") -> None:
        """`page`: download page of the release; `inside`: under which keys of the file `content` stands.

        Raises AnnotationError when `content` is no dict.
        """
        self.file = file
        self._inside = inside
        self.page = page
        self._again = f"copy the file from the release again ({page})"
        if isinstance(content, np.ndarray) and content.dtype.hasobject and content.shape == ():
            content = content.item()  # an .npz wraps other objects in a 0-d array
        if not isinstance(content, Mapping):
            raise AnnotationError(f"holds a {type(content).__name__}, expected a dict", where=file, hint=self._again)
        self.content: Mapping[Any, Any] = content

    def wrong(self, key: str, found: str, expected: str, hint: str | None = None) -> AnnotationError:
        """The error for a wrong value."""
        named = key if key.startswith(self._inside) else f"{self._inside}: {key}"
        return AnnotationError(
            f"{named} {found}, expected {expected}",
            where=self.file,
            hint=hint or self._again,
        )

    def value(self, key: str) -> Any:
        """The value of `key`."""
        if key not in self.content:
            held = ", ".join(map(str, list(self.content)[:20]))
            raise self.wrong(key, "is missing", f"the keys of the release, found {held or 'none'}")
        return self.content[key]

    def inside(self, key: str) -> AnnotationFile:
        """The dict under `key` as an AnnotationFile."""
        value = self.value(key)
        try:
            inside = f"{self._inside}[{key!r}]" if self._inside else key
            return AnnotationFile(self.file, value, self.page, inside=inside)
        except AnnotationError as error:
            raise AnnotationError(f"{key} {error.message}", where=self.file, hint=error.hint) from error

    def of_person(self, key: str, number: int) -> Any:
        """One person's entry of the sequence under `key`."""
        value = self.value(key)
        try:
            return value[number]
        except (TypeError, LookupError) as error:
            raise self.wrong(key, f"is a {type(value).__name__} without [{number}]", "one entry a person") from error

    def array(
        self, key: str, value: Any, shape: tuple[int, ...] | None, *, finite: npt.NDArray[np.bool_] | bool = True
    ) -> npt.NDArray[np.float64]:
        """`value` as float64 of `shape` (-1 = any length, None = any shape); `finite`: where it must be finite."""
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.wrong(key, f"is no array of numbers ({error})", f"shape {shape or 'of any kind'}") from error
        if shape is None:
            shape = (-1,) * array.ndim
        if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape)):
            raise self.wrong(key, f"has shape {array.shape}", "x".join("n" if n < 0 else str(n) for n in shape))
        if (wrong := ~np.isfinite(array) & finite).any():
            first = np.argwhere(wrong)[0].tolist()
            what = f"has {int(wrong.sum())} NaN or infinite values, first at {first}"
            raise self.wrong(key, what, "finite numbers")
        return array

    def people(
        self, key: str, shape: tuple[int, ...], count: int | None = None, *, finite: bool = True
    ) -> list[npt.NDArray[np.float64]]:
        """A list with one array per person."""
        value = self.value(key)
        if not isinstance(value, (list, tuple)) or (count is not None and len(value) != count) or not len(value):
            what = f"is a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")
            raise self.wrong(key, what, f"a list of {count or 'one or more'} people")
        return [self.array(f"{key}[{i}]", item, shape, finite=finite) for i, item in enumerate(value)]


def npz_source(file: Path, page: str, only: Collection[str], *, of_images: bool = False) -> AnnotationFile:
    """Those of the named arrays that an .npz file has, dicts unwrapped; `of_images`: see `load_npz`.

    Raises AnnotationError.
    """
    try:
        return AnnotationFile(file, load_npz(file, only=only, of_images=of_images), page)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where, hint=error.hint) from error


def word(value: Any) -> str:
    """Text as stored by Python 2: str, bytes, or an array of one."""
    item = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    return item.decode("latin1") if isinstance(item, bytes) else str(item)
