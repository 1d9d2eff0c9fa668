"""Registry of dataset adapters. Built-in modules are imported on first use; users can register their own."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import cast

from trace_data.adapters.base import Adapter, DatasetRoots, SequenceRef, broken_annotation
from trace_data.adapters.plugins import import_plugin, plugin_of
from trace_data.defects import known_defects, lost, without_defects
from trace_data.errors import AnnotationError, ConfigError, nearest
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split
from trace_data.schema.wild_points import without_wild_points

ADAPTERS = {
    "3dpw": "trace_data.adapters.threedpw",
    "dynacam": "trace_data.adapters.dynacam",
    "h36m": "trace_data.adapters.human36m",
    "mpi-inf-3dhp": "trace_data.adapters.mpi_inf_3dhp",
    "penn-action": "trace_data.adapters.penn_action",
}
"""Canonical name to module, sorted: the datasets of the published training, meant where none is named."""
ON_REQUEST = {
    "bedlam": "trace_data.adapters.bedlam",
    "bedlam2": "trace_data.adapters.bedlam2",
    "emdb": "trace_data.adapters.emdb",
    "mupots": "trace_data.adapters.mupots",
    "rich": "trace_data.adapters.rich",
}
"""Further ones that come with the project and are meant only by their names."""
BUILT_IN = {**ADAPTERS, **ON_REQUEST}
SPELLINGS = {
    "3dpw": ("pw3d", "threedpw"),
    "dynacam": ("dc", "pdc"),
    "h36m": ("human36m", "human3.6m", "h3.6m"),
    "mpi-inf-3dhp": ("mpiinf", "mpiinf3d", "mpii3d", "3dhp", "tdhp", "threedhp"),
    "mupots": ("mupots3d",),
    "penn-action": ("penn", "pennaction"),
}
"""Alternative names of datasets; case, `-`, `_` and spaces are ignored."""
MOTIONS, DEEPEST = "MOTIONS.txt", 6
"""A file that only the sample world's datasets have, where their motions come from somewhere; and how many folders may
lie between it and an annotation."""
_registered: dict[str, Adapter] = {}
"""Adapters of the user's own, by the name in their SPEC."""


def root_of(name: str, root: Path | DatasetRoots) -> Path:
    """Where a dataset is looked for: `root`, or what it says of this dataset. Raises ConfigError."""
    return root.of(canonical_name(name)) if isinstance(root, DatasetRoots) else root


def register_adapter(module: str) -> str:
    """Register a user's adapter in this process, by importable name or by the path of a `.py` file.

    Modules in the current folder are found. Returns the name of its dataset. Raises ConfigError when it cannot be
    imported, is not an adapter, or its dataset's name is taken.
    """
    adapter = import_plugin(module)
    name = adapter.SPEC.name
    taken = _registered.get(name)
    if _plain(name) in _known() or (taken is not None and plugin_of(taken) != plugin_of(adapter)):
        raise ConfigError(f"{module} calls its dataset {name!r}, which is the name of another one", hint="rename it")
    _registered[name] = adapter
    return name


def canonical_name(name: str) -> str:
    """The canonical name of a dataset; a name with a dot is a user's module.

    Raises ConfigError with the nearest name.
    """
    known = _known()
    if name in _registered:
        return name
    if _plain(name) in known:
        return known[_plain(name)]
    if "." in name:
        return register_adapter(name)
    near = nearest(_plain(name), known)
    raise ConfigError(
        f"unknown dataset {name!r}" + (f", did you mean {known[near]!r}?" if near else ""),
        hint=f"datasets are {', '.join([*BUILT_IN, *_registered])}; a module of your own is given with --adapter",
    )


def canonical_names(names: Sequence[str]) -> list[str]:
    """The canonical names of the given datasets, unique and sorted; those of the published training when none is."""
    return sorted({canonical_name(name) for name in names} or ADAPTERS)


def load_adapter(name: str) -> Adapter:
    """The adapter module of a dataset, by any spelling of its name. Raises ConfigError."""
    name = canonical_name(name)
    return _registered[name] if name in _registered else cast(Adapter, importlib.import_module(BUILT_IN[name]))


