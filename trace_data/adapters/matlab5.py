"""MATLAB files of version 5, as far as annotations use them: arrays of numbers, text, cells and structs of these.

A reader of our own, because SciPy's ends the whole process (a segmentation fault) on some damaged files of a few
hundred bytes. Every size is checked against the bytes that are there before anything is allocated. Layout: "MAT-File
Format" (The MathWorks), chapter "Level 5 MAT-File Format".
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import refused
from trace_data.errors import AnnotationError
from trace_data.files import open_regular

Order = Literal["<", ">"]
Value = npt.NDArray[Any]
_HEADER, _TAG = 128, 8
_MATRIX, _COMPRESSED = 14, 15
_CELL, _STRUCT, _CHAR, _OPAQUE = 1, 2, 4, 17
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Types in which numbers lie in the file."""
_NUMBERS = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
"""Classes of numeric arrays: what they are once they are read."""
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}
_COMPLEX = 0x0800
_OTHER_CLASSES = {3: "an object", 5: "a sparse matrix", 16: "a function"}
_DEEPEST = 4
"""Cells and structs within others; the releases nest twice."""
_MOST_FIELDS = 64
"""Of a struct; the releases have four."""
_MOST_SIDES = 32
_GROWTH, _ROOM = 10, 64 << 20
"""Compressed variables may become this many times the file, and this many bytes more."""
_HEAD = 1 << 12
"""Bytes that hold flags, dimensions and name of a variable."""
_HDF5 = b"\x89HDF\r\n\x1a\n"


class _Malformed(Exception):
    """The bytes are no MATLAB file of version 5, or no whole one."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What stands in front of an array's values."""

    kind: int
    complex: bool
    shape: tuple[int, ...]
    name: str


def read_matlab(file: Path, names: Collection[str], *, hint: str) -> dict[str, Value]:
    """The variables `names` that the file has: numbers in their type, text as an array of rows, cells as an array of
    objects, structs as an array of dicts. Variables with other names are skipped, whatever they hold.

    `hint`: where the file can be got again. Raises AnnotationError.
    """
    values = {}
    for name, content, order in _variables(file, hint, whole=names):
        if name in names:
            with _named(file, hint, name):
                values[name] = _value(content, order)
    return values


