"""What an image's EXIF says: how it should be turned before it is shown, and the focal length of its lens.

The rule for datasets: **pixels are taken as they are stored**, whatever EXIF says, by every decoder. Labels, sizes and
cameras are about stored pixels; a picture that one library turns and another does not would part from them.
Verification counts the images that ask for it. Footage for prediction has no labels yet: it is turned, here alone, by
`upright`.
"""

from __future__ import annotations

import struct
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

UPRIGHT = 1
_ORIENTATION, _EXIF, _FOCAL_35MM = 0x0112, 0x8769, 0xA405
"""Tags: the second is the place of a directory of its own, in which the third stands."""
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}
"""OpenCV's codes: columns, both, rows; after the transposition that 5 to 8 ask for."""
_FORMATS = {3: "H", 4: "I"}
"""Of values by their kind: 16 and 32 bits."""
_MOST = 1 << 16
"""Bytes of EXIF that are read; a JPEG cannot hold more."""


def orientation(stream: BinaryIO) -> int:
    """1 to 8 as EXIF counts, 1 (upright) where a JPEG, PNG or WebP says nothing or nothing readable."""
    try:
        found = _in_tiff(_exif(stream), _ORIENTATION)
    except struct.error:  # it ends too early
        return UPRIGHT
    return found if 1 <= found <= 8 else UPRIGHT


def focal_35mm(stream: BinaryIO) -> float | None:
    """Focal length in mm of the lens that has the same view on a 35 mm camera; None where EXIF does not say."""
    try:
        exif = _exif(stream)
        found = _in_tiff(exif, _FOCAL_35MM, _in_tiff(exif, _EXIF))
    except struct.error:
        return None
    return float(found) if 1 <= found <= 2000 else None


def upright(pixels: npt.NDArray[np.uint8], how: int) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) turned as EXIF's orientation 1 to 8 asks; 5 to 8 exchange height and width."""
    turned: Any = cv2.transpose(pixels) if how >= 5 else pixels
    if how in _FLIPS:
        turned = cv2.flip(turned, _FLIPS[how])
    return np.asarray(turned, np.uint8)


def turned_clockwise(pixels: npt.NDArray[np.uint8], degrees: int) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) turned by 0, 90, 180 or 270 degrees."""
    return upright(pixels, {0: 1, 90: 6, 180: 3, 270: 8}[degrees])


def _exif(stream: BinaryIO) -> bytes:
    stream.seek(0)
    begin = stream.read(12)
    if begin[:8] == b"\x89PNG\r\n\x1a\n":
        return _of_png(stream)
    if begin[:4] == b"RIFF" and begin[8:] == b"WEBP":
        return _of_webp(stream)
    return _of_jpeg(stream) if begin[:2] == b"\xff\xd8" else b""


def _of_png(stream: BinaryIO) -> bytes:
    """The content of the chunk eXIf, which may stand before or after the pixels."""
    stream.seek(8)
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


def _of_webp(stream: BinaryIO) -> bytes:
    """The content of the chunk EXIF, which stands behind the pixels."""
    while len(head := stream.read(8)) == 8:
        (length,) = struct.unpack("<I", head[4:])
        if head[:4] == b"EXIF":
            return stream.read(min(length, _MOST)).removeprefix(b"Exif\0\0")
        stream.seek(length + length % 2, 1)
    return b""


def _in_tiff(exif: bytes, tag: int, place: int | None = None) -> int:
    """The value of a tag in the directory at `place`, the first one if None; 0 where it does not stand there."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None or place == 0:
        return 0
    if place is None:
        (place,) = struct.unpack_from(f"{order}I", exif, 4)
    (count,) = struct.unpack_from(f"{order}H", exif, place)
    for entry in range(count):
        at = place + 2 + 12 * entry
        found, kind = struct.unpack_from(f"{order}HH", exif, at)
        if found == tag and kind in _FORMATS:
            (value,) = struct.unpack_from(f"{order}{_FORMATS[kind]}", exif, at + 8)
            return int(value)
    return 0
