"""Finished shards checked, at three depths that include each other.

index: the index, the files, what they hold and how their tables hang together. hashes: every byte. frames: every image
decodes, and every annotation is what it may be.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Literal

import h5py
import numpy as np

from trace_data.errors import AnnotationError, ConfigError, NoStoredFlowError, ShardError
from trace_data.files import open_regular, sha256_of
from trace_data.frames.image import check_decodes
from trace_data.os_errors import SpecialFile, in_words, is_missing
from trace_data.progress import SILENT, Progress
from trace_data.schema.findings import EXAMPLES, Finding, Problem, any_error, grouped, wrong
from trace_data.shards.checks.file import BROKEN, first_sequence, structure_findings, table_findings
from trace_data.shards.checks.records import read_columns, record_findings, reprojection, reprojection_findings
from trace_data.shards.checksums import of_annotations
from trace_data.shards.entries import BadSequence, SequenceEntry, ShardEntry, ShardIndex
from trace_data.shards.flow.index import FlowEntry, FlowIndex, add_flow_command, load_flow_index
from trace_data.shards.flow.layout import FLOW_INDEX_FILE, SUFFIX, flow_file
from trace_data.shards.flow.tables import field_findings, flow_findings
from trace_data.shards.index import read_index
from trace_data.shards.layout import (
    ANNOTATION_CHECKSUM,
    FRAME_BYTES,
    FRAME_OFFSET,
    FRAME_SIZE,
    IMAGE_CHECKSUM,
    INDEX_FILE,
    PEOPLE_OFFSET,
    SHARD_BYTES,
)
from trace_data.shards.storage.store import LocalStore
from trace_data.workers import spread

Depth = Literal["index", "hashes", "frames"]
DEPTHS: tuple[Depth, ...] = ("index", "hashes", "frames")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardReport:
    """What was found of one shard."""

    file: str
    dataset: str
    split: str
    sequences: int
    frames: int
    rows: int
    """Person-frame rows."""
    bytes: int
    images: int
    """Images decoded, over all levels; 0 below depth frames, and where the file is too broken for it."""
    reprojection_px: dict[str, float]
    """For each sequence with 2D and 3D joints the median distance between them; empty below depth frames."""
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """No errors."""
        return not any_error(self.problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardsReport:
    """What was found of a folder of shards."""

    folder: Path
    depth: Depth
    synthetic: bool
    """Whether anything in it comes from the sample world."""
    index: tuple[Problem, ...]
    """Of the index itself, and of files that it does not name."""
    shards: tuple[ShardReport, ...]
    left_out: tuple[BadSequence, ...]
    """Sequences that the build left out, with its reasons; no fault of the shards."""
    seconds: float

    @property
    def ok(self) -> bool:
        """No errors; warnings do not count. The command exits 3 otherwise."""
        return all(shard.ok for shard in self.shards) and not any_error(self.index)

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        content = dataclasses.asdict(self)
        for written, shard in zip(content["shards"], self.shards):
            written["ok"] = shard.ok
        return {**content, "folder": str(self.folder), "seconds": round(self.seconds, 2), "ok": self.ok}


def verify_shards(folder: Path, *, depth: Depth = "frames", jobs: int = 1, progress: Progress = SILENT) -> ShardsReport:
    """Check a folder of finished shards. What is wrong is reported, never raised, but for an index that cannot be used.

    Raises ShardError when `index.json` is missing, malformed, or of another format; ConfigError on an unknown depth.
    """
    if depth not in DEPTHS:
        raise ConfigError(f"unknown depth {depth!r}", hint=f"depths are {', '.join(DEPTHS)}")
    began = monotonic()
    index, findings = read_index(folder)
    flow, of_flow = (None, []) if findings else _flow_index(folder, index)
    tasks = [] if findings else [_task(folder, index, number, depth, flow) for number in range(len(index.shards))]
    frames = sum(task.entry.frames for task in tasks)
    progress.begin("verify shards", frames, "frames")
    reports = dict(spread(_verify_shard, tasks, jobs=jobs, progress=progress))
    progress.end(f"{len(tasks)} shards, {frames:,} frames")
    hint = f"run the same build again, it writes the index anew: {build_command(index)}"
    problems = [(f"{INDEX_FILE} {where}", dataclasses.replace(finding, hint=hint)) for where, finding in findings]
    return ShardsReport(
        folder=folder,
        depth=depth,
        synthetic=any(entry.synthetic is True for entry in index.sequences),
        index=grouped([*problems, *of_flow, *_strays(folder, index, flow)]),
        shards=tuple(reports[number] for number in range(len(tasks))),
        left_out=index.bad,
        seconds=monotonic() - began,
    )


def build_command(index: ShardIndex) -> str:
    """The command that built these shards, as far as the index tells; DIR and MODULE stand where it does not."""
    own = index.settings.get("adapters") or ()  # datasets of modules that the index does not name
    words = ["trace", "build-shards"]
    with contextlib.suppress(TypeError):  # an index from other hands may hold anything
        words += [str(name) for name in index.settings.get("names", []) if name not in own]
        words += [word for _ in own for word in ("--adapter", "MODULE")]
    words += ["--root", "DIR"]
    words += ["--packs", "DIR"] if index.settings.get("body_models") else []
    words += ["--out", str(index.folder)]
    with contextlib.suppress(TypeError):
        words += _options(index.settings)
    return shlex.join(words)


def _options(settings: Mapping[str, Any]) -> list[str]:
    """The options of a build that are not its defaults. Raises TypeError on settings that no build has written."""
    splits, shard_bytes = settings.get("splits", []), settings.get("shard_bytes", SHARD_BYTES)
    given = [("--split", split) for split in splits] if len(splits) < 3 else []
    given += [("--sequences", name) for name in settings.get("sequences", [])]
    given += [("--limit", settings["limit"])] if settings.get("limit") else []
    given += [("--every", settings["every"])] if settings.get("every", 1) != 1 else []
    if not settings.get("raised", True):
        given += [("--height", height) for height in settings.get("heights", [])] or [("--frames", "original")]
    if shard_bytes != SHARD_BYTES and shard_bytes % (1 << 20) == 0:  # others only a script can have asked for
        given.append(("--shard-size", shard_bytes >> 20))
    words = [str(word) for option in given for word in option]
    words += ["--check", "geometry"] if settings.get("check") == "geometry" else []
    return words + (["--no-defects"] if settings.get("defects") is False else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One shard, in any process."""

    folder: Path
    entry: ShardEntry
    sequences: tuple[SequenceEntry, ...]
    depth: Depth
    command: str
    """What builds these shards."""
    flow: tuple[FlowIndex, FlowEntry] | None = None
    """The stored flow of the shard, if the folder has some."""


