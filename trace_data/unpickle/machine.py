"""The opcodes of Python's pickle format, protocols 0 to 5, read without Python's own loader.

A pickle is a program for a small stack machine. Writing that machine out keeps every step in our hands: it can name
only what its table of globals lists, it knows the byte at which it meets a name, and it checks every size before it
takes memory. Python-2 text is decoded as latin1, which loses nothing (docs/reference/assets.md#encoding-of-the-pickle).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trace_data.errors import UnsafePickleError
from trace_data.unpickle.budget import Budget
from trace_data.unpickle.stream import Malformed, More, Pieces

MAX_KEY_PARTS = 64
MAX_KEY_BITS = 60
"""Larger integers can be chosen so that all have one hash, and each is then compared with all before it."""
MAX_CLASHES = 64
"""Tuples of one hash among the keys of a file; chance makes none."""
MAX_DIGITS = 4096
MAX_LONG = 512
"""Bytes of a binary integer."""
MAX_MARKS = 10_000
"""Tuples and lists begun inside each other; Python's own pickles reach a thousand."""
MAX_GAP = 1 << 16
"""Python counts what it memoises; a file that leaves larger gaps was not written by it."""
WINDOW = 1 << 16
"""How many of the parts that came last may be referred to while `each` makes smaller things of them."""
_GONE = object()
_LARGE = (np.ndarray, bytes, str, tuple, dict, list)
"""What a file may hold millions of."""
_OF_A_MODEL = ("torch", "torchvision", "models", "model", "lib", "romp", "trace")
_HARMLESS = ("collections", "datetime", "pathlib", "argparse", "easydict", "yacs", "pandas", "scipy", "decimal")
"""Packages whose objects people save beside their numbers. Their names are refused like any other."""
DROPPED = object()
"""What `each` returns of a value that a dictionary need not hold."""


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle may mention, and what may be done with it."""

    name: str
    """Module and name as written in the file."""
    call: Callable[..., Any] | None = None
    """Result of the name called with arguments; checks its arguments itself."""
    new: Callable[[], Any] | None = None
    """A fresh, empty instance."""


@dataclass(slots=True, eq=False)
class Node:
    """Stand-in for an object of a library that is not imported (chumpy, scipy): its class and what it stored."""

    kind: str
    state: dict[str, Any] = field(default_factory=dict)


Each = Callable[[Any, Any], Any]
"""Given a key and the value that a dictionary is to hold under it, returns what it holds instead, or `DROPPED`."""
Find = Callable[[str, str], "Global | None"]
Build = Callable[["Machine", Any, Any], Any]
Lookup = Callable[[Any], Any]


class Machine(Pieces):
    """Runs one pickle that starts at byte `at` of `data`.

    `find` maps module and name to an allowed `Global` or None; `build` gives an object its stored state and returns the
    object that takes its place. `pickle_operations.run` raises UnsafePickleError on any other name, Malformed on
    everything else that is wrong (and the plain ValueError, TypeError, KeyError or IndexError of hostile operands:
    callers treat them alike). `outside` gives what a persistent id means, where the format has content beside the
    pickle; without it such ids are refused. `kind` says in errors what the file should be.

    With `each`, what stands in a dictionary is what `each` makes of it, and parts far behind are let go, for a file of
    millions of them; one that refers for the first time to such a part, a text say, further back than `WINDOW`
    cannot be read then. With `more`, `data` is but the beginning of `length` bytes, of which a piece is held at a time.
    """

    def __init__(
        self,
        data: bytes,
        *,
        find: Find,
        build: Build,
        where: str,
        at: int = 0,
        budget: Budget,
        outside: Lookup | None = None,
        kind: str = "body model or annotation",
        each: Each | None = None,
        more: More | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__(data, at, more, length)
        self.where, self.kind = where, kind
        self.find, self.build, self.outside = find, build, outside
        self.each, self.budget, self.keys = each, budget, Keys()
        self.code, self.opcode_at = 0, at
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: list[Any] = []
        self.recalled: set[int] = set()
        self.slots_of: dict[int, list[int]] = {}

    def number(self, form: str) -> int:
        """A binary integer of `struct` format `form`."""
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def sized(self, form: str) -> bytes:
        """Bytes preceded by their count."""
        count = self.number(form)
        self.budget.bytes_left -= count
        return self.take(count)

    def above_mark(self) -> list[Any]:
        """What was pushed since the last mark, removed from the stack."""
        start = self.marks.pop()
        found = self.stack[start:]
        del self.stack[start:]
        return found

    def look_up(self, module: Any, name: Any) -> Global:
        """The allowed global of that name. Raises UnsafePickleError with the byte of the operation that asks for it."""
        known = self.find(module, name) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise UnsafePickleError(
                f"was not read: it asks for {quoted(module)}.{quoted(name)} at byte {self.opcode_at:,}, "
                f"which no {self.kind} needs",
                where=self.where,
                hint=_way_out(module),
            )
        return known

    def remember(self, slot: int) -> None:
        """Memoise the top of the stack."""
        value, gap = self.stack[-1], slot - len(self.memo)
        if gap == 0:
            self.memo.append(value)
        elif gap < MAX_GAP and slot >= 0:
            self.memo.extend([_GONE] * (gap + 1))
            self.memo[slot] = value
            self.budget.bytes_left -= 8 * max(gap, 0)
        else:
            raise Malformed(f"memoises far out of order at byte {self.opcode_at:,}")
        if isinstance(value, np.dtype):
            self.slots_of.setdefault(id(value), []).append(slot)
        behind = slot - WINDOW
        if self.each is None or behind < WINDOW or behind in self.recalled:
            return  # what is shared once will be shared again
        if isinstance(self.memo[behind], _LARGE):
            self.memo[behind] = _GONE

    def recall(self, slot: int) -> Any:
        """What was memoised there."""
        if self.each is not None:
            self.recalled.add(slot)
        if slot < 0 or (value := self.memo[slot]) is _GONE:
            raise KeyError(slot)
        return value

    def replace(self, old: np.dtype[Any], new: np.dtype[Any]) -> None:
        """Let `new` stand wherever `old` was memoised: a dtype cannot be changed in place."""
        for slot in self.slots_of.pop(id(old), []):
            if self.memo[slot] is old:
                self.memo[slot] = new


class Keys:
    """What may be a key of a dictionary or member of a set: atoms, stand-ins and small tuples of atoms."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[Any, ...]] = {}
        self._clashes = 0

    def checked(self, value: Any) -> Any:
        """`value`, or Malformed.

        Hashing a deeply nested tuple overflows the C stack, a wide tuple is hashed anew each time, and of integers,
        complex numbers and tuples many can be found that have the same hash.
        """
        if isinstance(value, str):
            return value
        parts = [value]
        for count, part in enumerate(parts):
            if count > MAX_KEY_PARTS:
                break
            if isinstance(part, tuple):
                parts.extend(part[: MAX_KEY_PARTS + 1])
            elif isinstance(part, int):
                if part.bit_length() > MAX_KEY_BITS:
                    break
            elif isinstance(part, (np.complexfloating, np.longdouble)) or not isinstance(
                part, (str, bytes, float, np.number, np.bool_, Node, type(None))
            ):
                break
        else:
            if isinstance(value, tuple):
                self._look_for_clashes(value)
            return value
        raise Malformed(f"uses a {type(value).__name__} as a key that is too complex for one")

    def _look_for_clashes(self, value: tuple[Any, ...]) -> None:
        first = self._first.setdefault(hash(value), value)
        if first is not value and first != value:
            self._clashes += 1
            if self._clashes > MAX_CLASHES:
                raise Malformed("uses keys that were chosen to have the same hash")


def quoted(value: Any) -> str:
    """A foreign value in a message. Of what is no text only the type: its own words may be endless."""
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    return "".join(letter if letter.isprintable() else "?" for letter in value[:80])


def _way_out(module: Any) -> str:
    root = module.partition(".")[0] if isinstance(module, str) else ""
    if root in _OF_A_MODEL:
        return (
            "it holds a whole model rather than its weights: load it where it was made and save"
            " model.state_dict(). Nothing in it was run"
        )
    if root in _HARMLESS:
        return "nothing in it was run. Load it where it was made and save arrays, lists and dictionaries instead"
    return "the file is not what it claims to be; nothing in it was run. Get it again from its official page"
