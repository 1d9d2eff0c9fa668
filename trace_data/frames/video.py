"""Sequential reading of video frames, so that no frames need to be extracted before a build."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, quoted
from trace_data.files import open_regular
from trace_data.frames.image import decode, image_size, read_bytes
from trace_data.frames.mp4_boxes import movie_facts
from trace_data.frames.mp4_tables import stated
from trace_data.os_errors import in_words, is_missing
from trace_data.progress import counted
from trace_data.schema.findings import Finding
from trace_data.schema.frame import Frame, PaddedFrame, TurnedFrame, VideoFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A decoded frame of a video."""

    frame: VideoFrame
    pixels: npt.NDArray[np.uint8]
    """(H, W, 3) BGR."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PaddedPicture:
    """A frame with an image in its corner, decoded lazily."""

    frame: PaddedFrame

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) BGR. Raises AnnotationError when the image is broken or larger than the frame."""
        file, expected = self.frame.image, (self.frame.width, self.frame.height)
        data = read_bytes(file)
        width, height = image_size(data, file)
        if width > expected[0] or height > expected[1]:
            raise AnnotationError(f"{width}x{height} px, expected at most {expected[0]}x{expected[1]}", where=file)
        frame = np.zeros((expected[1], expected[0], 3), np.uint8)
        frame[:height, :width] = decode(data, file, strict=True)
        return frame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TurnedPicture:
    """A frame whose image file lies on its side, decoded lazily."""

    frame: TurnedFrame

    @property
    def pixels(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) BGR, upright. Raises AnnotationError when the image is broken."""
        file = self.frame.image
        data = read_bytes(file)
        image_size(data, file)
        return np.ascontiguousarray(np.rot90(decode(data, file, strict=True), -self.frame.quarter_turns))


_BEGINNINGS = (
    (0, b"RIFF"), (0, b"\x1aE\xdf\xa3"), (0, b"\x00\x00\x01\xba"), (0, b"\x00\x00\x01\xb3"), (0, b"\x30\x26\xb2\x75"),
    (0, b"FLV"), (0, b"OggS"), (0, b"GIF8"), (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"), (4, b"free"),
    (4, b"skip"), (4, b"pnot"),
)  # fmt: skip
"""Place and bytes by which containers are known: AVI, Matroska, MPEG, ASF, FLV, Ogg, GIF, MP4 and QuickTime. FFmpeg
would also open playlists and other texts that name files and addresses elsewhere."""
_SOUND = ((8, b"WAVE"), (0, b"ID3"), (0, b"fLaC"))
"""The same of files of nothing but sound: WAV, MP3 and FLAC."""
_MP4 = frozenset(mark for place, mark in _BEGINNINGS if place == 4)
_PACKETS = ((188, 0), (192, 4))
"""Bytes of a packet of an MPEG transport stream, and where its G stands: broadcast, and camcorders' (.mts, .m2ts)."""
_QUIET, _SILENT = -8, 0
"""Levels of messages, of FFmpeg and of OpenCV: every refusal has its words here, theirs would stand beside them."""
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", str(_QUIET))  # read when the first video is opened
MOST_FRAMES = 1 << 31
"""A day of video has a hundredth of it."""
MOST_SHOWN = 1 << 20
"""Samples times edits, of which FFmpeg keeps 40 bytes each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """A video's header; decoding may yield fewer frames."""

    width: int
    height: int
    frames: int
    fps: float


def video_facts(video: Path) -> VideoFacts:
    """Size, length and rate from the header. Raises AnnotationError when the file is missing, is no video, or states
    no usable size, length or rate."""
    capture = open_capture(video)
    try:
        width, height, frames, fps = (
            float(capture.get(key))
            for key in (
                cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS
            )
        )  # fmt: skip
    finally:
        capture.release()
    if not (width >= 1 and height >= 1 and 1 <= frames < MOST_FRAMES and 0 < fps < float("inf")):
        raise AnnotationError(
            f"the header states {width:g}x{height:g} px, {frames:g} frames at {fps:g} a second",
            where=video,
            hint="copy it again, or rewrite its header:  ffmpeg -i OLD -c copy NEW.mp4",
        )
    return VideoFacts(width=int(width), height=int(height), frames=int(frames), fps=fps)


