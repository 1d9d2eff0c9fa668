"""Selects the frames of a split to evaluate, and schedules them as videos processed in parallel."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import usual_step
from trace_data.shards.reader import ShardReader
from trace_train.protocols.loading import load_protocol, sequences_of
from trace_train.protocols.protocol import Protocol

CHUNK_SECONDS = 100 / 30
"""Duration of the literature's chunk of 100 frames at 30 frames per second; kept at other frame rates."""
SORTED = 8
"""Windows are sorted by length in groups of this many times the number of parallel videos, so that parallel videos have
similar lengths and windows of one shard stay close together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSpan:
    """Consecutive frames of a sequence, processed as one video."""

    sequence: int
    """Row in the index."""
    start: int
    """Index of the first frame in the sequence."""
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The next frames of some videos processed in parallel."""

    windows: tuple[int, ...]
    """Indices of their windows."""
    at: int
    """Index of the first frame within the windows."""
    frames: int
    kept: tuple[int, ...]
    """Indices of these videos in the previous chunk, whose state they continue; empty at the start."""


def windows_of(reader: ShardReader, split: str, *, every: int = 1, protocol: Protocol | None = None) -> list[VideoSpan]:
    """The whole sequences of a split or, with `every` above one, every n-th of the windows they are cut into.

    `protocol`: only the sequences that belong to it. Raises ConfigError if there are none.
    """
    windows = []
    for row in sorted(sequences_of(reader.index, protocol or load_protocol(), split)):
        entry = reader.index.sequences[row]
        rate = entry.fps / usual_step(entry.frame_ids())
        length = entry.frames if every == 1 else max(2, round(CHUNK_SECONDS * rate))
        windows += [
            VideoSpan(sequence=row, start=start, frames=min(length, entry.frames - start))
            for start in range(0, entry.frames, length)
        ]
    return windows[::every]


def every_within(reader: ShardReader, split: str, frames: int) -> int:
    """The step between windows for which about `frames` frames are evaluated; 0: all frames."""
    there = sum(entry.frames for entry in reader.index.sequences if entry.split == split)
    return max(1, math.ceil(there / frames)) if frames else 1


def schedule(windows: Sequence[VideoSpan], *, videos: int, frames: int) -> Iterator[Chunk]:
    """Chunks of all windows, with up to `videos` in parallel and up to `frames` frames.

    Videos start together and leave when they end; a chunk ends with the first video that ends, so that there is no
    padding.
    """
    for first in range(0, len(windows), SORTED * videos):
        block = range(first, min(first + SORTED * videos, len(windows)))
        order = sorted(block, key=lambda number: -windows[number].frames)
        for begin in range(0, len(order), videos):
            going, at = order[begin : begin + videos], 0
            kept: tuple[int, ...] = ()
            while going:
                length = min(frames, min(windows[number].frames for number in going) - at)
                yield Chunk(windows=tuple(going), at=at, frames=length, kept=kept)
                at += length
                kept = tuple(place for place, number in enumerate(going) if windows[number].frames > at)
                going = [going[place] for place in kept]


def refs_of(chunk: Chunk, windows: Sequence[VideoSpan]) -> list[ClipRef]:
    """The clip of each video in a chunk."""
    return [
        ClipRef(sequence=w.sequence, start=w.start + chunk.at, stride=1, length=chunk.frames)
        for w in (windows[number] for number in chunk.windows)
    ]


def digest_of(windows: Sequence[VideoSpan], reader: ShardReader) -> str:
    """SHA-256 of the list of windows: name, first frame and number of frames of each."""
    lines = [f"{reader.index.sequences[w.sequence].key} {w.start} {w.frames}\n" for w in windows]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
