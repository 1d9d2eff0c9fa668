"""Reads one variable of a Common Data Format file, the format of Human3.6M's pose archives.

Implements only the small part of the format that is needed: with one flipped bit in a file of 5 KB, a general reader
took a minute and gigabytes of memory. Offsets, sizes and counts are checked against the file's length before use.
Layout: "CDF Internal Format Description" (NASA), versions 2.6 and 3.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import refused
from trace_data.errors import AnnotationError
from trace_data.files import open_regular

Array = npt.NDArray[np.float64]
_MAGIC = {0xCDF30001: 3, 0xCDF26002: 2}
_PLAIN, _PACKED = 0x0000FFFF, 0xCCCC0001
_CDR, _GDR, _RVDR, _ZVDR, _VXR, _VVR, _CPR, _CVVR = 1, 2, 3, 8, 6, 7, 11, 13
"""Types of the internal records used."""
_COMPRESSED_FILE = 10
_GZIP = 5
_LITTLE = (4, 6, 13, 16)
_BIG = (1, 2, 5, 7, 9, 11, 12, 18)
"""Encodings by byte order; the remaining ones are VAX floating-point formats."""
_TYPES = {
    1: "i1", 2: "i2", 4: "i4", 8: "i8", 11: "u1", 12: "u2", 14: "u4", 21: "f4", 22: "f8", 41: "i1", 44: "f4", 45: "f8",
}  # fmt: skip
_MOST_SIDES = 10
"""The format's own limit."""
_LARGEST = 1 << 30
"""Maximum bytes; an hour of poses at 50 Hz takes 70 MB."""
_GROWTH, _ROOM = 10, 64 << 20
"""Maximum decompressed size: this factor times the file, plus this many bytes."""
_MOST_RECORDS = 1 << 16
"""Maximum number of internal records; a file of the release has about ten."""


class _Malformed(Exception):
    """The bytes are not a complete CDF file."""


def read_cdf(file: Path, name: str, *, hint: str) -> Array:
    """(records, *dimensions) values of a variable. `hint`: where to get the file again. Raises AnnotationError."""
    try:
        with open_regular(file) as stream:
            data = stream.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise _Malformed(f"is larger than {_LARGEST:,} bytes")
        return _File(data).variable(name)
    except OSError as error:
        raise refused(error, file) from error
    except (_Malformed, zlib.error) as error:
        raise AnnotationError(f"not readable as a CDF file: {error}", where=file, hint=hint) from error


@dataclass(frozen=True, slots=True)
class _Variable:
    """The descriptor of a variable."""

    type: int
    last_record: int
    first_index: int
    records_vary: bool
    sparse: int
    elements: int
    sides: tuple[int, ...]


