"""The opcodes of Python's pickle format, and the loop that runs them.

Opcodes are dispatched by tables: anything that is not in them is refused.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from trace_data.unpickle.machine import DROPPED, MAX_DIGITS, MAX_LONG, MAX_MARKS, Global, Machine
from trace_data.unpickle.stream import Malformed


def run(machine: Machine) -> Any:
    """Run the pickle and return its object; `machine.at` is then at its end.

    Raises UnsafePickleError and Malformed, see `Machine`.
    """
    budget, stack, earned = machine.budget, machine.stack, machine.gone + machine.at
    while True:
        at = machine.at
        machine.opcode_at = machine.gone + at
        if at < len(machine.data):
            code = machine.code = machine.data[at]
            machine.at = at + 1
        else:
            code = machine.code = machine.take(1)[0]
        budget.steps_left -= _STEPS[code]
        budget.bytes_left -= _COSTS[code]
        if budget.steps_left < 0 or budget.bytes_left < 0:
            budget.earn_for(machine.opcode_at - earned)
            earned = machine.opcode_at
            budget.check()
        if (value := _VALUES.get(code)) is not None:
            stack.append(value(machine))
        elif (action := _ACTIONS.get(code)) is not None:
            action(machine)
        elif code == _STOP:
            if machine.marks or not stack:
                raise Malformed(f"stops in the middle at byte {machine.opcode_at:,}")
            return stack.pop()
        else:
            raise Malformed(f"has the unknown operation {bytes([code])!r} at byte {machine.opcode_at:,}")


def _set_items(machine: Machine, target: Any, flat: list[Any]) -> None:
    if not isinstance(target, dict) or len(flat) % 2:
        raise Malformed(f"puts items into a {type(target).__name__}")
    machine.budget.charge_items(len(flat) // 2)
    for key, value in zip(flat[::2], flat[1::2]):
        made = value if machine.each is None else machine.each(key, value)
        if made is not DROPPED:
            target[machine.keys.checked(key)] = made


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
    raw = machine.sized(form)
    if len(raw) > MAX_LONG:
        raise Malformed(f"has an integer of {len(raw):,} bytes at byte {machine.opcode_at:,}")
    return int.from_bytes(raw, "little", signed=True)


def _utf8(machine: Machine, form: str) -> str:
    return machine.sized(form).decode("utf-8", "surrogatepass")


def _last(machine: Machine, count: int) -> tuple[Any, ...]:
    if len(machine.stack) < count:
        raise Malformed("takes more from its stack than it put there")
    items = tuple(machine.stack[-count:])
    del machine.stack[-count:]
    return items


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
    for part in arguments:
        machine.budget.charge_for_reading(part)
    made = function.call(*arguments)
    machine.budget.charge_for(made)
    return made


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
    made = machine.build(machine, target, state)
    machine.budget.charge_for(made)
    return made


def _persistent(machine: Machine) -> Any:
    return _refuse(machine) if machine.outside is None else machine.outside(machine.stack.pop())


def _append(machine: Machine, items: list[Any]) -> None:
    if type(target := machine.stack[-1]) is not list:
        raise Malformed(f"appends to a {type(target).__name__}")
    target.extend(items)


def _add(machine: Machine, items: list[Any]) -> None:
    if not isinstance(target := machine.stack[-1], set):
        raise Malformed(f"adds to a {type(target).__name__}")
    machine.budget.charge_items(len(items))
    target.update(map(machine.keys.checked, items))


def _frozen(machine: Machine) -> frozenset[Any]:
    items = machine.above_mark()
    machine.budget.charge_items(len(items))
    return frozenset(map(machine.keys.checked, items))


def _mark(machine: Machine) -> None:
    if len(machine.marks) >= MAX_MARKS:
        raise Malformed(f"begins more than {MAX_MARKS:,} parts inside each other")
    machine.marks.append(len(machine.stack))


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

_VALUES: dict[int, Callable[[Machine], Any]] = {
    ord("N"): lambda m: None,
    0x88: lambda m: True,
    0x89: lambda m: False,
    ord("I"): _int_or_bool,
    ord("L"): lambda m: int(_digits(m).rstrip(b"L")),
    ord("J"): lambda m: m.number("<i"),
    ord("K"): lambda m: m.take(1)[0],
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
    0x91: _frozen,
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
    # a frame is only a prefetching hint
    0x95: lambda m: m.number("<Q"),
    ord("("): _mark,
    ord("0"): _pop,
    ord("1"): lambda m: m.above_mark(),
    ord("p"): lambda m: m.remember(int(_digits(m))),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: lambda m: m.remember(len(m.memo)),
    ord("a"): lambda m: _append(m, [m.stack.pop()]),
    ord("e"): lambda m: _append(m, m.above_mark()),
    ord("s"): lambda m: _set_items(m, m.stack[-3], list(_last(m, 2))),
    ord("u"): _set_items_above_mark,
    0x90: lambda m: _add(m, m.above_mark()),
    **dict.fromkeys((ord("P"), ord("o"), 0x82, 0x83, 0x84, 0x97, 0x98), _refuse),
}
"""Operations that change the stack or the memo, and refused ones: persistent ids as text, extension codes, old-style
instances, out-of-band buffers."""

_SIZES = {
    32: b"FG",
    36: b"ILJ\x8a\x8b",
    48: b"t\x85\x86\x87",
    64: b"STUVX\x8c\x8dBC\x8e\x96",
    72: b"]l",
    80: b"}d",
    128: b"\x81\x92",
    224: b"\x8f\x91",
}
_COSTS = [next((size for size, codes in _SIZES.items() if code in codes), 8) for code in range(256)]
"""Cost of each operation in bytes, besides its content; 8 for a slot on the stack, in a list or in the memo."""

_SLOW = {8: b"Rb\x81\x92", 4: b"c\x93i", 2: b"s", 16: b"012\x80"}
_STEPS = [next((steps for steps, codes in _SLOW.items() if code in codes), 1) for code in range(256)]
"""What each operation counts for: calls take longer than others, and real files hardly ever pop or duplicate."""
