"""Cached folder listings for adapters: fast for millions of files, and with distinct errors for inaccessible folders.

A process reads a folder once until its modification time changes. The cache is bounded.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from trace_data.errors import DatasetLayoutError, nearest, quoted
from trace_data.os_errors import in_words, is_missing

Numbers = npt.NDArray[np.int64]
Value = TypeVar("Value")

SETTLED_NS = 2_000_000_000
"""Folders modified within this time are not cached: file-system clocks are coarse, so a change could go unnoticed."""
KEPT_NAMES = 1_000_000
"""Limit of cached names, about 100 MB."""
KEPT_NUMBERS = 16_000_000
"""128 MB."""
APPLE_DOUBLE = "._"
"""Begins the names of files that macOS puts beside each file it copies; they count as not there."""
COMPARED_NAMES = 5_000
"""Largest folder in which a similar name is suggested, since comparing names is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The sorted names in a folder. Links count as their targets."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    broken: Mapping[str, str]
    """Broken links, with the reason."""


class _Kept(Generic[Value]):
    """LRU cache of values of folders, with a limit of their total weight."""

    def __init__(self, limit: int, weight: Callable[[Value], int]) -> None:
        self._limit, self._weight, self._total = limit, weight, 0
        self._values: OrderedDict[tuple[str, str], tuple[tuple[int, int, int], Value]] = OrderedDict()

    def get(self, folder: Path, key: str, make: Callable[[], Value]) -> Value:
        """The value under `key` of a folder, recomputed when the folder has changed."""
        state = folder.stat()
        stamp = (state.st_dev, state.st_ino, state.st_mtime_ns)
        name = (str(folder), key)
        cached = self._values.get(name)
        if cached is not None and cached[0] == stamp:
            self._values.move_to_end(name)
            return cached[1]
        if cached is not None:
            self._drop(name)
        value = make()
        if stamp[2] < time.time_ns() - SETTLED_NS:
            self._values[name] = (stamp, value)
            self._total += self._weight(value)
            while self._total > self._limit:
                self._drop(next(iter(self._values)))
        return value

    def _drop(self, name: tuple[str, str]) -> None:
        _, value = self._values.pop(name)
        self._total -= self._weight(value)


_listings: _Kept[Listing] = _Kept(KEPT_NAMES, lambda listing: len(listing.files) + len(listing.folders))
_numbers: _Kept[dict[str, Numbers]] = _Kept(KEPT_NUMBERS, lambda groups: sum(map(len, groups.values())) + len(groups))


def listing(folder: Path) -> Listing:
    """List a folder. Raises DatasetLayoutError when it is missing or cannot be read."""
    try:
        return _listings.get(folder, "", lambda: _list(folder))
    except NotADirectoryError as error:
        if not folder.is_file():
            raise _refused(error, folder) from error
        raise DatasetLayoutError("is a file, expected a folder", where=folder, hint="unpack it again") from error
    except OSError as error:
        raise _refused(error, folder) from error


def numbered(folder: Path, pattern: re.Pattern[str]) -> Numbers:
    """The sorted numbers of the files whose full name matches `pattern`; its last group is the number.

    Empty when the folder does not exist or is a broken link, which the parent's listing reports. Raises
    DatasetLayoutError when it cannot be read.
    """
    groups = numbered_groups(folder, pattern)
    if len(groups) == 1:
        return next(iter(groups.values()))
    return np.sort(np.concatenate([_NONE, *groups.values()]))


def numbered_groups(folder: Path, pattern: re.Pattern[str]) -> Mapping[str, Numbers]:
    """The same for a folder shared by many sequences: the first group of the pattern is the sequence."""
    try:
        return _numbers.get(folder, pattern.pattern, lambda: _number(folder, pattern))
    except OSError as error:
        if is_missing(error) or error.errno == errno.ELOOP:
            return {}
        raise _refused(error, folder) from error


