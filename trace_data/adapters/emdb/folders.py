"""Where the sequences lie: `P0/09_outdoor_walk/` with images and one annotation file.

Facts: docs/reference/further-datasets.md#emdb-files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trace_data.adapters.base import DatasetSpec, dataset_folder
from trace_data.adapters.emdb.sequences import PARTS
from trace_data.adapters.listing import entry, is_folder, listing

SPEC = DatasetSpec(
    name="emdb",
    folders=("EMDB", "emdb"),
    splits=("test",),
    page="https://emdb.ait.ethz.ch",
    expected="EMDB/P0/09_outdoor_walk/{images/00000.jpg,P0_09_outdoor_walk_data.pkl}, and so on to P9",
)
PARTICIPANTS = tuple(f"P{number}" for number in range(10))
IMAGES = "images"
IMAGE = re.compile(r"(\d{5,})\.jpe?g", re.IGNORECASE)
_ANNOTATION = re.compile(r".+_data\.pkl", re.IGNORECASE)
_SPELLED = {name.lower(): name for names in PARTS.values() for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceFolder:
    """One sequence on disk."""

    name: str
    """`P0_09_outdoor_walk`, by its folders: letter case as published, where that is known."""
    folder: Path
    annotations: tuple[Path, ...]
    """Its annotation files, of which there should be one; the one that is called like the sequence comes first."""

    @property
    def key(self) -> str:
        """`P0/09_outdoor_walk`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def images(self) -> Path:
        """The folder of its images, whether or not it exists."""
        return entry(self.folder, IMAGES) or self.folder / IMAGES


def emdb_folder(root: Path) -> Path:
    """The dataset's folder. Raises DatasetLayoutError."""
    return dataset_folder(SPEC, root, PARTICIPANTS)


def participants_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of the participants that are there; an archive unpacked into a folder of its own name is
    entered."""
    for name in PARTICIPANTS:
        place = entry(folder, name)
        if place is not None and is_folder(place):
            inner = entry(place, name)
            yield name, inner if inner is not None and is_folder(inner) else place


def sequences_in(folder: Path) -> Iterator[SequenceFolder]:
    """The folders below the participants that hold annotations or images, by participant and name."""
    for participant, place in participants_in(folder):
        for name in listing(place).folders:
            inside = listing(place / name)
            whole = f"{participant}_{name}"
            files = [file for file in inside.files if _ANNOTATION.fullmatch(file)]
            files.sort(key=lambda file: file.lower() != f"{whole}_data.pkl".lower())
            if files or any(other.lower() == IMAGES for other in (*inside.folders, *inside.files, *inside.broken)):
                yield SequenceFolder(
                    name=_SPELLED.get(whole.lower(), whole),
                    folder=place / name,
                    annotations=tuple(place / name / file for file in files),
                )
