"""The order of clips for shards that have to be fetched: only a few shards are needed at a time.

A pass over all clips of a table, a turn, takes its shards in a permuted order, in groups of as many as the window has,
and permutes the clips within each group. So one group's shards are in use, and the next one's at the border.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.shards.sampling.permutation import permuted

TURNS_KEPT = 4
"""Tables of turns in memory; neighbouring positions lie in the same turn or in two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Turn:
    """One turn's shards in the order in which they come."""

    order: npt.NDArray[np.int64]
    """(S,) numbers of the shards within the table."""
    ends: npt.NDArray[np.int64]
    """(S,) running sum of their clips."""
    group_ends: npt.NDArray[np.int64]
    """(G,) running sum of the clips of each group."""


class WindowedOrder:
    """Deals the clips of one table: `number(turn, card)` is a permutation of all clips in every turn.

    Depends on its arguments only; a look-up takes logarithmic time after a turn's table was made.
    """

    def __init__(self, shards: Sequence[int], counts: Sequence[int], window: int, key: tuple[object, ...]) -> None:
        """`shards`: row in the index of each shard, in the order of the table's clips, of which `counts` are in it.
        `window`: shards a group. `key` selects the permutations."""
        self.shards = tuple(shards)
        self._counts = np.asarray(counts, np.int64)
        self._begins = np.cumsum(self._counts) - self._counts
        self._window, self._key = window, key
        self._turns: dict[int, _Turn] = {}

    def number(self, turn: int, card: int) -> int:
        """The clip that is dealt as number `card` of a turn."""
        table = self._turn(turn)
        group = int(np.searchsorted(table.group_ends, card, side="right"))
        first = int(table.group_ends[group - 1]) if group else 0
        size = int(table.group_ends[group]) - first
        place = first + permuted(card - first, size, (*self._key, turn, group))
        at = int(np.searchsorted(table.ends, place, side="right"))
        shard = int(table.order[at])
        return int(self._begins[shard]) + place - (int(table.ends[at]) - int(self._counts[shard]))

    def groups(self, turn: int, card: int) -> Iterator[tuple[int, list[int]]]:
        """From that card on without end: cards that are dealt before a group begins, and the shards it needs."""
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
        found = self._turns.get(turn)
        if found is None:
            count = len(self.shards)
            order = np.array([permuted(i, count, (*self._key, turn, "shards")) for i in range(count)], np.int64)
            ends = np.cumsum(self._counts[order])
            last = np.minimum(np.arange(self._window, count + self._window, self._window), count) - 1
            found = _Turn(order=order, ends=ends, group_ends=ends[last])
            for old in sorted(self._turns)[: 1 - TURNS_KEPT]:
                self._turns.pop(old, None)
            self._turns[turn] = found
        return found
