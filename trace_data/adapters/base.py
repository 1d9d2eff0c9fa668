"""What every dataset adapter speaks: its description, and cheap handles of its sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from trace_data.adapters.listing import entry, is_folder, listing, near_name
from trace_data.errors import AnnotationError, DatasetLayoutError, quoted
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split

FOLDERS_SEARCHED = 100
"""Where a root holds no dataset, so many folders in it are looked at for one."""


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
class DatasetRoots:
    """Where datasets are looked for: below one folder, or in folders of their own."""

    root: Path
    """For those that have no folder of their own."""
    own: Mapping[str, Path] = field(default_factory=dict)
    """By canonical name."""

    def of(self, name: str) -> Path:
        """The folder that the dataset of a canonical name lies in or below."""
        return self.own.get(name, self.root)


def absolute_roots(root: Path | DatasetRoots) -> DatasetRoots:
    """The same folders in a form that holds wherever a process works."""
    given = root if isinstance(root, DatasetRoots) else DatasetRoots(root=root)
    return DatasetRoots(root=given.root.absolute(), own={name: path.absolute() for name, path in given.own.items()})


@dataclass(frozen=True, slots=True)
class Plugin:
    """A module of one's own that is an adapter, in a form that another process can import."""

    module: str
    """Such as `my_package.my_dataset`."""
    folder: str
    """Where Python finds it: the folder of the outermost package or, without one, of the file."""


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
    reads: tuple[Path, ...] | None = None
    """All files that `read` opens besides the frames; None when the adapter does not say. When it does, a second
    verification reads none of them again as long as none has changed."""
    plugin: Plugin | None = None
    """Set by `adapters.find_sequences` for an adapter that does not come with the project."""
    broken: AnnotationError | None = None
    """Why an annotation file cannot be read that holds sequences nobody can name; reading the sequence raises it."""

    @property
    def key(self) -> str:
        """`dataset/split/name`."""
        return f"{self.dataset}/{self.split}/{self.name}"


def broken_annotation(dataset: str, split: Split, file: Path, error: AnnotationError) -> SequenceRef:
    """What stands for the sequences of a file that cannot be read, so that it costs these and no others."""
    return SequenceRef(
        dataset=dataset,
        split=split,
        name=file.name,
        layout="unreadable",
        annotation=file,
        images=file.parent,
        frames=0,
        reads=(file,),
        broken=error,
    )


class Adapter(Protocol):
    """A module with these names is an adapter; anyone's own dataset may be one."""

    SPEC: DatasetSpec

    def find(self, root: Path, split: Split) -> list[SequenceRef]:
        """The sequences of a split, in a deterministic order. Raises DatasetLayoutError."""

    def read(self, ref: SequenceRef) -> SequenceRecord:
        """One sequence. Raises AnnotationError that names file, key, found and expected."""

    def inspect(self, root: Path) -> list[Finding]:
        """What is wrong with the folder's layout beyond what `find` and `read` report."""


FrameFile = Callable[[SequenceRef, int], Path]
"""An adapter may have a function `frame_file(ref, number)`: where its `find` and `read` look for the image of a video's
frame `number` (counted from 0), relative to the dataset's folder. `trace extract-frames` writes there."""


def dataset_folder(spec: DatasetSpec, root: Path, marks: Sequence[str] = ()) -> Path:
    """The dataset's folder: under `root` by one of its names (in any letter case), or `root` itself when it holds one
    of `marks`. One that holds nothing but itself, as archives unpack, counts as what is inside.

    Raises DatasetLayoutError that says where was looked; a folder without permission is reported as such.
    """
    names = tuple({name.lower(): name for name in reversed(spec.folders)}.values())[::-1]
    if not is_folder(root):
        raise DatasetLayoutError(
            f"{spec.name} is not here: the folder does not exist", where=root, hint="correct the path or  --root DIR"
        )
    found = entry(root, *spec.folders)
    if found is not None and is_folder(found):
        inner = entry(found, *spec.folders)
        return inner if inner is not None and not _is_dataset(found, marks) and _is_dataset(inner, marks) else found
    if _is_dataset(root, marks):
        return root
    held = listing(root)
    for name in spec.folders:
        if name in held.broken:
            raise DatasetLayoutError(f"{name} is {held.broken[name]}", where=root, hint=_wanted(spec))
    if found is not None:
        raise DatasetLayoutError("is a file, expected a folder", where=found, hint=_wanted(spec))
    near = next((near for name in names if (near := near_name(name, held.folders))), None)
    elsewhere = None if near else _elsewhere(spec, root, held.folders, marks)
    inside = [*held.folders, *held.files]
    raise DatasetLayoutError(
        f"{spec.name} is not here: looked for {', '.join(names)}, found {', '.join(inside[:8]) or 'nothing'}"
        + (f"; is {near} it?" if near else ""),
        where=root,
        hint=(f"mv {quoted(root / near)} {quoted(root / spec.folders[0])}  if it is; " if near else "")
        + (f"it is there with  --root {quoted(elsewhere)}" if elsewhere else _wanted(spec)),
    )


def _is_dataset(folder: Path, marks: Sequence[str]) -> bool:
    """Whether a folder holds one of the marks, names in it or paths below it as `annotations/list.json`."""
    return is_folder(folder) and any(_holds(folder, mark) for mark in marks)


def _holds(folder: Path, mark: str) -> bool:
    first, _, rest = mark.partition("/")
    found = entry(folder, first)
    return found is not None and (not rest or (is_folder(found) and _holds(found, rest)))


def _elsewhere(spec: DatasetSpec, root: Path, inside: Sequence[str], marks: Sequence[str]) -> Path | None:
    """A root near the one that was given under which the dataset is: two folders up at most, or one down."""
    try:
        for place in (root.parent, root.parent.parent, *(root / name for name in inside[:FOLDERS_SEARCHED])):
            found = entry(place, *spec.folders)
            named = found is not None and is_folder(found) and (not marks or _is_dataset(found, marks))
            if named or _is_dataset(place, marks):
                return place
    except DatasetLayoutError:
        pass  # who may not look there is told of the place that was given
    return None


def folder_of(spec: DatasetSpec, root: Path, refs: Sequence[SequenceRef]) -> Path:
    """The dataset's folder, for who does not know its marks: what `find` found under `root` gives them."""
    places = [path for ref in refs for path in (ref.annotation, ref.images) if path.is_relative_to(root)]
    return dataset_folder(spec, root, sorted({path.relative_to(root).parts[0] for path in places if path != root}))


def _wanted(spec: DatasetSpec) -> str:
    return f"expected {spec.expected}; get it from {spec.page}, or give --root DIR"
