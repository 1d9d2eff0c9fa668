"""Videos that browsers play, with the true time of every picture.

H.264 in MP4 needs an encoder that OpenCV does not have: PyAV's is taken, else a program `ffmpeg`. Where there is
neither, the pictures are put into a page (`video_page.py`), as OpenCV's own format plays in no browser
(docs/reference/export.md#video-output).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import OutputError
from trace_data.files import atomic_write
from trace_data.frames.matroska import beginning, picture_at
from trace_data.frames.video_page import PageWriter

CLOCK = 90_000
"""Ticks a second of the times in a video; common rates such as 30000/1001 are whole numbers of them."""
QUALITY = {"preset": "veryfast", "crf": "20", "x264-params": "colormatrix=smpte170m"}
"""The colour matrix is the one by which OpenCV makes YCbCr; players would guess another for large pictures."""
INSTALL = "pip install av"
Picture = npt.NDArray[np.uint8]


class VideoWriter(Protocol):
    """Takes pictures in the order of their times."""

    def add(self, picture: Picture, time: float) -> None:
        """The next picture (H, W, 3) RGB, shown from `time` on, s, from 0."""

    def close(self) -> None:
        """Write what is left."""

    def abandon(self) -> None:
        """Stop; what was written is of no use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoEncoder:
    """What this machine writes videos with."""

    name: str
    """As shown to the user."""
    suffix: str
    """Of the files."""
    program: str | None = None
    """The `ffmpeg` to run; None where it is no program."""

    @property
    def is_video(self) -> bool:
        """Whether it writes videos, not pages."""
        return self.suffix == ".mp4"


PAGE = VideoEncoder(name="pictures in a page", suffix=".html")


def choose_encoder() -> VideoEncoder:
    """PyAV, else `ffmpeg` of the PATH or of imageio-ffmpeg, else a page of pictures."""
    if importlib.util.find_spec("av") is not None:
        with suppress(ImportError, ValueError, OSError):  # a broken build, or one without the encoder
            import av

            av.codec.Codec("libx264", "w")
            return VideoEncoder(name=f"PyAV {av.__version__}", suffix=".mp4")
    for program in (shutil.which("ffmpeg"), _bundled()):
        if program is not None and _encodes(program):
            return VideoEncoder(name=program, suffix=".mp4", program=program)
    return PAGE


@contextmanager
def video_writer(path: Path, *, size: tuple[int, int], rate: float, encoder: VideoEncoder) -> Iterator[VideoWriter]:
    """A writer of pictures of `size`, width and height in px, at about `rate` pictures a second.

    The file appears under its name when the block ends without an error, whole. Raises OutputError.
    """
    try:
        with atomic_write(path) as partial:
            writer = _opened(partial, size, rate, encoder, path.stem)
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.abandon()
                raise
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=path,
            hint="free some space, or write to another disk",
        ) from error


def _opened(partial: Path, size: tuple[int, int], rate: float, encoder: VideoEncoder, title: str) -> VideoWriter:
    even = size[0] + size[0] % 2, size[1] + size[1] % 2  # chroma has half the size
    if not encoder.is_video:
        return PageWriter(partial, title)
    if encoder.program is not None:
        return _FFmpeg(partial, even, encoder.program)
    return _PyAV(partial, even, Fraction(rate).limit_denominator(1001))


class _PyAV:
    """Encodes in this process."""

    def __init__(self, partial: Path, size: tuple[int, int], rate: Fraction) -> None:
        import av

        self._av: Any = av
        self._size, self._duration = size, round(CLOCK / rate)
        self._container: Any = av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"})
        self._stream: Any = self._container.add_stream("libx264", rate=rate, options=QUALITY)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, CLOCK)

    def add(self, picture: Picture, time: float) -> None:
        frame = self._av.VideoFrame.from_ndarray(_planes(picture, self._size), format="yuv420p")
        frame.pts, frame.time_base = round(time * CLOCK), Fraction(1, CLOCK)
        frame.duration = self._duration
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def abandon(self) -> None:
        with suppress(OSError, ValueError):
            self._container.close()


class _FFmpeg:
    """Pipes pictures to a program that encodes them."""

    def __init__(self, partial: Path, size: tuple[int, int], program: str) -> None:
        options = [part for key, value in QUALITY.items() for part in (f"-{key}", value)]
        self._size = size
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close and abandon
        self._process = subprocess.Popen(
            [
                *(program, "-hide_banner", "-loglevel", "error", "-y", "-f", "matroska", "-i", "pipe:0"),
                *("-c:v", "libx264", *options, "-pix_fmt", "yuv420p", "-enc_time_base", f"1:{CLOCK}"),
                *("-video_track_timescale", str(CLOCK), "-movflags", "+faststart", "-f", "mp4", f"file:{partial}"),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,  # Ctrl-C is for this program, which then ends the other
        )
        self._write(beginning(*size))

    def add(self, picture: Picture, time: float) -> None:
        self._write(picture_at(time, _planes(picture, self._size)))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.wait():
            raise OSError(self._last_words())
        self._said.close()

    def abandon(self) -> None:
        assert self._process.stdin is not None
        self._process.kill()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._said.close()

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(content)
        except BrokenPipeError as error:
            self._process.wait()
            raise OSError(self._last_words()) from error

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f"ffmpeg says: {lines[-1] if lines else f'nothing, and ends with {self._process.returncode}'}"


def _planes(picture: Picture, size: tuple[int, int]) -> Picture:
    """(H * 3 / 2, W) planar YCbCr of a picture, whose last row and column are repeated up to `size`."""
    height, width = picture.shape[:2]
    if (width, height) != size:
        more = (0, size[1] - height, 0, size[0] - width)
        picture = np.asarray(cv2.copyMakeBorder(picture, *more, cv2.BORDER_REPLICATE), np.uint8)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420), np.uint8)


def _bundled() -> str | None:
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError, OSError):
        return None


def _encodes(program: str) -> bool:
    """Whether this ffmpeg has the encoder."""
    try:
        said = subprocess.run([program, "-hide_banner", "-h", "encoder=libx264"], capture_output=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return False
    return b"Encoder libx264" in said.stdout
