"""Shaded meshes, with one depth buffer for everything in a picture, without a display."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.drawing.colours import MESH, Colour, Picture
from trace_data.drawing.raster import Array, DepthBuffer, Raster, Rasteriser
from trace_data.geometry import project
from trace_data.schema.camera import NEAR_PLANE

LIGHT = np.array([-0.35, -0.6, -0.72])
"""Where the light comes from: over the viewer's left shoulder."""
AMBIENT = 0.45


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """A closed mesh of one colour."""

    vertices: npt.NDArray[np.floating]
    """(V, 3) m, camera frame: x right, y down, z forward."""
    faces: npt.NDArray[np.integer]
    """(F, 3), counter-clockwise seen from outside."""
    colour: Colour


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Painted:
    """A picture of surfaces."""

    rgba: npt.NDArray[np.uint8]
    """(H, W, 4); alpha is the share of the pixel that is covered, colours are not multiplied by it."""
    depth: npt.NDArray[np.float32]
    """(H, W) m along the optical axis; infinite where nothing is."""
    surface: npt.NDArray[np.int32]
    """(H, W) index of the surface in front; -1 where nothing is."""


class MeshPainter:
    """Paints surfaces in true order, also where they cross each other.

    `finer`: pixels are divided into that many rows and columns, for smooth edges.
    """

    def __init__(self, rasterise: Rasteriser | None = None, *, finer: int = 1) -> None:
        self.rasterise, self.finer = rasterise or DepthBuffer(), finer

    def paint(
        self, surfaces: Sequence[Surface], intrinsics: npt.NDArray[np.floating], size: tuple[int, int]
    ) -> Painted:
        """Paint for a picture of `size` (H, W) px taken through `intrinsics` (3, 3) px.

        Triangles that reach behind the camera or face away from it are left out.
        """
        height, width = size
        rgba = np.zeros((height, width, 4), np.uint8)
        depth = np.full((height, width), np.inf, np.float32)
        surface = np.full((height, width), -1, np.int32)
        painted = Painted(rgba=rgba, depth=depth, surface=surface)
        if not surfaces:
            return painted
        corners, owner, brightness = _visible(surfaces)
        pixels = project(intrinsics, corners)
        window = _window(pixels, size)
        if window is None:
            return painted
        rows, columns = window
        # the centre of the first of `finer` parts of pixel 0 is left of the centre of the pixel
        inside = (pixels - (columns.start, rows.start) + 0.5) * self.finer - 0.5
        local = (self.finer * (rows.stop - rows.start), self.finer * (columns.stop - columns.start))
        raster = self.rasterise(inside, corners[..., 2], local)
        tones = (brightness[raster.face] * raster.share).sum(1)
        shades = np.array([item.colour for item in surfaces])[owner[raster.face]] * tones[:, None]
        rgba[window], depth[window], surface[window] = _reduced(raster, shades, owner, local, self.finer)
        return painted


def draw_mesh(
    image: Picture,
    vertices: npt.NDArray[np.floating],
    faces: npt.NDArray[np.integer],
    intrinsics: npt.NDArray[np.floating],
    *,
    colour: Colour = MESH[0],
    opacity: float = 0.85,
) -> None:
    """Paint one surface into `image`: see `Surface` and `MeshPainter.paint`."""
    surface = Surface(vertices=vertices, faces=faces, colour=colour)
    image[:] = laid_over(image, MeshPainter().paint([surface], intrinsics, image.shape[:2]).rgba, opacity)


def laid_over(image: Picture, rgba: npt.NDArray[np.uint8], opacity: float | npt.NDArray[np.floating] = 1.0) -> Picture:
    """`image` below `rgba` (H, W, 4), of which `opacity`, a number or (H, W), is the largest share."""
    share = (rgba[..., 3] * (np.asarray(opacity, np.float32) / 255))[..., None]
    covered = np.flatnonzero(share.max(axis=(1, 2)) > 0)
    mixed = image.copy()
    if len(covered):
        rows = slice(covered[0], covered[-1] + 1)
        mixed[rows] = np.rint(image[rows] + (rgba[rows, :, :3].astype(np.float32) - image[rows]) * share[rows])
    return mixed


