"""Contact sheets, and pictures inside pages."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from trace_data.drawing.colours import Picture


def contact_sheet(
    tiles: Sequence[tuple[str, Picture]],
    *,
    columns: int = 4,
    tile_width: int = 240,
    tile_height: int | None = None,
    gap: int = 6,
) -> Picture:
    """Arrange captioned pictures in rows; each is scaled to `tile_width` px, or less to fit `tile_height` px.

    A row is as tall as its tallest picture. Raises ValueError when there is no tile.
    """
    if not tiles:
        raise ValueError("a contact sheet needs at least one picture")
    scaled = [(caption, _scaled(picture, tile_width, tile_height)) for caption, picture in tiles]
    rows = [scaled[i : i + columns] for i in range(0, len(scaled), columns)]
    bar = 18
    heights = [max(picture.shape[0] for _, picture in row) + bar for row in rows]
    width = min(columns, len(scaled)) * (tile_width + gap) + gap
    sheet = Image.new("RGB", (width, sum(heights) + gap * (len(rows) + 1)), (24, 26, 30))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    top = gap
    for row, height in zip(rows, heights):
        for i, (caption, picture) in enumerate(row):
            left = gap + i * (tile_width + gap)
            sheet.paste(Image.fromarray(picture), (left, top))
            pen.text((left + 2, top + picture.shape[0] + 2), caption, fill=(200, 204, 210), font=font)
        top += height + gap
    return np.asarray(sheet, np.uint8)


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
