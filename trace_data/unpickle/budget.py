"""Limits the memory and time of reading a file in proportion to its size on disk.

A pickle of some hundred bytes can repeat a text of a megabyte a million times, or nest millions of sets; compressed, it
can be even smaller. So the approximate size of every new object is charged to one budget for the whole file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_data.unpickle.stream import Malformed

MAX_GROWTH = 16
"""Bytes allowed per byte of file. Files of millions of small arrays need about 5, lists of small integers 12."""
FREE_BYTES = 1 << 26
"""Added to every budget: small files may grow more."""
FREE_STEPS = 1 << 20
"""Free operations, less than a second; all others need half a byte of file as packed."""
STEPS_PER_BYTE = 0.8
"""Operations beyond the free ones per byte that has been read. Lists of pairs of small integers need 0.75; what does
nothing, or pushes nothing but None, has one for each byte."""
OF_IMAGES_PER_BYTE = 0.3
"""The same for files of a dictionary for each image, however many. Arrays of a person's joints or pose need 0.05 to
0.13, the same numbers as lists of pairs 0.24."""
_PER_ITEM = 32
"""Bytes per item of a dictionary or set, besides the item itself."""


class Budget:
    """The budget of one file of `packed` bytes; `max_steps` bounds the operations of its pickles, None by length."""

    def __init__(self, packed: int, max_steps: int | None) -> None:
        self.bytes_left = MAX_GROWTH * packed + FREE_BYTES
        self._per_byte = STEPS_PER_BYTE if max_steps is not None else OF_IMAGES_PER_BYTE
        by_length = 2 * packed + FREE_STEPS
        self._reserve = by_length if max_steps is None else min(max_steps, by_length)
        self.steps_left = 0
        self._earn(FREE_STEPS)

    def earn_for(self, count: int) -> None:
        """Allow the operations that `count` further bytes may hold."""
        self._earn(int(count * self._per_byte))

    def _earn(self, steps: int) -> None:
        earned = min(steps, self._reserve)
        self._reserve -= earned
        self.steps_left += earned

    def charge(self, count: int) -> None:
        """Charge `count` bytes. Raises Malformed if the budget is exceeded."""
        self.bytes_left -= count
        self.check()

    def check(self) -> None:
        """Raises Malformed if the budget is exceeded."""
        if self.steps_left < 0:
            raise Malformed("has more parts than any file of its length and kind: real ones are few and large arrays")
        if self.bytes_left < 0:
            raise Malformed(
                "needs far more memory than a file of its length: it copies the same content again and again, or"
                " unpacks to almost nothing but repetitions"
            )

    def charge_for(self, made: Any) -> None:
        """Charge the size of a new object; checked at the next step."""
        if isinstance(made, np.ndarray):
            self.bytes_left -= 128 + made.nbytes
        elif isinstance(made, (bytes, bytearray)):
            self.bytes_left -= 40 + len(made)
        elif isinstance(made, (set, frozenset, dict)):
            self.bytes_left -= 200 + 2 * _PER_ITEM * len(made)
        else:
            self.bytes_left -= 64

    def charge_for_reading(self, part: Any) -> None:
        """Charge the time of reading an argument's items, whatever becomes of them. Raises Malformed."""
        if isinstance(part, (list, tuple)):
            self.charge(_PER_ITEM * len(part))
        elif isinstance(part, (str, bytes, bytearray)):
            self.charge(len(part))

    def charge_items(self, count: int) -> None:
        """Charge `count` slots of a dictionary or set."""
        self.bytes_left -= _PER_ITEM * count
