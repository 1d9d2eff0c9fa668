"""Sampling of clips: pure functions of the index and (seed, epoch, position), independent of time and workers."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import SequenceEntry, ShardIndex, build_split, usual_step
from trace_data.shards.sampling.permutation import permuted
from trace_data.shards.sampling.windowed_order import WindowedOrder

LOOKED_THROUGH = 4
"""Clips examined per requested shard, when the order is not windowed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipTable:
    """All valid clips of one dataset and split, stored as ranges, so that its size grows with gaps, not with clips."""

    length: int
    """Frames per clip."""
    hop: int
    """Starts are multiples of this many frames."""
    ranges: npt.NDArray[np.int64]
    """(R, 4): sequence (row in the index), stride, first start, number of starts."""
    ends: npt.NDArray[np.int64]
    """(R,) cumulative number of starts."""
    shards: npt.NDArray[np.int64]
    """(R,) shard of the range (row in the index); clips are numbered in the order of shards."""

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def clip(self, number: int) -> ClipRef:
        """Clip `number` of `len(self)`, ordered by sequence, stride and start."""
        if not 0 <= number < len(self):
            raise IndexError(f"clip {number} of {len(self)}")
        row = int(np.searchsorted(self.ends, number, side="right"))
        sequence, stride, first, count = (int(value) for value in self.ranges[row])
        start = first + (number - (int(self.ends[row]) - count)) * self.hop
        return ClipRef(sequence=sequence, start=start, stride=stride, length=self.length)


def clip_table(
    index: ShardIndex,
    *,
    length: int,
    strides: Sequence[int],
    split: str,
    hop: int | None = None,
    datasets: Sequence[str] | None = None,
    wanted: Callable[[SequenceEntry], bool] = lambda entry: True,
) -> ClipTable:
    """All clips of `length` frames with equally spaced frame ids and at least one person usable throughout.

    A clip of stride s takes every s-th frame of its sequence; its frame ids must be s times the sequence's usual step
    apart, so that gaps in a release are not taken for motion. `hop`: distance of starts in frames, by default 1.
    `datasets` and `wanted` restrict the table (default: all sequences). Deterministic; no shard is opened.
    Raises ConfigError when the split is not in the index.
    """
    if split not in index.splits:
        raise ConfigError(
            f"these shards have no split {split!r}, they have {', '.join(index.splits) or 'none'}",
            where=index.folder,
            hint=build_split(index, split),
        )
    if length < 1 or not strides or min(strides) < 1 or (hop is not None and hop < 1):
        raise ConfigError(f"length {length}, strides {list(strides)} and hop {hop} must all be at least 1")
    step = hop or 1
    ranges: list[tuple[int, int, int, int]] = []
    for row, entry in enumerate(index.sequences):
        if entry.split != split or (datasets is not None and entry.dataset not in datasets) or not wanted(entry):
            continue
        ranges.extend((row, *starts) for starts in _starts(entry, length, sorted(set(strides)), step))
    array = np.array(ranges, np.int64).reshape(-1, 4)
    return ClipTable(
        length=length,
        hop=step,
        ranges=array,
        ends=np.cumsum(array[:, 3]),
        shards=np.array([index.sequences[row].shard for row in array[:, 0]], np.int64),
    )


def _starts(entry: SequenceEntry, length: int, strides: Sequence[int], hop: int) -> Iterator[tuple[int, int, int]]:
    """(stride, first start, count) of each contiguous range of valid starts."""
    ids = entry.frame_ids()
    step = usual_step(ids)
    usable = np.zeros((len(entry.usable), entry.frames), bool)
    for person, runs in enumerate(entry.usable):
        for first, end in runs:
            usable[person, first:end] = True
    for stride in strides:
        last = entry.frames - (length - 1) * stride
        if last <= 0:
            continue
        spaced = ids[stride:] - ids[:-stride] == stride * step
        valid: npt.NDArray[np.bool_] = np.asarray(_throughout(usable, length, stride).any(axis=0))
        if length > 1:
            valid &= _throughout(spaced, length - 1, stride)
        for first, end in runs_of(valid[::hop]):
            yield stride, first * hop, end - first


def _throughout(flags: npt.NDArray[np.bool_], length: int, stride: int) -> npt.NDArray[np.bool_]:
    """Whether the `length` flags f, f + stride, ... along the last axis all hold, for every f where they exist.

    The length doubles in each pass, so there are log2(length) passes.
    """
    known, held = 1, flags
    while known < length:
        more = min(known, length - known)
        held = held[..., : held.shape[-1] - more * stride] & held[..., more * stride :]
        known += more
    return held


