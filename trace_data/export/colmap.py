"""COLMAP text model: the camera's path, metres; camera axes x right, y down, z forward.

Source: docs/reference/export.md#camera-path-files. The world is the result's. Pixels count from the picture's corner.
"""

from __future__ import annotations

from collections.abc import Sequence

from trace_data.export.track import quaternions_of_matrices
from trace_data.results.result import Result

CORNER = 0.5
"""Pixels from the corner of the picture, where COLMAP's coordinates begin, to the centre of the first pixel."""


def image_names(result: Result) -> list[str]:
    """Names of the video's frames as `ffmpeg -start_number 0 … frame_%06d.jpg` writes them."""
    return [f"frame_{frame:06d}.jpg" for frame in result.frame_id]


def colmap_texts(result: Result) -> dict[str, str]:
    """The files of a COLMAP text model, by name."""
    rotation = quaternions_of_matrices(result.camera_from_world[:, :3, :3])[:, [3, 0, 1, 2]]
    width, height = (int(size) for size in result.image_size)
    cameras = [
        f"{number} PINHOLE {width} {height} {k[0, 0]:.9f} {k[1, 1]:.9f} {k[0, 2] + CORNER:.9f} {k[1, 2] + CORNER:.9f}"
        for number, k in enumerate(result.intrinsics, start=1)
    ]
    images = []
    for i, name in enumerate(image_names(result)):
        numbers = _numbers([*rotation[i], *result.camera_from_world[i, :3, 3]])
        camera = i + 1 if len(result.intrinsics) > 1 else 1
        images.append(f"{i + 1} {numbers} {camera} {name}\n")  # its line of 2D points is empty
    return {
        "cameras.txt": "# CAMERA_ID MODEL WIDTH HEIGHT FX FY CX CY\n" + "".join(f"{line}\n" for line in cameras),
        "images.txt": "# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then its 2D points\n"
        + "".join(f"{line}\n" for line in images),
        "points3D.txt": "# no points\n",
    }


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.12g}" for value in values)
