"""Fast rendering of shaded people over a backdrop: painter's algorithm on a coarse mesh at twice the resolution.

Pixel convention: the centre of the top-left pixel is (0, 0).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.sample_world.backdrop import Backdrop, fixed
from trace_data.sample_world.cameras import PinholeCamera
from trace_data.sample_world.figure import Mesh

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Image = npt.NDArray[np.uint8]

JPEG_QUALITY = 88
FINE = 2
"""Samples per pixel in each direction."""
SHADOW = 0.5
"""Share of the light that a shadow on the floor removes."""


@dataclass(frozen=True, slots=True)
class Actor:
    """One person or thing to draw in one frame."""

    figure: Mesh
    points: Array
    """(N, 3) world metres."""
    pixels: Array
    """(N, 2)."""
    depth: Array
    """(N,) metres."""
    colours: Array
    """(len(CLOTHES), 3) BGR, 0 to 255."""


@dataclass(frozen=True, slots=True)
class VisibleFaces:
    """Visible face at each sample."""

    ids: npt.NDArray[np.uint16]
    """(2H, 2W): 0 for the backdrop, else one more than the row in the next two."""
    depth: Array
    """Metres, of the faces of all actors."""
    actor: Ints
    """Actor of each face."""

    def hides(self, pixel: Array, depth: float, actor: int, slack: float) -> bool:
        """Whether another person, or the actor's own body more than `slack` metres in front, occludes a point."""
        x, y = np.rint(pixel * FINE + (FINE - 1) / 2).astype(int)
        face = int(self.ids[y, x]) - 1
        if face < 0:
            return False
        return bool(self.depth[face] < depth - (slack if self.actor[face] == actor else 0.0))


def rasterise(actors: list[Actor], size: tuple[int, int]) -> VisibleFaces:
    """Paint the front faces of all actors together, from far to near."""
    width, height = size
    ids = np.zeros((FINE * height, FINE * width), np.uint16)
    depth = np.concatenate([a.depth[a.figure.faces].mean(1) for a in actors])
    owner = np.repeat(np.arange(len(actors)), [len(a.figure.faces) for a in actors])
    corners = np.concatenate([a.pixels[a.figure.faces] for a in actors])
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    facing = np.flatnonzero(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0)
    order = facing[np.argsort(-depth[facing], kind="stable")]
    polygons = fixed(corners[order] * FINE + (FINE - 1) / 2)
    fill = cv2.fillConvexPoly
    for face, polygon in zip((order + 1).tolist(), polygons):
        fill(ids, polygon, face, 8, 4)
    return VisibleFaces(ids, depth, owner)


def shade(actor: Actor, light: Array, ambient: float) -> Array:
    """(F, 3) colours of an actor's faces: ambient light and Lambert's law on smoothed normals."""
    corners = actor.points[actor.figure.faces]
    normal = actor.figure.smooth @ np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    bright = ambient + (1 - ambient) * np.maximum(normal @ light, 0) + 0.08 * normal[:, 1]
    lit: Array = actor.colours[actor.figure.clothes] * bright[:, None]
    return lit


def draw_frame(
    backdrop: Backdrop, camera: PinholeCamera, frame: int, actors: list[Actor], light: Array, ambient: float
) -> tuple[Image, VisibleFaces]:
    """The picture (H, W, 3) BGR of one frame without noise, and its visible faces."""
    image, floor = backdrop.draw(camera, frame)
    _cast_shadows(image, floor, camera, frame, actors, light)
    seen = rasterise(actors, camera.size)
    table = np.zeros((len(seen.depth) + 1, 3), np.uint8)
    table[1:] = np.clip(np.concatenate([shade(a, light, ambient) for a in actors]), 0, 255)
    everything = np.concatenate([a.pixels for a in actors])
    left, top = np.clip(np.floor(everything.min(0)).astype(int) - 1, 0, camera.size)
    right, bottom = np.clip(np.ceil(everything.max(0)).astype(int) + 2, 0, camera.size)
    if right > left and bottom > top:
        part = seen.ids[FINE * top : FINE * bottom, FINE * left : FINE * right]
        shape = (int(right - left), int(bottom - top))
        behind = image[top:bottom, left:right]
        fine = cv2.resize(behind, (FINE * shape[0], FINE * shape[1]), interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(np.take(table, part, axis=0), (part > 0).astype(np.uint8), fine)
        cv2.resize(fine, shape, behind, interpolation=cv2.INTER_AREA)
    return image, seen


def _cast_shadows(
    image: Image, floor: Image, camera: PinholeCamera, frame: int, actors: list[Actor], light: Array
) -> None:
    """Darken the floor where a body part blocks the light."""
    hulls = np.zeros(floor.shape, np.uint8)
    pose = camera.camera_from_world[frame]
    for actor in actors:
        ground = actor.points - light * (actor.points[:, 1:2] / light[1])
        seen = (ground @ pose[:3, :3].T + pose[:3, 3]) @ camera.intrinsics.T
        pixels = fixed(seen[:, :2] / np.maximum(seen[:, 2:], 0.1))
        for bone in range(24):
            part = pixels[actor.figure.bone == bone]
            if len(part) > 2:
                cv2.fillConvexPoly(hulls, cv2.convexHull(part), 255, cv2.LINE_8, 4)
    mask = cv2.bitwise_and(cv2.blur(hulls, (5, 5)), floor)
    x, y, width, height = cv2.boundingRect(mask)
    if width:
        cut = image[y : y + height, x : x + width]
        bright = cv2.merge([cv2.convertScaleAbs(mask[y : y + height, x : x + width], alpha=-SHADOW, beta=255)] * 3)
        cv2.multiply(cut, bright, cut, scale=1 / 255)


def jpeg(image: Image) -> bytes:
    """A picture (H, W, 3) BGR as a JPEG file."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def write_video(
    file: Path, images: Iterable[Image], size: tuple[int, int], fps: float, *, codec: Literal["mp4v", "MJPG"] = "mp4v"
) -> None:
    """Write frames (H, W, 3) BGR of `size` (width, height) as a video, which has its name only once it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f"_{file.name}")  # OpenCV chooses the container by the ending
    writer = cv2.VideoWriter(str(unfinished), cv2.VideoWriter.fourcc(*codec), fps, size)
    for image in images:
        writer.write(image)
    writer.release()
    unfinished.replace(file)
