"""Rows of packed annotations spooled to disk; memory holds only an index of the million images.

The file is unnamed and vanishes with the process. It is in `TMPDIR`, else in `/var/tmp`, because `/tmp` may be in
memory.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import weakref
from array import array
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, OutputError

BUFFER = 1 << 20


class PackedRows:
    """Rows of float32 numbers by clip and image number."""

    def __init__(self, width: int) -> None:
        """`width`: numbers in a row. Raises OutputError."""
        self._width = width
        self._folder = _spacious()
        try:
            self._spool = tempfile.TemporaryFile(dir=self._folder, buffering=BUFFER)  # noqa: SIM115  lives as long as this
        except OSError as error:
            raise self._refused(error) from error
        weakref.finalize(self, _close, self._spool)
        self._count = 0
        self._places: dict[str, tuple[array[int], array[int]]] = {}
        self._wrong: dict[str, AnnotationError] = {}

    def add(self, clip: str, number: int, row: npt.NDArray[np.floating]) -> None:
        """Store the row of an image, replacing an earlier one. Raises OutputError."""
        numbers, places = self._places.setdefault(clip, (array("q"), array("q")))
        try:
            self._spool.write(row.astype(np.float32).tobytes())
        except OSError as error:
            raise self._refused(error) from error
        numbers.append(number)
        places.append(self._count)
        self._count += 1

    def refuse(self, clip: str, error: AnnotationError) -> None:
        """Record the error of a clip, without affecting the others."""
        self._wrong.setdefault(clip, error)

    def __contains__(self, clip: str) -> bool:
        return clip in self._places or clip in self._wrong

    @property
    def clips(self) -> list[str]:
        """All clips, sorted."""
        return sorted({*self._places, *self._wrong})

    def of(self, clip: str, chosen: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float64]:
        """(T, width) rows of a clip ordered by image number, or those at the indices `chosen`.

        Raises AnnotationError when an error was recorded.
        """
        if clip in self._wrong:
            raise self._wrong[clip]
        places = self._sorted(clip)[1]
        places = places if chosen is None else places[chosen]
        self._spool.flush()
        rows = np.zeros((len(places), self._width), np.float32)
        starts = np.flatnonzero(np.diff(places, prepend=-2) != 1)
        for start, end in zip(starts, [*starts[1:], len(places)]):
            rows[start:end] = self._read(int(places[start]), int(end - start))
        return rows.astype(np.float64)

    def numbers(self, clip: str) -> npt.NDArray[np.int64]:
        """(T,) image numbers of a clip, ascending; empty for a clip with an error."""
        return self._sorted(clip)[0]

    def _sorted(self, clip: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        held = ((), ()) if clip in self._wrong else self._places[clip]
        numbers, places = (np.array(values, np.int64) for values in held)
        order = np.lexsort((places, numbers))
        last = np.diff(numbers[order], append=-1) != 0
        return numbers[order][last], places[order][last]

    def _read(self, first: int, count: int) -> npt.NDArray[np.float32]:
        size = 4 * self._width
        data = os.pread(self._spool.fileno(), size * count, size * first)  # the file position is shared with forks
        return np.frombuffer(data, np.float32).reshape(count, self._width)

    def _refused(self, error: OSError) -> OutputError:
        return OutputError(
            f"packed annotations cannot be unpacked here: {error.strerror}",
            where=self._folder,
            hint="make room, or name a folder with room:  export TMPDIR=/scratch",
        )


def _close(spool: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # a full disk: nobody will read what it did not take
        spool.close()


def _spacious() -> Path:
    """A folder for large temporary files."""
    if any(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")) or not os.access("/var/tmp", os.W_OK):
        return Path(tempfile.gettempdir())
    return Path("/var/tmp")
