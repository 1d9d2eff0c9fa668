"""Videos that tests read: small committed files (tools/small_videos.py) and changes of their boxes, written here."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from repository import ROOT

VIDEOS = ROOT / "tests" / "files" / "videos"
SIZE = (96, 64)
LENS_KEY = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"
_ONE = 1 << 16
_TURNS = {90: (0, _ONE, -_ONE, 0), 180: (-_ONE, 0, 0, -_ONE), 270: (0, -_ONE, _ONE, 0)}


def number_of(picture: np.ndarray) -> int:
    """What the stripes of an upright frame say."""
    stripes = picture[SIZE[1] // 2 :].mean(axis=(0, 2)).reshape(6, -1).mean(axis=1)
    return sum(1 << bit for bit, value in enumerate(stripes) if value > 120)


def box(kind: bytes, *content: bytes) -> bytes:
    """One box."""
    held = b"".join(content)
    return struct.pack(">I", 8 + len(held)) + kind + held


def lens_record(kind: int, value: bytes, *, quicktime: bool = True, others: Sequence[bytes] = ()) -> bytes:
    """A box `meta` with the focal length behind `others`, as phones write it."""
    names = [*others, LENS_KEY]
    keys = b"".join(struct.pack(">I", 8 + len(name)) + b"mdta" + name for name in names)
    data = box(b"data", struct.pack(">II", kind, 0), value)
    return box(
        b"meta",
        b"" if quicktime else bytes(4),
        box(b"hdlr", bytes(8), b"mdta", bytes(13)),
        box(b"keys", bytes(4), struct.pack(">I", len(names)), keys),
        box(b"ilst", box(struct.pack(">I", len(names)), data)),
    )


def inserted(video: bytes, part: bytes, *path: bytes) -> bytes:
    """An MP4 whose box at `path` ends with `part`; its index must stand behind its pictures."""
    data, start, end = bytearray(video), 0, len(video)
    sizes = []
    for kind in path:
        at = start
        while data[at + 4 : at + 8] != kind:
            at += int.from_bytes(data[at : at + 4], "big")
        sizes.append(at)
        start, end = at + 8, at + int.from_bytes(data[at : at + 4], "big")
    for at in sizes:
        data[at : at + 4] = struct.pack(">I", int.from_bytes(data[at : at + 4], "big") + len(part))
    return bytes(data[:end] + part + data[end:])


def turned(video: bytes, degrees: int) -> bytes:
    """An MP4 that asks to be shown turned clockwise, as phones write it (the matrix of `tkhd`)."""
    at = video.index(b"tkhd") + 4
    at += 52 if video[at] else 40
    a, b, c, d = _TURNS[degrees]
    shift = {90: (SIZE[1], 0), 180: SIZE, 270: (0, SIZE[0])}[degrees]
    return (
        video[:at] + struct.pack(">9i", a, b, 0, c, d, 0, shift[0] * _ONE, shift[1] * _ONE, 1 << 30) + video[at + 36 :]
    )


def edited(video: bytes, begin: int, duration: int) -> bytes:
    """An MP4 with one edit, of which frames from `begin` (its own clock) for `duration` (the film's) are shown."""
    at = video.index(b"elst") + 12
    return video[:at] + struct.pack(">Ii", duration, begin) + video[at + 8 :]
