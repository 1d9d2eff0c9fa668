"""Interface of dataset adapters: specification, sequence references, protocol."""

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
"""Number of subfolders that are searched when a root holds no dataset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """Static facts about a dataset, independent of where it is installed."""

    name: str
    """Canonical name, e.g. `3dpw`."""
    folders: tuple[str, ...]
    """Possible names of its folder under the root, the usual one first."""
    splits: tuple[Split, ...]
    """Its splits."""
    page: str
    """Web page with licence and download."""
    expected: str
    """Expected layout of the folder, in one line."""


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
    """A user's adapter module, in a form that another process can import."""

    module: str
    """Such as `my_package.my_dataset`."""
    folder: str
    """Its import folder: that of the outermost package or, without one, of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRef:
    """Picklable reference to a sequence, which has not been read yet."""

    dataset: str
    split: Split
    name: str
    """Sequence name within dataset and split."""
    layout: str
    """Recognised release layout, in words."""
    annotation: Path
    """File with its annotations."""
    images: Path
    """Folder (or video) with its frames."""
    frames: int
    """Number of frames on disk; `read` reports when the annotation differs."""
    options: tuple[str, ...] = ()
    """Options of the adapter at the time of `find`, as in `sides=swapped`; `read` uses them."""
    reads: tuple[Path, ...] | None = None
    """All files that `read` opens besides the frames; None if unknown. If known, a later verification skips the
    sequence as long as none has changed."""
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
    """A module with these names is an adapter, including users' own modules."""

    SPEC: DatasetSpec

    def find(self, root: Path, split: Split) -> list[SequenceRef]:
        """The sequences of a split, in a deterministic order. Raises DatasetLayoutError."""

    def read(self, ref: SequenceRef) -> SequenceRecord:
        """One sequence. Raises AnnotationError that names file, key, found and expected."""

    def inspect(self, root: Path) -> list[Finding]:
        """Problems of the folder's layout that `find` and `read` do not report."""


FrameFile = Callable[[SequenceRef, int], Path]
"""Optional function `frame_file(ref, number)` of an adapter: the path, relative to the dataset's folder, where it
expects the image of a video's frame `number` (from 0). `trace extract-frames` writes there."""


def dataset_folder(spec: DatasetSpec, root: Path, marks: Sequence[str] = ()) -> Path:
    """The dataset's folder: under `root` by one of its names (ignoring case), or `root` itself when it holds one of
    `marks`. A folder that contains only a folder of the same name, as archives unpack, is entered.

    Raises DatasetLayoutError that lists the searched names; a permission error is reported as such.
    """
    names = tuple({name.lower(): name for name in reversed(spec.folders)}.values())[::-1]
    if not is_folder(root):
        raise DatasetLayoutError(
            f"{spec.name} is not here: the folder does not exist", where=root, hint="correct the path or  --root DIR"
        )
    folder = entry(root, *spec.folders)
    if folder is not None and is_folder(folder):
        inner = entry(folder, *spec.folders)
        return inner if inner is not None and not _is_dataset(folder, marks) and _is_dataset(inner, marks) else folder
    if _is_dataset(root, marks):
        return root
    held = listing(root)
    for name in spec.folders:
        if name in held.broken:
            raise DatasetLayoutError(f"{name} is {held.broken[name]}", where=root, hint=_wanted(spec))
    if folder is not None:
        raise DatasetLayoutError("is a file, expected a folder", where=folder, hint=_wanted(spec))
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
    inside = entry(folder, first)
    return inside is not None and (not rest or (is_folder(inside) and _holds(inside, rest)))


def _elsewhere(spec: DatasetSpec, root: Path, inside: Sequence[str], marks: Sequence[str]) -> Path | None:
    """Another root that holds the dataset: at most two folders up, or one down."""
    try:
        for place in (root.parent, root.parent.parent, *(root / name for name in inside[:FOLDERS_SEARCHED])):
            found = entry(place, *spec.folders)
            named = found is not None and is_folder(found) and (not marks or _is_dataset(found, marks))
            if named or _is_dataset(place, marks):
                return place
    except DatasetLayoutError:
        pass  # the error is about the given folder only
    return None


def folder_of(spec: DatasetSpec, root: Path, refs: Sequence[SequenceRef]) -> Path:
    """The dataset's folder, inferred from the sequences that `find` returned."""
    places = [path for ref in refs for path in (ref.annotation, ref.images) if path.is_relative_to(root)]
    return dataset_folder(spec, root, sorted({path.relative_to(root).parts[0] for path in places if path != root}))


def _wanted(spec: DatasetSpec) -> str:
    return f"expected {spec.expected}; get it from {spec.page}, or give --root DIR"
