"""What reading a file may cost, in proportion to its length as it lies on the disk.

A pickle of some hundred bytes can name a text of a megabyte a million times, or nest sets by the million; packed, it
needs even fewer. So everything that is made is charged, roughly as Python counts it, to one account for the whole file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trace_data.unpickle.stream import Malformed

MAX_GROWTH = 16
"""Bytes made to a byte of file. Files of millions of small arrays need about 5, lists of small integers 12."""
FREE_BYTES = 1 << 26
"""Added to every account: small files may grow more."""
FREE_STEPS = 1 << 20
"""A second or so. Beyond, a step needs half a byte of file; unpacked, it has one at least."""
_PER_ITEM = 32
"""Of a dictionary or set, beside the item itself."""


class Budget:
    """The account of one file of `packed` bytes; `max_steps` bounds the operations of its pickles."""

    def __init__(self, packed: int, max_steps: int) -> None:
        self.bytes_left = MAX_GROWTH * packed + FREE_BYTES
        self.steps_left = min(max_steps, 2 * packed + FREE_STEPS)

    def charge(self, count: int) -> None:
        """Take `count` bytes from the account. Raises Malformed when it is overdrawn."""
        self.bytes_left -= count
        self.check()

    def check(self) -> None:
        """Raises Malformed when the account is overdrawn."""
        if self.steps_left < 0:
            raise Malformed("has more parts than any file of its length and kind")
        if self.bytes_left < 0:
            raise Malformed(
                "needs far more memory than a file of its length: it copies the same content again and again, or"
                " unpacks to almost nothing but repetitions"
            )

    def charge_for(self, made: Any) -> None:
        """Take the size of a new object from the account; `check` comes with the next step."""
        if isinstance(made, np.ndarray):
            self.bytes_left -= 128 + made.nbytes
        elif isinstance(made, (bytes, bytearray)):
            self.bytes_left -= 40 + len(made)
        elif isinstance(made, (set, frozenset, dict)):
            self.bytes_left -= 200 + 2 * _PER_ITEM * len(made)
        else:
            self.bytes_left -= 64

    def charge_for_reading(self, part: Any) -> None:
        """Take the time that an argument's items cost from the account, whatever is made of them. Raises Malformed."""
        if isinstance(part, (list, tuple)):
            self.charge(_PER_ITEM * len(part))
        elif isinstance(part, (str, bytes, bytearray)):
            self.charge(len(part))

    def charge_items(self, count: int) -> None:
        """Take the places of `count` items in a dictionary or set from the account."""
        self.bytes_left -= _PER_ITEM * count
