"""The tables of an MP4 or QuickTime file that state how many samples it has.

FFmpeg makes an entry in memory for each, before it has seen one: a file of one kilobyte that states 67 million took
819 MB. A sample has a byte or more, so no honest file states more of them than it has bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"})
"""Boxes in which the tables lie."""
MOST_BOXES = 100_000
"""Boxes looked at; a file in fragments has some hundreds a minute."""


def samples_stated(stream: BinaryIO, size: int) -> int:
    """The largest number of samples that one of the tables states; 0 where there is none."""
    return max(_counts(stream, size), default=0)


def _counts(stream: BinaryIO, size: int) -> Iterator[int]:
    ends, place = [size], 0
    for _ in range(MOST_BOXES):
        while ends and place + 8 > ends[-1]:
            place = ends.pop()
        if not ends:
            return
        stream.seek(place)
        head = stream.read(24)
        length, name = struct.unpack_from(">I4s", head.ljust(8, b"\0"))
        inside = 8
        if length == 1 and len(head) >= 16:  # a length of 64 bits
            length, inside = struct.unpack_from(">Q", head, 8)[0], 16
        end = min(place + length, ends[-1]) if length else ends[-1]
        if end < place + 8:
            return
        if name in CONTAINERS:
            ends.append(end)
            place += inside
            continue
        stream.seek(place + inside)
        yield _stated(name, stream.read(16))
        place = end


def _stated(name: bytes, content: bytes) -> int:
    """Samples stated by a box with this beginning of its content."""
    if name == b"stsz" and len(content) >= 12:
        each, count = struct.unpack_from(">II", content, 4)
        return int(count) if each else 0  # sizes of their own take four bytes each, which are in the file or not
    if name == b"trun" and len(content) >= 8:
        return int(struct.unpack_from(">I", content, 4)[0])
    return 0
