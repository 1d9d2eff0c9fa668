"""Encoded images: header, completeness, decoding, and scaling for shards."""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from trace_data.errors import AnnotationError
from trace_data.files import open_regular, read_regular
from trace_data.frames.orientation import orientation
from trace_data.os_errors import in_words, is_missing

JPEG_QUALITY = 90
"""JPEG quality; size against fidelity was measured (docs/build-shards.md#in-which-sizes-frames-are-stored)."""
ORIGINAL_QUALITY = 95
"""Of a video's frame where original frames are asked for: it has no bytes of its own to keep."""
LARGEST_FILE = 1 << 30
"""Bytes of an image file."""
LARGEST_PICTURE = 100_000_000
"""Pixels that a header may announce: three times those of 8K video. More is a bomb, small as a file and too large for
memory as a picture."""
HEAD, TAIL = 1 << 16, 64
"""Bytes at the beginning and end of a file that suffice to tell size and completeness of an image."""
_ENDS = {True: b"\xff\xd9", False: b"IEND"}
"""End marker of a JPEG (True) and of a PNG (False)."""

_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}  # combined with a colour flag
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD9)})


def encoder() -> str:
    """Name and version of the encoder of scaled frames; other versions give other bytes."""
    jpeg = re.search(r"^\s*JPEG:\s*(.+)$", cv2.getBuildInformation(), re.MULTILINE)
    return f"opencv {cv2.__version__}" + (f", {jpeg[1].strip()}" if jpeg else "")


def read_bytes(file: Path) -> bytes:
    """The whole file. Raises AnnotationError when it is missing or cannot be read."""
    try:
        return read_regular(file, LARGEST_FILE)
    except OSError as error:
        raise _refused(error, file) from error


def file_size(file: Path) -> tuple[int, int]:
    """(width, height) in px of an image file, as `file_header` finds it."""
    return file_header(file)[0]


def file_header(file: Path) -> tuple[tuple[int, int], int]:
    """((width, height) in px, EXIF's orientation) of an image file of which only the beginning and the end are read.

    The size is that of the pixels as they are stored. Raises AnnotationError when the file is missing, cannot be read,
    is no JPEG or PNG, or ends too early.
    """
    try:
        with open_regular(file) as stream:
            turned = orientation(stream)
            stream.seek(0)
            data = stream.read(HEAD)
            if len(data) == HEAD:
                length = stream.seek(0, os.SEEK_END)
                stream.seek(max(HEAD, length - TAIL))
                if _ENDS[is_jpeg(data)] in stream.read():
                    with contextlib.suppress(AnnotationError):  # its header may be longer than what was read
                        return image_size(data, file, whole=False), turned
                stream.seek(HEAD)
                data += stream.read()
    except OSError as error:
        raise _refused(error, file) from error
    return image_size(data, file), turned


def _refused(error: OSError, file: Path) -> AnnotationError:
    what, hint = in_words(error)
    return AnnotationError(f"the frame {what}" if is_missing(error) else what, where=file, hint=hint or None)


def is_jpeg(data: bytes) -> bool:
    """Whether the bytes start with a JPEG's signature."""
    return data[:3] == b"\xff\xd8\xff"


def image_size(data: bytes, where: str | Path, *, whole: bool = True) -> tuple[int, int]:
    """(width, height) in px from the header of a JPEG or PNG, without decoding it.

    Raises AnnotationError when the bytes are no such image or, unless `whole` is False, end before the picture does:
    decoders fill what is missing with grey and say nothing. Also when it announces more px than `LARGEST_PICTURE`.
    """
    size = _jpeg_size(data, where, whole=whole) if is_jpeg(data) else _png_size(data, where, whole=whole)
    _check_announced(size, where)
    return size


def _check_announced(size: tuple[int, int], where: str | Path, expected: tuple[int, int] | None = None) -> None:
    """Before any memory is taken for the picture. Raises AnnotationError."""
    if expected is not None and size != expected:
        raise AnnotationError(f"the image is {size[0]}x{size[1]} px, expected {expected[0]}x{expected[1]}", where=where)
    if size[0] * size[1] > LARGEST_PICTURE:
        raise AnnotationError(
            f"the header announces {size[0]:,}x{size[1]:,} px, expected at most {LARGEST_PICTURE:,} in all",
            where=where,
            hint="copy the file again",
        )


def _png_size(data: bytes, where: str | Path, *, whole: bool) -> tuple[int, int]:
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 24:
        if whole and b"IEND" not in data[-16:]:
            raise AnnotationError(f"the PNG ends too early ({len(data):,} bytes)", where=where, hint="copy it again")
        width, height = struct.unpack(">II", data[16:24])
        return int(width), int(height)
    raise AnnotationError(
        f"neither a JPEG nor a PNG: {len(data):,} bytes that start with {data[:8].hex()!r}",
        where=where,
        hint="copy the file again",
    )


def _jpeg_size(data: bytes, where: str | Path, *, whole: bool) -> tuple[int, int]:
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
            # searched from the end, where a complete file has it
            if min(size) > 0 and (not whole or data.rfind(b"\xff\xd9", at) >= 0):
                return size
            break
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise AnnotationError(
        f"the JPEG ends too early ({len(data):,} bytes, no end marker)", where=where, hint="copy the file again"
    )


