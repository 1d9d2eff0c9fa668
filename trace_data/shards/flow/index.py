"""Reads and writes `flow.json`, which is written last and so marks complete flow of a folder of shards."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import pydantic_core
from pydantic import FailFast, TypeAdapter, ValidationError

from trace_data.errors import NoStoredFlowError, ShardError
from trace_data.files import write_json
from trace_data.shards.entries import Count, ShardEntry
from trace_data.shards.flow.layout import FLOW_INDEX_FILE, FLOW_VERSION, flow_file
from trace_data.shards.storage.store import JoinedStore, Store

Provider = Literal["dis", "raft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowEntry(ShardEntry):
    """The file with one shard's flow; `bytes` and `sha256` are the file's own, counts those of the shard."""

    shard_sha256: str
    """SHA-256 of the shard whose frames the flow was computed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowSettings:
    """What determines the flow, besides the frames."""

    provider: Provider
    height: Count
    """Short side of the pictures that it was computed on, px."""
    strides: tuple[Count, ...]
    """Distances in frames of a sequence between the two frames of a pair, rising."""
    iterations: Count | None = None
    """Refinement iterations of RAFT."""
    weights_sha256: str | None = None
    """SHA-256 of RAFT's weights."""
    made_with: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Versions and device that the bytes depend on."""

    def same_flow(self, other: FlowSettings) -> bool:
        """Whether the two may serve one network: same provider, weights and iterations."""
        return all(getattr(self, key) == getattr(other, key) for key in ("provider", "iterations", "weights_sha256"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowIndex:
    """The content of `flow.json`."""

    format_version: int
    settings: FlowSettings
    shards: Annotated[tuple[FlowEntry, ...], FailFast()]


@lru_cache(maxsize=1)
def _schema() -> TypeAdapter[FlowIndex]:
    return TypeAdapter(FlowIndex)


def save_flow_index(folder: Path, index: FlowIndex) -> None:
    """Write `flow.json` under a temporary name, then rename it. Raises OutputError."""
    write_json(folder / FLOW_INDEX_FILE, dataclasses.asdict(index))


def add_flow_command(where: str | Path, settings: FlowSettings | None = None) -> str:
    """The command that adds flow to a folder of shards, or brings it up to date."""
    words = ["trace", "add-flow", str(where), "--flow", "dis" if settings is None else settings.provider]
    if settings is not None:
        words += [word for stride in settings.strides for word in ("--stride", str(stride))]
        words += ["--height", str(settings.height)]
    return shlex.join(words)


def load_flow_index(store: Store, shards: Sequence[ShardEntry]) -> FlowIndex:
    """Read `flow.json` and compare it with the shards of an index.

    Of several sets as one, strides are those that all have. Raises NoStoredFlowError when there is none, ShardError
    when it is malformed, does not cover these shards, or differs between sets.
    """
    if isinstance(store, JoinedStore):
        return _joined(store, shards)
    index = read_flow_index(store)
    if index is None:
        raise NoStoredFlowError(
            "these shards have no stored flow (flow.json is written last and is missing)",
            where=store.where,
            hint=f"{add_flow_command(store.where)}  adds it, without touching the shards; or --flow raft"
            if not store.remote
            else "trace add-flow DIR  where they were built adds it; upload the new files, flow.json last",
        )
    by_file = {entry.file: entry for entry in index.shards}
    command = add_flow_command(store.where, index.settings) + "  computes what is missing"
    for shard in shards:
        entry = by_file.get(flow_file(shard.file))
        if entry is None or (entry.shard_sha256, entry.frames) != (shard.sha256, shard.frames):
            what = "has no flow" if entry is None else "was built anew since its flow was computed"
            raise ShardError(f"{shard.file} {what}", where=store.name(FLOW_INDEX_FILE), hint=command)
    return dataclasses.replace(index, shards=tuple(by_file[flow_file(shard.file)] for shard in shards))


def read_flow_index(store: Store) -> FlowIndex | None:
    """The content of `flow.json`, None without one. Raises ShardError when it is malformed."""
    assert not isinstance(store, JoinedStore)
    where = store.name(FLOW_INDEX_FILE)
    hint = f"{add_flow_command(store.where)}  writes it anew" if not store.remote else store.repair_hint
    data = store.read_flow_index()
    if data is None:
        return None
    try:
        values = pydantic_core.from_json(data)
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FLOW_VERSION:
            raise ShardError(f"flow of format {version}, expected {FLOW_VERSION}", where=where, hint=hint)
        index = _schema().validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ShardError(f"malformed index of flow: {what}", where=where, hint=hint) from error
    except ValueError as error:
        raise ShardError(f"cannot be read: {error}", where=where, hint=hint) from error
    for what in _wrong(index):
        raise ShardError(f"malformed index of flow: {what}", where=where, hint=hint)
    return index


def _wrong(index: FlowIndex) -> Iterator[str]:
    strides = index.settings.strides
    if not strides or strides[0] < 1 or list(strides) != sorted(set(strides)):
        yield f"strides {list(strides)}, expected rising ones from 1 on"
    for entry in index.shards:
        if Path(entry.file).name != entry.file or not entry.file.endswith(".flow.h5") or not entry.file.isprintable():
            yield f"{entry.file!r} is no name of a file of flow in this folder"
        if not re.fullmatch(r"[0-9a-f]{64}", entry.sha256):
            yield f"{entry.sha256[:80]!r} is no SHA-256"
    if len({entry.file for entry in index.shards}) < len(index.shards):
        yield "a file is listed twice"


def _joined(store: JoinedStore, shards: Sequence[ShardEntry]) -> FlowIndex:
    entries: list[FlowEntry] = []
    indexes: list[FlowIndex] = []
    for number, part in enumerate(store.parts):
        prefix = f"{number}/"
        own = [
            dataclasses.replace(shard, file=shard.file.removeprefix(prefix))
            for shard in shards
            if shard.file.startswith(prefix)
        ]
        index = load_flow_index(part, own)
        if indexes and not index.settings.same_flow(indexes[0].settings):
            raise ShardError(
                f"the sets have flow by {indexes[0].settings.provider.upper()} and {index.settings.provider.upper()},"
                " or by other weights or iterations: a network needs one kind",
                where=part.where,
                hint=f"{add_flow_command(part.where, indexes[0].settings)} --force  computes it as in the first set",
            )
        indexes.append(index)
        entries += [dataclasses.replace(entry, file=prefix + entry.file) for entry in index.shards]
    common = set.intersection(*(set(index.settings.strides) for index in indexes))
    settings = dataclasses.replace(indexes[0].settings, strides=tuple(sorted(common)))
    return FlowIndex(format_version=FLOW_VERSION, settings=settings, shards=tuple(entries))
