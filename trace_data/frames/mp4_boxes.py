"""What the boxes of an MP4 or QuickTime file say and OpenCV does not.

These are the phone's record of its lens, the transfer function, and the exact times of all frames. Boxes: ISO/IEC
14496-12 and Apple's QuickTime File Format. Only headers are read, never the pictures, and every number of the file is
held against the file's length before anything is done with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

LENS_KEY = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"
"""Apple's name for the focal length of a 35 mm camera with the same view, millimetres."""
_MOST_BOXES = 4096
"""Beside each other; a film has ten, a track too."""
_MOST_BYTES = 1 << 26
"""Of a table of frames: a day of video has less."""
_MOST_FRAMES = 1 << 23
_TEXT, _INTEGERS, _FLOATS = 1, {21: True, 22: False}, {23: ">f", 24: ">d"}
"""Types of values in Apple's records; 21 is signed, 22 is not."""
_SAMPLE_ENTRY = 78
"""Bytes of a video's sample entry before its own boxes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MovieFacts:
    """What was found; None where the file does not say."""

    has_index: bool
    """Whether there is a whole box `moov`, without which nothing decodes; recordings that were cut off lack it."""
    has_video: bool
    """Whether one of the tracks holds pictures."""
    lens_35mm: float | None = None
    """Focal length, mm on a 35 mm camera."""
    transfer: int | None = None
    """Transfer characteristics as ITU-T H.273 counts them: 16 is PQ, 18 is HLG."""
    times: npt.NDArray[np.float64] | None = None
    """(T,) seconds at which frames are shown, ascending, the first at 0; None too where `in_parts`."""
    hidden: int = 0
    """Frames before the first that is shown: decoders pass over them."""
    in_parts: bool = False
    """Whether edits show several parts of the video, which may repeat or reorder frames."""


@dataclass(frozen=True, slots=True)
class _Box:
    kind: bytes
    start: int
    """Of the content, bytes from the beginning of the file."""
    end: int
    """Of what is there of it."""
    cut: bool = False
    """Whether it announces more than is there."""


def movie_facts(stream: BinaryIO) -> MovieFacts | None:
    """Facts of an open file; None when it is no MP4 or QuickTime file. Damaged parts are passed over."""
    length = stream.seek(0, 2)
    stream.seek(4)
    if stream.read(4) not in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return None
    whole = _Box(b"", 0, length)
    movie = _child(stream, whole, b"moov")
    if movie is None or movie.cut:
        return MovieFacts(has_index=False, has_video=False)
    tracks = [box for box in _children(stream, movie) if box.kind == b"trak"]
    video = next((track for track in tracks if _handler(stream, track) == b"vide"), None)
    if video is None:
        return MovieFacts(has_index=True, has_video=False)
    places = [_child(stream, box, b"meta") for box in (video, movie, *tracks)]
    found = (_lens(stream, place) for place in places if place is not None)
    times, hidden = _times(stream, movie, video)
    return MovieFacts(
        has_index=True,
        has_video=True,
        lens_35mm=next((value for value in found if value is not None), None),
        transfer=_transfer(stream, video),
        times=times,
        hidden=hidden,
        in_parts=_edit(_edits(stream, video)) is None,
    )


def _children(stream: BinaryIO, parent: _Box) -> Iterator[_Box]:
    at = parent.start
    if parent.kind == b"meta":  # MP4 puts a version before its boxes, QuickTime does not
        stream.seek(at + 4)
        at += 0 if stream.read(4) == b"hdlr" else 4
    for _ in range(_MOST_BOXES):
        stream.seek(at)
        head = stream.read(min(16, parent.end - at)) if at + 8 <= parent.end else b""
        if len(head) < 8:
            return
        size, begin = int.from_bytes(head[:4], "big"), 8
        if size == 1 and len(head) == 16:
            size, begin = int.from_bytes(head[8:], "big"), 16
        elif size == 0:  # to the end
            size = parent.end - at
        if size < begin:
            return
        yield _Box(head[4:8], at + begin, min(at + size, parent.end), at + size > parent.end)
        at += size


def _child(stream: BinaryIO, parent: _Box, *kinds: bytes) -> _Box | None:
    """The box that is reached by these kinds, one inside the other."""
    box: _Box | None = parent
    for kind in kinds:
        box = None if box is None else next((child for child in _children(stream, box) if child.kind == kind), None)
    return box


def _content(stream: BinaryIO, box: _Box | None, most: int = 1 << 16) -> bytes:
    """The bytes of a box; none where there is no box or it is larger than `most`."""
    if box is None or box.end - box.start > most:
        return b""
    stream.seek(box.start)
    return stream.read(box.end - box.start)


def _handler(stream: BinaryIO, track: _Box) -> bytes:
    return _content(stream, _child(stream, track, b"mdia", b"hdlr"))[8:12]


def _lens(stream: BinaryIO, meta: _Box) -> float | None:
    """The focal length among Apple's records: `keys` holds their names, `ilst` their values by number from 1."""
    names, at = _content(stream, _child(stream, meta, b"keys")), 8
    number = 0
    while at + 8 <= len(names):
        (size,) = struct.unpack_from(">I", names, at)
        number += 1
        if names[at + 8 : at + size] == LENS_KEY:
            return _value(stream, _child(stream, meta, b"ilst", number.to_bytes(4, "big"), b"data"))
        at += max(size, 8)
    return None


