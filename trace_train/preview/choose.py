"""Chooses clips to show, spread evenly over datasets, splits and sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipRef
from trace_data.schema.sequence_patterns import check_patterns, fits
from trace_data.shards.entries import SequenceEntry, ShardIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Requested clips."""

    clips: int = 12
    """Maximum number of clips."""
    frames: int = 16
    """Frames per clip; shorter sequences are shown completely."""
    stride: int = 1
    """Frame stride."""
    splits: tuple[str, ...] = ("train", "val", "test")
    sequences: tuple[str, ...] = ()
    """Names or patterns of sequences (`sequence_patterns`); empty: all."""


def wanted_sequences(index: ShardIndex, wanted: Wanted) -> list[int]:
    """Index rows of the requested sequences. Raises ConfigError if a named sequence is missing or none matches."""
    check_patterns(wanted.sequences, index.sequences, where=index.folder)
    rows = [row for row, entry in enumerate(index.sequences) if entry.split in wanted.splits and _named(entry, wanted)]
    if not rows:
        raise ConfigError(f"these shards have no such sequence of split {', '.join(wanted.splits)}", where=index.folder)
    return rows


def _named(entry: SequenceEntry, wanted: Wanted) -> bool:
    return not wanted.sequences or any(fits(entry, pattern) for pattern in wanted.sequences)


def choose_clips(index: ShardIndex, wanted: Wanted) -> list[ClipRef]:
    """The clips to show, in index order; deterministic.

    Datasets and splits get equal shares as far as they have sequences. Each sequence gives one clip from its middle,
    and more around it if there are fewer sequences than requested clips. Raises ConfigError.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for row in wanted_sequences(index, wanted):
        entry = index.sequences[row]
        groups.setdefault((entry.dataset, entry.split), []).append(row)
    room = {key: [_room(index.sequences[row], wanted) for row in rows] for key, rows in groups.items()}
    shares = allocate([sum(places) for places in room.values()], wanted.clips)
    refs: list[ClipRef] = []
    for (key, rows), share in zip(groups.items(), shares):
        if share < len(rows):
            chosen = [(row, 1) for row in _spaced(rows, share)]
        else:
            chosen = list(zip(rows, allocate(room[key], share)))
        refs += [ref for row, count in chosen for ref in _clips(row, index.sequences[row], count, wanted)]
    return refs


def allocate(room: Sequence[int], total: int) -> list[int]:
    """Distribute `total` items round-robin over places with capacities `room`."""
    shares = [0] * len(room)
    while sum(shares) < min(total, sum(room)):
        for place in range(len(room)):
            if shares[place] < room[place] and sum(shares) < total:
                shares[place] += 1
    return shares


def _spaced(rows: Sequence[int], count: int) -> list[int]:
    """`count` evenly spaced rows, each from the middle of an equal part."""
    return [rows[int((2 * i + 1) * len(rows) / (2 * count))] for i in range(count)]


def _room(entry: SequenceEntry, wanted: Wanted) -> int:
    """Number of non-overlapping clips in a sequence; at least one, even in a short one."""
    return max(1, entry.frames // _span(wanted))


def _span(wanted: Wanted) -> int:
    return (wanted.frames - 1) * wanted.stride + 1


def _clips(row: int, entry: SequenceEntry, count: int, wanted: Wanted) -> list[ClipRef]:
    length = min(wanted.frames, (entry.frames - 1) // wanted.stride + 1)
    last = entry.frames - 1 - (length - 1) * wanted.stride
    starts = np.linspace(0, last, 2 * count + 1)[1::2].astype(int) if count < 2 else np.linspace(0, last, count)
    return [ClipRef(sequence=row, start=int(start), stride=wanted.stride, length=length) for start in starts]
