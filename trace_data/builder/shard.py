"""One task of a build: verify a finished shard, or write it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pydantic_core
from pydantic import TypeAdapter

from trace_data.adapters import read_record
from trace_data.adapters.base import SequenceRef
from trace_data.assets.bodies import load_bodies
from trace_data.builder.plan import ShardPlan
from trace_data.builder.size import frames_of
from trace_data.consistency.sequence import judge, measure
from trace_data.errors import AnnotationError, DatasetLayoutError, OutputError, ShardError, printable
from trace_data.files import read_regular, write_json
from trace_data.progress import Progress
from trace_data.schema.check import check_record
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord
from trace_data.schema.thinning import thinned
from trace_data.shards.entries import BadSequence, SequenceEntry, ShardEntry
from trace_data.shards.index import check_shard
from trace_data.shards.layout import INDEX_FILE
from trace_data.shards.levels import Storage
from trace_data.shards.rows import rows_of
from trace_data.shards.storage.store import LARGEST_INDEX
from trace_data.shards.writer import ShardWriter

Check = Literal["content", "geometry"]
CHECKS: tuple[Check, ...] = get_args(Check)
"""What a build refuses: what verification calls an error at this depth, in one sequence. `content` costs next to
nothing: shapes, sizes, units, finite numbers, people before the camera. `geometry` also compares 2D, 3D and bodies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A plan with everything needed to execute it in any process."""

    plan: ShardPlan
    root: Path
    """Folder that holds the datasets."""
    out: Path
    record: Path
    """File that records the finished shard."""
    packs: Path | None
    storage: Storage
    """Sizes of stored frames."""
    defects: bool = True
    """Whether known defects are removed."""
    check: Check = "content"
    """How closely annotations are checked before they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """A finished shard; `shard` is None when none of its sequences is usable."""

    shard: ShardEntry | None
    sequences: tuple[SequenceEntry, ...]
    bad: tuple[BadSequence, ...]
    warnings: tuple[str, ...]
    kept: bool
    """Whether an earlier run had finished it."""
    enlarged: tuple[int, ...] = ()
    """Counts of typical crops by enlargement, see `shards.levels.ENLARGEMENT_BINS`."""
    sides: tuple[tuple[str, bool | None], ...] = ()
    """Key and `SequenceRecord.sides_agree` of each sequence, on which a whole dataset votes."""


def build_shard(work: Work, progress: Progress) -> ShardResult:
    """Write one shard, unless its record and hash show that it is finished. Raises OutputError."""
    identity, file = work.plan.identity(), work.out / f"{work.plan.name}.h5"
    finished = finished_shard(work, progress)
    # a shard with bad sequences is built again: a repaired frame does not change the date of its annotation
    if finished is not None and not finished.bad:
        return finished
    try:
        (work.out / INDEX_FILE).unlink(missing_ok=True)  # it describes the former shard
        work.record.unlink(missing_ok=True)
        result = _write(work, progress)
        if result.shard is None:
            file.unlink(missing_ok=True)
    except OSError as error:
        full = "No space left" in str(error)  # HDF5 wraps the system's message
        raise OutputError(
            f"cannot be written: {'No space left on device' if full else error.strerror or error}",
            where=file,
            hint="make room or give another --out DIR; the same command continues where it stopped",
        ) from error
    write_json(work.record, {"identity": identity, **dataclasses.asdict(result)})
    return result


def _write(work: Work, progress: Progress) -> ShardResult:
    bad: list[BadSequence] = []
    warnings: list[str] = []
    sides: list[tuple[str, bool | None]] = []
    with ShardWriter(work.out, work.plan.name, storage=work.storage) as writer:
        for ref in work.plan.refs:
            counted = _Counted(progress)
            try:
                record, findings = _add(writer, ref, work, counted)
                warnings += [f"{ref.key}: {finding.key}: {finding.what}" for finding in findings]
                sides.append((ref.key, record.sides_agree))
            except (AnnotationError, DatasetLayoutError) as error:
                where = f"{error.where}: " if error.where else ""
                # without the root, which differs between machines and does not belong into an index
                reason = f"{where}{error.message}".replace(f"{work.root}{os.sep}", "")
                bad.append(BadSequence(key=printable(ref.key), reason=printable(reason)))
                progress.skip(frames_of(ref, work.plan.every) - counted.done)
        closed = writer.close(work.plan.dataset, work.plan.split)
        enlarged = tuple(int(count) for count in writer.enlarged)
    shard, sequences = closed or (None, ())
    return ShardResult(
        shard=shard,
        sequences=sequences,
        bad=tuple(bad),
        warnings=tuple(warnings),
        kept=False,
        enlarged=enlarged,
        sides=tuple(sides),
    )


class _Counted(Progress):
    """Forwards progress and counts it, since a sequence may turn out to be bad half-way."""

    def __init__(self, progress: Progress) -> None:
        self.done = 0
        self._progress = progress

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.done += amount
        self._progress.advance(amount, detail)

    def wrote(self, amount: int) -> None:
        self._progress.wrote(amount)


def _add(writer: ShardWriter, ref: SequenceRef, work: Work, progress: Progress) -> tuple[SequenceRecord, list[Finding]]:
    """Read, check, complete and write one sequence; its record and the warnings. Raises AnnotationError."""
    if printable(ref.key) != ref.key:  # no index and no shard can hold it, and no terminal should be shown it
        raise AnnotationError("the sequence's name is no plain UTF-8 text", where=ref.annotation, hint="rename it")
    whole = read_record(ref, defects=work.defects)
    record = thinned(whole, work.plan.every)
    findings = check_record(record)
    _refuse(findings, ref)
    bodies = None if work.packs is None else load_bodies(work.packs)
    if work.check == "geometry":
        _refuse(check_record(whole, files=False), ref)  # what is compared must be whole
        findings += judge(measure(whole, bodies), whole)
        _refuse(findings, ref)
    completed = {} if bodies is None else bodies.complete(record)
    writer.add(record, rows_of(record, completed), progress)
    return record, findings


def _refuse(findings: Sequence[Finding], ref: SequenceRef) -> None:
    """Raises AnnotationError on the first error among findings."""
    for finding in findings:
        if finding.severity == "error":
            raise AnnotationError(f"{finding.key}: {finding.what}", where=ref.annotation, hint=finding.hint or None)


def finished_shard(work: Work, progress: Progress) -> ShardResult | None:
    """The result of an earlier run, if it had the same plan and the file's hash still matches; else None."""
    try:
        values = pydantic_core.from_json(read_regular(work.record, LARGEST_INDEX))
        if values.pop("identity") != work.plan.identity():
            return None
        result = TypeAdapter(ShardResult).validate_python({**values, "kept": True})
        if result.shard is not None:
            check_shard(work.out, result.shard, hashes=True)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ShardError):
        return None  # no record, half a record, or a damaged shard: all are mended by writing the shard again
    if not result.bad:
        progress.skip(work.plan.frames)
    return result
