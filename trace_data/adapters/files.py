"""What adapters ask of a dataset's files; `listing` answers what a folder holds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trace_data.adapters.listing import is_folder, listing
from trace_data.errors import AnnotationError
from trace_data.frames import file_size
from trace_data.refusals import in_words

Stamp = tuple[int, int]


def numbered_files(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The files whose name matches `pattern` by number, which its first group is; sorted, none without the folder.

    Where the numbers are enough, `listing.numbered` is faster. Raises DatasetLayoutError.
    """
    if not is_folder(folder):
        return {}
    names = listing(folder).files
    return dict(sorted((int(match[1]), folder / name) for name in names if (match := pattern.fullmatch(name))))


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
        what, hint = in_words(error)
        raise AnnotationError(what, where=file, hint=hint or None) from error
    return state.st_size, state.st_mtime_ns
