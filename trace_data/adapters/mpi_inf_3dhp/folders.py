"""Locates MPI-INF-3DHP below a folder, with any of its usual names and letter cases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trace_data.adapters.base import dataset_folder
from trace_data.adapters.listing import is_folder, names_in
from trace_data.adapters.mpi_inf_3dhp.facts import SPEC

_NAMES = frozenset({"mpiinf3dhp", "mpiinf", "3dhp", "mpii3d", "mpiinf3dhpvideo"})
_TRAINING = frozenset({"mpiinf3dhptrainset", "trainset", "train"})
_TEST = frozenset({"mpiinf3dhptestset", "testset", "test"})
_SUBJECT = re.compile(r"s([1-8])", re.IGNORECASE)
_SEQUENCE = re.compile(r"seq([12])", re.IGNORECASE)
_TEST_SUBJECT = re.compile(r"ts([1-6])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """The folders of the dataset; None for missing ones."""

    dataset: Path
    training: Path
    """Contains `S1` to `S8`, or `annots_video.npz`."""
    test: Path | None
    """Contains `TS1` to `TS6`."""


def folders(root: Path) -> Folders:
    """The dataset below `root`, or `root` itself. Raises DatasetLayoutError."""
    named = next((folder for folder in children(root) if _plain(folder.name) in _NAMES), None)
    own = next((child for child in children(root) if _is_part(child)), None)
    dataset = named or (root if own else dataset_folder(SPEC, root, ()))
    training = next((folder for folder in children(dataset) if _plain(folder.name) in _TRAINING), dataset)
    return Folders(dataset=dataset, training=training, test=_test(dataset, [dataset, dataset.parent]))


def _test(dataset: Path, places: list[Path]) -> Path | None:
    """The folder with the test subjects: it may be next to the dataset, or nested in a folder of the same name."""
    if any(_TEST_SUBJECT.fullmatch(child.name) for child in children(dataset)):
        return dataset
    for place in places:
        for folder in children(place):
            if _plain(folder.name) in _TEST and (place == dataset or _plain(folder.name) == "mpiinf3dhptestset"):
                inner = [child for child in children(folder) if _plain(child.name) in _TEST]
                return inner[0] if inner else folder
    return None


def _is_part(entry: Path) -> bool:
    patterns = (_SUBJECT, _TEST_SUBJECT)
    return (
        any(pattern.fullmatch(entry.name) for pattern in patterns)
        or _plain(entry.name) in _TEST | _TRAINING
        or entry.name.lower() in ("annots_video.npz", "video_frames")
    )


def children(folder: Path) -> list[Path]:
    """The entries of a folder by name; empty if it is not a folder. Raises DatasetLayoutError if it cannot be read."""
    return [folder / name for name in sorted(names_in(folder))] if is_folder(folder) else []


def recordings(training: Path) -> Iterator[tuple[int, int, Path]]:
    """Subject, sequence and folder of all `S?/Seq?` folders, in order."""
    for subject in children(training):
        if match := _SUBJECT.fullmatch(subject.name):
            for sequence in children(subject):
                if number := _SEQUENCE.fullmatch(sequence.name):
                    yield int(match[1]), int(number[1]), sequence


def test_recordings(test: Path) -> Iterator[tuple[int, Path]]:
    """Number and folder of all `TS?` folders, in order."""
    for folder in children(test):
        if match := _TEST_SUBJECT.fullmatch(folder.name):
            yield int(match[1]), folder


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
