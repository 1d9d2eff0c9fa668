"""Batches in a fixed order: what step `s` sees is a pure function of (configuration, seed, s), whoever loads it.

Threads, not processes: decoding releases the interpreter lock, and nothing has to be copied between processes. Each
thread decodes one clip at a time straight into its place in the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import cv2
import numpy as np
import torch
from torch import Tensor

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling.sampler import ClipSampler, ClipTable, clip_table, positions
from trace_data.shards.storage.store import LocalStore
from trace_train.config import Config, DataConfig, Stage, at_stage
from trace_train.streaming.augment import plan, whole
from trace_train.streaming.batch import Batch, FrameBuffers, LoadedClip, collate
from trace_train.streaming.gpu_decoder import choose_decoder
from trace_train.streaming.occluders import load_cutouts
from trace_train.streaming.unreadable import ATTEMPTS, UNREADABLE, SkippedClip, UnreadableClips, another
from trace_train.streaming.views import read_view

MOST_SHARDS = 32
"""In an automatic window. The first batches need nearly all of them, 16 GB of the usual size; with five sequences a
shard two clips of a batch then come from the same sequence in one of 160 pairs."""


CPU = torch.device("cpu")
Loader = Callable[[Tensor], LoadedClip]
"""Loads one clip into its place in a batch, (T, S, S, 3)."""
SHARDS_AHEAD = 128
"""Coming shards that are looked at; of these the store fetches those that its cache holds."""
Take = Callable[[tuple[int, ...]], Tensor]
"""Memory for uint8 frames of a shape, with undefined values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The clips of one batch and how each is loaded."""

    loaders: Sequence[Loader]
    frames: int
    """Frames a clip, T."""
    size: int
    """Side of the square crops, px."""


def load_clip(reader: ShardReader, ref: ClipRef, size: int, out: Tensor | None = None) -> LoadedClip:
    """Read one clip with its whole frames letter-boxed and unchanged."""
    place = torch.empty(ref.length, size, size, 3, dtype=torch.uint8) if out is None else out
    return read_view(reader, ref, whole(reader.annotations(ref)), place)


class TrainStream:
    """The training batches of a run, from any step on."""

    def __init__(
        self,
        reader: ShardReader,
        config: Config,
        device: torch.device = CPU,
        *,
        rank: int = 0,
        world_size: int = 1,
        on_message: Callable[[SkippedClip], None] = lambda clip: None,
    ) -> None:
        """`device`: where the batches go; `data.decode` says whether frames are decoded there. `on_message` is called
        by the reading threads for every clip that another one replaces (`data.on_error`).

        Of `world_size` processes that train together, each gets its part of every step's clips; what a step sees does
        not depend on their number. Raises ConfigError when clips cannot be drawn, occluders read or frames decoded as
        the configuration asks, or when some step has clips that cannot be dealt evenly.
        """
        config = with_shuffle_window(config, reader)
        self.reader, self.config, self.device = reader, config, device
        self.unreadable = UnreadableClips(reader, config.data, on_message)
        self._ahead: list[int] = []
        self.rank, self.world_size = rank, world_size
        uneven = [stage.clips for stage in config.stages if stage.clips % world_size]
        if uneven:
            raise ConfigError(
                f"{uneven[0]} clips a step cannot be dealt evenly to {world_size} processes",
                hint="stages.clips counts the clips of all processes together: give a multiple of their number",
            )
        self.bounds = stage_bounds(config)
        self.notes: list[str] = []
        """What a person should know about how clips are drawn."""
        self.data = [at_stage(config, number).data for number in range(len(config.stages))]
        self.samplers = [self._sampler(number, stage) for number, stage in enumerate(config.stages)]
        self.decoder = choose_decoder(config.data.decode, device)
        self.cutouts = None if config.data.occluders is None else load_cutouts(config.data.occluders)

    def _sampler(self, number: int, stage: Stage) -> ClipSampler:
        index, data = self.reader.index, self.config.data
        tables = {
            name: clip_table(index, length=stage.frames, strides=data.strides, split="train", datasets=[name])
            for name in sorted({s.dataset for s in index.sequences})
        }
        weights, note = mixing(data, tables)
        if note and note not in self.notes:
            self.notes.append(note)
        return ClipSampler(tables, seed=self.config.seed + number, weights=weights, window=data.shuffle_window or None)

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Number and definition of the stage that step belongs to."""
        number = next(i for i, end in enumerate(self.bounds) if step < end or i == len(self.bounds) - 1)
        return number, self.config.stages[number]

    def positions(self, step: int) -> list[tuple[int, int, ClipRef]]:
        """(epoch, position, clip) of every clip in this process's batch of a step."""
        number, first = self._place(step)
        sampler, count = self.samplers[number], self.config.stages[number].clips
        drawn = []
        for k in positions(first + count, rank=self.rank, world_size=self.world_size, start=first):
            epoch, position = divmod(k, len(sampler))
            drawn.append((epoch, position, sampler.clip(epoch, position)))
        return drawn

    def _place(self, step: int) -> tuple[int, int]:
        """Stage of a step, and the clips of that stage that all processes together have seen before it."""
        number, stage = self.stage_at(step)
        return number, (step - (self.bounds[number - 1] if number else 0)) * stage.clips

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps start to stop, read ahead; frames in page-locked memory or already on a GPU.

        Raises ShardError at the step whose clip cannot be read, see `data.on_error`.
        """
        size = self.config.network.input_size

        def batch_of(step: int) -> BatchPlan:
            self._look_ahead(step)
            loaders = [partial(self._load, step, *drawn) for drawn in self.positions(step)]
            return BatchPlan(loaders=loaders, frames=self.stage_at(step)[1].frames, size=size)

        take = FrameBuffers(pinned=self.device.type == "cuda").take
        if self.decoder is not None:
            take = partial(torch.empty, dtype=torch.uint8, device=self.device)
        yield from read_ahead(map(batch_of, range(start, stop)), self.config.data, take)

    def _look_ahead(self, step: int) -> None:
        """Let the shards that come next be fetched, where they have to be."""
        store = self.reader.store
        if not store.remote:
            return
        number, first = self._place(step)
        sampler = self.samplers[number]
        coming = sampler.upcoming_shards(*divmod(first, len(sampler)), SHARDS_AHEAD)
        if coming != self._ahead:
            self._ahead = coming
            store.prefetch([self.reader.index.shards[shard] for shard in coming])

    def _load(self, step: int, epoch: int, position: int, ref: ClipRef, out: Tensor) -> LoadedClip:
        """The clip, or the first that can be read of those that may take its place."""
        number, _ = self.stage_at(step)
        for attempt in range(1, ATTEMPTS + 2):
            try:
                clip = self._read(number, epoch, position, ref, out)
            except UNREADABLE as error:
                self.unreadable.skip(step, ref, error, last=attempt > ATTEMPTS)
                ref = another(self.samplers[number], (self.config.seed, number), epoch, position, attempt)
            else:
                self.unreadable.was_read()
                return clip
        raise AssertionError("the last attempt returns or raises")

    def _read(self, number: int, epoch: int, position: int, ref: ClipRef, out: Tensor) -> LoadedClip:
        generator = np.random.default_rng([self.config.seed, number, epoch, position])
        view = plan(self.reader.annotations(ref), generator, self.data[number])
        return read_view(self.reader, ref, view, out, decoder=self.decoder, cutouts=self.cutouts)


def stage_bounds(config: Config) -> list[int]:
    """The step at which each stage ends; the last one ends the run."""
    shares = np.cumsum([stage.share for stage in config.stages])
    return [*(round(share * config.steps) for share in shares[:-1]), config.steps]


def mixing(data: DataConfig, tables: Mapping[str, ClipTable]) -> tuple[dict[str, float] | None, str]:
    """Weights for the sampler, and in words what is made of `data.datasets`; None draws every clip equally often.

    Shares are those among the datasets that have clips. Raises ConfigError when one of these has none beside others.
    """
    there = [name for name, table in tables.items() if len(table)]
    absent = sorted(name for name in data.datasets if name not in there)
    note = f"these shards have no clips of {', '.join(absent)}, which data.datasets names" if absent else ""
    shares = {name: own.share for name, own in data.datasets.items() if own.share is not None}
    if data.weights is not None or not shares:
        return data.weights, note
    without = [name for name in there if name not in shares]
    if without:
        raise ConfigError(
            f"{', '.join(without)} has no share of the clips drawn, beside {', '.join(sorted(shares))}",
            hint=f"--set data.datasets.{without[0]}.share=0.2, or give all of them as data.weights",
        )
    weights = {name: shares[name] for name in there}
    total = sum(weights.values()) or 1.0
    parts = ", ".join(f"{name} {share / total:.0%}" for name, share in weights.items())
    return weights, f"clips drawn: {parts}" + (f" ({note})" if note else "")


def read_ahead(plans: Iterable[BatchPlan], data: DataConfig, take: Take | None = None) -> Iterator[Batch]:
    """The batch of every plan, in order, `data.prefetch` ahead on `data.threads` threads.

    `take`: where memory of a shape for frames comes from (default: `FrameBuffers`).
    """
    cv2.setNumThreads(1)  # clips are decoded side by side already
    take = take or FrameBuffers().take
    waiting: deque[tuple[list[Future[LoadedClip]], Tensor]] = deque()
    with ThreadPoolExecutor(data.threads, thread_name_prefix="clips") as pool:

        def begin(plan: BatchPlan) -> None:
            images = take((len(plan.loaders), plan.frames, plan.size, plan.size, 3))
            waiting.append(([pool.submit(load, place) for load, place in zip(plan.loaders, images)], images))

        todo = iter(plans)
        try:
            for plan in islice(todo, data.prefetch):
                begin(plan)
            while waiting:
                clips, images = waiting.popleft()
                batch = collate([clip.result() for clip in clips], images)
                for plan in islice(todo, 1):
                    begin(plan)
                yield batch
        finally:
            for clips, _ in waiting:
                for clip in clips:
                    clip.cancel()


def with_shuffle_window(config: Config, reader: ShardReader) -> Config:
    """The configuration with the automatic `data.shuffle_window` replaced by a number, which a run then keeps: the
    order of clips must not change with the size of a cache."""
    if config.data.shuffle_window is not None:
        return config
    data = config.data.model_copy(update={"shuffle_window": automatic_window(config, reader)})
    return config.model_copy(update={"data": data})


def automatic_window(config: Config, reader: ShardReader) -> int:
    """0 for a folder; for a URL as many training shards of each dataset as together fit half of the cache, at least 1.

    Half, so that the next window is fetched while this one is in use.
    """
    store = reader.store
    if isinstance(store, LocalStore) or not store.remote:
        return 0
    shards = [entry for entry in reader.index.shards if entry.split == "train"]
    datasets = {entry.dataset for entry in shards if _drawn(config, entry.dataset)}
    largest = max((entry.bytes for entry in shards), default=1)
    return max(1, min(MOST_SHARDS, store.cache.limit // (2 * largest)) // max(1, len(datasets)))


def _drawn(config: Config, dataset: str) -> bool:
    data = config.data
    if data.weights is not None:
        return data.weights.get(dataset, 0.0) > 0
    return dataset not in data.datasets or data.datasets[dataset].share != 0