def contents(frames: Sequence[Frame]) -> Iterator[Path | Picture | PaddedPicture | TurnedPicture]:
    """The frames in order: paths of image files that are kept as they are, and decoded frames.

    Consecutive frames of one video are decoded in one forward pass. Raises AnnotationError when a video is missing,
    ends too early, or frames are not in ascending order.
    """
    capture: Any = None
    open_video: Path | None = None
    position = 0
    try:
        for frame in frames:
            if isinstance(frame, Path):
                yield frame
                continue
            if isinstance(frame, PaddedFrame):
                yield PaddedPicture(frame=frame)
                continue
            if isinstance(frame, TurnedFrame):
                yield TurnedPicture(frame=frame)
                continue
            if frame.video != open_video or frame.number < position:
                if frame.video == open_video:
                    raise AnnotationError(f"frame {frame.number} is asked for after {position - 1}", where=frame.video)
                if capture is not None:
                    capture.release()
                capture, open_video, position = open_capture(frame.video), frame.video, 0
            while position < frame.number and capture.grab():
                position += 1
            done, pixels = capture.read()
            if not done:
                raise AnnotationError(
                    f"the video ends after {position} frames, frame {frame.number} is asked for",
                    where=frame.video,
                    hint="copy the video again; a cut or re-encoded one may have lost frames",
                )
            position += 1
            yield Picture(frame=frame, pixels=np.asarray(pixels, np.uint8))
    finally:
        if capture is not None:
            capture.release()


def check_edits(frames: Sequence[Frame]) -> list[Finding]:
    """A warning for each video whose edit list hides frames before the first one or shows several parts: labels that
    were counted without it are those of other frames. A file that cannot be opened is left to who reads it."""
    findings = []
    for video in dict.fromkeys(frame.video for frame in frames if isinstance(frame, VideoFrame)):
        try:
            with open_regular(video) as stream:
                facts = movie_facts(stream)
        except OSError:
            continue
        if facts is not None and (facts.in_parts or facts.hidden):
            hides = (
                "shows several parts of it" if facts.in_parts else f"hides the first {counted(facts.hidden, 'frame')}"
            )
            findings.append(
                Finding(
                    severity="warning",
                    key=video.name,
                    what=f"its edit list {hides}: labels belong to other frames if they were counted without it",
                    hint=f"write it without:  ffmpeg -ignore_editlist 1 -i {quoted(video)} -c copy NEW.mp4",
                )
            )
    return findings


def open_capture(video: Path, *, threads: int = 1) -> Any:
    """An open cv2.VideoCapture that turns no frame, whatever the header asks for.

    OpenCV 4.11 ignores what phones write there and later versions obey it: here the pixels are those that are stored,
    in every version. One thread, because builds and checks run side by side already. Raises AnnotationError when the
    file is missing or no video.
    """
    try:
        with open_regular(video) as stream:
            head = stream.read(2 * _PACKETS[-1][0])
            length = stream.seek(0, os.SEEK_END)
            _check_container(head, length, video)
            if head[4:8] in _MP4:
                _check_tables(stream, length, video)
            capture = _capture(_name_for_ffmpeg(video, stream), threads)
    except OSError as error:
        what, hint = in_words(error)
        raise AnnotationError(
            f"the video {what}" if is_missing(error) else what, where=video, hint=hint or None
        ) from error
    if not capture.isOpened():
        capture.release()
        raise AnnotationError(
            f"{length:,} bytes that are no video that OpenCV can open", where=video, hint="copy it again"
        )
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)
    return capture


def _check_tables(stream: BinaryIO, length: int, video: Path) -> None:
    tables = stated(stream, length)
    if tables.samples > length:
        raise AnnotationError(
            f"its tables state {tables.samples:,} samples in {length:,} bytes", where=video, hint="copy it again"
        )
    if tables.shown > MOST_SHOWN:
        raise AnnotationError(
            f"its edit list shows {tables.shown:,} samples in {length:,} bytes",
            where=video,
            hint=f"write it without:  ffmpeg -ignore_editlist 1 -i {quoted(video)} -c copy NEW.mp4",
        )


def _check_container(head: bytes, length: int, video: Path) -> None:
    if any(head.startswith(mark, place) for place, mark in _SOUND):
        raise AnnotationError("holds no pictures, sound only", where=video, hint="give the video itself")
    transport = any(head[at : at + 1] == head[at + packet : at + packet + 1] == b"G" for packet, at in _PACKETS)
    if not transport and not any(head.startswith(mark, place) for place, mark in _BEGINNINGS):
        raise AnnotationError(
            f"{length:,} bytes that are no video: no container of video begins like this",
            where=video,
            hint="copy it again",
        )


def _name_for_ffmpeg(video: Path, stream: BinaryIO) -> str:
    """A whole path, as FFmpeg takes 12:30.mp4 for an address; OpenCV crashes on names that are no UTF-8."""
    try:
        os.fsencode(video).decode()
    except UnicodeDecodeError:
        return f"/dev/fd/{stream.fileno()}"
    return str(video.absolute())


def _capture(name: str, threads: int) -> Any:
    logging: Any = getattr(cv2.utils, "logging", cv2)  # until 4.12 its functions stood in cv2 itself
    level = logging.setLogLevel(_SILENT)
    try:
        return cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, threads])
    finally:
        logging.setLogLevel(level)
