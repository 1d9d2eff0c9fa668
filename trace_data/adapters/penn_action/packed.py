"""TRACE's published annotations: the labels of all sequences in one .npz, body poses in another."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile, npz_source
from trace_data.adapters.files import Stamp, stamp
from trace_data.adapters.penn_action.labels import JOINTS, PAGE, Labels, checked_points, split_of
from trace_data.schema.record import Split

_IMAGE = re.compile(r"(\d{6})\.jpg", re.IGNORECASE)


def splits(file: Path) -> dict[str, Split]:
    """The split of each sequence by its train flag. Raises AnnotationError."""
    return _splits(file, stamp(file)).copy()


@lru_cache(maxsize=2)
def _splits(file: Path, _: Stamp) -> dict[str, Split]:
    facts = npz_source(file, PAGE, ("seq_info",)).inside("seq_info")
    by_name: dict[str, Split] = {}
    for name in facts.content:
        key = f"seq_info[{name!r}]"
        entry = facts.value(name)
        if not isinstance(entry, (list, tuple)) or len(entry) != 3:
            raise facts.wrong(key, f"is a {type(entry).__name__}", "action, number of frames and train flag")
        by_name[str(name)] = split_of(facts, key, entry[2])
    return by_name


def load(file: Path, name: str) -> Labels:
    """The labels of a sequence. Raises AnnotationError."""
    source = _annotations(file, stamp(file))
    names = source.inside("seq_frame_names").value(name)
    points = source.inside("annot")
    rows: dict[int, npt.NDArray[np.float64]] = {}
    for image in names if isinstance(names, (list, tuple)) else ():
        match = _IMAGE.fullmatch(str(image))
        if match is None:
            raise source.wrong(f"seq_frame_names[{name!r}]", f"holds {image!r}", "names like 000001.jpg")
        key = f"{name}-{image}"
        rows[int(match[1])] = _one_person(points, key)
    if not rows or len(rows) != len(names):
        raise source.wrong(f"seq_frame_names[{name!r}]", f"holds {len(rows)} frames", "one or more, each once")
    numbers = sorted(rows)
    return Labels(
        file=file,
        numbers=np.array(numbers, np.int64),
        points=checked_points(points, f"the visibility of {name}", np.stack([rows[number] for number in numbers])),
        size=None,
        synthetic="synthetic" in source.content,
    )


def body_poses(
    file: Path, name: str, numbers: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Rotations (T, 24, 3) fitted to the given frames, and their mask (T,).

    The root rotation is left at zero: the fits look right from the front but wrong from the side. Raises
    AnnotationError.
    """
    fits = _fits(file, stamp(file)).inside("annots")
    poses, fitted = np.zeros((len(numbers), 24, 3)), np.zeros(len(numbers), bool)
    for row, number in enumerate(numbers.tolist()):
        key = f"{name}-{number:06d}.jpg"
        if key not in fits.content:
            continue
        people = fits.value(key)
        try:
            pose = people[0][0]  # further people are not annotated
        except (TypeError, LookupError) as error:
            raise fits.wrong(key, f"is a {type(people).__name__}", "a list of [pose, betas]") from error
        poses[row, 1:] = fits.array(key, pose, (72,)).reshape(24, 3)[1:]
        fitted[row] = True
    return poses, fitted


@lru_cache(maxsize=1)
def _annotations(file: Path, _: Stamp) -> AnnotationFile:
    """The parsed file, cached for its next sequence."""
    return npz_source(file, PAGE, ("annot", "seq_frame_names", "synthetic"), of_images=True)


@lru_cache(maxsize=1)
def _fits(file: Path, _: Stamp) -> AnnotationFile:
    return npz_source(file, PAGE, ("annots",), of_images=True)


def _one_person(points: AnnotationFile, key: str) -> npt.NDArray[np.float64]:
    """(13, 3) from [[points of each person], [their numbers]]."""
    value = points.value(key)
    try:
        people = value[0]
        if len(people) != 1:
            raise points.wrong(key, f"has {len(people)} people", "one")
        person = people[0]
    except (TypeError, LookupError) as error:
        raise points.wrong(key, f"is a {type(value).__name__}", "[[points], [person number]]") from error
    visible = points.array(key, person, (JOINTS, 3), finite=False)[:, 2:] != 0
    return points.array(key, person, (JOINTS, 3), finite=visible | (np.arange(3) == 2))
