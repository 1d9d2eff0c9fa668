"""The opcodes of Python's pickle format, protocols 0 to 5, read without Python's own loader.

A pickle is a program for a small stack machine. Writing that machine out keeps every step in our hands: it can name
only what its table of globals lists, it knows the byte at which it meets a name, and it checks every size before it
takes memory. Python-2 text is decoded as latin1, which loses nothing (fact sheet assets.md, A4).
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from trace_data.errors import UnsafePickleError
from trace_data.pickle_pieces import Malformed, More, Pieces

MAX_KEY_PARTS = 64
MAX_KEY_BITS = 256
MAX_DIGITS = 4096
MAX_GROWTH = 16
WINDOW = 1 << 16
"""How many of the parts that came last may be referred to while `each` makes smaller things of them."""
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
    object that takes its place. `run` raises UnsafePickleError on any other name, Malformed on everything else that is
    wrong (and the plain ValueError, TypeError, KeyError or IndexError of hostile operands: callers treat them alike).
    `outside` gives what a persistent id means, where the format has content beside the pickle; without it such ids are
    refused. `kind` says in errors what the file should be.

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

    def run(self) -> Any:
        """The object the pickle describes; `at` then stands behind it."""
        while True:
            self.steps_left -= 1
            if self.steps_left < 0:
                raise Malformed(f"has more parts than any {self.kind}")
            self.opcode_at = self.gone + self.at
            code = self.code = self.take(1)[0]
            if code == _STOP:
                if self.marks or not self.stack:
                    raise Malformed(f"stops in the middle at byte {self.opcode_at:,}")
                return self.stack.pop()
            if (value := _VALUES.get(code)) is not None:
                self.stack.append(value(self))
            elif (action := _ACTIONS.get(code)) is not None:
                action(self)
            else:
                raise Malformed(f"has the unknown operation {bytes([code])!r} at byte {self.opcode_at:,}")

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


def _set_items(machine: Machine, target: Any, flat: list[Any]) -> None:
    if not isinstance(target, dict) or len(flat) % 2:
        raise Malformed(f"puts items into a {type(target).__name__}")
    for key, value in zip(flat[::2], flat[1::2]):
        made = value if machine.each is None else machine.each(key, value)
        if made is not DROPPED:
            target[checked_key(key)] = made


def _text(machine: Machine) -> str:
    line = machine.line().strip()
    if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
        raise Malformed(f"has a text without quotes at byte {machine.opcode_at:,}")
    return codecs.escape_decode(memoryview(line)[1:-1])[0].decode("latin1")


def _digits(machine: Machine) -> bytes:
    line = machine.line().strip()
    if len(line) > MAX_DIGITS:
        raise Malformed(f"has an integer of {len(line):,} digits at byte {machine.opcode_at:,}")
    return line


def _int_or_bool(machine: Machine) -> int:
    line = _digits(machine)
    return line == b"01" if line in (b"00", b"01") else int(line)


def _long(machine: Machine, form: str) -> int:
    return int.from_bytes(machine.sized(form), "little", signed=True)


def _utf8(machine: Machine, form: str) -> str:
    return machine.sized(form).decode("utf-8", "surrogatepass")


def _last(machine: Machine, count: int) -> tuple[Any, ...]:
    if len(machine.stack) < count:
        raise Malformed("takes more from its stack than it put there")
    found = tuple(machine.stack[-count:])
    del machine.stack[-count:]
    return found


def _refuse(machine: Machine) -> NoReturn:
    code = bytes([machine.code])
    raise Malformed(f"uses the operation {code!r} at byte {machine.opcode_at:,}, which no {machine.kind} needs")


def _global(machine: Machine) -> Global:
    return machine.look_up(machine.line().decode("latin1"), machine.line().decode("latin1"))


def _stack_global(machine: Machine) -> Global:
    return machine.look_up(*_last(machine, 2))


def _reduce(machine: Machine) -> Any:
    function, arguments = _last(machine, 2)
    if not isinstance(function, Global) or function.call is None or not isinstance(arguments, tuple):
        raise Malformed(f"calls what cannot be called at byte {machine.opcode_at:,}")
    return machine.charged(function.call(*arguments))


def _new(machine: Machine, *, keywords: bool = False) -> Any:
    kind, arguments, *extra = _last(machine, 3 if keywords else 2)
    if not isinstance(kind, Global) or kind.new is None or arguments != () or extra not in ([], [{}]):
        raise Malformed(f"makes an object with arguments at byte {machine.opcode_at:,}")
    return kind.new()


def _old_instance(machine: Machine) -> NoReturn:
    machine.look_up(machine.line().decode("latin1"), machine.line().decode("latin1"))
    _refuse(machine)


def _build(machine: Machine) -> Any:
    target, state = _last(machine, 2)
    return machine.charged(machine.build(machine, target, state))


def _persistent(machine: Machine) -> Any:
    return _refuse(machine) if machine.outside is None else machine.outside(machine.stack.pop())


def _append(machine: Machine, items: list[Any]) -> None:
    if type(target := machine.stack[-1]) is not list:
        raise Malformed(f"appends to a {type(target).__name__}")
    target.extend(items)


def _add(machine: Machine, items: list[Any]) -> None:
    if not isinstance(target := machine.stack[-1], set):
        raise Malformed(f"adds to a {type(target).__name__}")
    target.update(map(checked_key, items))


def _pop(machine: Machine) -> None:
    if machine.marks and machine.marks[-1] == len(machine.stack):
        machine.marks.pop()
    else:
        machine.stack.pop()


def _dict(machine: Machine) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    _set_items(machine, out, machine.above_mark())
    return out


def _set_items_above_mark(machine: Machine) -> None:
    flat = machine.above_mark()
    _set_items(machine, machine.stack[-1], flat)


_STOP = ord(".")
_LARGE = (np.ndarray, bytes, str, tuple, dict, list)
"""What a file may hold millions of."""

_VALUES: dict[int, Callable[[Machine], Any]] = {
    ord("N"): lambda m: None,
    0x88: lambda m: True,
    0x89: lambda m: False,
    ord("I"): _int_or_bool,
    ord("L"): lambda m: int(_digits(m).rstrip(b"L")),
    ord("J"): lambda m: m.number("<i"),
    ord("K"): lambda m: m.number("<B"),
    ord("M"): lambda m: m.number("<H"),
    0x8A: lambda m: _long(m, "<B"),
    0x8B: lambda m: _long(m, "<i"),
    ord("F"): lambda m: float(_digits(m)),
    ord("G"): lambda m: struct.unpack(">d", m.take(8))[0],
    ord("S"): _text,
    ord("T"): lambda m: m.sized("<i").decode("latin1"),
    ord("U"): lambda m: m.sized("<B").decode("latin1"),
    ord("V"): lambda m: m.line().decode("raw-unicode-escape"),
    ord("X"): lambda m: _utf8(m, "<I"),
    0x8C: lambda m: _utf8(m, "<B"),
    0x8D: lambda m: _utf8(m, "<Q"),
    ord("B"): lambda m: m.sized("<I"),
    ord("C"): lambda m: m.sized("<B"),
    0x8E: lambda m: m.sized("<Q"),
    0x96: lambda m: bytearray(m.sized("<Q")),
    ord("]"): lambda m: [],
    ord("}"): lambda m: {},
    ord(")"): lambda m: (),
    0x8F: lambda m: set(),
    ord("t"): lambda m: tuple(m.above_mark()),
    0x85: lambda m: _last(m, 1),
    0x86: lambda m: _last(m, 2),
    0x87: lambda m: _last(m, 3),
    ord("l"): lambda m: m.above_mark(),
    ord("d"): _dict,
    0x91: lambda m: frozenset(map(checked_key, m.above_mark())),
    ord("g"): lambda m: m.recall(int(_digits(m))),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    ord("2"): lambda m: m.stack[-1],
    ord("c"): _global,
    0x93: _stack_global,
    ord("R"): _reduce,
    0x81: _new,
    0x92: lambda m: _new(m, keywords=True),
    ord("b"): _build,
    ord("i"): _old_instance,
    ord("Q"): _persistent,
}
"""Operations that push one value."""

_ACTIONS: dict[int, Callable[[Machine], Any]] = {
    0x80: lambda m: m.number("<B"),
    # a frame only tells a streaming reader how much to fetch
    0x95: lambda m: m.number("<Q"),
    ord("("): lambda m: m.marks.append(len(m.stack)),
    ord("0"): _pop,
    ord("1"): lambda m: m.above_mark(),
    ord("p"): lambda m: m.remember(int(_digits(m))),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo) + m.let_go),
    ord("a"): lambda m: _append(m, [m.stack.pop()]),
    ord("e"): lambda m: _append(m, m.above_mark()),
    ord("s"): lambda m: _set_items(m, m.stack[-3], list(_last(m, 2))),
    ord("u"): _set_items_above_mark,
    0x90: lambda m: _add(m, m.above_mark()),
    **dict.fromkeys((ord("P"), ord("o"), 0x82, 0x83, 0x84, 0x97, 0x98), _refuse),
}
"""Operations that change the stack or the memo, and those that are refused: persistent ids as text, extension codes,
old-style instances, out-of-band buffers."""
