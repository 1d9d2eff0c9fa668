"""Pictures of bodies: skeletons, shaded meshes and contact sheets, in the same colours everywhere.

Images are (H, W, 3) uint8 RGB. Left limbs are warm, right limbs cool. Annotations are pale and thin, predictions
saturated and broad, so that both can be overlaid.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from trace_data.geometry import project
from trace_data.schema.camera import NEAR_PLANE
from trace_data.schema.keypoints import ALL_44, SKELETON

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

PREDICTED: dict[str, Colour] = {"L": (235, 94, 40), "R": (0, 122, 204), "middle": (120, 190, 80)}
"""Warm left, cool right, green spine."""
ANNOTATED: dict[str, Colour] = {"L": (255, 214, 190), "R": (190, 226, 255), "middle": (245, 245, 245)}
MESH: tuple[Colour, ...] = ((150, 185, 225), (235, 190, 140), (165, 205, 155), (205, 165, 215))
"""Surface colours, none of them skin; people take them in turn."""
CAPTION, SMALLEST = 11, 8
"""Sizes of captions, px."""
_PALE = (200, 204, 210)
_SUBPIXEL = 4
"""Fractional bits of coordinates passed to OpenCV."""


def draw_skeleton(image: Picture, joints: npt.NDArray[np.floating], *, annotated: bool = False) -> None:
    """Draw one person into `image`.

    joints: (24 or 44, 2 or 3) px in the order of `ALL_44`; a third column is a confidence. Joints that are not
    finite or have confidence 0 are left out, with their bones. `annotated` chooses the pale colours.
    """
    points = np.asarray(joints, np.float64)
    confident = points[:, 2] > 0 if points.shape[-1] == 3 else np.ones(len(points), bool)
    seen = confident & np.all(np.abs(points[:, :2]) < 1e5, axis=-1)  # NaN compares as False
    colours = ANNOTATED if annotated else PREDICTED
    size = max(1, round(image.shape[0] / (260 if annotated else 160)))
    for a, b in SKELETON:
        if seen[a] and seen[b]:
            # the bone takes the side of its outer end: the clavicles start at the neck
            cv2.line(image, _fixed(points[a]), _fixed(points[b]), colours[_side(b)], size, cv2.LINE_AA, _SUBPIXEL)
    for i in np.flatnonzero(seen).tolist():
        radius = (size + (1 if i < 24 else 0)) << _SUBPIXEL
        cv2.circle(image, _fixed(points[i]), radius, colours[_side(i)], -1, cv2.LINE_AA, _SUBPIXEL)


def draw_mesh(
    image: Picture,
    vertices: npt.NDArray[np.floating],
    faces: npt.NDArray[np.integer],
    intrinsics: npt.NDArray[np.floating],
    *,
    colour: Colour = MESH[0],
    opacity: float = 0.85,
) -> None:
    """Paint a shaded surface over `image`, far triangles first.

    vertices: (V, 3) metres, camera frame (x right, y down, z forward); faces: (F, 3), counter-clockwise seen from
    outside; intrinsics: (3, 3) px. Triangles with a corner nearer than `NEAR_PLANE`, or that face away, are left out.
    """
    corners = np.asarray(vertices, np.float64)[np.asarray(faces)]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-12
    centres = corners.mean(1)
    shown = (corners[..., 2] > NEAR_PLANE).all(1) & ((normals * centres).sum(-1) < 0)
    order = np.flatnonzero(shown)[np.argsort(-centres[shown, 2])]
    pixels = np.round(project(intrinsics, corners[order]) * (1 << _SUBPIXEL)).astype(np.int32)
    light = np.array([-0.35, -0.6, -0.72])  # over the viewer's left shoulder
    brightness = 0.45 + 0.55 * np.clip(normals[order] @ light, 0, 1)
    tones = np.clip(brightness[:, None] * np.asarray(colour), 0, 255)
    painted = image.copy()
    for triangle, tone in zip(pixels, tones.tolist()):
        cv2.fillConvexPoly(painted, triangle, tone, cv2.LINE_8, _SUBPIXEL)
    image[:] = cv2.addWeighted(painted, opacity, image, 1 - opacity, 0)


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


def _side(joint: int) -> str:
    name = ALL_44[joint]
    return name[0] if name[:2] in ("L_", "R_") else "middle"


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    x, y = np.round(point[:2] * (1 << _SUBPIXEL)).astype(int)
    return int(x), int(y)


def _scaled(picture: Picture, width: int, most: int | None) -> Picture:
    height = picture.shape[0] * width / picture.shape[1]
    if most is not None and height > most:
        width, height = max(1, round(picture.shape[1] * most / picture.shape[0])), most
    interpolation = cv2.INTER_AREA if width < picture.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (width, max(1, round(height))), interpolation=interpolation), np.uint8)