def _visible(surfaces: Sequence[Surface]) -> tuple[Array, npt.NDArray[np.int64], Array]:
    """Corners (F, 3, 3) m of the triangles that can be seen, their surfaces (F,), brightness of the corners (F, 3)."""
    corners, owner, brightness = [], [], []
    for number, item in enumerate(surfaces):
        faces = np.asarray(item.faces)
        placed = np.asarray(item.vertices, np.float64)[faces]
        normals = np.cross(placed[:, 1] - placed[:, 0], placed[:, 2] - placed[:, 0])
        shown = (placed[..., 2] > NEAR_PLANE).all(1) & ((normals * placed[:, 0]).sum(-1) < 0)
        corners.append(placed[shown])
        brightness.append(_brightness(normals, faces, len(item.vertices))[faces[shown]])
        owner.append(np.full(int(shown.sum()), number))
    return np.concatenate(corners), np.concatenate(owner), np.concatenate(brightness)


def _brightness(normals: Array, faces: npt.NDArray[np.integer], vertices: int) -> Array:
    """(V,) how bright each vertex is, by the mean of the normals (F, 3) of its faces, weighted by their areas."""
    towards = np.bincount(faces.reshape(-1), np.repeat(normals @ LIGHT, 3), vertices)
    total = np.stack([np.bincount(faces.reshape(-1), np.repeat(axis, 3), vertices) for axis in normals.T])
    length = np.linalg.norm(total, axis=0) + 1e-12
    bright: Array = AMBIENT + (1 - AMBIENT) * np.clip(towards / length, 0, 1)
    return bright


def _window(pixels: Array, size: tuple[int, int]) -> tuple[slice, slice] | None:
    """The part of the picture in which the triangles (F, 3, 2) lie."""
    if not len(pixels):
        return None
    low = np.clip(np.floor(pixels.min(axis=(0, 1)) - 0.5), 0, size[::-1]).astype(int).tolist()
    high = np.clip(np.ceil(pixels.max(axis=(0, 1)) + 0.5) + 1, 0, size[::-1]).astype(int).tolist()
    if high[0] <= low[0] or high[1] <= low[1]:
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])


def _reduced(
    raster: Raster, shades: Array, owner: npt.NDArray[np.int64], size: tuple[int, int], finer: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """RGBA, depth and surface of a picture of `size` (H, W), each divided by `finer`."""
    height, width = size[0] // finer, size[1] // finer
    near, owner = raster.depth.astype(np.float32), owner[raster.face]
    rgba = np.zeros((height * width, 4), np.uint8)
    depth = np.full(height * width, np.inf, np.float32)
    surface = np.full(height * width, -1, np.int32)
    if finer == 1:  # every pixel is there once
        rgba[raster.pixel, :3], rgba[raster.pixel, 3] = np.rint(shades), 255
        depth[raster.pixel], surface[raster.pixel] = near, owner
        return rgba.reshape(height, width, 4), depth.reshape(height, width), surface.reshape(height, width)
    row, column = np.divmod(raster.pixel, size[1])
    pixel = (row // finer) * width + column // finer
    count = np.bincount(pixel, minlength=height * width)
    for channel in range(3):
        total = np.bincount(pixel, shades[:, channel], height * width)
        rgba[:, channel] = np.clip(np.rint(total / np.maximum(count, 1)), 0, 255)
    rgba[:, 3] = np.rint(count * (255 / finer**2))
    np.minimum.at(depth, pixel, near)
    front = np.flatnonzero(near == depth[pixel])
    surface[pixel[front]] = owner[front]
    return rgba.reshape(height, width, 4), depth.reshape(height, width), surface.reshape(height, width)
