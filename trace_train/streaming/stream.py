"""Batches in a fixed order: what step `s` sees is a pure function of (configuration, seed, s), whoever loads it.

Threads, not processes: decoding releases the interpreter lock, and nothing has to be copied between processes. Each
thread decodes one clip at a time straight into its place in the batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling import ClipSampler, clip_table
from trace_train.config import Config, DataConfig, Stage
from trace_train.streaming.augment import ViewPlan, full_frame, plan, recolor
from trace_train.streaming.batch import Batch, LoadedClip, collate
from trace_train.streaming.buffers import FrameBuffers
from trace_train.streaming.shuffle import with_shuffle_window

Frames = npt.NDArray[np.uint8]
Loader = Callable[[Frames], LoadedClip]
"""Loads one clip into its place in a batch, (T, S, S, 3)."""
SHARDS_AHEAD = 128
"""Coming shards that are looked at; of these the store fetches those that its cache holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """The clips of one batch and how each is loaded."""

    loaders: Sequence[Loader]
    frames: int
    """Frames a clip, T."""
    size: int
    """Side of the square crops, px."""


def load_clip(reader: ShardReader, ref: ClipRef, size: int, out: Frames | None = None) -> LoadedClip:
    """Read one clip with its whole frames letter-boxed and unchanged."""
    known = reader.annotations(ref)
    window = full_frame(known.width, known.height)
    return _through(reader, ref, known, ViewPlan(windows=(window,) * ref.length, color=(1.0, 1.0, 1.0)), size, out)


def _through(
    reader: ShardReader, ref: ClipRef, annotations: ClipAnnotations, view: ViewPlan, size: int, out: Frames | None
) -> LoadedClip:
    frames, maps = reader.frames(ref, view.windows, size, out)
    recolored = recolor(frames, view.color)
    if recolored is not frames:
        frames[:] = recolored
    return LoadedClip(ref=ref, frames=frames, crop_from_frame=maps, annotations=annotations)


class TrainStream:
    """The training batches of a run, from any step on."""

    def __init__(self, reader: ShardReader, config: Config) -> None:
        config = with_shuffle_window(config, reader)
        self.reader, self.config = reader, config
        self._ahead: list[int] = []
        self.bounds = stage_bounds(config)
        self.samplers = [
            ClipSampler(
                {
                    name: clip_table(
                        reader.index, length=stage.frames, strides=config.data.strides, split="train", datasets=[name]
                    )
                    for name in sorted({s.dataset for s in reader.index.sequences})
                },
                seed=config.seed + i,
                weights=config.data.weights,
                window=config.data.shuffle_window or None,
            )
            for i, stage in enumerate(config.stages)
        ]

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Number and definition of the stage that step belongs to."""
        number = next(i for i, end in enumerate(self.bounds) if step < end or i == len(self.bounds) - 1)
        return number, self.config.stages[number]

    def positions(self, step: int) -> list[tuple[int, int, ClipRef]]:
        """(epoch, position, clip) of every clip in the batch of a step."""
        number, epoch, position = self._place(step)
        sampler = self.samplers[number]
        drawn = []
        for k in range(position, position + self.config.stages[number].clips):
            later, at = divmod(k, len(sampler))
            drawn.append((epoch + later, at, sampler.clip(epoch + later, at)))
        return drawn

    def _place(self, step: int) -> tuple[int, int, int]:
        """Stage, epoch and position of a step's first clip."""
        number, stage = self.stage_at(step)
        first = (step - (self.bounds[number - 1] if number else 0)) * stage.clips
        return number, *divmod(first, len(self.samplers[number]))

    def batches(self, start: int, stop: int, *, pinned: bool = False) -> Iterator[Batch]:
        """The batches of steps start to stop, read ahead; frames in `pinned` memory when they go to a GPU."""

        size = self.config.network.input_size

        def batch_of(step: int) -> BatchPlan:
            self._look_ahead(step)
            loaders = [partial(self._load, step, *drawn) for drawn in self.positions(step)]
            return BatchPlan(loaders=loaders, frames=self.stage_at(step)[1].frames, size=size)

        yield from read_ahead(map(batch_of, range(start, stop)), self.config.data, pinned=pinned)

    def _look_ahead(self, step: int) -> None:
        """Let the shards that come next be fetched, where they have to be."""
        store = self.reader.store
        if not store.remote:
            return
        number, epoch, position = self._place(step)
        coming = self.samplers[number].upcoming_shards(epoch, position, SHARDS_AHEAD)
        if coming != self._ahead:
            self._ahead = coming
            store.prefetch([self.reader.index.shards[shard] for shard in coming])

    def _load(self, step: int, epoch: int, position: int, ref: ClipRef, out: Frames) -> LoadedClip:
        annotations = self.reader.annotations(ref)
        number, _ = self.stage_at(step)
        generator = np.random.default_rng([self.config.seed, number, epoch, position])
        data = self.config.data
        view = plan(
            annotations,
            generator,
            crop_probability=data.crop_probability,
            crop_scale=data.crop_scale,
            color_jitter=data.color_jitter,
            color_jitter_probability=data.color_jitter_probability,
        )
        return _through(self.reader, ref, annotations, view, self.config.network.input_size, out)


def stage_bounds(config: Config) -> list[int]:
    """The step at which each stage ends; the last one ends the run."""
    shares = np.cumsum([stage.share for stage in config.stages])
    return [*(round(share * config.steps) for share in shares[:-1]), config.steps]


def read_ahead(plans: Iterable[BatchPlan], data: DataConfig, *, pinned: bool = False) -> Iterator[Batch]:
    """The batch of every plan, in order, `data.prefetch` ahead on `data.threads` threads."""
    cv2.setNumThreads(1)  # clips are decoded side by side already
    buffers = FrameBuffers(pinned=pinned)
    waiting: deque[tuple[list[Future[LoadedClip]], Tensor]] = deque()
    with ThreadPoolExecutor(data.threads, thread_name_prefix="clips") as pool:

        def begin(plan: BatchPlan) -> None:
            images = buffers.take((len(plan.loaders), plan.frames, plan.size, plan.size, 3))
            places = images.numpy()
            waiting.append(([pool.submit(load, place) for load, place in zip(plan.loaders, places)], images))

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