def numbered_files(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The files of `numbered` by number, for opening them. Names take a hundred times the memory of numbers.

    Raises DatasetLayoutError.
    """
    if not is_folder(folder):
        return {}
    names = listing(folder).files
    matches = ((pattern.fullmatch(name), name) for name in names)
    return dict(sorted((int(match[pattern.groups]), folder / name) for match, name in matches if match))


def is_folder(path: Path) -> bool:
    """Whether a folder exists. Raises DatasetLayoutError when that cannot be determined."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if is_missing(error):
            return False
        raise _refused(error, path) from error


def entry(folder: Path, *names: str) -> Path | None:
    """The entry of a folder with one of the names, ignoring case; earlier names and exact case take precedence.

    Broken links count, and fail when opened. None when the folder does not exist. Raises DatasetLayoutError when that
    cannot be determined.
    """
    for name in names:
        if _is_there(folder / name):
            return folder / name
    if not is_folder(folder):
        return None
    held = {name.lower(): name for name in sorted(names_in(folder), reverse=True)}
    return next((folder / held[name.lower()] for name in names if name.lower() in held), None)


def below(folder: Path, *steps: str) -> Path | None:
    """Follow nested entries by name, ignoring case, exact case first; None if one is missing.

    Raises DatasetLayoutError as `entry` does.
    """
    if _is_there(exact := folder.joinpath(*steps)):  # one question to the file system, where there are many such paths
        return exact
    place: Path | None = folder
    for step in steps:
        place = None if place is None else entry(place, step)
    return place


def names_in(folder: Path) -> tuple[str, ...]:
    """All names in a folder, including broken links. Raises DatasetLayoutError."""
    entries = listing(folder)
    return (*entries.folders, *entries.files, *entries.broken)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:
        if is_missing(error):
            return False
        raise _refused(error, path) from error
    return True


def lacking(folder: Path, name: str, *, hint: str, others: Sequence[str] = ()) -> DatasetLayoutError:
    """The error for a missing subfolder `name`, with a similar name as a suggestion.

    `others`: folders that belong beside it, none of which is suggested.
    """
    entries = listing(folder)
    if name in entries.broken:
        return DatasetLayoutError(f"{name} is {entries.broken[name]}", where=folder, hint=hint)
    if (file := next((held for held in entries.files if held.lower() == name.lower()), None)) is not None:
        what = "is a file, expected a folder"
        return DatasetLayoutError(what, where=folder / file, hint=f"move it away, then {hint}")
    known = {other.lower() for other in others}
    near = near_name(name, tuple(held for held in entries.folders if held.lower() not in known))
    if near is None:
        return DatasetLayoutError(f"there is no {name}/ in it", where=folder, hint=hint)
    return DatasetLayoutError(
        f"there is no {name}/ in it, but {near}",
        where=folder,
        hint=f"mv {quoted(folder / near)} {quoted(folder / name)}  if it is the same; else {hint}",
    )


def why_empty(folder: Path) -> str:
    """The reason why a path is no folder if it is a broken link; else ""."""
    return listing(folder.parent).broken.get(folder.name, "") if is_folder(folder.parent) else ""


def near_name(name: str, names: tuple[str, ...]) -> str | None:
    """The one of `names` that is most similar to a missing name."""
    if (same := next((held for held in names if held.lower() == name.lower()), None)) is not None:
        return same
    return nearest(name, names) if len(names) <= COMPARED_NAMES else None


_NONE: Numbers = np.zeros(0, np.int64)


def _list(folder: Path) -> Listing:
    files: list[str] = []
    folders: list[str] = []
    broken: dict[str, str] = {}
    with os.scandir(folder) as entries:
        for held in entries:
            if held.name.startswith(APPLE_DOUBLE):
                continue
            if held.is_symlink() and (why := _broken(held)):
                broken[held.name] = why
            else:
                (folders if held.is_dir() else files).append(held.name)
    return Listing(files=tuple(sorted(files)), folders=tuple(sorted(folders)), broken=broken)


def _number(folder: Path, pattern: re.Pattern[str]) -> dict[str, Numbers]:
    """Sorted numbers of each group ("" if the pattern has none), each once. Broken links are skipped.

    Groups whose names differ in letter case alone are one, under the name that sorts first.
    """
    groups: dict[str, list[int]] = {}
    fits, whose = pattern.fullmatch, pattern.groups > 1
    with os.scandir(folder) as entries:
        for held in entries:
            match = None if held.name.startswith(APPLE_DOUBLE) else fits(held.name)
            if match is not None and not (held.is_symlink() and _broken(held)):
                groups.setdefault(match[1] if whose else "", []).append(int(match[pattern.groups]))
    names: dict[str, str] = {}
    together: dict[str, list[int]] = {}
    for key in sorted(groups):
        together.setdefault(names.setdefault(key.lower(), key), []).extend(groups[key])
    return {key: np.unique(np.array(found, np.int64)) for key, found in together.items()}


def _broken(link: os.DirEntry[str]) -> str:
    """Why a link is broken; "" when it is not."""
    try:
        link.stat()
    except OSError as error:
        return "a symbolic link to nothing" if is_missing(error) else in_words(error)[0]
    return ""


def _refused(error: OSError, path: Path) -> DatasetLayoutError:
    what, hint = in_words(error)
    return DatasetLayoutError(what, where=path, hint=hint or None)
