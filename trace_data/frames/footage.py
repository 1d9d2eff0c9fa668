"""Footage: a video file, a folder of images, or image files, read in order, upright, with true times.

`open_footage` says what there is before anything long begins; `Footage.frames` reads it in bounded memory.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from trace_data.errors import ConfigError, FootageError, nearest, quoted
from trace_data.files import open_regular, sha256_of
from trace_data.frames.footage_frame import FootageFacts, FootageFrame, FootageSource
from trace_data.frames.image_sequence import ENDINGS, ImageSequence, images_in, is_image, natural
from trace_data.frames.video_file import VideoFile, varies
from trace_data.os_errors import in_words, is_missing

__all__ = ["Footage", "FootageFacts", "FootageFrame", "FootageOutcome", "group_inputs", "open_footage"]

_WHOLE = 1 << 26
"""Bytes up to which a video's fingerprint is about all of it."""
_END = 1 << 20
_END_OF_IMAGE = 1 << 16
"""Bytes at both ends that stand for a larger file."""
_PICTURE_CONTAINERS = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"avif")
"""Brands of ISO containers that hold one picture; FFmpeg would show one of its tiles."""
_SAME_TIME = 1e-6
"""Seconds by which a time may be rounded and still be the one that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FootageOutcome:
    """What a pass over the frames has found so far."""

    frames: int
    """That were asked for, with gaps."""
    gaps: int
    first_gap: str | None
    """Number and reason of the first one."""
    frame_rate: float | None
    """Frames a second by the true times of what was passed, all frames of the source."""
    variable_rate: bool
    repaired: int
    """Time stamps that had to be replaced."""
    ended: str | None
    """What is missing at the end, once it was reached; None where nothing is."""

    @property
    def warnings(self) -> list[str]:
        """What the user should know."""
        said = []
        if self.gaps:
            said.append(f"{self.gaps:,} of {self.frames:,} frames could not be read, the first: {self.first_gap}")
        if self.repaired:
            said.append(f"{self.repaired:,} time stamps stood still or went back and were replaced")
        return said + ([self.ended] if self.ended else [])


class Footage:
    """What `open_footage` has opened. Each call of `frames` reads from the beginning again."""

    def __init__(self, source: FootageSource, files: Sequence[Path]) -> None:
        self.facts = source.facts
        self._source, self._files = source, tuple(files)
        self._times, self._asked, self._gaps = array("d"), 0, 0
        self._first_gap: str | None = None
        self._ended: str | None = None

    def frames(
        self, *, start: float | None = None, end: float | None = None, stride: int = 1, after: int | None = None
    ) -> Iterator[FootageFrame]:
        """Every `stride`-th frame from `start` up to and without `end`, both in seconds.

        `after`: goes on behind the frame of this number, with the frames that the same call without it would give.
        Only the frame at hand is in memory. Frames in between are decoded too, as no seeking is exact everywhere.
        Raises ConfigError on impossible options, FootageError when nothing lies in the range.
        """
        _check_range(start, end, stride)
        begin, stop = start or 0.0, math.inf if end is None else end
        return self._selected(begin - _SAME_TIME, stop - _SAME_TIME, stride, -1 if after is None else after)

    def _selected(self, begin: float, stop: float, stride: int, after: int) -> Iterator[FootageFrame]:
        first: int | None = None

        def wanted(number: int, time: float) -> bool:
            in_step = first is None or (number - first) % stride == 0
            return begin <= time < stop and number > after and in_step

        self._start_pass()
        reached, last = False, 0.0
        for frame in self._source.frames(wanted):
            if frame.time >= stop:
                reached = True
                break
            last = frame.time
            self._times.append(frame.time)
            if frame.time < begin:
                continue
            first = frame.number if first is None else first
            if (frame.number - first) % stride or frame.number <= after:
                continue
            self._asked += 1
            if frame.gap is not None:
                self._gaps += 1
                self._first_gap = self._first_gap or f"frame {frame.number:,}, {frame.gap}"
            yield frame
        self._ended = None if reached else self._source.ended
        if first is None:
            raise FootageError(
                f"no frame between the times that were asked for; the last one is at {last:.2f} s",
                where=self.facts.path,
                hint="give an earlier --start or a later --end",
            )

    def _start_pass(self) -> None:
        self._times, self._asked, self._gaps = array("d"), 0, 0
        self._first_gap = self._ended = None

    def outcome(self) -> FootageOutcome:
        """Of the last or current call of `frames`."""
        times = np.frombuffer(self._times) if len(self._times) else np.zeros(0)
        lasted = float(times[-1] - times[0]) if len(times) else 0.0
        return FootageOutcome(
            frames=self._asked,
            gaps=self._gaps,
            first_gap=self._first_gap,
            frame_rate=(len(times) - 1) / lasted if lasted > 0 else None,
            variable_rate=varies(times),
            repaired=self._source.repaired,
            ended=self._ended,
        )

    def fingerprint(self) -> str:
        """By which a result knows its footage again: `sha256:` of a video of up to 64 MiB.

        Larger ones have `sha256-ends:` of their length in decimal, their first and their last MiB; images that of the
        names, lengths and both 64 KiB of all of them. Raises FootageError.
        """
        try:
            if self.facts.kind == "images":
                digest = hashlib.sha256()
                for file in self._files:
                    digest.update(file.name.encode(errors="surrogateescape") + b"\0" + _ends(file, _END_OF_IMAGE))
                return f"sha256-ends:{digest.hexdigest()}"
            (file,) = self._files
            if file.stat().st_size > _WHOLE:
                return f"sha256-ends:{hashlib.sha256(_ends(file, _END)).hexdigest()}"
            return f"sha256:{sha256_of(file)}"
        except OSError as error:
            raise _refused(error, self.facts.path) from error


def open_footage(paths: Sequence[Path], *, frame_rate: float | None = None) -> Footage:
    """One video, one folder of images, or image files, ready to be read.

    `frame_rate`: images a second; for a video it replaces the video's own times. Image files are taken in natural
    order of their names, frame 2 before frame 10. Raises FootageError on what cannot be read, ConfigError on paths
    that do not go together or a rate that is no number above 0.
    """
    if frame_rate is not None and not 0 < frame_rate <= 10_000:
        raise ConfigError(f"{frame_rate:g} frames a second, expected a number above 0", where="--frame-rate")
    if not paths:
        raise ConfigError("no video given", hint="name a video, a folder of images, or images")
    kinds = [_kind(path) for path in paths]
    if len(paths) > 1 and set(kinds) != {"image"}:
        other = next(path for path, kind in zip(paths, kinds) if kind != "image")
        raise ConfigError("one video or one folder makes footage of its own", where=other, hint="give each one alone")
    if kinds[0] == "video":
        return Footage(VideoFile(paths[0], _name(paths[0]), frame_rate=frame_rate), paths)
    if kinds[0] == "folder":
        try:
            files = images_in(paths[0])
        except OSError as error:
            raise _refused(error, paths[0]) from error
        return Footage(ImageSequence(files, paths[0], _name(paths[0]), frame_rate=frame_rate), files)
    files = sorted(paths, key=natural)
    named = files[0] if len(files) == 1 else files[0].absolute().parent
    return Footage(ImageSequence(files, files[0], _name(named), frame_rate=frame_rate), files)


def group_inputs(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """What a user lists, as arguments of `open_footage`: neighbouring images together, videos and folders alone.

    Raises FootageError.
    """
    kinds = {path: _kind(path) for path in paths}
    groups = groupby(enumerate(paths), lambda item: "image" if kinds[item[1]] == "image" else item[0])
    return [tuple(path for _, path in group) for _, group in groups]


def _kind(path: Path) -> str:
    """Folder, image or video, by the content and not by the ending. Raises FootageError."""
    try:
        if path.is_dir():
            return "folder"
        with open_regular(path) as stream:
            head = stream.read(64)
    except OSError as error:
        raise _refused(error, path) from error
    if not head:
        raise FootageError("is empty (0 bytes)", where=path, hint="copy it again")
    if head[4:8] == b"ftyp" and head[8:12] in _PICTURE_CONTAINERS:
        raise FootageError(
            f"is a picture in the format {head[8:12].decode().upper()}, which is not read",
            where=path,
            hint=f"convert it:  magick {quoted(path)} {quoted(path.with_suffix('.jpg').name)}",
        )
    return "image" if is_image(head) or path.suffix.lower() in ENDINGS else "video"


def _refused(error: OSError, path: Path) -> FootageError:
    what, hint = in_words(error)
    if is_missing(error):
        beside = path.parent
        names = [entry.name for entry in beside.iterdir()] if beside.is_dir() else []
        close = nearest(path.name, names)
        what = "no such file or folder"
        hint = f"did you mean  {quoted(beside / close)}" if close else f"see what there is:  ls {quoted(beside)}"
    return FootageError(what, where=path, hint=hint or None)


def _name(path: Path) -> str:
    """A name for results, from a file without its ending or a folder."""
    for place in (path, path.absolute(), path.resolve()):
        name = place.name if place.is_dir() else place.stem
        if plain := name.strip().lstrip("."):
            return plain
    return "footage"


def _ends(file: Path, most: int) -> bytes:
    """Length in decimal, and the bytes at both ends."""
    with open_regular(file) as stream:
        length = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(most)
        stream.seek(max(len(head), length - most))
        return f"{length}\n".encode() + head + stream.read(most)


def _check_range(start: float | None, end: float | None, stride: int) -> None:
    if start is not None and not 0 <= start < math.inf:
        raise ConfigError(f"{start:g} s, expected a time from 0 on", where="--start")
    if end is not None and not (start or 0) < end:
        raise ConfigError(f"{end:g} s, expected a time after --start", where="--end")
    if stride < 1:
        raise ConfigError(f"{stride}, expected a whole number from 1 on", where="--stride")