def runs_of(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The ranges [first, end) over which `flags` is True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


class ClipSampler:
    """The order of clips in every epoch: `clip(epoch, position)` is a pure function of its arguments.

    Each dataset gets its share of an epoch's positions. Over epochs its clips are sampled without replacement: none
    repeats before all others of the dataset have come, and each pass is shuffled anew.
    """

    def __init__(
        self,
        tables: Mapping[str, ClipTable],
        *,
        seed: int,
        weights: Mapping[str, float] | None = None,
        clips_per_epoch: int | None = None,
        window: int | None = None,
    ) -> None:
        """`weights`: relative share of each table (default: its number of clips, so that an epoch of the default length
        contains each clip once). `window`: number of shards of each table whose clips are mixed at a time, for remote
        shards (default: all clips of the table are mixed). Raises ConfigError when a weighted table is empty or
        unknown, or the window is below 1."""
        self.tables = dict(tables)
        self.seed = seed
        total = sum(len(table) for table in self.tables.values())
        shares = {name: float(len(table)) for name, table in self.tables.items()} if weights is None else weights
        for name, share in shares.items():
            if name not in self.tables or share < 0 or (share > 0 and not len(self.tables[name])):
                held = f"{len(self.tables[name])} clips" if name in self.tables else "no such table"
                raise ConfigError(f"dataset {name!r} cannot have weight {share}: {held}")
        if sum(shares.values()) <= 0:
            raise ConfigError(
                "no sequence is long enough for a single clip, or nobody is annotated for so long in any",
                hint="choose fewer frames a clip or a smaller stride, or another split",
            )
        self._length = total if clips_per_epoch is None else clips_per_epoch
        self._quota = _apportion({name: shares.get(name, 0.0) for name in sorted(self.tables)}, self._length)
        if window is not None and window < 1:
            raise ConfigError(f"a window of {window} shards holds no clip")
        self._orders: dict[str, WindowedOrder] | None = None
        if window is not None:
            self._orders = {
                name: WindowedOrder(*_clips_of_shards(self.tables[name]), window, (seed, name))
                for name, quota in self._quota.items()
                if quota
            }

    def __len__(self) -> int:
        """Clips per epoch."""
        return self._length

    def clip(self, epoch: int, position: int) -> ClipRef:
        """The clip at `position` (0 .. len - 1) of `epoch`."""
        if not 0 <= position < self._length:
            raise IndexError(f"position {position} of {self._length}")
        if self._orders is not None:
            name, count = self._table_at(position)
            table = self.tables[name]
            cycle, index = divmod(epoch * self._quota[name] + count, len(table))
            return table.clip(self._orders[name].number(cycle, index))
        slot = permuted(position, self._length, (self.seed, "mix", epoch))
        for name, quota in self._quota.items():
            if slot < quota:
                table = self.tables[name]
                cycle, index = divmod(epoch * quota + slot, len(table))
                return table.clip(permuted(index, len(table), (self.seed, name, cycle)))
            slot -= quota
        raise AssertionError("quotas sum to the length of the epoch")

    def upcoming_shards(self, epoch: int, position: int, limit: int) -> list[int]:
        """The next `limit` shards (rows in the index) needed from this position on, soonest first.

        With windows, all shards of a window are needed from its first clip on. Without, upcoming clips are examined.
        """
        if self._orders is None:
            return self._looked_through(epoch, position, limit)
        counts = self._counts_before(position)
        coming = [self._groups(self._orders[name], name, epoch, count) for name, count in counts.items()]
        known = {shard for order in self._orders.values() for shard in order.shards}
        shards_needed: dict[int, None] = {}
        for _, shards in heapq.merge(*coming, key=lambda group: group[0]):
            shards_needed |= dict.fromkeys(shards)
            if len(shards_needed) >= min(limit, len(known)):
                break
        return list(shards_needed)[:limit]

    def _groups(self, order: WindowedOrder, name: str, epoch: int, count: int) -> Iterator[tuple[float, list[int]]]:
        """For each coming group of one table: positions until it begins, and its shards.

        `count`: clips of the table that come before.
        """
        quota = self._quota[name]
        for clips, shards in order.groups(*divmod(epoch * quota + count, len(self.tables[name]))):
            yield clips * self._length / quota, shards

    def _looked_through(self, epoch: int, position: int, limit: int) -> list[int]:
        shard_of = {
            row: shard for t in self.tables.values() for row, shard in zip(t.ranges[:, 0].tolist(), t.shards.tolist())
        }
        shards_needed: dict[int, None] = {}
        for number in range(position, position + LOOKED_THROUGH * limit):
            ref = self.clip(epoch + number // self._length, number % self._length)
            shards_needed[shard_of[ref.sequence]] = None
        return list(shards_needed)[:limit]

    def _table_at(self, position: int) -> tuple[str, int]:
        """The table whose clip is at a position of an epoch, and how many of its clips precede it in the epoch.

        Tables are interleaved as evenly as integers allow, so that each takes its clips in order.
        """
        before, after = self._counts_before(position), self._counts_before(position + 1)
        return next((name, count) for name, count in before.items() if after[name] > count)

    def _counts_before(self, position: int) -> dict[str, int]:
        """Number of clips of each table with a share among the first `position` clips of an epoch."""
        counts, places = {}, self._length
        for name, quota in self._quota.items():
            if quota:
                # this table takes every (places / quota)-th of the positions that earlier tables leave
                counts[name] = position * quota // places
                position, places = position - counts[name], places - quota
        return counts


def _clips_of_shards(table: ClipTable) -> tuple[list[int], list[int]]:
    """The shards of a table in its order, and the number of its clips in each."""
    starts = np.flatnonzero(np.diff(table.shards, prepend=-1))
    return table.shards[starts].tolist(), np.add.reduceat(table.ranges[:, 3], starts).tolist()


def _apportion(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Integers proportional to `shares` that sum to `total`, by the largest-remainder method."""
    exact = {name: total * share / sum(shares.values()) for name, share in shares.items()}
    quota = {name: int(value) for name, value in exact.items()}
    for name in sorted(exact, key=lambda name: quota[name] - exact[name])[: total - sum(quota.values())]:
        quota[name] += 1
    return quota


def positions(total: int, *, rank: int = 0, world_size: int = 1, start: int = 0) -> range:
    """The positions of an epoch for `rank` of `world_size`, after the first `start` positions.

    Over all ranks each position from `start` on comes exactly once. With several loader workers per rank, count each
    worker as a rank. To resume on another number of ranks, pass the number of clips seen as `start`.
    """
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} is not below world size {world_size}")
    return range(start + rank, total, world_size)