def matlab_shapes(file: Path, *, hint: str) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of all variables, from their headers alone. Raises AnnotationError."""
    shapes = {}
    for name, content, order in _variables(file, hint, whole=()):
        with _named(file, hint, name):
            shapes[name] = _head(_elements(content, order, cut=True), order).shape
    return shapes


class _named:  # noqa: N801  used like a function
    """Turns what is wrong with bytes into an error that names the file, and the variable where it is known."""

    def __init__(self, file: Path, hint: str, variable: str = "") -> None:
        self._file, self._hint, self._variable = file, hint, variable

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        what = f"variable {self._variable!r} " if self._variable else ""
        if isinstance(error, _Malformed | zlib.error | UnicodeError):
            raise AnnotationError(
                f"not readable as a MATLAB file of version 5: {what}{error}", where=self._file, hint=self._hint
            ) from error
        if isinstance(error, MemoryError):
            raise AnnotationError(f"too little memory to read {what or 'it'}", where=self._file) from error
        if isinstance(error, OSError):
            raise refused(error, self._file) from error


def _variables(file: Path, hint: str, whole: Collection[str]) -> Iterator[tuple[str, memoryview, Order]]:
    """Name, content and byte order of each variable; only those in `whole` are read to their end."""
    with _named(file, hint), open_regular(file) as stream:
        length = stream.seek(0, 2)
        stream.seek(0)
        order = _byte_order(stream.read(_HEADER))
        place, room = _HEADER, _GROWTH * length + _ROOM
        while place < length:
            stream.seek(place)
            kind, size = _tag(stream.read(_TAG), order)
            place += _TAG + size
            if place > length:
                raise _Malformed(f"is cut short: {length:,} bytes, expected {place:,} or more")
            if kind not in (_MATRIX, _COMPRESSED):
                raise _Malformed(f"has an element of type {kind} where a variable is expected")
            content = _content(stream, size, order, _HEAD, packed=kind == _COMPRESSED)
            name = _head(_elements(content, order, cut=True), order).name
            if name in whole:
                stream.seek(place - size)
                content = _content(stream, size, order, room, packed=kind == _COMPRESSED)
                room -= len(content)
            yield name, content, order


def _byte_order(header: bytes) -> Order:
    if header[:8] == _HDF5 or b"MATLAB 7.3" in header[:20]:
        raise _Malformed("it is one of version 7.3 (HDF5)")
    mark, version = header[126:128], header[124:126]
    orders: dict[bytes, Order] = {b"IM": "<", b"MI": ">"}
    if mark not in orders or struct.unpack(orders[mark] + "H", version)[0] != 0x0100:
        raise _Malformed("the header does not say so")
    return orders[mark]


def _content(stream: BinaryIO, size: int, order: Order, most: int, *, packed: bool) -> memoryview:
    """What a variable's element holds, at most `most` bytes of it where that is the head's length."""
    if not packed:
        return memoryview(stream.read(min(size, most)))
    inflate = zlib.decompressobj()
    if most == _HEAD:
        content = inflate.decompress(stream.read(min(size, 2 * _HEAD)), _HEAD)
    else:
        content = inflate.decompress(stream.read(size), most)
        if not inflate.eof:
            what = "unpacks to more than a file of this length may" if inflate.unconsumed_tail else "is cut short"
            raise _Malformed(what)
    kind, length = _tag(content[:_TAG], order)
    if kind != _MATRIX or (most != _HEAD and length > len(content) - _TAG):
        raise _Malformed("holds no array" if kind != _MATRIX else "is cut short")
    return memoryview(content)[_TAG : _TAG + length]


def _tag(data: bytes | memoryview, order: Order) -> tuple[int, int]:
    """Type and length of an element."""
    if len(data) < _TAG:
        raise _Malformed("ends within an element")
    kind, size = struct.unpack(order + "II", data)
    return kind, size


def _elements(data: memoryview, order: Order, *, cut: bool = False) -> Iterator[tuple[int, memoryview]]:
    """Type and content of the elements in `data`; with `cut`, `data` may end within the last one."""
    place = 0
    while place < len(data):
        kind, size = _tag(data[place : place + _TAG], order)
        if kind >> 16:  # small: length and type share four bytes, the content has the other four
            kind, size, start, end = kind & 0xFFFF, kind >> 16, place + 4, place + _TAG
            if size > 4:
                raise _Malformed(f"has a small element of {size} bytes")
        else:
            start, end = place + _TAG, place + _TAG + size + (-size % 8)
        if start + size > len(data) and not cut:
            raise _Malformed(f"has an element of {size:,} bytes where {len(data) - start:,} are left")
        yield kind, data[start : start + size]
        place = end


def _head(elements: Iterator[tuple[int, memoryview]], order: Order) -> _Head:
    """Takes the first three elements of an array."""
    first = list(islice(elements, 3))
    if first and len(first[0][1]) == 8 and struct.unpack(order + "I", first[0][1][:4])[0] & 0xFF == _OPAQUE:
        return _Head(_OPAQUE, False, (), "")  # an object of a class: laid out otherwise, and never wanted here
    if [kind for kind, _ in first[:2]] != [6, 5] or len(first) < 3:
        raise _Malformed("has an array without flags, dimensions and name")
    flags, shape, name = (content for _, content in first)
    if len(flags) != 8 or len(shape) % 4 or len(shape) > 4 * _MOST_SIDES:
        raise _Malformed(f"has an array with {len(flags)} bytes of flags and {len(shape)} of dimensions")
    sides = np.frombuffer(shape, order + "i4").tolist()
    if min(sides, default=-1) < 0:
        raise _Malformed(f"has an array of shape {sides}")
    (word,) = struct.unpack(order + "I", flags[:4])
    return _Head(word & 0xFF, bool(word & _COMPLEX), tuple(sides), bytes(name).decode("utf-8"))


def _value(content: memoryview, order: Order, depth: int = 0) -> Value:
    """An array with everything in it."""
    elements = _elements(content, order)
    head = _head(elements, order)
    if head.kind in _OTHER_CLASSES or head.complex:
        raise _Malformed(f"is {_OTHER_CLASSES.get(head.kind, 'complex')}, expected numbers, text, cells or structs")
    count = math.prod(head.shape)
    if head.kind == _CELL:
        return _cells(elements, head.shape, count, order, depth)
    if head.kind == _STRUCT:
        return _structs(elements, head.shape, count, order, depth)
    kind, data = next(elements, (0, memoryview(b"")))
    if head.kind == _CHAR:
        return _text(kind, data, head.shape, count, order)
    if head.kind not in _NUMBERS or (kind not in _STORED and count):
        raise _Malformed(f"has an array of class {head.kind} with values of type {kind}")
    stored = np.frombuffer(data, order + _STORED.get(kind, "u1")) if len(data) % _width(kind) == 0 else None
    if stored is None or len(stored) != count:
        raise _Malformed(f"has {len(data):,} bytes of values for an array of shape {head.shape}")
    values = stored.astype(_NUMBERS[head.kind])
    if not np.can_cast(stored.dtype, values.dtype) and not np.array_equal(stored, values):
        raise _Malformed(f"has values that are no {values.dtype}")
    return values.reshape(head.shape, order="F")


def _width(kind: int) -> int:
    return np.dtype(_STORED.get(kind, "u1")).itemsize


def _cells(
    elements: Iterator[tuple[int, memoryview]], shape: tuple[int, ...], count: int, order: Order, depth: int
) -> Value:
    parts = _parts(elements, order, depth)
    if len(parts) != count:
        raise _Malformed(f"has {len(parts):,} cells for a shape of {shape}")
    cells = np.empty(count, object)
    for number, part in enumerate(parts):
        cells[number] = part
    return cells.reshape(shape, order="F")


def _structs(
    elements: Iterator[tuple[int, memoryview]], shape: tuple[int, ...], count: int, order: Order, depth: int
) -> Value:
    """Names of the fields, all of one length; then the fields of the first struct, of the second, and so on."""
    (_, width), (_, text) = [*islice(elements, 2), (0, memoryview(b"")), (0, memoryview(b""))][:2]
    length = struct.unpack(order + "I", width)[0] if len(width) == 4 else 0
    if not length or not text or len(text) % length or len(text) > length * _MOST_FIELDS:
        raise _Malformed(f"has a struct with {len(text)} bytes of names of fields")
    names = [bytes(text[at : at + length]).split(b"\0")[0].decode("ascii") for at in range(0, len(text), length)]
    values = _parts(elements, order, depth)
    if len(values) != count * len(names):
        raise _Malformed(f"has {len(values):,} values of {len(names)} fields for a shape of {shape}")
    structs = np.empty(count, object)
    for number in range(count):
        structs[number] = dict(zip(names, values[number * len(names) :]))
    return structs.reshape(shape, order="F")


def _parts(elements: Iterator[tuple[int, memoryview]], order: Order, depth: int) -> list[Value]:
    """The arrays within another."""
    if depth >= _DEEPEST:
        raise _Malformed("has cells within cells within cells")
    parts = list(elements)
    if any(kind != _MATRIX for kind, _ in parts):
        raise _Malformed("has cells that are no arrays")
    return [_value(part, order, depth + 1) if len(part) else np.zeros((0, 0)) for _, part in parts]


def _text(kind: int, data: memoryview, shape: tuple[int, ...], count: int, order: Order) -> Value:
    """Rows of text: (1, n) characters are one."""
    if kind not in _TEXT:
        raise _Malformed(f"has text of type {kind}")
    wide = {"utf-16": {"<": "utf-16-le", ">": "utf-16-be"}, "utf-32": {"<": "utf-32-le", ">": "utf-32-be"}}
    encoding = wide.get(_TEXT[kind], {}).get(order, _TEXT[kind])
    text = bytes(data).decode(encoding)
    if len(text) != count or len(shape) != 2:
        raise _Malformed(f"has {len(text):,} characters for a shape of {shape}")
    rows = shape[0]
    return np.array([text[row::rows] for row in range(rows)] if count else [], np.str_)
