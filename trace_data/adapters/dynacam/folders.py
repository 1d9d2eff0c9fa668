"""Locates the folders and files of DynaCam, ignoring letter case."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trace_data.adapters.base import DatasetSpec, dataset_folder
from trace_data.adapters.listing import is_folder, lacking, listing, names_in, numbered_files
from trace_data.errors import DatasetLayoutError
from trace_data.schema.record import Split

Half = Literal["panorama", "translation"]
HALVES: tuple[Half, ...] = ("panorama", "translation")
ANNOTATIONS = ("annotations", "annotation", "annots")
FRAMES = ("video_frames", "videoframes", "frames", "images")
MARKS = [f"{place}/{half}_train.npz" for place in ANNOTATIONS for half in HALVES]
MARKS += [f"{place}/{half}_{split}" for place in FRAMES for half in HALVES for split in ("train", "val", "test")]
"""Paths that identify the dataset: others have folders of these names too, but not with this content."""
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "validation"),
    "test": ("test", "testing"),
}
_IMAGE = re.compile(r"(\d+)\.(?:jpe?g|png)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """One half of one split."""

    half: Half
    split: Split
    annotation: Path | None
    """Its annotation file, if any."""
    folders: Mapping[str, Path]
    """Folders with images by name."""
    broken: Mapping[str, str]
    """Broken links among the folders, and the reasons."""

    @property
    def name(self) -> str:
        """Name used in files and folders."""
        return f"{self.half}_{self.split}"

    def folder_of(self, sequence: str) -> Path | None:
        """Image folder of a sequence, ignoring letter case."""
        if sequence in self.folders:
            return self.folders[sequence]
        return next((folder for name, folder in self.folders.items() if name.lower() == sequence.lower()), None)


def images_in(folder: Path | None) -> dict[int, Path]:
    """Images of a folder by number, in numeric order, for any zero padding and file type."""
    return {} if folder is None else numbered_files(folder, _IMAGE)


def dataset_parts(spec: DatasetSpec, root: Path) -> list[Subset]:
    """The six parts; some may be empty. Raises DatasetLayoutError."""
    folder = dataset_folder(spec, root, MARKS)
    inside = _entries(folder)
    annotations, frames = (_part_of(folder, inside, names, spec) for names in (ANNOTATIONS, FRAMES))
    files, folders = _entries(annotations), _entries(frames)
    parts = []
    for half in HALVES:
        for split in spec.splits:
            names = [f"{half}_{word}" for word in SPLIT_NAMES[split]]
            images = _named(folders, names)
            held = None if images is None else listing(images)
            parts.append(
                Subset(
                    half=half,
                    split=split,
                    annotation=_named(files, [f"{name}.npz" for name in names]),
                    folders={} if images is None or held is None else {name: images / name for name in held.folders},
                    broken={} if held is None else held.broken,
                )
            )
    if all(part.annotation is None for part in parts):
        raise DatasetLayoutError(
            f"holds none of {', '.join(f'{part.name}.npz' for part in parts)}",
            where=annotations,
            hint=f"get them from {spec.page}",
        )
    return parts


def _part_of(folder: Path, inside: Sequence[Path], names: Sequence[str], spec: DatasetSpec) -> Path:
    part = _named(inside, names)
    if part is not None and not is_folder(part):
        raise lacking(folder, part.name, hint=f"get the folder from {spec.page}")
    if part is None:
        raise DatasetLayoutError(
            f"there is no {names[0]}/ in it, found {', '.join(entry.name for entry in inside[:8]) or 'nothing'}",
            where=folder,
            hint=f"expected {spec.expected}; get it from {spec.page}",
        )
    return part


def _entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted. Raises DatasetLayoutError if one of them cannot be resolved."""
    entries = listing(folder)
    for name, why in entries.broken.items():
        raise DatasetLayoutError(f"is {why}", where=folder / name, hint="remove the link, or copy what it stands for")
    return [folder / name for name in sorted(names_in(folder))]


def _named(entries: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The entry matching the first possible of `names`, ignoring letter case and treating `-` as `_`."""
    plain = {entry.name.lower().replace("-", "_"): entry for entry in reversed(entries)}
    return next((plain[name] for name in names if name in plain), None)
