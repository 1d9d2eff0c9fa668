"""Results of earlier verifications, so that a later one reads only what has changed.

A file of JSON lines, one per checked sequence; the last line of a sequence counts. A killed run loses only its current
sequence. The file is a cache: sequences with unreadable lines are checked again. Errors are not kept, because a mount
that comes back changes no date.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import numpy as np

from trace_data.errors import DatasetLayoutError
from trace_data.files import atomic_write, check_regular, open_regular
from trace_data.os_errors import in_words
from trace_data.progress import Progress
from trace_data.text_files import parse_json

VERSION = 1
SEPARATOR = "\0\0"
"""Separator of file names; no name contains it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Recorded result of one sequence; compact, since those of all sequences are in memory."""

    context: str
    """Everything besides the files that the result depends on: depth, adapter, options."""
    reads: int
    """Stamp of the files that the adapter read; 0 when it does not list them."""
    files: str
    """Image and video files of the frames, compressed; see `good`."""
    stamps: str
    """Their stamps, compressed."""
    result: dict[str, Any] | None
    """The result; None when there was an error."""

    @classmethod
    def of(cls, context: str, reads: int, good: Mapping[str, int], result: dict[str, Any] | None) -> Remembered:
        """Record a result; `good` as returned by `good()`."""
        names = SEPARATOR.join(good).encode(errors="surrogateescape")
        stamps = np.array(list(good.values()), "<u8").tobytes()
        return cls(
            context=context,
            reads=reads,
            files=base64.b64encode(zlib.compress(names)).decode(),
            stamps=base64.b64encode(stamps).decode(),
            result=result,
        )

    def good(self) -> dict[str, int]:
        """File to its stamp when it was checked, 0 if it was not valid. Empty when the record is unreadable.

        A file name may be followed by a zero byte and its use.
        """
        try:
            names = zlib.decompress(base64.b64decode(self.files)).decode(errors="surrogateescape")
            stamps = np.frombuffer(base64.b64decode(self.stamps), "<u8").tolist()
            return dict(zip(names.split(SEPARATOR), stamps, strict=True)) if names else {}
        except (ValueError, TypeError, zlib.error):
            return {}


def stamp(file: str | Path, how: str = "") -> int:
    """Hash of a file's name, size and time, and of `how` it is checked. Raises OSError."""
    state = os.stat(file)  # noqa: PTH116  called a million times, faster on strings
    text = f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{how}"
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "big") or 1


def stamp_of_all(files: Sequence[Path] | None) -> int:
    """Hash of several stamps; 0 when the files are not listed or one is inaccessible."""
    if files is None:
        return 0
    try:
        text = repr([stamp(file) for file in files])
    except OSError:
        return 0
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") or 1


class VerifyMemory:
    """The cache file, written by one process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[str, dict[str, Any]] = {}
        self._stream: IO[str] | None = None
        count = 0
        with contextlib.suppress(OSError), open_regular(file) as stream:
            for line in stream:
                count += 1
                # half a line of a run that was killed
                with contextlib.suppress(DatasetLayoutError, KeyError, TypeError):
                    entry = parse_json(line.decode(errors="replace"), where=file, error=DatasetLayoutError)
                    if entry["version"] == VERSION:
                        self._lines[str(entry["key"])] = entry
        self._wasteful = count > 2 * len(self._lines) + 8

    @contextlib.contextmanager
    def writing(self, progress: Progress) -> Iterator[None]:
        """Enable `remember`. A file that cannot be written is only logged."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._wasteful:
                with atomic_write(self._file) as partial:
                    partial.write_text("".join(map(_line, self._lines.values())), encoding="utf-8")
            if self._file.exists():
                check_regular(self._file)
            self._stream = self._file.open("a", encoding="utf-8")
            self._stream.write("\n")  # the last line may be incomplete
        except OSError as error:
            progress.log(f"results will not be recorded: {self._file}: {in_words(error)[0]}")
        try:
            yield
        finally:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def recall(self, key: str) -> Remembered | None:
        """The record of a sequence."""
        entry = self._lines.get(key)
        try:
            return None if entry is None else Remembered(**{name: entry[name] for name in Remembered.__slots__})
        except KeyError:
            return None

    def remember(self, key: str, known: Remembered) -> None:
        """Record the result of a sequence."""
        if self._stream is None:
            return
        try:
            self._stream.write(_line({"version": VERSION, "key": key, **asdict(known)}))
            self._stream.flush()
        except OSError:  # disk full: the remaining sequences are checked again next time
            self._stream = None


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=True) + "\n"
