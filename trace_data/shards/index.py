"""`index.json`, written last: what a folder of shards holds and how to know that it is whole."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import OutputError, ShardError
from trace_data.progress import SILENT, Progress
from trace_data.shards.layout import FORMAT_VERSION, INDEX_FILE
from trace_data.shards.storage.store import LocalStore, Store, as_store

Run = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardEntry:
    """One shard file."""

    file: str
    """Name within the folder."""
    dataset: str
    split: str
    bytes: int
    """Length of the file."""
    sha256: str
    """Of the whole file, hexadecimal."""
    sequences: int
    frames: int
    rows: int
    """Person-frame rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceEntry:
    """One sequence; enough to find every valid clip without opening its shard."""

    dataset: str
    split: str
    name: str
    """Sequence name within dataset and split."""
    shard: int
    """Row in `ShardIndex.shards`."""
    first_frame: int
    """Number of its first frame within the shard."""
    frames: int
    """Number of frames T."""
    people: tuple[str, ...]
    """Names of its people; a row's `people/person` counts in this list."""
    first_person: int
    """Number of its first person over the whole index."""
    fps: float
    width: int
    """Original frame width, px."""
    height: int
    """Original frame height, px."""
    moving: bool
    """Whether the camera moves."""
    world_valid: bool
    world_reason: str
    synthetic: bool
    """Whether the sequence comes from the sample world."""
    frame_id_runs: tuple[tuple[int, int, int], ...]
    """(first id, step, count) of consecutive frames with equally spaced ids."""
    usable: tuple[tuple[Run, ...], ...]
    """For each person the ranges [first, end) of frames in which it is seen and can be learnt from."""
    provenance: Mapping[str, str]
    """Release, layout, adapter and defects applied."""

    @property
    def key(self) -> str:
        """`dataset/split/name`."""
        return f"{self.dataset}/{self.split}/{self.name}"

    def frame_ids(self) -> npt.NDArray[np.int64]:
        """(T,) the release's frame numbers."""
        runs = [first + step * np.arange(count, dtype=np.int64) for first, step, count in self.frame_id_runs]
        return np.concatenate(runs) if runs else np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadSequence:
    """A sequence that was left out of a build, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """Everything in `index.json`, and where it stands."""

    folder: Path | str
    """Its folder, or the URL of that as it may be shown."""
    shards: tuple[ShardEntry, ...]
    sequences: tuple[SequenceEntry, ...]
    bad: tuple[BadSequence, ...]
    """Sequences left out."""
    settings: Mapping[str, Any]
    """What the build was asked for, and the SHA-256 of the body models it used."""
    provenance: Mapping[str, str] = field(default_factory=dict)
    """Versions of the tool, of the encoder and of HDF5."""
    datasets: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    """For each dataset what its sequences' provenance says: release, layout, adapter, defects applied."""
    enlarged_crops: Mapping[str, int] = field(default_factory=dict)
    """How many usual crops of the network's size need which enlargement, see `levels.ENLARGEMENT_BINS`."""

    @property
    def synthetic(self) -> bool:
        """Whether anything in it comes from the sample world."""
        return any(entry.synthetic for entry in self.sequences)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that have sequences, sorted."""
        return tuple(sorted({entry.split for entry in self.sequences}))

    @property
    def people(self) -> int:
        """Number of people over all sequences."""
        return sum(len(entry.people) for entry in self.sequences)


def sequence_from_json(values: Mapping[str, Any]) -> SequenceEntry:
    """A SequenceEntry from what json reads, lists made tuples again."""
    changed: dict[str, Any] = {
        "people": tuple(values["people"]),
        "frame_id_runs": tuple((int(a), int(b), int(c)) for a, b, c in values["frame_id_runs"]),
        "usable": tuple(tuple((int(a), int(b)) for a, b in runs) for runs in values["usable"]),
    }
    return SequenceEntry(**{**values, **changed})


def save_index(index: ShardIndex) -> None:
    """Write `index.json` under a temporary name, then rename it. The same index gives the same bytes."""
    content = {
        "format_version": FORMAT_VERSION,
        **{key: value for key, value in dataclasses.asdict(index).items() if key != "folder"},
    }
    write_json(Path(index.folder) / INDEX_FILE, content)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys under a temporary name, then rename it. Raises OutputError."""
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, sort_keys=True, separators=(",", ":"))
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=file) from error


def load_index(location: Path | str | Store) -> ShardIndex:
    """Read `index.json` of a folder, URL or store. Raises ShardError when it is missing, malformed, or of another
    format version."""
    store = as_store(location)
    file = store.name(INDEX_FILE)
    try:
        values = json.loads(store.read_index().decode("utf-8"))
    except ValueError as error:
        raise ShardError(f"cannot be read: {error}", where=file, hint=store.mend_index) from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise ShardError(
            f"shard format {version}, expected {FORMAT_VERSION}",
            where=file,
            hint="update the project: pip install --upgrade trace-5d"
            if isinstance(version, int) and version > FORMAT_VERSION
            else store.renew,
        )
    try:
        return ShardIndex(
            folder=store.where,
            shards=tuple(ShardEntry(**entry) for entry in values["shards"]),
            sequences=tuple(sequence_from_json(entry) for entry in values["sequences"]),
            bad=tuple(BadSequence(**entry) for entry in values["bad"]),
            settings=dict(values["settings"]),
            provenance=dict(values["provenance"]),
            datasets={
                name: {key: tuple(found) for key, found in facts.items()}
                for name, facts in values.get("datasets", {}).items()
            },
            enlarged_crops=dict(values.get("enlarged_crops", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShardError(f"malformed index: {error!r}", where=file, hint=store.mend_index) from error


def check_index(location: Path | str | Store, *, hashes: bool = False, progress: Progress = SILENT) -> ShardIndex:
    """The index, after making sure that every shard is there with its length, and its SHA-256 with `hashes`.

    With `hashes` all shards of a URL are fetched. Raises ShardError that names the first shard that is missing, cut
    short or changed.
    """
    store = as_store(location)
    index = load_index(store)
    progress.begin("verify shards", len(index.shards), "shards")
    for entry, size in zip(index.shards, store.sizes(index.shards)):
        _check(store, entry, size, hashes=hashes)
        progress.advance(detail=entry.file)
    progress.end(f"{len(index.shards)} shards, {sum(entry.bytes for entry in index.shards):,} bytes")
    return index


def check_shard(folder: Path, entry: ShardEntry, *, hashes: bool) -> None:
    """Compare one shard file with its entry. Raises ShardError."""
    store = LocalStore(folder)
    _check(store, entry, store.sizes([entry])[0], hashes=hashes)


def _check(store: Store, entry: ShardEntry, size: int | None, *, hashes: bool) -> None:
    where = store.name(entry.file)
    if size is not None and size != entry.bytes:
        raise ShardError(f"the shard has {size:,} bytes, expected {entry.bytes:,}", where=where, hint=store.mend)
    if hashes and (digest := sha256_of(store.file(entry))) != entry.sha256:
        raise ShardError(
            f"the content changed: SHA-256 {digest[:16]}…, expected {entry.sha256[:16]}…", where=where, hint=store.mend
        )


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
