"""What adapters ask of a dataset's files; `listing` answers what a folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trace_data.errors import AnnotationError
from trace_data.files import open_regular
from trace_data.frames.image import file_size
from trace_data.os_errors import in_words, is_missing

Stamp = tuple[int, int]


def gap(numbers: Sequence[int]) -> int | None:
    """The first number that is missing of ascending ones that are otherwise equally spaced, None when none is.

    They start with 0 or 1, unless only some of the frames were extracted.
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
    """Width and height of the first whole image: broken ones are for whoever reads all, so that all are found at once.

    Raises AnnotationError when none is whole.
    """
    broken = AnnotationError("there are no frames")
    for file in frames:
        try:
            return file_size(file)
        except AnnotationError as error:
            broken = error
    raise broken


def stamp(file: Path) -> Stamp:
    """Length and time of a file, by which a parsed copy knows that it is still the file's. Raises AnnotationError."""
    try:
        state = file.stat()
    except OSError as error:
        raise refused(error, file) from error
    return state.st_size, state.st_mtime_ns


def readable(file: Path) -> None:
    """Raises AnnotationError when a file cannot be read: libraries call that a damaged file, or a missing one."""
    try:
        with open_regular(file) as stream:
            stream.read(1)
    except OSError as error:
        raise refused(error, file) from error


def refused(error: OSError, file: Path) -> AnnotationError:
    """The error that says what the system refused: a missing file, a permission, a mount that does not answer."""
    what, hint = in_words(error)
    what = "is a symbolic link to nothing" if is_missing(error) and file.is_symlink() else what
    return AnnotationError(what, where=file, hint=hint or None)
