"""Order of clips for remote shards, which needs only a few shards at a time.

A pass over all clips of a table (a cycle) takes its shards in permuted order, in groups of the window's size, and
permutes the clips within each group. So only one group's shards are in use, and the next one's at the border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.shards.sampling.permutation import permuted

CYCLES_KEPT = 4
"""Cached cycles; neighbouring positions are in one or two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cycle:
    """The order of shards in one cycle."""

    order: npt.NDArray[np.int64]
    """(S,) shard indices within the table."""
    ends: npt.NDArray[np.int64]
    """(S,) cumulative number of their clips."""
    group_ends: npt.NDArray[np.int64]
    """(G,) cumulative number of clips of the groups."""


class WindowedOrder:
    """Order of one table's clips: `number(cycle, index)` is a permutation of all clips in every cycle.

    A pure function of its arguments; a look-up takes logarithmic time once the cycle is cached.
    """

    def __init__(self, shards: Sequence[int], counts: Sequence[int], window: int, key: tuple[object, ...]) -> None:
        """`shards`: row in the index of each shard, in the order of the table's clips; `counts`: their clips.
        `window`: shards per group. `key` selects the permutations."""
        self.shards = tuple(shards)
        self._counts = np.asarray(counts, np.int64)
        self._begins = np.cumsum(self._counts) - self._counts
        self._window, self._key = window, key
        self._cycles: dict[int, _Cycle] = {}

    def number(self, cycle: int, index: int) -> int:
        """The clip at position `index` of a cycle."""
        table = self._cycle(cycle)
        group = int(np.searchsorted(table.group_ends, index, side="right"))
        first = int(table.group_ends[group - 1]) if group else 0
        size = int(table.group_ends[group]) - first
        place = first + permuted(index - first, size, (*self._key, cycle, group))
        at = int(np.searchsorted(table.ends, place, side="right"))
        shard = int(table.order[at])
        return int(self._begins[shard]) + place - (int(table.ends[at]) - int(self._counts[shard]))

    def groups(self, cycle: int, index: int) -> Iterator[tuple[int, list[int]]]:
        """Endless groups from that index on: the number of clips before each group begins, and its shards."""
        passed = 0
        while True:
            table = self._cycle(cycle)
            start = int(np.searchsorted(table.group_ends, index, side="right"))
            for group in range(start, len(table.group_ends)):
                first = int(table.group_ends[group - 1]) if group else 0
                members = table.order[group * self._window : (group + 1) * self._window]
                yield max(0, passed + first - index), [self.shards[i] for i in members.tolist()]
            passed += int(table.ends[-1]) - index
            cycle, index = cycle + 1, 0

    def _cycle(self, cycle: int) -> _Cycle:
        cached = self._cycles.get(cycle)
        if cached is None:
            count = len(self.shards)
            order = np.array([permuted(i, count, (*self._key, cycle, "shards")) for i in range(count)], np.int64)
            ends = np.cumsum(self._counts[order])
            last = np.minimum(np.arange(self._window, count + self._window, self._window), count) - 1
            cached = _Cycle(order=order, ends=ends, group_ends=ends[last])
            for old in sorted(self._cycles)[: 1 - CYCLES_KEPT]:
                self._cycles.pop(old, None)
            self._cycles[cycle] = cached
        return cached
