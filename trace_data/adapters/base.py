"""What every dataset adapter speaks: its description, and cheap handles of its sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trace_data.errors import DatasetLayoutError
from trace_data.schema.check import Finding
from trace_data.schema.record import SequenceRecord, Split


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """A dataset as such, wherever it lies."""

    name: str
    """Canonical name, e.g. `3dpw`."""
    folders: tuple[str, ...]
    """Names its folder may have under the root, the usual one first."""
    splits: tuple[Split, ...]
    """Splits it has."""
    page: str
    """Where its licence and download are."""
    expected: str
    """What the folder should look like, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRef:
    """Cheap, picklable handle of one sequence; nothing of it has been read."""

    dataset: str
    split: Split
    name: str
    """Sequence name within dataset and split."""
    layout: str
    """Which release layout was found, in words."""
    annotation: Path
    """File with its annotations."""
    images: Path
    """Folder (or video) with its frames."""
    frames: int
    """Number of frames found on disk; the annotation may say otherwise, which `read` reports."""
    options: tuple[str, ...] = ()
    """Switches of the adapter that were set when it was found, as in `sides=swapped`: `read` goes by them."""

    @property
    def key(self) -> str:
        """`dataset/split/name`."""
        return f"{self.dataset}/{self.split}/{self.name}"


class Adapter(Protocol):
    """A module with these names is an adapter; anyone's own dataset may be one."""

    SPEC: DatasetSpec

    def find(self, root: Path, split: Split) -> list[SequenceRef]:
        """The sequences of a split, in a deterministic order. Raises DatasetLayoutError."""

    def read(self, ref: SequenceRef) -> SequenceRecord:
        """One sequence. Raises AnnotationError that names file, key, found and expected."""

    def inspect(self, root: Path) -> list[Finding]:
        """What is wrong with the folder's layout beyond what `find` and `read` report."""


def dataset_folder(spec: DatasetSpec, root: Path, marks: Sequence[str]) -> Path:
    """The dataset's folder: under `root` by one of its names, or `root` itself when it holds one of `marks`.

    Raises DatasetLayoutError that says where was looked; a folder without permission is reported as such.
    """
    try:
        for name in spec.folders:
            if (root / name).is_dir():
                return root / name
        if any((root / mark).exists() for mark in marks):
            return root
        held = sorted(entry.name for entry in root.iterdir()) if root.is_dir() else []
    except OSError as error:
        raise DatasetLayoutError(f"cannot be searched: {error.strerror}", where=root) from error
    raise DatasetLayoutError(
        f"{spec.name} is not here: looked for {', '.join(spec.folders)}, "
        + (f"found {', '.join(held[:8]) or 'nothing'}" if root.is_dir() else "the folder does not exist"),
        where=root,
        hint=f"expected {spec.expected}; get it from {spec.page}, or give --root DIR",
    )
