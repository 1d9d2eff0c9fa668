"""Upright frames from image files: JPEG, PNG, WebP and BMP, in natural order, turned as their EXIF says."""

from __future__ import annotations

import io
import re
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, FootageError
from trace_data.files import open_regular
from trace_data.frames.footage_frame import FootageFacts, FootageFrame, Wanted
from trace_data.frames.image import LARGEST_PICTURE, decode, file_header, image_size, read_bytes
from trace_data.frames.lens import EXIF, lens_of_35mm
from trace_data.frames.orientation import focal_35mm, orientation, upright
from trace_data.os_errors import in_words

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""In any letter case."""
ASSUMED_RATE = 25.0
"""Images a second where nobody says."""
_HEAD = 64


def natural(path: Path) -> tuple[str, list[tuple[int, str]], str]:
    """Key of an order in which frame 2 comes before frame 10: digits count as numbers, letter case does not."""
    pieces = re.split(r"([0-9]+)", path.name.casefold())
    numbers = [(int(piece[-300:]), "") if piece.isdigit() and piece.isascii() else (-1, piece) for piece in pieces]
    return str(path.parent), numbers, path.name


def is_image(data: bytes) -> bool:
    """Whether a file that begins so is an image of a kind that is read."""
    return data[:3] == b"\xff\xd8\xff" or data[:8] == b"\x89PNG\r\n\x1a\n" or _is_webp(data) or _is_bmp(data)


def images_in(folder: Path) -> list[Path]:
    """The images of a folder in natural order, without hidden files and what macOS lays beside them (`._*`).

    Raises FootageError when there is none, or when a frame lies there in two formats. Raises OSError.
    """
    names = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    images = sorted((path for path in names if path.suffix.lower() in ENDINGS and not path.is_dir()), key=natural)
    if not images:
        endings = Counter("folders" if path.is_dir() else path.suffix or "no ending" for path in names)
        there = ", ".join(f"{count} {ending}" for ending, count in endings.most_common(4)) or "nothing"
        raise FootageError(
            f"no image in this folder ({' '.join(ENDINGS)}), but {there}",
            where=folder,
            hint="give a video, or the folder that holds the frames themselves",
        )
    stems = Counter(path.stem for path in images)
    twice = next((path.stem for path in images if stems[path.stem] > 1), None)
    if twice is not None:
        same = [path.name for path in images if path.stem == twice]
        raise FootageError(
            f"holds one frame more than once: {', '.join(same)}",
            where=folder,
            hint=f"leave one kind of file in the folder, or name the files:  {folder.name or '.'}/*{images[0].suffix}",
        )
    return images


class ImageSequence:
    """A `FootageSource` of image files, one frame each."""

    def __init__(self, files: Sequence[Path], path: Path, name: str, *, frame_rate: float | None = None) -> None:
        """`files` in their order. Raises FootageError unless the readable ones are all of one upright size."""
        self.ended: str | None = None
        self.repaired = 0
        self._files, self._rate = list(files), frame_rate or ASSUMED_RATE
        size, lens = _common(self._files, path)
        self.facts = FootageFacts(
            name=name,
            path=path,
            kind="images",
            size=size,
            rotation=0,
            frame_rate=frame_rate,
            variable_rate=None if frame_rate is None else False,
            frames=len(self._files),
            hdr=None,
            bit_depth=None,
            lens=None if lens is None else lens_of_35mm(lens, size, EXIF),
            decoder=f"OpenCV {cv2.__version__}, simplejpeg",
        )

    def frames(self, wanted: Wanted) -> Iterator[FootageFrame]:
        """The wanted frames, see `FootageSource`; an image that cannot be read is a gap."""
        for number, file in enumerate(self._files):
            time, pixels, gap = number / self._rate, None, None
            if wanted(number, time):
                try:
                    pixels = read_image(file)
                    if pixels.shape[1::-1] != self.facts.size:
                        pixels, gap = None, "has changed its size since reading began"
                except AnnotationError as error:
                    gap = f"{file.name}: {error.message}"
            yield FootageFrame(number=number, time=time, pixels=pixels, gap=gap)


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) RGB, upright. Transparency is dropped, 16 bits become 8, grey becomes three equal channels.

    Raises AnnotationError when the file is missing, damaged, or no image.
    """
    data = read_bytes(file)
    how = orientation(io.BytesIO(data))
    if _is_webp(data) or _is_bmp(data):
        return upright(_decode_other(data, file), how)
    image_size(data, file)  # decoders fill with grey what is missing at the end
    return upright(decode(data, file, rgb=True, strict=True), how)


