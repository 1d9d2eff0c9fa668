"""Uncompressed pictures with their times, as a stream that a video encoder reads from a pipe.

Raw video in a pipe has no times; a Matroska stream is the smallest container that has.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TICK = 1e-5
"""Seconds."""
_UNKNOWN = b"\x01" + b"\xff" * 7
"""Length of a segment that goes on until the end of the stream."""


def beginning(width: int, height: int) -> bytes:
    """What stands before the pictures, which are planar YCbCr with halved chroma (I420)."""
    kind = _element("1A45DFA3", _text("4282", "matroska"), _number("4287", 4), _number("4285", 2))
    clock = _element("1549A966", _number("2AD7B1", round(TICK * 1e9)), _text("4D80", "trace"), _text("5741", "trace"))
    picture = _element("E0", _number("B0", width), _number("BA", height), _text("2EB524", "I420"))
    track = _element(
        "AE", _number("D7", 1), _number("73C5", 1), _number("83", 1), _text("86", "V_UNCOMPRESSED"), picture
    )
    return kind + bytes.fromhex("18538067") + _UNKNOWN + clock + _element("1654AE6B", track)


def picture_at(time: float, planes: npt.NDArray[np.uint8]) -> bytes:
    """One picture, `time` in s from 0."""
    block = _element("A3", b"\x81\x00\x00\x80", planes.tobytes())  # track 1, at the cluster's time, a key picture
    return _element("1F43B675", _number("E7", round(time / TICK)), block)


def _element(identifier: str, *content: bytes) -> bytes:
    held = b"".join(content)
    return bytes.fromhex(identifier) + (len(held) | 1 << 56).to_bytes(8, "big") + held


def _number(identifier: str, value: int) -> bytes:
    return _element(identifier, value.to_bytes(8, "big"))


def _text(identifier: str, value: str) -> bytes:
    return _element(identifier, value.encode("ascii"))
