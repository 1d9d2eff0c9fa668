"""What lies in a folder, for adapters: fast for millions of files, told apart from what keeps us from looking.

A folder is read once in a process as long as its time of change stays; what is kept of it is bounded.
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
"""A folder that changed so short ago may change again without showing it: clocks of file systems are coarse."""
KEPT_NAMES = 1_000_000
"""About 100 MB."""
KEPT_NUMBERS = 16_000_000
"""128 MB."""
COMPARED_NAMES = 5_000
"""The nearest name is looked for in folders of at most so many: comparing words is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The names in a folder, sorted. Links count as what they lead to."""

    files: tuple[str, ...]
    folders: tuple[str, ...]
    broken: Mapping[str, str]
    """Links that lead nowhere, and why."""


class _Kept(Generic[Value]):
    """Values of folders, the least recently used dropped when they weigh more than `limit` together."""

    def __init__(self, limit: int, weight: Callable[[Value], int]) -> None:
        self._limit, self._weight, self._total = limit, weight, 0
        self._values: OrderedDict[tuple[str, str], tuple[tuple[int, int, int], Value]] = OrderedDict()

    def get(self, folder: Path, key: str, make: Callable[[], Value]) -> Value:
        """The value under `key` of a folder, made when it is not known or the folder has changed since."""
        state = folder.stat()
        stamp = (state.st_dev, state.st_ino, state.st_mtime_ns)
        name = (str(folder), key)
        found = self._values.get(name)
        if found is not None and found[0] == stamp:
            self._values.move_to_end(name)
            return found[1]
        if found is not None:
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
    """What lies in a folder. Raises DatasetLayoutError when it is missing or cannot be read, and says which."""
    try:
        return _listings.get(folder, "", lambda: _list(folder))
    except NotADirectoryError as error:
        if not folder.is_file():
            raise _refused(error, folder) from error
        raise DatasetLayoutError("is a file, expected a folder", where=folder, hint="unpack it again") from error
    except OSError as error:
        raise _refused(error, folder) from error


def numbered(folder: Path, pattern: re.Pattern[str]) -> Numbers:
    """The numbers of the files whose whole name fits `pattern`, whose last group is the number; sorted.

    None at all when there is no such folder, or a link in its place leads back to itself, which the listing of the
    folder above says. Raises DatasetLayoutError when it cannot be read.
    """
    groups = numbered_groups(folder, pattern)
    if len(groups) == 1:
        return next(iter(groups.values()))
    return np.sort(np.concatenate([_NONE, *groups.values()]))


def numbered_groups(folder: Path, pattern: re.Pattern[str]) -> Mapping[str, Numbers]:
    """The same for a folder that many sequences share: the first of two groups says whose number it is."""
    try:
        return _numbers.get(folder, pattern.pattern, lambda: _number(folder, pattern))
    except OSError as error:
        if is_missing(error) or error.errno == errno.ELOOP:
            return {}
        raise _refused(error, folder) from error


def numbered_files(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The same files as those of `numbered`, by number, for who opens them: names take a hundred times the memory.

    Raises DatasetLayoutError.
    """
    if not is_folder(folder):
        return {}
    names = listing(folder).files
    matches = ((pattern.fullmatch(name), name) for name in names)
    return dict(sorted((int(match[pattern.groups]), folder / name) for match, name in matches if match))


def is_folder(path: Path) -> bool:
    """Whether a folder is there. Raises DatasetLayoutError when that cannot be told."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        if is_missing(error):
            return False
        raise _refused(error, path) from error


def entry(folder: Path, *names: str) -> Path | None:
    """What a folder holds under one of the names, whatever its case; the first name, and the exact case, win.

    A link counts, wherever it leads: who opens it says so. None when the folder is not there. Raises DatasetLayoutError
    when that cannot be told.
    """
    for name in names:
        if _is_there(folder / name):
            return folder / name
    if not is_folder(folder):
        return None
    held = {name.lower(): name for name in sorted(names_in(folder), reverse=True)}
    return next((folder / held[name.lower()] for name in names if name.lower() in held), None)


def names_in(folder: Path) -> tuple[str, ...]:
    """Everything in a folder, links that lead nowhere too. Raises DatasetLayoutError."""
    found = listing(folder)
    return (*found.folders, *found.files, *found.broken)


def _is_there(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:
        if is_missing(error):
            return False
        raise _refused(error, path) from error
    return True


def lacking(folder: Path, name: str, *, hint: str, others: Sequence[str] = ()) -> DatasetLayoutError:
    """The error for a folder that should hold a folder `name`; it names what looks like it under another name.

    `others`: folders that belong beside it, none of which is meant.
    """
    found = listing(folder)
    if name in found.broken:
        return DatasetLayoutError(f"{name} is {found.broken[name]}", where=folder, hint=hint)
    if (file := next((held for held in found.files if held.lower() == name.lower()), None)) is not None:
        what = "is a file, expected a folder"
        return DatasetLayoutError(what, where=folder / file, hint=f"move it away, then {hint}")
    known = {other.lower() for other in others}
    near = near_name(name, tuple(held for held in found.folders if held.lower() not in known))
    if near is None:
        return DatasetLayoutError(f"there is no {name}/ in it", where=folder, hint=hint)
    return DatasetLayoutError(
        f"there is no {name}/ in it, but {near}",
        where=folder,
        hint=f"mv {quoted(folder / near)} {quoted(folder / name)}  if it is the same; else {hint}",
    )


def why_empty(folder: Path) -> str:
    """Why nothing is found in a folder that is not one: a link leads nowhere; nothing when it is no such link."""
    return listing(folder.parent).broken.get(folder.name, "") if is_folder(folder.parent) else ""


def near_name(name: str, names: tuple[str, ...]) -> str | None:
    """Which of `names` may be meant by one that is missing."""
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
            if held.is_symlink() and (why := _broken(held)):
                broken[held.name] = why
            else:
                (folders if held.is_dir() else files).append(held.name)
    return Listing(files=tuple(sorted(files)), folders=tuple(sorted(folders)), broken=broken)


def _number(folder: Path, pattern: re.Pattern[str]) -> dict[str, Numbers]:
    """Numbers of each group ("" where the pattern has none), sorted. A link that leads nowhere is no file."""
    groups: dict[str, list[int]] = {}
    fits, whose = pattern.fullmatch, pattern.groups > 1
    with os.scandir(folder) as entries:
        for held in entries:
            match = fits(held.name)
            if match is not None and not (held.is_symlink() and _broken(held)):
                groups.setdefault(match[1] if whose else "", []).append(int(match[pattern.groups]))
    return {key: np.sort(np.array(found, np.int64)) for key, found in groups.items()}


def _broken(link: os.DirEntry[str]) -> str:
    """Why a link leads nowhere; nothing when it does not."""
    try:
        link.stat()
    except OSError as error:
        return "a symbolic link to nothing" if is_missing(error) else in_words(error)[0]
    return ""


def _refused(error: OSError, path: Path) -> DatasetLayoutError:
    what, hint = in_words(error)
    return DatasetLayoutError(what, where=path, hint=hint or None)
