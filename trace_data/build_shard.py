"""One shard of a build: verified when it is finished already, else written; the work of one process."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from trace_data.adapters import load_adapter
from trace_data.adapters.base import SequenceRef
from trace_data.completion import load_bodies
from trace_data.errors import AnnotationError, OutputError, ShardError
from trace_data.progress import Progress
from trace_data.schema.check import check_record
from trace_data.schema.record import Split
from trace_data.shards.index import (
    BadSequence,
    SequenceEntry,
    ShardEntry,
    check_shard,
    sequence_from_json,
    write_json,
)
from trace_data.shards.levels import Storage
from trace_data.shards.rows import rows_of
from trace_data.shards.writer import ShardWriter

BUILD_FOLDER = ".build"
"""Folder beside the shards with the records of those that are finished."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlan:
    """What one shard is to hold."""

    name: str
    """File name without `.h5`."""
    dataset: str
    split: Split
    refs: tuple[SequenceRef, ...]
    """Its sequences, in order."""

    def identity(self) -> str:
        """Hash of what the plan reads: sequence names, frame counts, sizes and times of the annotation files."""
        parts: list[tuple[str, int, int, int]] = []
        for ref in self.refs:
            try:
                state = ref.annotation.stat()
                parts.append((ref.key, ref.frames, state.st_size, state.st_mtime_ns))
            except OSError:
                parts.append((ref.key, ref.frames, 0, 0))  # reading it will say what is wrong
        return sha256(repr(parts).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A plan and what is needed to carry it out in any process."""

    plan: ShardPlan
    out: Path
    packs: Path | None
    storage: Storage
    """In which sizes frames are stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """A finished shard; `shard` is None when none of its sequences could be used."""

    shard: ShardEntry | None
    sequences: tuple[SequenceEntry, ...]
    bad: tuple[BadSequence, ...]
    warnings: tuple[str, ...]
    kept: bool
    """Whether it was finished before."""
    enlarged: tuple[int, ...] = ()
    """How many usual crops need which enlargement, see `shards.levels.ENLARGEMENT_BINS`."""


def build_shard(work: Work, progress: Progress) -> ShardResult:
    """Write one shard, unless its record and its hash say that it is finished. Raises OutputError."""
    record = work.out / BUILD_FOLDER / f"{work.plan.name}.json"
    identity = work.plan.identity()
    finished = _finished(work, record, identity)
    if finished is not None:
        progress.advance(sum(ref.frames for ref in work.plan.refs), detail=work.plan.name)
        return finished
    try:
        record.unlink(missing_ok=True)
        result = _write(work, progress)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=work.out / f"{work.plan.name}.h5",
            hint="make room or give another --out DIR; the same command continues where it stopped",
        ) from error
    write_json(record, {"identity": identity, **dataclasses.asdict(result)})
    return result


def _write(work: Work, progress: Progress) -> ShardResult:
    bad: list[BadSequence] = []
    warnings: list[str] = []
    with ShardWriter(work.out, work.plan.name, storage=work.storage) as writer:
        for ref in work.plan.refs:
            try:
                warnings += _add(writer, ref, work.packs, progress)
            except AnnotationError as error:
                where = f"{error.where}: " if error.where else ""
                bad.append(BadSequence(key=ref.key, reason=f"{where}{error.message}"))
        closed = writer.close(work.plan.dataset, work.plan.split)
        enlarged = tuple(int(count) for count in writer.enlarged)
    shard, sequences = closed or (None, ())
    return ShardResult(
        shard=shard, sequences=sequences, bad=tuple(bad), warnings=tuple(warnings), kept=False, enlarged=enlarged
    )


def _add(writer: ShardWriter, ref: SequenceRef, packs: Path | None, progress: Progress) -> list[str]:
    """Read, check, complete and write one sequence; its warnings. Raises AnnotationError."""
    record = load_adapter(ref.dataset).read(ref)
    findings = check_record(record)
    for finding in findings:
        if finding.severity == "error":
            raise AnnotationError(f"{finding.key}: {finding.what}", where=ref.annotation, hint=finding.hint or None)
    completed = {} if packs is None else load_bodies(packs).complete(record)
    writer.add(record, rows_of(record, completed), progress)
    return [f"{ref.key}: {finding.key}: {finding.what}" for finding in findings]


def _finished(work: Work, record: Path, identity: str) -> ShardResult | None:
    """The result of an earlier run when its plan is this one, all of it was good, and the file still has its hash.

    A shard that had to leave something out is tried again: a frame that was mended shows in no date of its annotation.
    """
    try:
        values = json.loads(record.read_text(encoding="utf-8"))
        if values["identity"] != identity or values["bad"]:
            return None
        shard = None if values["shard"] is None else ShardEntry(**values["shard"])
        if shard is not None:
            check_shard(work.out, shard, hashes=True)
        return ShardResult(
            shard=shard,
            sequences=tuple(sequence_from_json(entry) for entry in values["sequences"]),
            bad=(),
            warnings=tuple(values["warnings"]),
            kept=True,
            enlarged=tuple(values["enlarged"]),
        )
    except (OSError, ValueError, KeyError, TypeError, ShardError):
        return None  # no record, half a record, or a damaged shard: all are mended by writing the shard again
