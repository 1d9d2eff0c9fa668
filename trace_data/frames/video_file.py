"""Upright frames of a video file with their true times; what cannot be decoded is a gap.

OpenCV reports neither the number of frames nor their places reliably: header counts may be off by half, and frames that
do not decode are silently passed over. Their time stamps are true in every version (4.11 to 5.0 were compared), so
frames are placed by time: on the times that an MP4's or QuickTime's index lists, elsewhere by their distance.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, FootageError, quoted
from trace_data.files import open_regular
from trace_data.frames.footage_frame import FootageFacts, FootageFrame, Wanted
from trace_data.frames.lens import PHONE, lens_of_35mm
from trace_data.frames.mp4_boxes import MovieFacts, movie_facts
from trace_data.frames.orientation import turned_clockwise
from trace_data.frames.video import MOST_FRAMES, open_capture
from trace_data.os_errors import in_words

PATIENCE = 1000
"""Packets in a row that do not decode before a video counts as ended. Trying so often at the end takes milliseconds."""
THREADS = min(4, os.cpu_count() or 1)
"""One cannot decode 4K in real time."""
USUAL_RATE = 25.0
"""Frames a second where neither stamps nor header say."""
_MOST_RATE = 10_000.0
_LONGEST_STEP = 86_400.0
"""Seconds; a stamp further ahead than a day is damaged."""
_SAME = 5e-4
"""Seconds within which a stamp is one that the index lists; containers round to milliseconds."""
_HDR = {16: "PQ", 18: "HLG"}
"""Transfer characteristics of ITU-T H.273."""
_FRAME_TYPE = getattr(cv2, "CAP_PROP_FRAME_TYPE", 69)
_BUILDS_ON_OTHERS = frozenset(map(ord, "PBSpbi"))
_LOST = "could not be decoded"
_BUILT_ON_LOST = "builds on a frame that could not be decoded"


def decoder() -> str:
    """Name and version."""
    return f"OpenCV {cv2.__version__} (FFmpeg)"


def varies(times: npt.NDArray[np.float64]) -> bool:
    """Whether more than one in a hundred steps is off the median by a tenth, and by more than stamps are rounded."""
    steps = np.diff(times)
    if len(steps) < 2:
        return False
    usual = float(np.median(steps))
    return bool((np.abs(steps - usual) > max(usual / 10, 1.5e-3)).mean() > 0.01)


class TimestampRepair:
    """Makes time stamps strictly increasing.

    A stamp that is not finite, not later than the last one, or a day ahead is replaced: the first of a row by half a
    usual step after the last time, which leaves room for the next true stamp, the others by whole steps.
    """

    def __init__(self, step: float) -> None:
        """`step`: seconds between frames as the header has it."""
        self.last, self.repaired = -math.inf, 0
        self._step, self._in_a_row = step, 0

    def true(self, stamp: float) -> float:
        """The time of the next frame, seconds."""
        if self.last == -math.inf:
            stamp = stamp if math.isfinite(stamp) and 0 <= stamp < _LONGEST_STEP else 0.0
        elif not 0 < stamp - self.last < _LONGEST_STEP:  # false for NaN too
            stamp = self.last + self._step * (1.0 if self._in_a_row else 0.5)
            self._in_a_row += 1
            self.repaired += 1
        else:
            self._in_a_row = 0
        self.last = stamp
        return stamp


class VideoFile:
    """A `FootageSource` of one video file."""

    def __init__(self, path: Path, name: str, *, frame_rate: float | None = None) -> None:
        """`frame_rate`: frames a second that replace the video's own times. Raises FootageError."""
        self.path, self.repaired = path, 0
        self.ended: str | None = None
        movie = _movie(path)
        hdr = _HDR.get(movie.transfer or 0) if movie else None
        capture = _opened(path, movie)
        try:
            rotation = round(capture.get(cv2.CAP_PROP_ORIENTATION_META)) % 360
            by_opencv = capture.get(cv2.CAP_PROP_ORIENTATION_AUTO) > 0  # although it was told not to
            found = _first_size(capture, path, convert=hdr is None)
            claimed, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
            depth = _bit_depth(capture)
            aspect = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
        finally:
            capture.release()
        self._turn = 0 if by_opencv or rotation % 90 else rotation
        size = found[::-1] if self._turn % 180 else found
        self._times = movie.times if movie else None
        self._rate = frame_rate
        self._claimed = int(claimed) if 1 <= claimed < MOST_FRAMES else None
        listed = self._times if self._times is not None and len(self._times) > 1 else None
        claimed_rate = rate if 0 < rate <= _MOST_RATE else None
        own_rate = claimed_rate if listed is None else (len(listed) - 1) / float(listed[-1])
        self._step = 1 / (own_rate or USUAL_RATE)
        lens = movie.lens_35mm if movie else None
        self.facts = FootageFacts(
            name=name,
            path=path,
            kind="video",
            size=size,
            rotation=0 if rotation % 90 else rotation,
            frame_rate=frame_rate or own_rate,
            variable_rate=False if frame_rate else None if listed is None else varies(listed),
            frames=self._claimed if self._times is None else len(self._times),
            frames_listed=self._times is not None,
            hdr=hdr,
            bit_depth=depth,
            lens=None if lens is None else lens_of_35mm(lens, size, PHONE),
            decoder=decoder(),
            warnings=tuple(_warnings(hdr, rotation, aspect, in_parts=movie is not None and movie.in_parts)),
        )

    def frames(self, wanted: Wanted) -> Iterator[FootageFrame]:
        """The wanted frames from the beginning, see `FootageSource`. Raises FootageError."""
        capture = _opened(self.path, None)
        try:
            yield from self._walk(capture, wanted)
        finally:
            capture.release()

    def _walk(self, capture: Any, wanted: Wanted) -> Iterator[FootageFrame]:
        listed, stamps = self._times, TimestampRepair(self._step)
        number, failed, broken = -1, 0, False
        self.ended, self.repaired = None, 0
        while failed < PATIENCE:
            if not capture.grab():
                failed += 1
                continue
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            place = None if listed is None else _place(listed, stamp, after=number)
            if place is None:
                listed = None  # the index does not list what decodes
                place = number + 1 + (self._missing(stamp, stamps.last) if failed else 0)
                broken |= failed > 0
            failed = 0
            for lost in range(number + 1, place):
                broken = True
                between = (stamp - stamps.last) / (place - lost + 1) if number >= 0 else self._step
                time = listed[lost] if listed is not None else 0.0 if lost == 0 else stamps.last + between
                yield self._frame(lost, stamps.true(float(time)), gap=_LOST)
            number = place
            if int(capture.get(_FRAME_TYPE)) not in _BUILDS_ON_OTHERS:
                broken = False
            time = stamps.true(stamp)
            self.repaired = stamps.repaired
            shown = number / self._rate if self._rate else time
            if not wanted(number, shown):
                yield self._frame(number, time)
            elif broken:
                yield self._frame(number, time, gap=_BUILT_ON_LOST)
            else:
                yield self._decoded(capture, number, time)
        self.ended = self._what_is_missing(listed, number, stamps.last)

    def _missing(self, stamp: float, last: float) -> int:
        """Frames between two times, for a video without an index that lists them, where something did not decode."""
        since = stamp - last if last > -math.inf else stamp + self._step
        return max(0, min(round(since / self._step) - 1, PATIENCE)) if math.isfinite(since) else 0

    def _frame(
        self, number: int, time: float, pixels: npt.NDArray[np.uint8] | None = None, gap: str | None = None
    ) -> FootageFrame:
        return FootageFrame(number=number, time=number / self._rate if self._rate else time, pixels=pixels, gap=gap)

    def _decoded(self, capture: Any, number: int, time: float) -> FootageFrame:
        done, stored = capture.retrieve()
        if not done:
            return self._frame(number, time, gap=_LOST)
        size = self.facts.size[::-1] if self._turn % 180 else self.facts.size
        if stored.dtype != np.uint8 or stored.shape != (size[1], size[0], 3):
            shape = "x".join(str(side) for side in stored.shape[1::-1])
            return self._frame(number, time, gap=f"is {shape} px, others {size[0]}x{size[1]}")
        colours = np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), np.uint8)
        return self._frame(number, time, pixels=turned_clockwise(colours, self._turn))

    def _what_is_missing(self, listed: npt.NDArray[np.float64] | None, number: int, last: float) -> str | None:
        if listed is not None:
            if number + 1 < len(listed):
                return f"ends after {number + 1:,} of the {len(listed):,} frames that its header lists"
            return None
        announced, found = (self._claimed or 0) * self._step, last + self._step
        # counts alone would not do: many containers state a duration, and OpenCV multiplies it by a rate
        if self._claimed and number + 1 < self._claimed and found < announced - max(2 * self._step, 0.02 * announced):
            return f"{found:.2f} s of {announced:.2f} s in its header were found: it was cut off, or begins late"
        return None


