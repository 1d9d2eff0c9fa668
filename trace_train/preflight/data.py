"""Checks that the shards contain what the configuration needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trace_data.errors import ConfigError, ShardError, TraceError
from trace_data.progress import counted
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import ShardEntry, ShardIndex, build_split
from trace_data.shards.index import load_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling.sampler import ClipSampler, ClipTable
from trace_data.shards.storage.store import Store
from trace_train.config import Config, DataConfig
from trace_train.preflight.parts import PreflightItem
from trace_train.protocols.loading import load_protocol, sequences_of
from trace_train.streaming.occluders import load_cutouts
from trace_train.streaming.stored_flow import flow_reader, with_flow_provider
from trace_train.streaming.stream import clip_tables, load_clip, mixing
from trace_train.training.stage_checks import stage_errors

NAMED = 10
"""Maximum number of broken shards to name."""


def check_shards(store: Store, config: Config, *, world_size: int = 1) -> list[PreflightItem]:
    """Check the files, one frame of each dataset, and that clips can be sampled as configured."""
    files, clips = PreflightItem(name="shards"), PreflightItem(name="clips")
    try:
        index = load_index(store)
    except TraceError as error:
        files.errors.append(error)
        return [files]
    frames = sum(entry.frames for entry in index.sequences)
    names = sorted({entry.dataset for entry in index.sequences})
    files.found = f"{counted(len(index.shards), 'shard')}, {frames:,} frames: {', '.join(names)}" + (
        "  (synthetic)" if index.synthetic else ""
    )
    files.errors += _file_errors(store, index.shards)
    if not files.errors and not store.remote:
        files.errors += _frame_errors(ShardReader(store))
    if store.remote:
        files.warnings.append("frames behind a URL are not checked before they are fetched")
    # what is wrong with every stage alike is said once
    clips.errors += {str(error): error for error in _clip_errors(index, config, world_size, clips)}.values()
    return [files, clips]


def check_flow(store: Store, config: Config) -> tuple[PreflightItem, Config]:
    """Check that stored flow is there if it is read; also returns the configuration with its provider filled in."""
    item = PreflightItem(name="flow")
    try:
        reader = ShardReader(store)
        config = with_flow_provider(config, reader)
        if (flow := flow_reader(config, reader)) is not None:
            item.found = f"by {config.network.flow_provider}, {len(flow.index.shards)} files beside the shards"
            item.errors += _file_errors(store, flow.index.shards)
    except TraceError as error:
        item.errors.append(error)
    return item, config


def _file_errors(store: Store, shards: Sequence[ShardEntry]) -> list[TraceError]:
    """An error for each missing or truncated shard; of remote shards, only for the first."""
    groups = [shards] if store.remote else [(entry,) for entry in shards]
    errors: list[TraceError] = []
    for entries in groups:
        try:
            sizes = store.sizes(entries)
        except TraceError as error:
            errors.append(error)
            continue
        errors += [
            ShardError(
                f"the shard has {size:,} bytes, expected {entry.bytes:,}",
                where=store.name(entry.file),
                hint=store.repair_hint,
            )
            for entry, size in zip(entries, sizes)
            if size is not None and size != entry.bytes
        ]
    if len(errors) > NAMED:
        more = ShardError(
            f"{len(errors) - NAMED:,} more shards are missing or cut", where=store.where, hint=store.repair_hint
        )
        return [*errors[:NAMED], more]
    return errors


def _frame_errors(reader: ShardReader) -> Iterator[TraceError]:
    """Read and decode the first frame of each dataset."""
    first = {entry.dataset: row for row, entry in reversed(list(enumerate(reader.index.sequences)))}
    for row in first.values():
        try:
            load_clip(reader, ClipRef(sequence=row, start=0, stride=1, length=1), 64)
        except TraceError as error:
            yield error


def _clip_errors(index: ShardIndex, config: Config, world_size: int, part: PreflightItem) -> Iterator[TraceError]:
    if "train" not in index.splits:
        yield ConfigError(
            f"these shards have no training split, they have {', '.join(index.splits) or 'none'}",
            where=index.folder,
            hint=build_split(index, "train"),
        )
        return
    yield from stage_errors(config, world_size)
    for number, stage in enumerate(config.stages):
        where = f"stages[{number}]"
        tables = clip_tables(index, config.data, stage.frames)
        if not any(map(len, tables.values())):
            yield _no_clips(index, stage.frames, config.data, where)
            continue
        clips = sum(map(len, tables.values()))
        part.found += f"{', ' if part.found else ''}{clips:,} of {counted(stage.frames, 'frame')}"
        yield from _mixing_errors(config, tables)
    if config.evaluation.every and config.evaluation.split not in index.splits:
        yield ConfigError(
            f"these shards have no split {config.evaluation.split!r} to evaluate on",
            where="evaluation.every",
            hint=f"{build_split(index, config.evaluation.split)}, or --set evaluation.every=0",
        )
    elif config.evaluation.every:
        try:
            sequences_of(index, load_protocol(), config.evaluation.split)
        except ConfigError as error:
            hint = f"{error.hint}, or --set evaluation.every=0"
            yield ConfigError(error.message, where="evaluation.every", hint=hint)
    if config.data.occluders is not None:
        try:
            load_cutouts(config.data.occluders)
        except TraceError as error:
            yield error


def _no_clips(index: ShardIndex, frames: int, data: DataConfig, where: str) -> ConfigError:
    """Why no training sequence has a clip of so many frames: none is wanted, all are too short, or nobody is annotated
    so long."""
    strides = data.strides
    if any(map(len, clip_tables(index, data.model_copy(update={"camera": "any", "world": False}), frames).values())):
        what = " and ".join([*([f"{data.camera} cameras"] * (data.camera != "any")), *(["a known world"] * data.world)])
        return ConfigError(
            f"no training sequence has {what}, which data.camera and data.world ask for",
            where=where,
            hint="build dynacam or bedlam, or choose  --config trace",
        )
    training = [entry for entry in index.sequences if entry.split == "train"]
    longest = max(entry.frames for entry in training)
    usable = max((end - first for entry in training for runs in entry.usable for first, end in runs), default=0)
    with_strides = f"{counted(frames, 'frame')} with strides {list(strides)}"
    if (frames - 1) * min(strides) < longest:
        return ConfigError(
            f"in no training sequence can anybody be learnt from for {with_strides}: the longest has {longest} frames, "
            + (f"people are annotated in {usable} on end at most" if usable else "nobody is annotated in any"),
            where=where,
            hint="choose fewer frames for this stage, or look for the annotations with  trace verify-datasets"
            if usable
            else "annotations were lost, or never made: trace verify-datasets --depth content",
        )
    return ConfigError(
        f"no training sequence is long enough for {with_strides}: the longest has {longest}",
        where=where,
        hint="choose fewer frames for this stage, or smaller data.strides",
    )


def _mixing_errors(config: Config, tables: dict[str, ClipTable]) -> Iterator[TraceError]:
    """Errors for datasets in `data.weights` without clips, and for wrong shares."""
    weights = config.data.weights
    if weights is not None:
        empty = [name for name, weight in weights.items() if weight > 0 and not len(tables.get(name, ()))]
        for name in empty:
            there = ", ".join(found for found, table in tables.items() if len(table))
            yield ConfigError(
                f"{name!r} has a weight and no clips in these shards, which have {there}",
                where="data.weights",
                hint="trace build-shards with this dataset, or take it out of data.weights",
            )
        if empty:
            return
    try:
        ClipSampler(tables, seed=config.seed, weights=mixing(config.data, tables)[0])
    except TraceError as error:
        yield error
