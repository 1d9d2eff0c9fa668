"""Reads, writes and checks `index.json`, which is written last and so marks a complete folder of shards."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import pydantic_core
from pydantic import FailFast, TypeAdapter, ValidationError

from trace_data.errors import ShardError
from trace_data.files import sha256_of, write_json
from trace_data.progress import SILENT, Progress
from trace_data.schema.findings import Finding, wrong
from trace_data.shards.checks.index import index_findings
from trace_data.shards.entries import BadSequence, Count, SequenceEntry, ShardEntry, ShardIndex, numbered
from trace_data.shards.layout import FORMAT_VERSION, INDEX_FILE
from trace_data.shards.storage.store import JoinedStore, LocalStore, Store, as_store


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """Typed content of the file. Validation of a list stops at its first error: a hostile file could have a million."""

    format_version: int
    shards: Annotated[tuple[ShardEntry, ...], FailFast()]
    sequences: Annotated[tuple[SequenceEntry, ...], FailFast()]
    bad: Annotated[tuple[BadSequence, ...], FailFast()]
    settings: dict[str, Any]
    provenance: dict[str, str]
    datasets: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    enlarged_crops: dict[str, Count] = field(default_factory=dict)


@lru_cache(maxsize=1)
def _schema() -> TypeAdapter[_Content]:
    return TypeAdapter(_Content)


def save_index(index: ShardIndex) -> None:
    """Write `index.json` under a temporary name, then rename it. The same index gives the same bytes."""
    content = {
        "format_version": FORMAT_VERSION,
        **{key: value for key, value in dataclasses.asdict(index).items() if key != "folder"},
    }
    write_json(Path(index.folder) / INDEX_FILE, content)


def load_index(location: Path | str | Store) -> ShardIndex:
    """Read `index.json` of a folder, URL or store. Raises ShardError when it is missing, malformed, contradicts itself
    or is of another format version."""
    store = as_store(location)
    if isinstance(store, JoinedStore):
        return _joined(store)
    index, found = read_index(store)
    if found:
        where, finding = found[0]
        more = f", and {len(found) - 1:,} more: trace verify-shards lists them" if len(found) > 1 else ""
        raise ShardError(
            f"malformed index: {where}: {finding.key}: {finding.what}{more}",
            where=store.name(INDEX_FILE),
            hint=store.index_repair_hint,
        )
    return index


def _joined(store: JoinedStore) -> ShardIndex:
    """The indexes of all sets as one. Raises ShardError as for each, and when two hold the same sequence."""
    indexes = [load_index(part) for part in store.parts]
    shards: list[ShardEntry] = []
    of_shard: list[list[SequenceEntry]] = []
    home: dict[str, Store] = {}
    for number, (part, index) in enumerate(zip(store.parts, indexes)):
        first = len(of_shard)
        shards += [dataclasses.replace(entry, file=f"{number}/{entry.file}") for entry in index.shards]
        of_shard += [[] for _ in index.shards]
        for entry in index.sequences:
            if (other := home.setdefault(entry.key, part)) is not part:
                raise ShardError(
                    f"{entry.key} is in {other.where} too: it would be drawn twice as often",
                    where=part.where,
                    hint="leave one of the sets out, or build one of them without this dataset",
                )
            of_shard[first + entry.shard].append(entry)
    return ShardIndex(
        folder=store.where,
        shards=tuple(shards),
        sequences=numbered(of_shard),
        bad=tuple(entry for index in indexes for entry in index.bad),
        settings={"sets": [dict(index.settings) for index in indexes]},
        provenance={f"{number} {key}": text for number, i in enumerate(indexes) for key, text in i.provenance.items()},
        datasets=_facts_of_datasets(indexes),
        enlarged_crops=dict(sum((Counter(index.enlarged_crops) for index in indexes), Counter[str]())),
    )


def _facts_of_datasets(indexes: Sequence[ShardIndex]) -> dict[str, dict[str, tuple[str, ...]]]:
    """What the sets say of each dataset, each fact once."""
    facts: dict[str, dict[str, tuple[str, ...]]] = {}
    for index in indexes:
        for name, held in index.datasets.items():
            known = facts.setdefault(name, {})
            for key, values in held.items():
                known[key] = tuple(dict.fromkeys((*known.get(key, ()), *values)))
    return facts


def read_index(location: Path | str | Store) -> tuple[ShardIndex, list[tuple[str, Finding]]]:
    """The index and its problems as (where, finding); without entries if these have wrong types.

    Raises ShardError if it is missing, not JSON, or of another format version.
    """
    store = as_store(location)
    file = store.name(INDEX_FILE)
    data = store.read_index()
    try:
        values = pydantic_core.from_json(data)  # limits nesting and numbers, and accepts only UTF-8
    except ValueError as error:
        raise ShardError(f"cannot be read: {error}", where=file, hint=store.index_repair_hint) from error
    version = values.get("format_version") if isinstance(values, dict) else None
    if version != FORMAT_VERSION:
        raise ShardError(
            f"shard format {version}, expected {FORMAT_VERSION}",
            where=file,
            hint="update the project: git pull in its clone, or pip install a newer wheel"
            if isinstance(version, int) and version > FORMAT_VERSION
            else store.rebuild_hint,
        )
    try:
        content = _schema().validate_json(data, strict=True)
    except ValidationError as error:
        settings = values.get("settings")
        empty = ShardIndex(
            folder=store.where, shards=(), sequences=(), bad=(), settings=settings if isinstance(settings, dict) else {}
        )
        return empty, _type_findings(error)
    fields = {entry.name: getattr(content, entry.name) for entry in dataclasses.fields(content)}
    del fields["format_version"]
    index = ShardIndex(folder=store.where, **fields)
    return index, index_findings(index)


_KINDS = {"string": "str", "dict": "object", "dataclass": "object", "tuple": "list"}
"""Names of types that differ between Pydantic and JSON or Python."""


def _type_findings(error: ValidationError) -> list[tuple[str, Finding]]:
    return [_type_finding(detail) for detail in error.errors(include_url=False, include_context=False)]


def _type_finding(detail: Mapping[str, Any]) -> tuple[str, Finding]:
    where, *rest = map(str, detail["loc"] or ("index",))
    if rest and rest[0].isdecimal():
        where += f"[{rest.pop(0)}]"
    key = ".".join(rest) or "entry"
    kind, _, is_type = detail["type"].rpartition("_")
    value = detail["input"]
    if is_type == "type":
        return where, wrong(key, f"{value!r:.80} is of type {type(value).__name__}, expected {_KINDS.get(kind, kind)}")
    return where, wrong(key, f"{detail['msg']}, found {value!r:.80}")


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
