"""Order of clips for remote shards, which needs only a few shards at a time.

A pass over all clips of a table (a turn) takes its shards in permuted order, in groups of the window's size, and
permutes the clips within each group. So only one group's shards are in use, and the next one's at the border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.shards.sampling.permutation import permuted

TURNS_KEPT = 4
"""Cached turns; neighbouring positions are in one or two turns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Turn:
    """The order of shards in one turn."""

    order: npt.NDArray[np.int64]
    """(S,) shard indices within the table."""
    ends: npt.NDArray[np.int64]
    """(S,) cumulative number of their clips."""
    group_ends: npt.NDArray[np.int64]
    """(G,) cumulative number of clips of the groups."""


class WindowedOrder:
    """Order of one table's clips: `number(turn, card)` is a permutation of all clips in every turn.

    A pure function of its arguments; a look-up takes logarithmic time once the turn is cached.
    """

    def __init__(self, shards: Sequence[int], counts: Sequence[int], window: int, key: tuple[object, ...]) -> None:
        """`shards`: row in the index of each shard, in the order of the table's clips; `counts`: their clips.
        `window`: shards per group. `key` selects the permutations."""
        self.shards = tuple(shards)
        self._counts = np.asarray(counts, np.int64)
        self._begins = np.cumsum(self._counts) - self._counts
        self._window, self._key = window, key
        self._turns: dict[int, _Turn] = {}

    def number(self, turn: int, card: int) -> int:
        """The clip at position `card` of a turn."""
        table = self._turn(turn)
        group = int(np.searchsorted(table.group_ends, card, side="right"))
        first = int(table.group_ends[group - 1]) if group else 0
        size = int(table.group_ends[group]) - first
        place = first + permuted(card - first, size, (*self._key, turn, group))
        at = int(np.searchsorted(table.ends, place, side="right"))
        shard = int(table.order[at])
        return int(self._begins[shard]) + place - (int(table.ends[at]) - int(self._counts[shard]))

    def groups(self, turn: int, card: int) -> Iterator[tuple[int, list[int]]]:
        """Endless groups from that card on: the number of clips before each group begins, and its shards."""
        dealt = 0
        while True:
            table = self._turn(turn)
            start = int(np.searchsorted(table.group_ends, card, side="right"))
            for group in range(start, len(table.group_ends)):
                first = int(table.group_ends[group - 1]) if group else 0
                members = table.order[group * self._window : (group + 1) * self._window]
                yield max(0, dealt + first - card), [self.shards[i] for i in members.tolist()]
            dealt += int(table.ends[-1]) - card
            turn, card = turn + 1, 0

    def _turn(self, turn: int) -> _Turn:
        cached = self._turns.get(turn)
        if cached is None:
            count = len(self.shards)
            order = np.array([permuted(i, count, (*self._key, turn, "shards")) for i in range(count)], np.int64)
            ends = np.cumsum(self._counts[order])
            last = np.minimum(np.arange(self._window, count + self._window, self._window), count) - 1
            cached = _Turn(order=order, ends=ends, group_ends=ends[last])
            for old in sorted(self._turns)[: 1 - TURNS_KEPT]:
                self._turns.pop(old, None)
            self._turns[turn] = cached
        return cached
