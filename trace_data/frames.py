"""Encoded images: what their header says, whether they are whole, and their form in a shard."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError

JPEG_QUALITY = 90
"""Measured trade-off of size against fidelity (fact sheet performance.md, section 3e)."""

_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION  # annotations count pixels as stored, so a rotation tag must not turn them
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def read_bytes(file: Path) -> bytes:
    """The whole file. Raises AnnotationError when it is missing or cannot be read."""
    try:
        return file.read_bytes()
    except FileNotFoundError as error:
        raise AnnotationError("the frame is missing", where=file, hint="copy the file again") from error
    except OSError as error:
        raise AnnotationError(f"the frame cannot be read: {error.strerror}", where=file) from error


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes start as a JPEG does."""
    return data[:3] == b"\xff\xd8\xff"


def image_size(data: bytes, where: Path) -> tuple[int, int]:
    """(width, height) in px from the header of a whole JPEG or PNG, without decoding it.

    Raises AnnotationError when the bytes are no such image or end before the picture does: decoders fill what is
    missing with grey and say nothing.
    """
    if is_jpeg(data):
        return _jpeg_size(data, where)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24:
        if b"IEND" not in data[-16:]:
            raise AnnotationError(f"the PNG ends too early ({len(data):,} bytes)", where=where, hint="copy it again")
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    raise AnnotationError(
        f"neither a JPEG nor a PNG: {len(data):,} bytes that start with {data[:8].hex()!r}",
        where=where,
        hint="copy the file again",
    )


def _jpeg_size(data: bytes, where: Path) -> tuple[int, int]:
    size, at = (0, 0), 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _START_OF_FRAME:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            size = (width, height)
        elif marker == 0xDA:  # from here on entropy-coded data, in which the end marker cannot occur
            if data.find(b"\xff\xd9", at) >= 0 and min(size) > 0:
                return size
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise AnnotationError(
        f"the JPEG ends too early ({len(data):,} bytes, no end marker)", where=where, hint="copy the file again"
    )


def decode(data: bytes, where: str | Path, reduce: int = 1) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) uint8, BGR, at 1/`reduce` of the size (1, 2, 4, 8: scaled inside the JPEG transform, cheap).

    Raises AnnotationError when the bytes cannot be decoded.
    """
    flag = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}.get(
        reduce, cv2.IMREAD_REDUCED_COLOR_8
    )
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flag | _AS_STORED)
    if image is None:
        raise AnnotationError(f"{len(data):,} bytes do not decode as an image", where=where, hint="copy it again")
    pixels: npt.NDArray[np.uint8] = image
    return pixels


def stored_form(data: bytes, where: Path, height: int) -> tuple[bytes, tuple[int, int], tuple[int, int]]:
    """The bytes a shard keeps: (JPEG bytes, original (width, height), stored (width, height)) in px.

    The short side is at most `height`. A JPEG that needs no scaling is passed through byte for byte. Raises
    AnnotationError on an image that is broken.
    """
    original = image_size(data, where)
    if min(original) <= height and is_jpeg(data):
        return data, original, original
    pixels: npt.NDArray[Any] = decode(data, where)
    if (pixels.shape[1], pixels.shape[0]) != original:
        raise AnnotationError(f"the header says {original}, the picture has {pixels.shape[1::-1]}", where=where)
    stored = original
    if min(original) > height:
        stored = tuple(max(1, round(side * height / min(original))) for side in original)  # type: ignore[assignment]
        pixels = cv2.resize(pixels, stored, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise AnnotationError("the scaled frame could not be encoded", where=where)
    return encoded.tobytes(), original, stored
