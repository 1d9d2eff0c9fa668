"""Finds and reads one sequence of whatever dataset a folder holds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trace_data.adapters import BUILT_IN, find_sequences, load_adapter, read_record
from trace_data.adapters.base import SequenceRef
from trace_data.errors import AnnotationError, DatasetLayoutError
from trace_data.schema.check import check_record
from trace_data.schema.record import SequenceRecord
from trace_data.schema.sequence_patterns import the_one


def sequences_below(folder: Path, own: Sequence[str] = ()) -> list[SequenceRef]:
    """All sequences of the datasets that a folder is or holds; none where no adapter knows it.

    `own`: names of registered adapters of the user's, besides those of the project. Raises ConfigError.
    """
    found: list[SequenceRef] = []
    for name in [*BUILT_IN, *own]:
        for split in load_adapter(name).SPEC.splits:
            with suppress(DatasetLayoutError):  # another dataset, or one of which only some splits were downloaded
                found += find_sequences(name, folder, split)
    return found


def read_one(folder: Path, refs: Sequence[SequenceRef], name: str | None) -> SequenceRecord:
    """The one of a folder's sequences that a name or pattern means, checked; the frames themselves are not needed.

    Raises ConfigError for none or several, AnnotationError.
    """
    ref = refs[the_one(refs, name, where=folder)]
    record = read_record(ref)
    for finding in check_record(record, files=False):
        if finding.severity == "error":
            raise AnnotationError(f"{finding.key}: {finding.what}", where=ref.annotation, hint=finding.hint or None)
    return record