def _task(folder: Path, index: ShardIndex, number: int, depth: Depth, flow: FlowIndex | None) -> _Task:
    entry = index.shards[number]
    command = build_command(index)
    if not (folder / ".build").is_dir():  # copied without its records, so that a build cannot go on here
        command += " --force  (or copy the file again from where it was built)"
    sequences = tuple(sequence for sequence in index.sequences if sequence.shard == number)
    own = None if flow is None else next((e for e in flow.shards if e.file == flow_file(entry.file)), None)
    return _Task(
        folder=folder,
        entry=entry,
        sequences=sequences,
        depth=depth,
        command=command,
        flow=None if flow is None or own is None else (flow, own),
    )


def _flow_index(folder: Path, index: ShardIndex) -> tuple[FlowIndex | None, list[tuple[str, Finding]]]:
    """The index of stored flow, None where there is none or none that can be used, and what is wrong with it."""
    try:
        return load_flow_index(LocalStore(folder), index.shards), []
    except NoStoredFlowError:
        return None, []
    except ShardError as error:
        return None, [(FLOW_INDEX_FILE, dataclasses.replace(wrong("flow", error.message), hint=error.hint or ""))]


def _strays(folder: Path, index: ShardIndex, flow: FlowIndex | None) -> Iterator[tuple[str, Finding]]:
    known = {str(entry.file) for entry in (*index.shards, *(() if flow is None else flow.shards))}
    for file in sorted(folder.iterdir()):
        if file.name.endswith(SUFFIX) and file.name not in known:
            what = f"is not in {FLOW_INDEX_FILE}: an unfinished trace add-flow has left it, nothing reads it"
            hint = f"the same trace add-flow command goes on with it; or  rm {shlex.quote(str(file))}"
            yield file.name, Finding(severity="warning", key="file", what=what, hint=hint)
        elif file.name not in known and file.name.endswith((".h5", ".partial")):
            what = "is not in the index: an unfinished or older build has left it, nothing reads it"
            yield file.name, Finding(severity="warning", key="file", what=what, hint=f"rm {shlex.quote(str(file))}")


