"""What earlier verifications found good, so that a later one reads only what has changed since.

A file of JSON lines, one for each sequence that was checked, the last one counts: a run that is killed loses nothing
but the sequence it was at. It is a cache: whatever in it cannot be read is checked again. Errors are never kept, for a
mount that comes back leaves no trace in any date.
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

from trace_data.files import atomic_write
from trace_data.os_errors import in_words
from trace_data.progress import Progress

VERSION = 1
SEPARATOR = "\0\0"
"""Between the files of a sequence; no name holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What is known of one sequence; small, for all sequences of a dataset are in memory at once."""

    context: str
    """What the result depends on besides the files: depth, adapter, switches."""
    reads: int
    """Stamp of the files that the adapter read; 0 when it does not say which."""
    files: str
    """Image and video files of its frames, compressed; see `good`."""
    stamps: str
    """One for each of them."""
    result: dict[str, Any] | None
    """What the verification found; None when something was wrong."""

    @classmethod
    def of(cls, context: str, reads: int, good: Mapping[str, int], result: dict[str, Any] | None) -> Remembered:
        """`good`: see there."""
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
        """Each file to its stamp as it was when it was found good, 0 when it was not. Empty when this cannot be read.

        Behind a file's name may stand a zero byte and how it is used.
        """
        try:
            names = zlib.decompress(base64.b64decode(self.files)).decode(errors="surrogateescape")
            stamps = np.frombuffer(base64.b64decode(self.stamps), "<u8").tolist()
            return dict(zip(names.split(SEPARATOR), stamps, strict=True)) if names else {}
        except (ValueError, TypeError, zlib.error):
            return {}


def stamp(file: str | Path, how: str = "") -> int:
    """A number that changes with name, size or time of a file, and with `how` it is checked. Raises OSError."""
    state = os.stat(file)  # noqa: PTH116  a million times, on text
    text = f"{file}\0{state.st_size}\0{state.st_mtime_ns}\0{how}"
    return int.from_bytes(blake2b(text.encode(errors="surrogateescape"), digest_size=8).digest(), "big") or 1


def stamp_of_all(files: Sequence[Path] | None) -> int:
    """One number for several files; 0 when they are not known or one of them cannot be looked at."""
    if files is None:
        return 0
    try:
        text = repr([stamp(file) for file in files])
    except OSError:
        return 0
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") or 1


class VerifyMemory:
    """The file; one process writes it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: dict[str, dict[str, Any]] = {}
        self._stream: IO[str] | None = None
        count = 0
        with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                count += 1
                with contextlib.suppress(ValueError, KeyError, TypeError):  # half a line of a run that was killed
                    entry = json.loads(line)
                    if entry["version"] == VERSION:
                        self._lines[str(entry["key"])] = entry
        self._wasteful = count > 2 * len(self._lines) + 8

    @contextlib.contextmanager
    def writing(self, progress: Progress) -> Iterator[None]:
        """While this lasts, `remember` writes. A file that cannot be written is said and does not matter."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if self._wasteful:
                with atomic_write(self._file) as partial:
                    partial.write_text("".join(map(_line, self._lines.values())), encoding="utf-8")
            self._stream = self._file.open("a", encoding="utf-8")
            self._stream.write("\n")  # the last line may be half of one
        except OSError as error:
            progress.log(f"what is found now will not be remembered: {self._file}: {in_words(error)[0]}")
        try:
            yield
        finally:
            if self._stream is not None:
                self._stream.close()
                self._stream = None

    def recall(self, key: str) -> Remembered | None:
        """What is known of a sequence."""
        entry = self._lines.get(key)
        try:
            return None if entry is None else Remembered(**{name: entry[name] for name in Remembered.__slots__})
        except KeyError:
            return None

    def remember(self, key: str, known: Remembered) -> None:
        """Write down what was found of a sequence."""
        if self._stream is None:
            return
        try:
            self._stream.write(_line({"version": VERSION, "key": key, **asdict(known)}))
            self._stream.flush()
        except OSError:  # a full disk: what follows is checked again next time
            self._stream = None


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=True) + "\n"
