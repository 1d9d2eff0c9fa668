"""Contact sheets, captions, and pictures inside pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trace_data.drawing.colours import Picture

CAPTION, SMALLEST = 11, 8
"""Sizes of captions, px."""
_PALE = (200, 204, 210)


def write_corner(image: Picture, words: str) -> None:
    """Write a few words into the upper left corner of `image`, light on dark."""
    drawn = Image.fromarray(image)
    pen, font = ImageDraw.Draw(drawn), ImageFont.load_default(size=CAPTION)
    pen.rectangle(pen.textbbox((3, 2), words, font=font), fill=(24, 26, 30))
    pen.text((3, 2), words, fill=(235, 238, 242), font=font)
    image[:] = np.asarray(drawn)


def contact_sheet(
    tiles: Sequence[tuple[str, Picture]],
    *,
    columns: int = 4,
    tile_width: int = 240,
    tile_height: int | None = None,
    gap: int = 6,
) -> Picture:
    """Arrange captioned pictures in rows; each is scaled to `tile_width` px, or less to fit `tile_height` px.

    A row is as tall as its tallest picture. Long captions get smaller, then a second line, so that names are not cut;
    only what fits in no way loses its middle. Raises ValueError when there is no tile.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    scaled = [(caption, _scaled(picture, tile_width, tile_height)) for caption, picture in tiles]
    rows = [scaled[i : i + columns] for i in range(0, len(scaled), columns)]
    bar = 18
    heights = [max(picture.shape[0] for _, picture in row) + bar for row in rows]
    width = min(columns, len(scaled)) * (tile_width + gap) + gap
    sheet = Image.new("RGB", (width, sum(heights) + gap * (len(rows) + 1)), (24, 26, 30))
    pen = ImageDraw.Draw(sheet)
    top = gap
    for row, height in zip(rows, heights):
        for i, (caption, picture) in enumerate(row):
            left = gap + i * (tile_width + gap)
            sheet.paste(Image.fromarray(picture), (left, top))
            _write_caption(pen, (left + 2, top + picture.shape[0]), caption, tile_width - 2)
        top += height + gap
    return np.asarray(sheet, np.uint8)


def _write_caption(pen: ImageDraw.ImageDraw, place: tuple[int, int], caption: str, width: int) -> None:
    """One line in the largest size that fits, else two lines in the smallest."""
    for size in range(CAPTION, SMALLEST - 1, -1):
        font = ImageFont.load_default(size=size)
        if pen.textlength(caption, font=font) <= width:
            pen.text((place[0], place[1] + 2), caption, fill=_PALE, font=font)
            return
    fits = next((n for n in range(len(caption), 0, -1) if pen.textlength(caption[:n], font=font) <= width), 1)
    lines = [caption[:fits], caption[fits:]]
    if len(caption) > 2 * fits:
        lines = [caption[:fits], f"…{caption[1 - fits :]}"]
    for number, line in enumerate(lines):
        pen.text((place[0], place[1] - 1 + number * (SMALLEST + 1)), line, fill=_PALE, font=font)


def data_uri(image: Picture, *, quality: int = 88) -> str:
    """The picture as a `data:image/jpeg` URL, for self-contained pages."""
    ok, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not ok:
        raise ValueError(f"not a picture: {image.dtype} {image.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _scaled(picture: Picture, width: int, most: int | None) -> Picture:
    height = picture.shape[0] * width / picture.shape[1]
    if most is not None and height > most:
        width, height = max(1, round(picture.shape[1] * most / picture.shape[0])), most
    interpolation = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, max(1, round(height))), interpolation=interpolation), np.uint8)
