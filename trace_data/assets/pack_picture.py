"""Contact sheet of all packs in a folder, each at rest and in the example poses, to spot a wrong model at a glance."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from trace_data.assets.example_poses import EXAMPLE_POSES
from trace_data.assets.pack_checks import Shown, can_be_shown, show
from trace_data.assets.pack_files import KID_DIRECTIONS, read_arrays
from trace_data.drawing import MESH, Colour, Picture, contact_sheet, draw_mesh, draw_skeleton
from trace_data.errors import AssetError, ConfigError
from trace_data.geometry import project

WIDTH, HEIGHT = 156, 172
"""Size of a tile, px."""
FINER = 2
"""Supersampling factor, for smooth outlines."""
REACH = 1.2
"""Width of a tile in body heights."""
DISTANCE = 6.0
"""Distance of the camera in body heights."""
PAPER, UNREADABLE = (246, 245, 242), (92, 40, 40)
_COLOURS: dict[str, Colour] = dict(zip(("MALE", "FEMALE", "NEUTRAL", "INFANT"), MESH))
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def pack_picture(packs: Sequence[Path]) -> Picture:
    """One row per pack: the rest pose with its joints (left warm, right cool), then the ten example poses.

    A kid pack shows the kid. A pack that cannot be posed leaves a dark row.
    """
    tiles: list[tuple[str, Picture]] = []
    for pack in packs:
        tiles += _row(pack)
    return contact_sheet(tiles, columns=1 + len(EXAMPLE_POSES), tile_width=WIDTH)


def check_picture_name(path: Path) -> None:
    """Raise ConfigError unless the file name has the suffix of a picture."""
    if path.suffix.lower() not in _WRITERS:
        raise ConfigError(
            f"{path.suffix or 'no ending'} is no kind of picture", where=path, hint="name it .png or .jpg"
        )


def encoded(picture: Picture, path: Path) -> bytes:
    """The picture encoded in the format of the file name."""
    check_picture_name(path)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, _WRITERS[path.suffix.lower()], quality=90)
    return buffer.getvalue()


def _row(pack: Path) -> list[tuple[str, Picture]]:
    try:
        arrays = read_arrays(pack)
        shown = show(arrays) if can_be_shown(arrays) else None
    except AssetError:
        shown = None
    if shown is None:
        blank = np.full((HEIGHT, WIDTH, 3), UNREADABLE, np.uint8)
        return [(f"{pack.stem}: cannot be drawn", blank), *[("", blank)] * len(EXAMPLE_POSES)]
    kind = "INFANT" if "smil" in pack.stem.lower() else pack.stem.rpartition("_")[2].upper()
    colour = _COLOURS.get(kind, MESH[2])
    kid = " kid" if KID_DIRECTIONS[0] in arrays else ""
    captions = [f"{pack.stem}{kid} {shown.height:.2f} m", *EXAMPLE_POSES]
    pictures = [_tile(shown, number, colour) for number in range(len(captions))]
    return list(zip(captions, pictures))


def _tile(shown: Shown, number: int, colour: Colour) -> Picture:
    vertices = shown.vertices[number]
    middle = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    width, height = FINER * WIDTH, FINER * HEIGHT
    image = np.full((height, width, 3), PAPER, np.uint8)
    if not shown.height > 0:
        return image
    focal = width * DISTANCE / REACH
    intrinsics = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    seen = _before_camera(vertices, middle, shown.height)
    draw_mesh(image, seen, shown.faces, intrinsics, colour=colour, opacity=1.0)
    if number == 0:
        draw_skeleton(image, project(intrinsics, _before_camera(shown.joints, middle, shown.height)))
    return image


def _before_camera(
    points: npt.NDArray[np.float64], middle: npt.NDArray[np.float64], height: float
) -> npt.NDArray[np.float64]:
    """Camera coordinates in body heights, for a front view: the body's left is on the viewer's right."""
    return (points - middle) / height * (1, -1, -1) + (0, 0, DISTANCE)
