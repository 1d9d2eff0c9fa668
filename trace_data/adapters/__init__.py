"""Datasets by name. A module is loaded when its dataset is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import cast

from trace_data.adapters.base import Adapter, SequenceRef
from trace_data.defects import known_defects, without_defects
from trace_data.errors import ConfigError, nearest
from trace_data.schema.record import SequenceRecord

ADAPTERS = {
    "3dpw": "trace_data.adapters.threedpw",
    "dynacam": "trace_data.adapters.dynacam",
    "h36m": "trace_data.adapters.human36m",
    "mpi-inf-3dhp": "trace_data.adapters.mpi_inf_3dhp",
    "penn-action": "trace_data.adapters.penn_action",
}
"""Canonical name to module, sorted."""
SPELLINGS = {
    "3dpw": ("pw3d", "threedpw"),
    "dynacam": ("dc", "pdc"),
    "h36m": ("human36m", "human3.6m", "h3.6m"),
    "mpi-inf-3dhp": ("mpiinf", "mpiinf3d", "mpii3d", "3dhp", "tdhp", "threedhp"),
    "penn-action": ("penn", "pennaction"),
}
"""Other words for a dataset; case, `-`, `_` and blanks never matter."""


def canonical_name(name: str) -> str:
    """The canonical name of a dataset. Raises ConfigError with the nearest one."""
    known = {_plain(word): canonical for canonical in ADAPTERS for word in (canonical, *SPELLINGS.get(canonical, ()))}
    if _plain(name) in known:
        return known[_plain(name)]
    near = nearest(_plain(name), known)
    raise ConfigError(
        f"unknown dataset {name!r}" + (f", did you mean {known[near]!r}?" if near else ""),
        hint=f"datasets are {', '.join(ADAPTERS)}",
    )


def canonical_names(names: Sequence[str]) -> list[str]:
    """The canonical names of the datasets named, each once, sorted; all that are known when none is named."""
    return sorted({canonical_name(name) for name in names} or ADAPTERS)


def load_adapter(name: str) -> Adapter:
    """The adapter module of a dataset, by any spelling of its name. Raises ConfigError."""
    return cast(Adapter, importlib.import_module(ADAPTERS[canonical_name(name)]))


def read_record(ref: SequenceRef, *, defects: bool = True) -> SequenceRecord:
    """One sequence, without what is known to be wrong in it unless `defects` is False. Raises AnnotationError."""
    record = load_adapter(ref.dataset).read(ref)
    return without_defects(record, known_defects(record.dataset)) if defects else record


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