def _place(listed: npt.NDArray[np.float64], stamp: float, *, after: int) -> int | None:
    """Number of the listed frame that is shown at `stamp`, behind the frame `after`; None when there is none."""
    at = max(int(np.searchsorted(listed, stamp - _SAME)), after + 1)
    return at if at < len(listed) and abs(listed[at] - stamp) <= _SAME else None


def _movie(path: Path) -> MovieFacts | None:
    try:
        with open_regular(path) as stream:
            return movie_facts(stream)
    except OSError as error:
        what, hint = in_words(error)
        raise FootageError(what, where=path, hint=hint or None) from error


def _opened(path: Path, movie: MovieFacts | None) -> Any:
    if movie is not None and not movie.has_index:
        raise FootageError(
            "ends before its index (the box moov): the recording or the copy was cut off",
            where=path,
            hint="copy it again; of a recording that was cut off, untrunc may save some",
        )
    if movie is not None and not movie.has_video:
        raise FootageError("holds no pictures, sound only", where=path, hint="give the video itself")
    try:
        return open_capture(path, threads=THREADS)
    except AnnotationError as error:
        hint = f"ffmpeg -i {quoted(path)} -c:v libx264 -crf 16 NEW.mp4" if "OpenCV" in error.message else error.hint
        raise FootageError(error.message, where=path, hint=hint) from error


