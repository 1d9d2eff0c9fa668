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
from trace_data.unpickle.stream import Malformed, More, Pieces

MAX_KEY_PARTS = 64
MAX_KEY_BITS = 256
MAX_DIGITS = 4096
MAX_GROWTH = 16
WINDOW = 1 << 16
"""How many of the parts that came last may be referred to while `each` makes smaller things of them."""
_LARGE = (np.ndarray, bytes, str, tuple, dict, list)
"""What a file may hold millions of."""
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
        max_steps: int,
        outside: Lookup | None = None,
        kind: str = "body model or annotation",
        each: Each | None = None,
        more: More | None = None,
        length: int | None = None,
    ) -> None:
        super().__init__(data, at, more, length)
        self.where, self.kind = where, kind
        self.find, self.build, self.outside = find, build, outside
        self.each, self.steps_left = each, max_steps
        self.code, self.opcode_at = 0, at
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        self.let_go = 0
        self.recalled: set[int] = set()
        self.slots_of: dict[int, list[int]] = {}
        # arrays may be made again and again from the same bytes of a small file
        self.bytes_left = MAX_GROWTH * self.length + (1 << 20)

    def number(self, form: str) -> int:
        """A binary integer of `struct` format `form`."""
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def sized(self, form: str) -> bytes:
        """Bytes preceded by their count."""
        return self.take(self.number(form))

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
                f"was not read: it asks for {str(module)[:80]}.{str(name)[:80]} at byte {self.opcode_at:,}, "
                f"which no {self.kind} needs",
                where=self.where,
                hint="the file is not what it claims to be; nothing in it was run. Get it again from its official page",
            )
        return known

    def charged(self, made: Any) -> Any:
        """`made`, after taking its size from what a file of this length may make."""
        if isinstance(made, np.ndarray):
            self.bytes_left -= made.nbytes
        elif isinstance(made, (bytes, bytearray)):
            self.bytes_left -= len(made)
        elif isinstance(made, (set, frozenset, dict)):
            self.bytes_left -= 8 * len(made)
        if self.bytes_left < 0:
            raise Malformed("copies the same content again and again")
        return made

    def remember(self, slot: int) -> None:
        """Memoise the top of the stack."""
        value = self.memo[slot] = self.stack[-1]
        if isinstance(value, np.dtype):
            self.slots_of.setdefault(id(value), []).append(slot)
        behind = slot - WINDOW
        if self.each is None or behind < WINDOW or behind in self.recalled:
            return  # what is shared once will be shared again
        if isinstance(self.memo.get(behind), _LARGE):
            del self.memo[behind]
            self.let_go += 1

    def recall(self, slot: int) -> Any:
        """What was memoised there."""
        if self.each is not None:
            self.recalled.add(slot)
        return self.memo[slot]

    def replace(self, old: np.dtype[Any], new: np.dtype[Any]) -> None:
        """Let `new` stand wherever `old` was memoised: a dtype cannot be changed in place."""
        for slot in self.slots_of.pop(id(old), []):
            if self.memo[slot] is old:
                self.memo[slot] = new


def checked_key(value: Any) -> Any:
    """A dictionary key or set member: atoms, stand-ins and small tuples of atoms.

    Hashing a deeply nested tuple overflows the C stack, and a large integer or wide tuple is hashed anew each time.
    """
    parts = [value]
    for count, part in enumerate(parts):
        if count > MAX_KEY_PARTS:
            break
        if isinstance(part, tuple):
            parts.extend(part[: MAX_KEY_PARTS + 1])
        elif isinstance(part, int) and not isinstance(part, bool):
            if part.bit_length() > MAX_KEY_BITS:
                break
        elif not isinstance(part, (str, bytes, float, complex, np.number, np.bool_, Node, type(None))):
            break
    else:
        return value
    raise Malformed(f"uses a {type(value).__name__} as a key that is too complex for one")