def _common(files: Sequence[Path], where: Path) -> tuple[tuple[int, int], float | None]:
    """(width, height) px of all readable images, and the focal length of the first that states one, mm at 35 mm."""
    sizes: dict[tuple[int, int], list[Path]] = {}
    lens, problem = None, None
    for file in files:
        try:
            size, focal = _header(file)
        except AnnotationError as error:
            problem = problem or error
            continue
        sizes.setdefault(size, []).append(file)
        lens = focal if lens is None else lens
    if not sizes:
        what = problem.message if problem else "no image"
        raise FootageError(what, where=files[0], hint=(problem and problem.hint) or "copy it again")
    if len(sizes) > 1:
        shown = sorted(sizes.items(), key=lambda item: -len(item[1]))[:3]
        found = ", ".join(f"{len(some)} of {w}x{h} px ({some[0].name})" for (w, h), some in shown)
        raise FootageError(
            f"images of {len(sizes)} sizes, expected frames of one camera: {found}",
            where=where,
            hint="put the frames of each camera into a folder of their own",
        )
    return next(iter(sizes)), lens


def _header(file: Path) -> tuple[tuple[int, int], float | None]:
    """((width, height) px upright, focal length in mm at 35 mm or None). Raises AnnotationError."""
    try:
        with open_regular(file) as stream:
            head = stream.read(_HEAD)
            how, focal = orientation(stream), focal_35mm(stream)
    except OSError as error:
        what, hint = in_words(error)
        raise AnnotationError(what, where=file, hint=hint or None) from error
    size = _other_size(head, file) if _is_webp(head) or _is_bmp(head) else file_header(file)[0]
    return (size[::-1] if how >= 5 else size), focal


def _is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def _is_bmp(data: bytes) -> bool:
    return data[:2] == b"BM" and data[6:10] == b"\0\0\0\0"


def _other_size(head: bytes, where: Path) -> tuple[int, int]:
    """(width, height) px from the first `_HEAD` bytes of a WebP or BMP. Raises AnnotationError."""
    try:
        if _is_bmp(head):
            width, height = struct.unpack_from("<ii", head, 18)
            size = width, abs(height)
        elif head[12:16] == b"VP8X":
            size = int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        elif head[12:16] == b"VP8L":
            (bits,) = struct.unpack_from("<I", head, 21)
            size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        else:
            width, height = struct.unpack_from("<HH", head, 26)
            size = width & 0x3FFF, height & 0x3FFF
    except struct.error as error:
        raise AnnotationError("the image ends too early", where=where, hint="copy it again") from error
    if not (min(size) >= 1 and size[0] * size[1] <= LARGEST_PICTURE):
        raise AnnotationError(f"the header announces {size[0]:,}x{size[1]:,} px", where=where, hint="copy it again")
    return size


def _decode_other(data: bytes, where: Path) -> npt.NDArray[np.uint8]:
    """Pixels (H, W, 3) RGB of a WebP or BMP, as stored. Raises AnnotationError."""
    size = _other_size(data[:_HEAD], where)
    announced = int.from_bytes(data[4:8], "little") + 8 if _is_webp(data) else int.from_bytes(data[2:6], "little")
    image: Any = None
    if len(data) >= announced:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape != (size[1], size[0], 3):
        raise AnnotationError(f"{len(data):,} bytes do not decode as an image", where=where, hint="copy it again")
    return np.asarray(image, np.uint8)