def _verify_shard(task: _Task, progress: Progress) -> ShardReport:
    entry = task.entry
    file = task.folder / entry.file
    damage = _damage(file, task)
    inside = _Inside()
    if damage is None or damage.key == "content":  # then the tables may tell what changed
        inside = _look_inside(file, task, progress)
        if inside.found and damage is None:  # at depth index nobody has looked at the bytes yet
            damage = _changed(file, task)
    if not inside.images:
        progress.advance(entry.frames)
    if damage is not None:
        hint = damage.hint or f"run the same build again, it redoes only what is damaged: {task.command}"
        inside.found.insert(0, (entry.file, damage))
    elif inside.unreadable:
        hint = "its bytes are as they were built: keep it, and try with more free memory, on another disk or machine"
    else:
        hint = f"remove it and run the same build again: rm {shlex.quote(str(file))}; {task.command}"
    return ShardReport(
        **{name: getattr(entry, name) for name in ("file", "dataset", "split", "sequences", "frames", "rows", "bytes")},
        images=inside.images,
        reprojection_px=inside.medians,
        problems=grouped(
            [
                *((where, dataclasses.replace(finding, hint=hint)) for where, finding in inside.found),
                *_flow_problems(task),
            ]
        ),
    )


def _flow_problems(task: _Task) -> Iterator[tuple[str, Finding]]:
    """What is wrong with the stored flow of a shard."""
    if task.flow is None:
        return
    index, entry = task.flow
    own = dataclasses.replace(task, entry=entry)
    file = task.folder / entry.file
    hint = f"computed again, only what is damaged: {add_flow_command(task.folder, index.settings)}"
    damage = _damage(file, own)
    found = [damage] if damage is not None else []
    if not found:
        try:
            with h5py.File(file, locking=False) as content:
                found = flow_findings(content, entry, index, task.sequences)
                if task.depth == "frames" and not found:
                    found = list(field_findings(content))
        except BROKEN as error:
            found = [wrong("file", f"not readable as flow: {error}")]
    yield from ((entry.file, dataclasses.replace(finding, hint=finding.hint or hint)) for finding in found)


def _damage(file: Path, task: _Task) -> Finding | None:
    """What is wrong when the file is not there with its length, and with its hash where that is asked for."""
    try:
        with open_regular(file) as stream:
            size = os.fstat(stream.fileno()).st_size
    except SpecialFile:
        return wrong("file", "not a plain file")
    except OSError as error:
        what, hint = in_words(error)
        if is_missing(error):
            return wrong("file", "the shard is missing")
        return Finding(severity="error", key="file", what=what, hint=hint or f"ls -l {shlex.quote(str(file))}")
    if size != task.entry.bytes:
        return wrong("length", f"the shard has {size:,} bytes, expected {task.entry.bytes:,}{_other(file, task)}")
    return None if task.depth == "index" else _changed(file, task)