class _File:
    """The bytes of a file, read record by record."""

    def __init__(self, data: bytes) -> None:
        self._room = _GROWTH * len(data) + _ROOM
        magic, form = struct.unpack(">II", data[:8]) if len(data) >= 8 else (0, 0)
        if magic not in _MAGIC or form not in (_PLAIN, _PACKED):
            raise _Malformed("it does not begin like one")
        self._offset = "q" if _MAGIC[magic] == 3 else "i"
        self._name = "256s" if _MAGIC[magic] == 3 else "64s"
        self._data = data
        self._followed = 0
        if form == _PACKED:
            _, record = self._record(8, _COMPRESSED_FILE)
            (settings, _, _), content = self._fields(record, "OOi")
            self._gzip_only(settings)
            self._data = data[:8] + self._unpacked(content, self._room)

    def variable(self, name: str) -> Array:
        """(records, *dimensions) values of a variable."""
        (globals_at, _, _, encoding, flags), _ = self._fields(self._record(8, _CDR)[1], "Oiiii")
        if not flags & 2:
            raise _Malformed("its variables lie in files of their own")
        if encoding not in (*_LITTLE, *_BIG):
            raise _Malformed(f"numbers in encoding {encoding}, expected IEEE ones")
        variable = self._find(globals_at, name)
        if variable.type not in _TYPES or variable.elements != 1 or variable.sparse:
            raise _Malformed(f"{name} is of type {variable.type}, sparse {variable.sparse}, expected plain numbers")
        item = np.dtype(("<" if encoding in _LITTLE else ">") + _TYPES[variable.type])
        records = variable.last_record + 1 if variable.records_vary else 1
        length = item.itemsize * math.prod(variable.sides)
        if records < 0 or records * length > self._room:
            raise _Malformed(f"{name} claims {records:,} records of shape {variable.sides}")
        content = bytearray()
        for first, last, place in self._blocks(variable.first_index):
            if len(content) == records * length:
                break
            if first * length != len(content) or last < first:
                raise _Malformed(f"records {first:,} to {last:,} of {name} do not follow those before")
            content += self._block(place, (min(last + 1, records) - first) * length)
        if len(content) != records * length:
            raise _Malformed(f"{name} has {len(content):,} bytes, expected {records * length:,}")
        with np.errstate(invalid="ignore"):  # the caller checks for NaN
            values = np.frombuffer(content, item).astype(np.float64)
        if flags & 1:  # row-major: the last index varies fastest
            return values.reshape(records, *variable.sides)
        turned = values.reshape(records, *reversed(variable.sides))
        return turned.transpose(0, *range(turned.ndim - 1, 0, -1))

    def _record(self, place: int, *kinds: int) -> tuple[int, bytes]:
        """Type and content of the internal record at byte `place`, which must be one of `kinds`."""
        self._followed += 1
        if self._followed > _MOST_RECORDS:
            raise _Malformed("its records lead in a circle")
        if not 8 <= place < len(self._data):
            raise _Malformed(f"a record at byte {place:,} of {len(self._data):,}")
        (size, kind), _ = self._fields(self._data[place : place + 12], "Oi")
        head = struct.calcsize(f">{self._offset}i")
        if kind not in kinds:
            raise _Malformed(f"a record of type {kind} at byte {place:,}, expected {' or '.join(map(str, kinds))}")
        if not head <= size <= len(self._data) - place:
            raise _Malformed(f"a record of {size:,} bytes at byte {place:,} of {len(self._data):,}")
        return kind, self._data[place + head : place + size]

    def _fields(self, data: bytes, form: str) -> tuple[tuple[int, ...], bytes]:
        """The numbers at the start of `data` (O: a file offset), and the rest."""
        packed = struct.Struct(">" + form.replace("O", self._offset))
        if len(data) < packed.size:
            raise _Malformed("a record ends too early")
        return packed.unpack_from(data), data[packed.size :]

    def _find(self, globals_at: int, name: str) -> _Variable:
        """The descriptor of a variable; z variables, with their own dimensions, are searched first."""
        fields, rest = self._fields(self._record(globals_at, _GDR)[1], "OOOOiiiiiOiii")
        shared = self._sides(fields[7], rest)[0]
        names = []
        for first, kind in ((fields[1], _ZVDR), (fields[0], _RVDR)):
            place = first
            while place > 0:
                place, found, variable = self._describe(self._record(place, kind)[1], kind, shared)
                if found == name:
                    return variable
                names.append(found)
        raise _Malformed(f"there is no variable {name}, only {', '.join(names[:20]) or 'none'}")

    def _describe(self, record: bytes, kind: int, shared: tuple[int, ...]) -> tuple[int, str, _Variable]:
        """Offset of the next variable, name, and descriptor."""
        fields, rest = self._fields(record, "OiiOOiiiiiiiOi")
        (raw,), rest = self._fields(rest, self._name)
        sides = shared
        if kind == _ZVDR:
            (count,), rest = self._fields(rest, "i")
            sides, rest = self._sides(count, rest)
        vary = self._sides(len(sides), rest)[0]
        return (
            fields[0],
            str(raw, "latin-1").split("\0")[0].strip(),  # type: ignore[call-overload]
            _Variable(
                type=fields[1],
                last_record=fields[2],
                first_index=fields[3],
                records_vary=bool(fields[5] & 1),
                sparse=fields[6],
                elements=fields[10],
                sides=tuple(side for side, varies in zip(sides, vary) if varies),
            ),
        )

    def _sides(self, count: int, data: bytes) -> tuple[tuple[int, ...], bytes]:
        if not 0 <= count <= _MOST_SIDES:
            raise _Malformed(f"an array of {count:,} dimensions")
        return self._fields(data, "i" * count)

    def _blocks(self, index_at: int) -> Iterator[tuple[int, int, int]]:
        """(first record, last record, offset) of the blocks of values, in index order."""
        while index_at > 0:
            (following, entries, used), rest = self._fields(self._record(index_at, _VXR)[1], "Oii")
            if not 0 <= used <= entries <= len(rest) // 12 + 1:
                raise _Malformed(f"an index of {used:,} of {entries:,} entries")
            firsts, rest = self._fields(rest, f"{entries}i")
            lasts, rest = self._fields(rest, f"{entries}i")
            places, _ = self._fields(rest, f"{entries}O")
            for first, last, place in zip(firsts[:used], lasts, places):
                if self._record(place, _VXR, _VVR, _CVVR)[0] == _VXR:
                    yield from self._blocks(place)
                else:
                    yield first, last, place
            index_at = following

    def _block(self, place: int, length: int) -> bytes:
        """The first `length` bytes of a block of values."""
        kind, record = self._record(place, _VVR, _CVVR)
        if kind == _CVVR:
            (_, packed), rest = self._fields(record, "iO")
            if not 0 <= packed <= len(rest):
                raise _Malformed(f"{packed:,} compressed bytes in a record of {len(record):,}")
            record = self._unpacked(rest[:packed], length)
        if len(record) < length:
            raise _Malformed(f"a block of {len(record):,} bytes, expected {length:,}")
        return record[:length]

    def _gzip_only(self, settings_at: int) -> None:
        (kind, _, _), _ = self._fields(self._record(settings_at, _CPR)[1], "iii")
        if kind != _GZIP:
            raise _Malformed(f"compressed in manner {kind}, expected gzip")

    def _unpacked(self, data: bytes, most: int) -> bytes:
        inflate = zlib.decompressobj(wbits=31)
        content = inflate.decompress(data, most)
        if inflate.unconsumed_tail or not inflate.eof:
            raise _Malformed(f"compressed bytes that are cut, or hold more than {most:,}")
        return content