def _first_size(capture: Any, path: Path, *, convert: bool) -> tuple[int, int]:
    """(width, height) px of the first frame that decodes, as stored. Raises FootageError when none does.

    `convert`: by its pixels; otherwise by the header, as OpenCV from 4.13 on takes seconds for the first HDR frame.
    """
    for _ in range(PATIENCE):
        if capture.grab():
            if not convert:
                return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            done, pixels = capture.retrieve()
            if done:
                return pixels.shape[1], pixels.shape[0]
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    name = code.to_bytes(4, "little").decode("ascii", "replace").strip("\0 ")
    raise FootageError(
        f"no frame of it can be decoded (codec {name or 'unknown'})",
        where=path,
        hint=f"copy it again, or convert it:  ffmpeg -i {quoted(path)} -c:v libx264 -crf 16 NEW.mp4",
    )


def _bit_depth(capture: Any) -> int | None:
    """From FFmpeg's code of the pixel format: those of more than 8 bits end in their depth, as `Y3\\x0b\\x0a`."""
    code = (int(capture.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) & 0xFFFFFFFF).to_bytes(4, "little")
    if code in (b"P010", b"P210"):
        return 10
    if code in (b"I420", b"NV12", b"I422", b"I444", b"Y800", b"BGRA", b"RGBA", b"BGR\0", b"RGB\0"):
        return 8
    return code[3] if code[1:2] in (b"1", b"3") and 9 <= code[3] <= 16 else None


def _warnings(hdr: str | None, rotation: int, aspect: tuple[float, float], *, in_parts: bool) -> Iterator[str]:
    if in_parts:
        yield "its edit list shows several parts of it: where they meet, times and frames may be wrong"
    if hdr:
        yield (f"HDR ({hdr}) is read as 8 bits by {decoder()}; from OpenCV 4.13 on it becomes brighter than before")
    if rotation % 90:
        yield f"is to be shown turned by {rotation} degrees, which is passed over"
    if min(aspect) > 0 and aspect[0] != aspect[1]:
        yield f"its pixels are not square ({aspect[0]:g}:{aspect[1]:g}), so people appear too wide or too narrow"
