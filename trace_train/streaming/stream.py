"""Training batches in a fixed order: the batch of step `s` is a pure function of (configuration, seed, s).

Uses threads instead of processes: decoding releases the GIL, and nothing has to be copied between processes. Each
thread decodes one clip at a time directly into its place in the batch.
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
from trace_data.shards.entries import SequenceEntry, ShardIndex
from trace_data.shards.flow.reader import FlowReader
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
"""Maximum number of shards in an automatic shuffle window. The first batches need nearly all of them, about 16 GB. With
five sequences per shard, two clips of a batch share a sequence with probability 1/160."""


CPU = torch.device("cpu")
Loader = Callable[[Tensor], LoadedClip]
"""Loads one clip into its place in a batch, (T, S, S, 3)."""
SHARDS_AHEAD = 128
"""Number of upcoming shards considered for prefetching; the store fetches as many as its cache can hold."""
Take = Callable[[tuple[int, ...]], Tensor]
"""Allocates uninitialised memory for uint8 frames of a shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The clips of one batch and their loaders."""

    loaders: Sequence[Loader]
    frames: int
    """Frames per clip, T."""
    size: int
    """Side of the square crops, px."""


def load_clip(
    reader: ShardReader,
    ref: ClipRef,
    size: int,
    out: Tensor | None = None,
    *,
    flow: FlowReader | None = None,
    continues: bool = False,
) -> LoadedClip:
    """Read one clip without augmentation, its whole frames letter-boxed; `flow` and `continues` as in `read_view`."""
    place = torch.empty(ref.length, size, size, 3, dtype=torch.uint8) if out is None else out
    return read_view(reader, ref, whole(reader.annotations(ref)), place, flow=flow, continues=continues)


class TrainStream:
    """The training batches of a run, starting at any step."""

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
        """`device`: target of the batches; frames are decoded there if `data.decode` says so. `on_message` is called
        from the reading threads for every clip that was replaced (`data.on_error`).

        Each of `world_size` processes gets an equal part of every step's clips; which clips a step has does not depend
        on their number. Raises ConfigError if clips cannot be sampled, occluders read or frames decoded as configured,
        or if the clips of some step cannot be divided evenly; ShardError if stored flow is to be read and missing.
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
        """Messages for the user about the sampling of clips."""
        self.data = [at_stage(config, number).data for number in range(len(config.stages))]
        self.samplers = [self._sampler(number, stage) for number, stage in enumerate(config.stages)]
        self.decoder = choose_decoder(config.data.decode, device)
        self.flow = FlowReader(reader) if config.network.flow == "stored" else None
        self.cutouts = None if config.data.occluders is None else load_cutouts(config.data.occluders)

    def _sampler(self, number: int, stage: Stage) -> ClipSampler:
        data = self.config.data
        tables = clip_tables(self.reader.index, data, stage.frames)
        weights, note = mixing(data, tables)
        if note and note not in self.notes:
            self.notes.append(note)
        return ClipSampler(tables, seed=self.config.seed + number, weights=weights, window=data.shuffle_window or None)

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Number and definition of the stage of a step."""
        number = next(i for i, end in enumerate(self.bounds) if step < end or i == len(self.bounds) - 1)
        return number, self.config.stages[number]

    def positions(self, step: int) -> list[tuple[int, int, ClipRef]]:
        """(epoch, position, clip) of every clip in this process's batch at a step."""
        number, first = self._place(step)
        sampler, count = self.samplers[number], self.config.stages[number].clips
        drawn = []
        for k in positions(first + count, rank=self.rank, world_size=self.world_size, start=first):
            epoch, position = divmod(k, len(sampler))
            drawn.append((epoch, position, sampler.clip(epoch, position)))
        return drawn

    def _place(self, step: int) -> tuple[int, int]:
        """The stage of a step, and the number of that stage's clips used before it by all processes."""
        number, stage = self.stage_at(step)
        return number, (step - (self.bounds[number - 1] if number else 0)) * stage.clips

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps start to stop, prefetched; frames in page-locked memory or already on a GPU.

        Raises ShardError at the step of a clip that cannot be read, unless `data.on_error` is `skip`.
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
        """Prefetch the shards needed next, if they are remote."""
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
        """The clip, or its first readable replacement."""
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
        return read_view(self.reader, ref, view, out, decoder=self.decoder, cutouts=self.cutouts, flow=self.flow)


def stage_bounds(config: Config) -> list[int]:
    """The step at which each stage ends; the last is the end of the run."""
    shares = np.cumsum([stage.share for stage in config.stages])
    return [*(round(share * config.steps) for share in shares[:-1]), config.steps]


def clip_tables(index: ShardIndex, data: DataConfig, frames: int) -> dict[str, ClipTable]:
    """The training clips of so many frames of every dataset, of the sequences that `data.camera` and `data.world` take.

    Raises ConfigError if the shards have no training split.
    """

    def wanted(entry: SequenceEntry) -> bool:
        camera = data.camera == "any" or entry.moving == (data.camera == "moving")
        return camera and (entry.world_valid or not data.world)

    return {
        name: clip_table(index, length=frames, strides=data.strides, split="train", datasets=[name], wanted=wanted)
        for name in sorted({entry.dataset for entry in index.sequences})
    }


def mixing(data: DataConfig, tables: Mapping[str, ClipTable]) -> tuple[dict[str, float] | None, str]:
    """Sampling weights of the datasets (None: all clips are equally likely), and a note about absent datasets.

    Shares are normalised over the datasets that have clips. Raises ConfigError if only some of these have a share.
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
    """Load the batch of every plan, in order, `data.prefetch` ahead with `data.threads` threads.

    `take`: allocator of frame memory (default: `FrameBuffers`).
    """
    cv2.setNumThreads(1)  # clips are already decoded in parallel
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
    """Replace an automatic `data.shuffle_window` by a number, which the run then keeps: the order of clips must not
    change with the size of the cache."""
    if config.data.shuffle_window is not None:
        return config
    data = config.data.model_copy(update={"shuffle_window": automatic_window(config, reader)})
    return config.model_copy(update={"data": data})


def automatic_window(config: Config, reader: ShardReader) -> int:
    """0 for a folder; for a URL the number of training shards per dataset that fit in half of the cache, at least 1.

    Half of it, so that the next window can be fetched while the current one is in use.
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
