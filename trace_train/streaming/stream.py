"""Batches in a fixed order: what step `s` sees is a pure function of (configuration, seed, s), whoever loads it.

Threads, not processes: decoding releases the interpreter lock, and nothing has to be copied between processes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from trace_data.schema.clip import ClipAnnotations, ClipRef
from trace_data.shards.reader import ShardReader
from trace_data.shards.sampling import ClipSampler, clip_table
from trace_train.config import Config, DataConfig, Stage
from trace_train.streaming.augment import ViewPlan, full_frame, plan, recolor
from trace_train.streaming.batch import Batch, LoadedClip, collate

Item = TypeVar("Item")


def load_clip(reader: ShardReader, ref: ClipRef, size: int) -> LoadedClip:
    """Read one clip with its whole frames letter-boxed and unchanged."""
    known = reader.annotations(ref)
    window = full_frame(known.width, known.height)
    return _through(reader, ref, known, ViewPlan(windows=(window,) * ref.length, color=(1.0, 1.0, 1.0)), size)


def _through(reader: ShardReader, ref: ClipRef, annotations: ClipAnnotations, view: ViewPlan, size: int) -> LoadedClip:
    return LoadedClip(
        ref=ref,
        frames=recolor(reader.frames(ref, view.windows, size), view.color),
        crop_from_frame=np.stack([w.crop_from_frame(size) for w in view.windows]),
        annotations=annotations,
    )


class TrainStream:
    """The training batches of a run, from any step on."""

    def __init__(self, reader: ShardReader, config: Config) -> None:
        self.reader, self.config = reader, config
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
            )
            for i, stage in enumerate(config.stages)
        ]

    def stage_at(self, step: int) -> tuple[int, Stage]:
        """Number and definition of the stage that step belongs to."""
        number = next(i for i, end in enumerate(self.bounds) if step < end or i == len(self.bounds) - 1)
        return number, self.config.stages[number]

    def positions(self, step: int) -> list[tuple[int, int, ClipRef]]:
        """(epoch, position, clip) of every clip in the batch of a step."""
        number, stage = self.stage_at(step)
        first = (step - (self.bounds[number - 1] if number else 0)) * stage.clips
        sampler = self.samplers[number]
        drawn = []
        for k in range(first, first + stage.clips):
            epoch, position = divmod(k, len(sampler))
            drawn.append((epoch, position, sampler.clip(epoch, position)))
        return drawn

    def batches(self, start: int, stop: int) -> Iterator[Batch]:
        """The batches of steps start to stop, read ahead."""

        def load(step: int) -> Batch:
            return collate([self._load(step, *drawn) for drawn in self.positions(step)])

        yield from read_ahead(load, range(start, stop), self.config.data)

    def _load(self, step: int, epoch: int, position: int, ref: ClipRef) -> LoadedClip:
        annotations = self.reader.annotations(ref)
        number, _ = self.stage_at(step)
        generator = np.random.default_rng([self.config.seed, number, epoch, position])
        view = plan(annotations, generator, self.config.data)
        return _through(self.reader, ref, annotations, view, self.config.network.input_size)


def stage_bounds(config: Config) -> list[int]:
    """The step at which each stage ends; the last one ends the run."""
    shares = np.cumsum([stage.share for stage in config.stages])
    return [*(round(share * config.steps) for share in shares[:-1]), config.steps]


def read_ahead(load: Callable[[Item], Batch], items: Sequence[Item], data: DataConfig) -> Iterator[Batch]:
    """`load(item)` for every item, in order, `data.prefetch` ahead on `data.threads` threads."""
    with ThreadPoolExecutor(data.threads, thread_name_prefix="clips") as pool:
        waiting: deque[Future[Batch]] = deque()
        todo = iter(items)
        try:
            for item in todo:
                waiting.append(pool.submit(load, item))
                if len(waiting) >= data.prefetch:
                    break
            while waiting:
                batch = waiting.popleft().result()
                for item in todo:
                    waiting.append(pool.submit(load, item))
                    break
                yield batch
        finally:
            for future in waiting:
                future.cancel()
