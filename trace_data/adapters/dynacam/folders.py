"""Where the parts of DynaCam lie: folders and files by name, whatever their letter case."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trace_data.adapters.base import DatasetSpec, dataset_folder
from trace_data.errors import DatasetLayoutError
from trace_data.schema.record import Split

Half = Literal["panorama", "translation"]
HALVES: tuple[Half, ...] = ("panorama", "translation")
ANNOTATIONS = ("annotations", "annotation", "annots")
FRAMES = ("video_frames", "videoframes", "frames", "images")
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "validation"),
    "test": ("test", "testing"),
}
_IMAGE = re.compile(r"(\d+)\.(jpe?g|png)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One half in one split."""

    half: Half
    split: Split
    annotation: Path | None
    """Its annotation file; None where there is none."""
    folders: Mapping[str, Path]
    """Folders with images by name."""

    @property
    def name(self) -> str:
        """As its files and folders are called."""
        return f"{self.half}_{self.split}"

    def folder_of(self, sequence: str) -> Path | None:
        """Folder with the images of a sequence; one that differs in letter case will do."""
        if sequence in self.folders:
            return self.folders[sequence]
        return next((folder for name, folder in self.folders.items() if name.lower() == sequence.lower()), None)


def images_in(folder: Path | None) -> dict[int, Path]:
    """Images of a folder by the number they are called by, in its order, whatever their zeros and their ending."""
    if folder is None:
        return {}
    found = [(int(match[1]), file) for file in folder.iterdir() if (match := _IMAGE.fullmatch(file.name))]
    return dict(sorted(found))


def dataset_parts(spec: DatasetSpec, root: Path) -> list[Part]:
    """The six parts, of which some may be empty. Raises DatasetLayoutError."""
    folder = dataset_folder(spec, root, (*ANNOTATIONS, *FRAMES))
    inside = _entries(folder)
    annotations, frames = (_part_of(folder, inside, names, spec) for names in (ANNOTATIONS, FRAMES))
    files, folders = _entries(annotations), _entries(frames)
    parts = []
    for half in HALVES:
        for split in spec.splits:
            names = [f"{half}_{word}" for word in SPLIT_NAMES[split]]
            images = _named(folders, names)
            held = [] if images is None else _entries(images)
            parts.append(
                Part(
                    half=half,
                    split=split,
                    annotation=_named(files, [f"{name}.npz" for name in names]),
                    folders={entry.name: entry for entry in held if entry.is_dir()},
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
    found = _named(inside, names)
    if found is None or not found.is_dir():
        raise DatasetLayoutError(
            f"there is no {names[0]}/ in it, found {', '.join(entry.name for entry in inside[:8]) or 'nothing'}",
            where=folder,
            hint=f"expected {spec.expected}; get it from {spec.page}",
        )
    return found


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted. Raises DatasetLayoutError when something in it cannot be followed."""
    found = sorted(folder.iterdir())
    for entry in found:
        try:
            entry.stat()
        except OSError as error:
            raise DatasetLayoutError(
                f"cannot be followed: {error.strerror}",
                where=entry,
                hint="a link that leads nowhere or in a circle, a missing permission, or a mount that is gone",
            ) from error
    return found


def _named(entries: Sequence[Path], names: Sequence[str]) -> Path | None:
    """The entry that has the first of the names that any has, whatever its letter case and with `-` for `_`."""
    plain = {entry.name.lower().replace("-", "_"): entry for entry in reversed(entries)}
    return next((plain[name] for name in names if name in plain), None)