def _value(stream: BinaryIO, data: _Box | None) -> float | None:
    """A number as text, integer or floating point; None where it is no focal length."""
    content = _content(stream, data, 1 << 10)
    kind, value = int.from_bytes(content[:4], "big"), content[8:]
    try:
        if kind == _TEXT:
            found = float(value.decode())
        elif kind in _INTEGERS:
            found = float(int.from_bytes(value, "big", signed=_INTEGERS[kind]))
        elif kind in _FLOATS:
            (found,) = struct.unpack(_FLOATS[kind], value)
        else:
            return None
    except (ValueError, OverflowError, struct.error):
        return None
    return found if 1 <= found <= 2000 else None


def _transfer(stream: BinaryIO, track: _Box) -> int | None:
    """From the box `colr` of the sample entry."""
    table = _child(stream, track, b"mdia", b"minf", b"stbl", b"stsd")
    entry = None if table is None else next(_children(stream, _Box(b"stsd", table.start + 8, table.end)), None)
    if entry is None:
        return None
    colour = _content(stream, _child(stream, _Box(entry.kind, entry.start + _SAMPLE_ENTRY, entry.end), b"colr"))
    return int.from_bytes(colour[6:8], "big") if colour[:4] in (b"nclx", b"nclc") and len(colour) >= 8 else None


def _times(stream: BinaryIO, movie: _Box, track: _Box) -> tuple[npt.NDArray[np.float64] | None, int]:
    """Times of the frames that are shown, and how many others come before them."""
    table = _child(stream, track, b"mdia", b"minf", b"stbl")
    scale = _scale(_content(stream, _child(stream, track, b"mdia", b"mdhd")))
    if table is None or not scale:
        return None, 0
    steps = _runs(_content(stream, _child(stream, table, b"stts"), _MOST_BYTES))
    if steps is None or not len(steps):  # fragments have tables of their own
        return None, 0
    shown = np.cumsum(steps) - steps
    if (place := _child(stream, table, b"ctts")) is not None:
        shifts = _runs(_content(stream, place, _MOST_BYTES))
        if shifts is None or len(shifts) != len(shown):
            return None, 0
        shown = shown + shifts
    span = _edit(_edits(stream, track))
    if span is None:
        return None, 0
    begin, duration = span
    shown = np.sort(shown)
    hidden = int(np.searchsorted(shown, begin))
    shown = shown[hidden:]
    if duration and (film := _scale(_content(stream, _child(stream, movie, b"mvhd")))):
        rounding = min(scale / film, np.median(steps) / 2)  # the duration is in units of the film's coarser clock
        shown = shown[shown < begin + duration * scale / film - rounding]
    if not len(shown) or (len(shown) > 1 and shown[0] == shown[-1]):  # hostile: all at once
        return None, hidden
    times: npt.NDArray[np.float64] = (shown - shown[0]) / scale
    return times, hidden


def _edits(stream: BinaryIO, track: _Box) -> bytes:
    return _content(stream, _child(stream, track, b"edts", b"elst"))


def _scale(header: bytes) -> int:
    """Units a second of `mvhd` or `mdhd`."""
    at = 20 if header[:1] == b"\1" else 12
    return int.from_bytes(header[at : at + 4], "big")


def _runs(table: bytes) -> npt.NDArray[np.int64] | None:
    """The values of a table of runs, (number, value) each; None when it is damaged or longer than any video."""
    count = int.from_bytes(table[4:8], "big")
    if len(table) < 8 or len(table) - 8 < 8 * count:
        return None
    runs = np.frombuffer(table, ">i4", 2 * count, 8).reshape(-1, 2).astype(np.int64)
    if (runs[:, 0] < 0).any() or runs[:, 0].sum() > _MOST_FRAMES:
        return None
    return np.repeat(runs[:, 1], runs[:, 0])


def _edit(table: bytes) -> tuple[int, int] | None:
    """(first unit that is shown, duration in units of the film); None when more than one part is shown."""
    count, wide = int.from_bytes(table[4:8], "big"), table[:1] == b"\1"
    form = ">QqI" if wide else ">IiI"
    if len(table) - 8 < count * struct.calcsize(form):
        return 0, 0  # no edits, or unreadable ones
    edits = [struct.unpack_from(form, table, 8 + i * struct.calcsize(form)) for i in range(min(count, 16))]
    shown = [(begin, duration) for duration, begin, _ in edits if begin >= 0]  # -1: a pause before the first
    if len(shown) > 1 or count > len(edits):
        return None
    return shown[0] if shown else (0, 0)
