"""Which frames of a split are scored, and in which order a network sees them: as videos, several side by side."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import build_split, usual_step
from trace_data.shards.reader import ShardReader

CHUNK_SECONDS = 100 / 30
"""What the literature calls a chunk of 100 frames, at 30 frames a second; at other speeds the time is kept."""
SORTED = 8
"""Windows are sorted by length within so many times the videos that are seen side by side: videos of a like length
keep each other company to their end, and those of one shard stay together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoSpan:
    """Consecutive frames of a sequence that are seen as one video."""

    sequence: int
    """Row in the index."""
    start: int
    """First frame, counted within the sequence."""
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """The next frames of some videos that are seen side by side."""

    windows: tuple[int, ...]
    """Numbers of their windows."""
    at: int
    """First frame, counted within the windows."""
    frames: int
    kept: tuple[int, ...]
    """Places of these videos in the piece before, whose state they go on with; empty where they begin."""


def windows_of(reader: ShardReader, split: str, *, every: int = 1) -> list[VideoSpan]:
    """The whole sequences of a split; with `every` above one, every so many of the windows they are cut into.

    Raises ConfigError when there are none.
    """
    windows = []
    for row, entry in enumerate(reader.index.sequences):
        if entry.split != split or not entry.frames:
            continue
        rate = entry.fps / usual_step(entry.frame_ids())
        length = entry.frames if every == 1 else max(2, round(CHUNK_SECONDS * rate))
        windows += [
            VideoSpan(sequence=row, start=start, frames=min(length, entry.frames - start))
            for start in range(0, entry.frames, length)
        ]
    if not windows:
        raise ConfigError(
            f"these shards have no split {split!r}, they have {', '.join(reader.index.splits)}",
            where=reader.store.where,
            hint=build_split(reader.index, split),
        )
    return windows[::every]


def every_within(reader: ShardReader, split: str, frames: int) -> int:
    """How many windows to go on by, so that about `frames` frames are scored; 0 takes all."""
    there = sum(entry.frames for entry in reader.index.sequences if entry.split == split)
    return max(1, math.ceil(there / frames)) if frames else 1


def schedule(windows: Sequence[VideoSpan], *, videos: int, frames: int) -> Iterator[Chunk]:
    """All windows, up to `videos` side by side, up to `frames` frames at a time.

    Videos begin together and leave when they end; a piece ends where the first of its videos does, so that no frame
    is ever filled in.
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
    """The clip of each video of a piece."""
    return [
        ClipRef(sequence=w.sequence, start=w.start + chunk.at, stride=1, length=chunk.frames)
        for w in (windows[number] for number in chunk.windows)
    ]


def digest_of(windows: Sequence[VideoSpan], reader: ShardReader) -> str:
    """SHA-256 of the list of what is scored: name, first frame and number of frames of each window."""
    lines = [f"{reader.index.sequences[w.sequence].key} {w.start} {w.frames}\n" for w in windows]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
