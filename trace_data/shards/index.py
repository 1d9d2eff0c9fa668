"""Read, write and check `index.json`, which is written last and so marks a complete folder of shards."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from trace_data.errors import ShardError
from trace_data.files import sha256_of, write_json
from trace_data.progress import SILENT, Progress
from trace_data.shards.entries import BadSequence, ShardEntry, ShardIndex, sequence_from_json
from trace_data.shards.layout import FORMAT_VERSION, INDEX_FILE
from trace_data.shards.storage.store import LocalStore, Store, as_store


def save_index(index: ShardIndex) -> None:
    """Write `index.json` under a temporary name, then rename it. The same index gives the same bytes."""
    content = {
        "format_version": FORMAT_VERSION,
        **{key: value for key, value in dataclasses.asdict(index).items() if key != "folder"},
    }
    write_json(Path(index.folder) / INDEX_FILE, content)


def load_index(location: Path | str | Store) -> ShardIndex:
    """Read `index.json` of a folder, URL or store. Raises ShardError when it is missing, malformed, or of another
    format version."""
    store = as_store(location)
    file = store.name(INDEX_FILE)
    try:
        values = json.loads(store.read_index().decode("utf-8"))
    except ValueError as error:
        raise ShardError(f"cannot be read: {error}", where=file, hint=store.index_repair_hint) from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise ShardError(
            f"shard format {version}, expected {FORMAT_VERSION}",
            where=file,
            hint="update the project: pip install --upgrade trace-5d"
            if isinstance(version, int) and version > FORMAT_VERSION
            else store.rebuild_hint,
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
                name: {key: tuple(entries) for key, entries in facts.items()}
                for name, facts in values.get("datasets", {}).items()
            },
            enlarged_crops=dict(values.get("enlarged_crops", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShardError(f"malformed index: {error!r}", where=file, hint=store.index_repair_hint) from error


def check_index(location: Path | str | Store, *, hashes: bool = False, progress: Progress = SILENT) -> ShardIndex:
    """Read the index and check that every shard exists with the right length and, with `hashes`, SHA-256.

    With `hashes` all shards of a URL are downloaded. Raises ShardError for the first shard that is missing, truncated
    or changed.
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
        raise ShardError(f"the shard has {size:,} bytes, expected {entry.bytes:,}", where=where, hint=store.repair_hint)
    if hashes and (digest := sha256_of(store.file(entry))) != entry.sha256:
        raise ShardError(
            f"the content changed: SHA-256 {digest[:16]}…, expected {entry.sha256[:16]}…",
            where=where,
            hint=store.repair_hint,
        )
