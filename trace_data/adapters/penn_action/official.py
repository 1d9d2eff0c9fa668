"""The release's labels: one MATLAB file (version 5) per sequence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from trace_data.adapters.annotation_file import AnnotationFile, word
from trace_data.adapters.files import Stamp, stamp
from trace_data.adapters.listing import listing
from trace_data.adapters.matlab5 import read_matlab
from trace_data.adapters.penn_action.labels import JOINTS, PAGE, Labels, checked_points, split_of
from trace_data.errors import AnnotationError
from trace_data.schema.record import Split

_LABELS = re.compile(r"(\d{4})\.mat", re.IGNORECASE)
_VARIABLES = ("pose", "x", "y", "visibility", "train", "nframes", "dimensions", "synthetic")
_LARGEST = 1 << 24
"""Maximum bytes; a sequence of 663 frames takes 40 kB."""


def label_files(folder: Path) -> dict[str, Path]:
    """The label files of a folder by sequence name."""
    return {match[1]: folder / name for name in listing(folder).files if (match := _LABELS.fullmatch(name))}


def splits(folder: Path) -> dict[str, Split]:
    """The split of each sequence from its train flag. Unreadable files count as train, and `load` reports the error."""
    by_name: dict[str, Split] = {}
    for name, file in label_files(folder).items():
        try:
            by_name[name] = _split(file, stamp(file))
        except AnnotationError:
            by_name[name] = "train"
    return by_name


@lru_cache(maxsize=4096)
def _split(file: Path, _: Stamp) -> Split:
    source = _variables(file, ("train",))
    return split_of(source, "train", source.value("train"))


def load(file: Path, name: str) -> Labels:
    """The labels of a sequence. Raises AnnotationError."""
    source = _variables(file, _VARIABLES)
    split_of(source, "train", source.value("train"))
    count = source.array("nframes", source.value("nframes"), (1, 1))
    x = source.array("x", source.value("x"), (-1, JOINTS), finite=False)
    frames = len(x)
    if frames == 0:
        raise source.wrong("x", "has no rows", "one a frame")
    if count.item() != frames:
        raise source.wrong("nframes", f"is {count.item():g}", f"{frames}, the number of rows of x")
    visible = source.array("visibility", source.value("visibility"), (frames, JOINTS))
    x, y = (source.array(key, source.value(key), (frames, JOINTS), finite=visible != 0) for key in ("x", "y"))
    height, width, _ = source.array("dimensions", source.value("dimensions"), (1, 3))[0].astype(int).tolist()
    return Labels(
        file=file,
        numbers=np.arange(1, frames + 1),
        points=checked_points(source, "visibility", np.stack([x, y, visible], axis=2)),
        size=(width, height),
        synthetic="synthetic" in source.content,
        view=word(source.content.get("pose", "")).strip().lower(),
    )


def _variables(file: Path, names: Sequence[str]) -> AnnotationFile:
    if stamp(file)[0] > _LARGEST:
        raise AnnotationError(f"is larger than {_LARGEST:,} bytes, more than any label file", where=file)
    again = f"copy the labels of the release again ({PAGE})"
    return AnnotationFile(file, read_matlab(file, names, hint=again), PAGE)