def _changed(file: Path, task: _Task) -> Finding | None:
    try:
        digest = sha256_of(file)
    except OSError as error:  # a broken disk or mount: what was read so far says nothing of the file
        what, hint = in_words(error)
        return Finding(severity="error", key="file", what=what, hint=hint or "look at the disk, then run this again")
    if digest == task.entry.sha256:
        return None
    return wrong("content", f"the content changed: SHA-256 {digest[:16]}…, expected {task.entry.sha256[:16]}…")


def _other(file: Path, task: _Task) -> str:
    """When a file of the wrong length is a whole shard, whose it is."""
    try:
        with h5py.File(file, locking=False) as content:
            name = first_sequence(content)
    except BROKEN:
        return ""  # cut or overwritten: there is nothing to tell
    expected = task.sequences[0].key if task.sequences else None
    return f"; it is another shard, which begins with {name}" if name and name != expected else ""


@dataclass(slots=True)
class _Inside:
    """What a file holds."""

    found: list[tuple[str, Finding]] = field(default_factory=list)
    images: int = 0
    unreadable: bool = False
    """HDF5 could not read it."""
    medians: dict[str, float] = field(default_factory=dict)


def _look_inside(file: Path, task: _Task, progress: Progress) -> _Inside:
    entry, inside = task.entry, _Inside()
    try:
        with h5py.File(file, locking=False) as content:
            broken = structure_findings(content, entry) or table_findings(content, entry, task.sequences)
            inside.found = [(entry.file, finding) for finding in broken]
            if task.depth == "frames" and not broken:
                for sequence in task.sequences:
                    _annotations(content, sequence, inside)
                    _images(content, sequence, inside, progress)
    except BROKEN as error:
        inside.unreadable = True
        inside.found.append((entry.file, wrong("file", f"not readable as a shard: {error}")))
    return inside


def _annotations(content: Any, sequence: SequenceEntry, inside: _Inside) -> None:
    columns = read_columns(content, sequence)
    found = record_findings(columns, sequence)
    frames = slice(sequence.first_frame, sequence.first_frame + sequence.frames)
    edges = content[PEOPLE_OFFSET][frames.start : frames.stop + 1]
    checksums = of_annotations(columns.values, edges - edges[0], range(sequence.frames))
    for frame in np.flatnonzero(checksums != content[ANNOTATION_CHECKSUM][frames])[:EXAMPLES].tolist():
        found.append(wrong(f"frame {frame}", "the annotations are not those of their CRC-32"))
    if not found and (median := reprojection(columns)) is not None:
        inside.medians[sequence.key] = round(median, 3)
        found += reprojection_findings(median, sequence)
    inside.found += [(sequence.key, finding) for finding in found]


def _images(content: Any, sequence: SequenceEntry, inside: _Inside, progress: Progress) -> None:
    """Every image of every level decodes to the size that stands beside it."""
    frames = slice(sequence.first_frame, sequence.first_frame + sequence.frames)
    edges = content[FRAME_OFFSET][:, frames.start : frames.stop + 1].tolist()
    sizes = content[FRAME_SIZE][:, frames].tolist()
    checksums = content[IMAGE_CHECKSUM][:, frames].tolist()
    for frame in range(sequence.frames):
        for level, offset in enumerate(edges):
            if offset[frame + 1] > offset[frame]:
                data = content[FRAME_BYTES][offset[frame] : offset[frame + 1]].tobytes()
                inside.images += 1
                what = _image(data, sizes[level][frame])
                if what is None and zlib.crc32(data) != checksums[level][frame]:
                    what = "the bytes are not those of their CRC-32"
                if what:
                    inside.found.append((sequence.key, wrong(f"frame {frame}, level {level}", what)))
        progress.advance()


def _image(data: bytes, size: Sequence[int]) -> str | None:
    """What is wrong with an encoded image of `size`; None when nothing is."""
    try:
        check_decodes(data, "frame", (size[0], size[1]))
    except AnnotationError as error:
        return error.message
    return None
