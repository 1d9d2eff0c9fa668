"""Names of people, in boxes."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from trace_data.drawing import Colour, Picture, draw_line

DARK, LIGHT = (20, 22, 26), (255, 255, 255)


def draw_box(image: Picture, box: npt.NDArray[np.floating], colour: Colour, *, dashed: bool = False) -> None:
    """Draw a box (4,): left, top, width, height, px. One that is not finite is left out."""
    if not np.all(np.abs(box) < 1e5):
        return
    left, top, width, height = box.astype(np.float64).tolist()
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    for start, end in zip(corners, np.roll(corners, -1, axis=0)):
        draw_line(image, start, end, colour, _line(image), dashed=dashed)


def draw_label(image: Picture, text: str, place: npt.NDArray[np.floating], colour: Colour) -> None:
    """Write `text` on a ground of `colour`, above `place` (2,) px, and inside the picture.

    A place that is not finite or outside of the picture gets no label.
    """
    height, width = image.shape[:2]
    if not (np.all(np.isfinite(place)) and -width < place[0] < width and -height < place[1] < height):
        return
    label = _label(text, _size(image), colour)[:height, :width]
    left = min(max(round(float(place[0])), 0), width - label.shape[1])
    top = min(max(round(float(place[1])) - label.shape[0], 0), height - label.shape[0])
    image[top : top + label.shape[0], left : left + label.shape[1]] = label


def label_width(image: Picture, text: str) -> int:
    """How many pixels wide the label would be in this picture."""
    return len(_label(text, _size(image), DARK)[0])


def _size(image: Picture) -> int:
    """Height of letters, px."""
    return max(11, round(_shorter(image) / 34))


@lru_cache(maxsize=256)
def _label(text: str, size: int, colour: Colour) -> Picture:
    text = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    text = "".join(letter if letter.isascii() else "?" for letter in text if not unicodedata.combining(letter))
    font = ImageFont.load_default(size=size)  # it has no letters beyond ASCII
    left, top, right, bottom = font.getbbox(text)
    edge = size // 3
    label = Image.new("RGB", (int(right - left) + 2 * edge, size + 2 * edge), colour)
    red, green, blue = colour
    bright = 0.299 * red + 0.587 * green + 0.114 * blue > 130
    middle = edge + (size - (bottom - top)) / 2 - top
    ImageDraw.Draw(label).text((edge - left, middle), text, fill=DARK if bright else LIGHT, font=font)
    return np.asarray(label, np.uint8)


def _line(image: Picture) -> int:
    return max(1, round(_shorter(image) / 300))


def _shorter(image: Picture) -> int:
    """The shorter side, px."""
    height, width = image.shape[:2]
    return int(min(height, width))
