"""Checks of dataset files for adapters. Folders are read by `listing`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trace_data.errors import AnnotationError
from trace_data.files import open_regular, read_regular
from trace_data.frames.image import file_size
from trace_data.os_errors import in_words, is_missing
from trace_data.text_files import LIMIT_BYTES, Each, content_of, parse_json

Stamp = tuple[int, int]
MAX_JSON_BYTES = 1 << 32
"""Of a JSON file of annotations: those of a subject have some hundred megabytes."""


def gap(numbers: Sequence[int]) -> int | None:
    """The first missing number in an ascending, equally spaced sequence; None when it has no gap.

    Numbers start at 0 or 1, unless only some of the frames were extracted.
    """
    if len(numbers) < 2:
        return None if list(numbers) in ([], [0], [1]) else 1
    steps = np.diff(numbers)
    counts = Counter(steps.tolist())
    step = min(counts, key=lambda step: (-counts[step], step))
    if (odd := np.flatnonzero(steps != step)).size:
        return int(numbers[odd[0]] + step)
    return 1 if step == 1 and numbers[0] > 1 else None


def first_image(numbers: Sequence[int], annotated: int, place: Path) -> int:
    """Whether images (ascending numbers) are counted from 0 or from 1, beside an annotation of so many rows.

    Without an image 0 they are counted from 1, if they begin with 1 and reach the last row then. Otherwise image 0 may
    be the one that is missing, and every label would stand one frame off: raises AnnotationError.
    """
    if numbers[0] == 0:
        return 0
    step = int(np.diff(numbers).min()) if len(numbers) > 1 else 1
    if numbers[0] != 1 or numbers[-1] + step <= annotated:
        raise AnnotationError(
            f"images {numbers[0]} to {numbers[-1]} for {annotated:,} annotated frames: either image 0 is missing or the"
            " last ones",
            where=place,
            hint="extract the frames again; counted from 0, the first one must be there",
        )
    return 1


def remark_on_length(rows: Sequence[int], annotated: int) -> tuple[str, ...]:
    """What to say when the last annotated frames are not there; `rows`: those that are."""
    missing = annotated - 1 - rows[-1] if rows else annotated
    step = rows[1] - rows[0] if len(rows) > 1 else 1
    return (f"the last {missing:,} of {annotated:,} annotated frames are not there",) if missing >= step else ()


def frame_size(frames: Sequence[Path]) -> tuple[int, int]:
    """Width and height of the first intact image. Broken ones are reported by the checks that read all frames.

    Raises AnnotationError when none is intact.
    """
    broken = AnnotationError("there are no frames")
    for file in frames:
        try:
            return file_size(file)
        except AnnotationError as error:
            broken = error
    raise broken


def stamp(file: Path) -> Stamp:
    """Size and time of a file, to invalidate a parsed copy of it. Raises AnnotationError."""
    try:
        state = file.stat()
    except OSError as error:
        raise refused(error, file) from error
    return state.st_size, state.st_mtime_ns


def readable(file: Path) -> None:
    """Raises AnnotationError when a file cannot be read, which libraries report as damaged or missing."""
    try:
        with open_regular(file) as stream:
            stream.read(1)
    except OSError as error:
        raise refused(error, file) from error


def load_json(file: Path, *, each: Each | None = None, hint: str | None = None) -> Any:
    """The value in a JSON file, every object in it as `each` makes it. Raises AnnotationError."""
    try:
        content = content_of(file, error=AnnotationError, limit_bytes=MAX_JSON_BYTES)
    except FileNotFoundError as error:
        raise refused(error, file) from error
    return parse_json(content, where=file, error=AnnotationError, hint=hint, each=each)


def latin_lines(file: Path, limit: int = LIMIT_BYTES) -> list[str]:
    """The lines of a regular text file of at most `limit` bytes. Raises OSError as `read_regular` does."""
    return read_regular(file, limit).decode("latin1").splitlines()


def refused(error: OSError, file: Path) -> AnnotationError:
    """The AnnotationError for an OSError: missing file, permission, or a mount that does not respond."""
    what, hint = in_words(error)
    what = "is a symbolic link to nothing" if is_missing(error) and file.is_symlink() else what
    return AnnotationError(what, where=file, hint=hint or None)
