"""What adapters ask of a dataset's folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from trace_data.errors import AnnotationError
from trace_data.frames import image_size, read_bytes

Stamp = tuple[int, int]


def entry(folder: Path, *names: str) -> Path | None:
    """What a folder holds under one of the names, whatever its case; the first name, and the exact case, win."""
    for name in names:
        if (folder / name).exists():
            return folder / name
    if not folder.is_dir():
        return None
    held = {item.name.lower(): item for item in sorted(folder.iterdir()) if item.exists()}
    return next((held[name.lower()] for name in names if name.lower() in held), None)


def numbered_files(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The files whose name matches `pattern` by number, which its first group is; sorted, none without the folder."""
    if not folder.is_dir():
        return {}
    return dict(sorted((int(match[1]), file) for file in folder.iterdir() if (match := pattern.fullmatch(file.name))))


def frame_size(frames: Sequence[Path]) -> tuple[int, int]:
    """Width and height of the first whole image: broken ones are for whoever reads all, so that all are found at once.

    Raises AnnotationError when none is whole.
    """
    broken = AnnotationError("there are no frames")
    for file in frames:
        try:
            return image_size(read_bytes(file), file)
        except AnnotationError as error:
            broken = error
    raise broken


def stamp(file: Path) -> Stamp:
    """Length and time of a file, by which a parsed copy knows that it is still the file's. Raises AnnotationError."""
    try:
        state = file.stat()
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}", where=file, hint="copy the file again") from error
    return state.st_size, state.st_mtime_ns
