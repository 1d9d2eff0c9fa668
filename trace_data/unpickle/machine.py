"""The stack machine of Python's pickle format, protocols 0 to 5, without Python's own loader.

A pickle is a program for a small stack machine. Our own implementation controls every step: a file can only use globals
from an allow-list, errors give the byte offset of a name, and sizes are checked before memory is allocated. Python-2
text is decoded as latin1, which is lossless (docs/reference/assets.md#encoding-of-the-pickle).
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
"""Maximum size of integer keys: larger ones can be chosen to have equal hashes, which makes insertion quadratic."""
MAX_CLASHES = 64
"""Maximum number of keys that are tuples with equal hashes; random data has none."""
MAX_DIGITS = 4096
MAX_LONG = 512
"""Maximum bytes of a binary integer."""
MAX_MARKS = 10_000
"""Maximum nesting of tuples and lists; Python's own pickles reach a thousand."""
MAX_GAP = 1 << 16
"""Maximum gap between memo indices: Python numbers them consecutively."""
WINDOW = 1 << 16
"""Number of most recent objects that can still be referenced when `each` is used."""
_GONE = object()
_LARGE = (np.ndarray, bytes, str, tuple, dict, list)
"""Types of which a file may contain millions."""
_OF_TENSORS = ("torch", "torch._utils")
"""Modules of the functions and types by which torch saves tensors."""
_OF_A_MODEL = ("torch", "torchvision", "models", "model", "lib", "romp", "trace")
_HARMLESS = ("collections", "datetime", "pathlib", "argparse", "easydict", "yacs", "pandas", "scipy", "decimal")
"""Packages whose objects are often saved with data. Their names are refused like any other."""
DROPPED = object()
"""Returned by `each` to omit a value."""


@dataclass(frozen=True, slots=True)
class Global:
    """A global that a pickle may name, and its allowed uses."""

    name: str
    """Module and name as written in the file."""
    call: Callable[..., Any] | None = None
    """Implements calls with arguments; validates them itself."""
    new: Callable[[], Any] | None = None
    """Creates an empty instance."""


@dataclass(slots=True, eq=False)
class Node:
    """Stand-in for an object of a library that is not imported (chumpy, scipy): its class and stored state."""

    kind: str
    state: dict[str, Any] = field(default_factory=dict)


Each = Callable[[Any, Any], Any]
"""Given a key and its value in a dictionary, returns a replacement for the value, or `DROPPED`."""
Find = Callable[[str, str], "Global | None"]
Build = Callable[["Machine", Any, Any], Any]
Lookup = Callable[[Any], Any]


class Machine(Pieces):
    """Runs one pickle that starts at byte `at` of `data`.

    `find` maps module and name to an allowed `Global` or None; `build` sets the stored state of an object and returns
    its replacement. `opcodes.run` raises UnsafePickleError on any other name, and Malformed on other errors (or a plain
    ValueError, TypeError, KeyError or IndexError caused by hostile operands, which callers treat alike). `outside`
    resolves persistent ids for formats with content besides the pickle; without it they are refused. `kind` names the
    expected kind of file in errors.

    `each` replaces every dictionary value as it is read, and old objects are released, for files with millions of them;
    such a file cannot be read if it refers for the first time to an object more than `WINDOW` objects back. With
    `more`, `data` is only the beginning of `length` bytes, and one piece is held in memory at a time.
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
        """Read a binary integer of `struct` format `form`."""
        value: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return value

    def sized(self, form: str) -> bytes:
        """Read length-prefixed bytes."""
        count = self.number(form)
        self.budget.bytes_left -= count
        return self.take(count)

    def above_mark(self) -> list[Any]:
        """Pop everything pushed since the last mark."""
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def look_up(self, module: Any, name: Any) -> Global:
        """The allowed global of that name. Raises UnsafePickleError with the byte offset of the operation."""
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
        elif 0 < gap < MAX_GAP:
            self.memo.extend([_GONE] * gap)
            self.memo.append(value)
            self.budget.bytes_left -= 8 * gap
        elif 0 <= slot < len(self.memo) and self.memo[slot] is _GONE:
            self.memo[slot] = value
        else:
            raise Malformed(f"memoises twice in one place, or far out of order, at byte {self.opcode_at:,}")
        if isinstance(value, np.dtype):
            self.slots_of.setdefault(id(value), []).append(slot)
        behind = slot - WINDOW
        if self.each is None or behind < WINDOW or behind in self.recalled:
            return  # an object shared once is likely shared again
        if isinstance(self.memo[behind], _LARGE):
            self.memo[behind] = _GONE

    def recall(self, slot: int) -> Any:
        """The object memoised in `slot`."""
        if self.each is not None:
            self.recalled.add(slot)
        if slot < 0 or (value := self.memo[slot]) is _GONE:
            raise KeyError(slot)
        return value

    def replace(self, old: np.dtype[Any], new: np.dtype[Any]) -> None:
        """Replace `old` by `new` in the memo: a dtype cannot be changed in place."""
        for slot in self.slots_of.pop(id(old), []):
            if self.memo[slot] is old:
                self.memo[slot] = new


class Keys:
    """Checks keys of dictionaries and members of sets: atoms, stand-ins and small tuples of atoms are allowed."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[Any, ...]] = {}
        self._clashes = 0

    def checked(self, value: Any) -> Any:
        """Return `value` if it is a valid key. Raises Malformed.

        Hashing a deeply nested tuple overflows the C stack, wide tuples are rehashed each time, and many integers,
        complex numbers and tuples can be constructed with equal hashes.
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
    """A value from the file, for a message; only the type if it is not text, as its repr may be endless."""
    if not isinstance(value, str):
        return f"<{type(value).__name__}>"
    return "".join(letter if letter.isprintable() else "?" for letter in value[:80])


def _way_out(module: Any) -> str:
    root = module.partition(".")[0] if isinstance(module, str) else ""
    if module in _OF_TENSORS:
        return (
            "it holds parameters, or tensors that are sparse, quantised or complex: load it where it was made and save"
            " model.state_dict(), or dense tensors. Nothing in it was run"
        )
    if root in _OF_A_MODEL:
        return (
            "it holds a whole model rather than its weights: load it where it was made and save"
            " model.state_dict(). Nothing in it was run"
        )
    if root in _HARMLESS:
        return "nothing in it was run. Load it where it was made and save arrays, lists and dictionaries instead"
    return "the file is not what it claims to be; nothing in it was run. Get it again from its official page"