def decode(
    data: bytes,
    where: str | Path,
    reduce: int = 1,
    *,
    rgb: bool = False,
    strict: bool = False,
    expected: tuple[int, int] | None = None,
    take: Callable[[int], npt.NDArray[np.uint8]] | None = None,
) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) uint8 at 1/`reduce` of the size (1, 2, 4, 8: scaled in the JPEG transform, cheap); BGR or `rgb`.

    As they are stored: EXIF's orientation turns none (`frames.orientation`).

    `strict` refuses JPEGs whose damage a decoder would fill with grey. `expected`: (width, height) px that the header
    must announce. `take`: gives memory of at least so many bytes for the pixels of a JPEG. Raises AnnotationError when
    the bytes cannot be decoded.
    """
    if is_jpeg(data):
        try:
            height, width, *_ = simplejpeg.decode_jpeg_header(data)
            _check_announced((width, height), where, expected)
            height, width = -(-height // reduce), -(-width // reduce)
            pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
                data,
                colorspace="RGB" if rgb else "BGR",
                min_height=height,  # selects the scale 1 / reduce
                min_width=width,
                strict=strict,
                buffer=None if take is None else take(height * width * 3),
            )
        except ValueError as error:
            raise AnnotationError(f"the JPEG does not decode: {error}", where=where, hint="copy it again") from error
        return pixels
    _check_announced(image_size(data, where, whole=False), where, expected)
    order = (cv2.IMREAD_COLOR_RGB if rgb else cv2.IMREAD_COLOR_BGR) | cv2.IMREAD_IGNORE_ORIENTATION
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), order | _REDUCED[reduce])
    if image is None:
        raise AnnotationError(f"{len(data):,} bytes do not decode as an image", where=where, hint="copy it again")
    return np.asarray(image)


def check_decodes(data: bytes, where: str | Path, size: tuple[int, int]) -> None:
    """Whether an image that is kept as it is decodes to `size`, (width, height) px. Raises AnnotationError.

    A JPEG is decoded at an eighth: all of its bytes are read, and most of the time is saved.
    """
    image_size(data, where)
    reduce = 8 if is_jpeg(data) else 1
    height, width = decode(data, where, reduce, strict=True, expected=size).shape[:2]
    if (width, height) != tuple(-(-side // reduce) for side in size):
        raise AnnotationError(
            f"the image decodes to {width}x{height} px of {size[0]}x{size[1]} at 1/{reduce}", where=where
        )


def scaled(
    data: bytes | npt.NDArray[np.uint8], where: str | Path, sides: Sequence[int | None]
) -> list[tuple[bytes, tuple[int, int]]]:
    """The image at each stored size: (JPEG bytes, (width, height) px); (b"", (0, 0)) where a side is None.

    `data`: an encoded image, or pixels (H, W, 3) BGR. `sides`: short side of each level, px, ascending. A JPEG that
    needs no scaling is passed through byte for byte, after a look at all of them. Raises AnnotationError on an image
    that is broken.
    """
    if isinstance(data, np.ndarray):
        original, encoded = (data.shape[1], data.shape[0]), b""
        picture: npt.NDArray[np.uint8] | None = data
    else:
        original, encoded, picture = image_size(data, where), data, None
    levels: list[tuple[bytes, tuple[int, int]]] = []
    for side in reversed(sides):  # largest first, so that one decode serves all
        if side is None:
            levels.append((b"", (0, 0)))
            continue
        if side >= min(original) and is_jpeg(encoded):
            levels.append((encoded, original))
            continue
        if picture is None:
            picture = _decoded(encoded, where, original, side)
        scale = min(1.0, side / min(original))
        size = max(1, round(original[0] * scale)), max(1, round(original[1] * scale))
        picture = _halved(picture, size)  # the next, smaller level continues from here
        levels.append((encode(_shrunk(picture, size), JPEG_QUALITY), size))
    if picture is None:
        check_decodes(encoded, where, original)
    return levels[::-1]


def encode(picture: npt.NDArray[np.uint8], quality: int) -> bytes:
    """JPEG bytes of pixels (H, W, 3) BGR."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise AnnotationError(f"a picture of {picture.shape[1]}x{picture.shape[0]} px could not be encoded as JPEG")
    return data.tobytes()


def _halved(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """The picture, halved by 2 x 2 averaging while it stays at least as large as `size`."""
    while picture.shape[1] >= 2 * size[0] and picture.shape[0] >= 2 * size[1]:
        picture = _resized(picture, (picture.shape[1] // 2, picture.shape[0] // 2), cv2.INTER_AREA)
    return picture


def _shrunk(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Reduce a picture that is at most twice as large as `size` to `size`.

    Large reductions go by way of twice the size, others are made in one step. From 1080p to 720 px that takes 3 ms
    instead of 9 ms with INTER_AREA and costs 0.2 dB after encoding. All steps here and in `_halved` are integer
    arithmetic, the same on every processor.
    """
    if picture.shape[1::-1] == size:
        return picture
    if picture.shape[1] > 1.6 * size[0]:
        double = _resized(picture, (2 * size[0], 2 * size[1]), cv2.INTER_LINEAR_EXACT)
        return _resized(double, size, cv2.INTER_AREA)
    return _resized(picture, size, cv2.INTER_LINEAR_EXACT)


def _resized(picture: npt.NDArray[np.uint8], size: tuple[int, int], how: int) -> npt.NDArray[np.uint8]:
    resized: Any = cv2.resize(picture, size, interpolation=how)
    pixels: npt.NDArray[np.uint8] = resized
    return pixels


def _decoded(data: bytes, where: str | Path, original: tuple[int, int], side: int) -> npt.NDArray[np.uint8]:
    """The picture, reduced inside the JPEG decoder while its short side stays at least `side`."""
    reduce = next((r for r in (8, 4, 2) if min(original) >= r * side), 1) if is_jpeg(data) else 1
    picture = decode(data, where, reduce, strict=True)
    expected = tuple(-(-length // reduce) for length in original)
    if picture.shape[1::-1] != expected:
        raise AnnotationError(f"the header says {original}, the picture has {picture.shape[1::-1]}", where=where)
    return picture
