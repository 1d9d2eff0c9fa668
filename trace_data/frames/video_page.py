"""Pictures in a page that plays them, for machines without a video encoder."""

from __future__ import annotations

import base64
import html
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

LARGEST = 960
"""px of the longer side; the pictures of a page are all in memory while it is open."""
QUALITY = 80


class PageWriter:
    """A `VideoWriter` whose file is a page that needs nothing beside it."""

    def __init__(self, partial: Path, title: str) -> None:
        template = files("trace_data.frames").joinpath("video_page.html").read_text(encoding="utf-8")
        beginning, self._end = template.replace("TITLE", html.escape(title)).split("<!-- pictures -->")
        self._stream = partial.open("w", encoding="utf-8")
        self._stream.write(beginning)

    def add(self, picture: npt.NDArray[np.uint8], time: float) -> None:
        """The next picture (H, W, 3) RGB, shown from `time` on, s."""
        shrunk = min(1.0, LARGEST / max(picture.shape[:2]))
        if shrunk < 1:
            smaller = cv2.resize(picture, None, fx=shrunk, fy=shrunk, interpolation=cv2.INTER_AREA)
            picture = np.asarray(smaller, np.uint8)
        _, encoded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        text = base64.b64encode(encoded.tobytes()).decode("ascii")
        self._stream.write(f'<script>add({time:.6f}, "{text}")</script>\n')

    def close(self) -> None:
        """Write the end of the page."""
        self._stream.write(self._end)
        self._stream.close()

    def abandon(self) -> None:
        """Leave the page without an end."""
        self._stream.close()
