"""How an image's EXIF says it should be turned before it is shown.

The rule of the whole project: **pixels are taken as they are stored**, whatever EXIF says, by every decoder. Labels,
sizes and cameras are about stored pixels; a picture that one library turns and another does not would part from them.
Verification counts the images that ask for it.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

UPRIGHT = 1
_TAG, _SHORT = 0x0112, 3
_MOST = 1 << 16
"""Bytes of EXIF that are read; a JPEG cannot hold more."""


def orientation(stream: BinaryIO) -> int:
    """1 to 8 as EXIF counts, 1 (upright) where a JPEG or PNG says nothing or nothing readable."""
    stream.seek(0)
    begin = stream.read(8)
    try:
        exif = (
            _of_png(stream) if begin == b"\x89PNG\r\n\x1a\n" else _of_jpeg(stream) if begin[:2] == b"\xff\xd8" else b""
        )
        found = _in_tiff(exif)
    except struct.error:  # it ends too early
        return UPRIGHT
    return found if 1 <= found <= 8 else UPRIGHT


def _of_png(stream: BinaryIO) -> bytes:
    """The content of the chunk eXIf, which may stand before or after the pixels."""
    while len(head := stream.read(8)) == 8 and head[4:] != b"IEND":
        (length,) = struct.unpack(">I", head[:4])
        if head[4:] == b"eXIf":
            return stream.read(min(length, _MOST))
        stream.seek(length + 4, 1)
    return b""


def _of_jpeg(stream: BinaryIO) -> bytes:
    """The content of the segment APP1 that is EXIF's; it stands before the pixels."""
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF and head[1] not in (0xDA, 0xD9):
        if head[1] == 0xFF:  # a byte that fills
            stream.seek(-3, 1)
            continue
        (length,) = struct.unpack(">H", head[2:])
        if head[1] == 0xE1 and (held := stream.read(length - 2))[:6] == b"Exif\0\0":
            return held[6:]
        if head[1] != 0xE1:
            stream.seek(max(length - 2, 0), 1)
    return b""


def _in_tiff(exif: bytes) -> int:
    """The number of the tag in the first directory of a TIFF header."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return UPRIGHT
    (place,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, place)
    for entry in range(count):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", exif, place + 2 + 12 * entry)
        if (tag, kind) == (_TAG, _SHORT):
            return int(value)
    return UPRIGHT