def find_sequences(name: str, root: Path | DatasetRoots, split: Split) -> list[SequenceRef]:
    """The sequences of a split, in a deterministic order, in a form that any process can read; without those that are
    known to be of no use, see `left_out`.

    A file that cannot be read stands there as one sequence that says so when it is read. Raises DatasetLayoutError when
    the dataset is not there, ConfigError.
    """
    adapter = load_adapter(name)
    try:
        refs = adapter.find(root_of(name, root), split)
    except AnnotationError as error:
        return [broken_annotation(adapter.SPEC.name, split, Path(error.where or root_of(name, root)), error)]
    if canonical_name(name) not in _registered:
        return [ref for ref in refs if lost(ref.dataset, ref.name) is None]
    for ref in refs:
        if (ref.dataset, ref.split) != (adapter.SPEC.name, split):
            raise ConfigError(
                f"find gave a sequence of {ref.dataset}/{ref.split} for {adapter.SPEC.name}/{split}",
                where=plugin_of(adapter).module,
            )
    return [dataclasses.replace(ref, plugin=plugin_of(adapter)) for ref in refs]


def left_out(name: str, root: Path | DatasetRoots) -> list[Finding]:
    """A warning for each sequence that is there and not listed, for it is known to be of no use. Raises TraceError."""
    adapter = load_adapter(name)
    if all(defect.effect != "sequence" for defect in known_defects(adapter.SPEC.name)):
        return []
    refs = [ref for split in adapter.SPEC.splits for ref in adapter.find(root_of(name, root), split)]
    return [
        Finding(severity="warning", key=ref.name, what=f"left out: {defect.reason} ({defect.source})")
        for ref in refs
        if (defect := lost(ref.dataset, ref.name)) is not None
    ]


def adapter_of(ref: SequenceRef) -> Adapter:
    """The adapter of a sequence, imported if necessary. Raises ConfigError."""
    return load_adapter(ref.dataset) if ref.plugin is None else import_plugin(ref.plugin.module, ref.plugin.folder)


def read_record(ref: SequenceRef, *, defects: bool = True) -> SequenceRecord:
    """One sequence without wild 2D points, and without what is known to be wrong in it unless `defects` is False.

    Raises TraceError.
    """
    if ref.broken is not None:
        raise ref.broken
    record = adapter_of(ref).read(ref)
    if (record.dataset, record.split, record.name) != (ref.dataset, ref.split, ref.name):
        raise AnnotationError(f"the adapter read {record.key}, asked for {ref.key}", where=ref.annotation)
    record = _with_motions(without_wild_points(record), ref)
    return without_defects(record, known_defects(record.dataset)) if defects else record


def _with_motions(record: SequenceRecord, ref: SequenceRef) -> SequenceRecord:
    """The record; of a synthetic world whose people move as in recorded motions, its provenance says so."""
    if record.provenance.get("synthetic") != "true":
        return record
    if not any((folder / MOTIONS).is_file() for folder in list(ref.annotation.parents)[:DEEPEST]):
        return record
    said = f"recorded, not drawn: the licence of the files in {MOTIONS} holds for them"
    return dataclasses.replace(record, provenance={**record.provenance, "motions": said})


def adapter_identity(name: str) -> str:
    """Hash of an adapter's source, which invalidates recorded results when it changes."""
    module = cast(ModuleType, load_adapter(name))
    file = Path(module.__file__ or "")
    files = sorted(file.parent.rglob("*.py")) if file.name == "__init__.py" else [file]
    digest = sha256()
    for part in files:
        digest.update(part.read_bytes())
    return digest.hexdigest()


def own_adapters(names: Sequence[str]) -> dict[str, str]:
    """Those of the given datasets with a user's adapter, with `adapter_identity`."""
    return {name: adapter_identity(name) for name in canonical_names(names) if name in _registered}


def _known() -> dict[str, str]:
    """Every spelling to its canonical name."""
    return {_plain(word): name for name in BUILT_IN for word in (name, *SPELLINGS.get(name, ()))}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
