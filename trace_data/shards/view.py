"""Turn an encoded frame into a crop: decode at reduced size where possible, cut, resize."""

from __future__ import annotations

import threading

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.frames.image import decode
from trace_data.schema.clip import Window


class _Scratch(threading.local):
    """A buffer per thread, reused for every frame: page faults of new memory would take a fifth of a frame's time."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def take(self, size: int) -> npt.NDArray[np.uint8]:
        """At least `size` uninitialised bytes, valid until the next call in this thread."""
        if len(self._memory) < size:
            self._memory = np.empty(size, np.uint8)
        return self._memory


_pictures, _squares = _Scratch(), _Scratch()


def view(
    data: bytes,
    scale: npt.NDArray[np.float64],
    window: Window,
    out: npt.NDArray[np.uint8],
    expected: tuple[int, int] | None = None,
) -> npt.NDArray[np.float64]:
    """Write the window's crop into `out` (S, S, 3) RGB; return the map (3, 3) from px of the frame to px of the crop.

    `scale`: (2,) px of the encoded picture per px of the frame. A pixel centre x of the frame lies at
    (x + 0.5) * scale / reduce - 0.5 in the picture decoded at 1 / reduce. A window with at least as many px there as
    the crop is moved and resized by at most half a picture px each, to whole ones, which makes cutting it out three
    times as fast; the returned map says where it really is. `expected`: (width, height) of the encoded picture. Raises
    AnnotationError when the picture is broken or of another size.
    """
    size = len(out)
    shrink = float(scale.min()) * window.side / size
    reduce = next((r for r in (8, 4, 2) if shrink >= r), 1)
    # strict: otherwise the decoder fills the rest of a damaged image with grey, and a run would learn from that
    picture = decode(data, "frame", reduce, rgb=True, strict=True, expected=expected, take=_pictures.take)
    step = scale / reduce
    picture_from_frame = np.diag([step[0], step[1], 1.0])
    picture_from_frame[:2, 2] = 0.5 * step - 0.5
    side = round(window.side * float(step.min()))
    if size <= side < 2 * size:
        left, top = round(window.left * step[0]), round(window.top * step[1])
        cv2.resize(_cut(picture, left, top, side), (size, size), dst=out, interpolation=cv2.INTER_LINEAR)
        return Window(left=left, top=top, side=side).crop_from_frame(size) @ picture_from_frame
    crop_from_frame = window.crop_from_frame(size)
    resample(picture, crop_from_frame @ np.linalg.inv(picture_from_frame), int(shrink / reduce), out)
    return crop_from_frame


def _cut(picture: npt.NDArray[np.uint8], left: int, top: int, side: int) -> npt.NDArray[np.uint8]:
    """The square (side, side, 3) at (left, top), black outside the picture."""
    height, width = picture.shape[:2]
    x0, x1 = (min(max(x, 0), width) for x in (left, left + side))
    y0, y1 = (min(max(y, 0), height) for y in (top, top + side))
    if (x1 - x0, y1 - y0) == (side, side):
        return picture[y0:y1, x0:x1]
    square = _squares.take(side * side * 3)[: side * side * 3].reshape(side, side, 3)
    square[:] = 0
    square[y0 - top : y1 - top, x0 - left : x1 - left] = picture[y0:y1, x0:x1]
    return square


def resample(
    picture: npt.NDArray[np.uint8],
    crop_from_picture: npt.NDArray[np.float64],
    average: int,
    out: npt.NDArray[np.uint8],
) -> None:
    """Resample a picture (H, W, 3) into the crop `out` (S, S, 3), black outside.

    Above one, `average` x `average` px are averaged first."""
    if average >= 2:
        height, width = picture.shape[0] // average * average, picture.shape[1] // average * average
        picture = cv2.resize(  # type: ignore[assignment]
            picture[:height, :width], (width // average, height // average), interpolation=cv2.INTER_AREA
        )
        crop_from_picture = crop_from_picture @ np.array(
            [[average, 0, 0.5 * average - 0.5], [0, average, 0.5 * average - 0.5], [0, 0, 1.0]]
        )
    cv2.warpAffine(picture, crop_from_picture[:2], out.shape[:2], dst=out, flags=cv2.INTER_LINEAR)
