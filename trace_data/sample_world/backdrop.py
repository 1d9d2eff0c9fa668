"""Backdrops of the sample world: a patterned floor, a wall or skyline behind it, and some boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.sample_world.cameras import PinholeCamera
from trace_data.schema.camera import NEAR_PLANE

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]
TEXELS = 256
FADE = 0.2
"""Share of the picture's height, below the far end of the floor, over which its texture fades in."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box on the floor: corners (8, 3) in metres, those on the floor first, and a BGR colour per side."""

    corners: Array
    colours: Array


SIDES = ((0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7), (4, 5, 6, 7))
"""Corners of the visible sides of a box, counter-clockwise from outside."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """The static part of a scene."""

    floor: Image
    """Tiled texture of the ground plane."""
    far: Image
    """(3,) mean colour of the floor, used in the distance."""
    floor_scale: float
    """Size of the floor's texture in metres."""
    wall: Image
    wall_from: Array
    """(3, 3): texture pixels (u, v, 1) to world metres on the wall."""
    foot: Array
    """(2, 3) far ends of the line where the wall meets the floor."""
    boxes: tuple[Box, ...]

    def draw(self, camera: PinholeCamera, frame: int) -> tuple[Image, Image]:
        """The picture (H, W, 3), and the mask (H, W) of its floor (0 or 255)."""
        pose, K = camera.camera_from_world[frame], camera.intrinsics
        R, t = pose[:3, :3], pose[:3, 3]
        width, height = camera.size
        line = camera_pixels(K, R, t, self.foot)
        # the rows where the floor begins and the wall ends: only visible parts are warped
        slope = (line[1, 1] - line[0, 1]) / (line[1, 0] - line[0, 0])
        ends = line[0, 1] + slope * (np.array([0, width]) - line[0, 0])
        first, last = (int(np.clip(y, 1, height - 1)) for y in (ends.min() - 1, ends.max() + 2))

        image = np.empty((height, width, 3), np.uint8)
        wall = K @ (R @ self.wall_from + np.outer(t, [0, 0, 1]))
        image[:last] = _warp(self.wall, wall, (width, last), cv2.BORDER_REPLICATE)
        texel = self.floor_scale / TEXELS
        ground = K @ (R @ np.array([[texel, 0, 0], [0, 0, 0], [0, texel, 0]]) + np.outer(t, [0, 0, 1]))
        raised = np.array([[1.0, 0, 0], [0, 1, -first], [0, 0, 1]]) @ ground
        floor = _warp(self.floor, raised, (width, height - first), cv2.BORDER_WRAP)
        # far texels are smaller than pixels: fade to the mean colour instead of flickering
        row = np.arange(height - first, dtype=np.float32)[:, None]
        sharp = np.minimum(row / (FADE * height), 1).repeat(width, 1)
        floor = cv2.blendLinear(floor, np.full_like(floor, self.far), sharp, 1 - sharp)
        mask = np.zeros((height, width), np.uint8)
        polygon = np.concatenate([line, line[::-1] + np.array([0, 20 * height])])
        cv2.fillConvexPoly(mask, fixed(polygon), [255], cv2.LINE_8, 4)
        cv2.copyTo(floor, mask[first:], image[first:])
        for box in self.boxes:
            corners = camera_pixels(K, R, t, box.corners)
            for side, colour in zip(SIDES, box.colours):
                quad = corners[list(side)]
                a, b = quad[1] - quad[0], quad[2] - quad[0]
                if a[0] * b[1] - a[1] * b[0] < 0:
                    cv2.fillConvexPoly(image, fixed(quad), colour.tolist(), cv2.LINE_AA, 4)
                    cv2.fillConvexPoly(mask, fixed(quad), 0, cv2.LINE_8, 4)
        return image, mask


def camera_pixels(K: Array, R: Array, t: Array, points: Array) -> Array:
    """Pixels (N, 2) of world points (N, 3) in front of the camera."""
    seen = (points @ R.T + t) @ K.T
    pixels: Array = seen[:, :2] / np.maximum(seen[:, 2:], NEAR_PLANE)
    return pixels


def fixed(points: Array) -> npt.NDArray[np.int32]:
    """Fixed-point pixel coordinates for cv2 with shift 4: sixteenths."""
    return np.rint(np.clip(points, -1e5, 1e5) * 16).astype(np.int32)


def _warp(texture: Image, homography: Array, size: tuple[int, int], border: int) -> Any:
    return cv2.warpPerspective(texture, homography, size, flags=cv2.INTER_LINEAR, borderMode=border)


def draw_backdrop(
    rng: np.random.Generator, camera: PinholeCamera, centre: Array, radius: float, light: Array
) -> Backdrop:
    """A backdrop for people who stay within `radius` metres of `centre` (x, 0, z)."""
    middle = camera.camera_from_world[len(camera.camera_from_world) // 2]
    position = -middle[:3, :3].T @ middle[:3, 3]
    ahead = middle[2, :3] * [1, 0, 1]
    ahead /= np.linalg.norm(ahead)
    right = np.array([-ahead[2], 0.0, ahead[0]])
    reach = float((centre - position) @ ahead) + radius
    outdoors = rng.uniform() < 0.4
    distance = reach + (rng.uniform(12, 25) if outdoors else rng.uniform(1.0, 4.0))
    turn = 0.0 if outdoors else rng.uniform(-0.3, 0.3)
    along = np.cos(turn) * right + np.sin(turn) * ahead
    base = position * [1, 0, 1] + distance * ahead
    # the wall extends 1.6 distances to both sides and is 1.6 distances high
    scale = 3.2 * distance / TEXELS
    wall_from = np.stack([along * scale, np.array([0, -scale, 0]), base - 1.6 * distance * along], axis=1)
    wall_from[:, 2] += [0, 1.6 * distance, 0]
    wall = _skyline(rng) if outdoors else pattern(rng, (TEXELS // 2, TEXELS))
    boxes = []
    for _ in range(int(rng.integers(0, 5))):
        place = position * [1, 0, 1] + ahead * (reach + rng.uniform(0.6, 1.0 if not outdoors else 6.0))
        boxes.append(_box(rng, place + right * rng.uniform(-0.6, 0.6) * reach, light))
    boxes.sort(key=lambda box: -float((box.corners.mean(0) - position) @ ahead))
    floor = pattern(rng, (TEXELS, TEXELS))
    return Backdrop(
        floor=floor,
        far=floor.mean((0, 1)).astype(np.uint8),
        floor_scale=rng.uniform(2, 6),
        wall=wall,
        wall_from=wall_from,
        foot=base + np.array([[-1.0], [1.0]]) * 1.6 * distance * along,
        boxes=tuple(boxes),
    )


def pattern(rng: np.random.Generator, shape: tuple[int, int]) -> Image:
    """A texture (h, w, 3): two muted colours in blotches, stripes, tiles or a gradient, with some grain."""
    h, w = shape
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    blotch = _blotches(rng, shape)
    step = 2 ** int(rng.integers(4, 7))
    kind = int(rng.integers(5))
    if kind == 0:
        mix = blotch
    elif kind == 1:
        mix = ((x + y * rng.choice([0, 1])) % step < step / 2) * 0.7 + 0.3 * blotch
    elif kind == 2:
        mix = ((x // step + y // step) % 2) * 0.7 + 0.3 * blotch
    elif kind == 3:
        mix = ((x + (y // step % 2) * step) % (2 * step) < 1.5) + (y % step < 1.5) + 0.25 * blotch
    else:
        mix = 0.7 * y / h + 0.3 * blotch
    first, second = muted(rng), muted(rng)
    colours = first + np.clip(mix, 0, 1)[..., None] * (second - first) * rng.uniform(0.3, 1)
    return np.clip(colours + rng.normal(0, 4, (h, w, 1)), 0, 255).astype(np.uint8)


def muted(rng: np.random.Generator) -> Array:
    """A colour of low saturation, unlike those of clothes. BGR, 0 to 255."""
    grey = rng.uniform(45, 225)
    tint: Array = np.clip(grey * (1 + rng.normal(0, 0.09, 3)), 0, 255)
    return tint


def _blotches(rng: np.random.Generator, shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    made = np.zeros(shape, np.float32)
    for cells, weight in ((4, 0.6), (12, 0.3), (40, 0.2)):
        made += weight * cv2.resize(rng.random((cells, cells), np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC)
    return made


def _skyline(rng: np.random.Generator) -> Image:
    """Sky over houses or hills; the horizon is at the bottom of the texture."""
    h, w = TEXELS // 2, TEXELS
    top, low = np.array([220, 170, 120.0]) * rng.uniform(0.7, 1.1), np.array([235, 225, 210.0]) * rng.uniform(0.8, 1.08)
    rise = (np.linspace(0, 1, h) ** 1.5)[:, None, None]
    sky = np.clip(top + rise * (low - top) + 25 * (_blotches(rng, (h, w))[..., None] - 0.5), 0, 255)
    image = sky.astype(np.uint8)
    for _ in range(int(rng.integers(6, 16))):
        left, tall, wide = rng.integers(0, w), rng.integers(3, 30), rng.integers(8, 50)
        colour = muted(rng)
        if rng.uniform() < 0.5:
            cv2.rectangle(image, (int(left), int(h - tall)), (int(left + wide), h), colour.tolist(), -1)
        else:
            cv2.ellipse(image, (int(left), h), (int(wide), int(tall)), 0, 180, 360, colour.tolist(), -1, cv2.LINE_AA)
    return image


def _box(rng: np.random.Generator, place: Array, light: Array) -> Box:
    half, tall, turn = rng.uniform(0.15, 0.5, 2), rng.uniform(0.3, 1.8), rng.uniform(0, np.pi / 2)
    # counter-clockwise seen from above, where x points right and z down the page
    around = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]]) * half
    c, s = np.cos(turn), np.sin(turn)
    flat = np.stack([c * around[:, 0] + s * around[:, 1], np.zeros(4), -s * around[:, 0] + c * around[:, 1]], axis=1)
    corners = np.concatenate([place + flat, place + flat + [0, tall, 0]])
    normals = np.stack([np.cross(corners[b] - corners[a], corners[d] - corners[a]) for a, b, _, d in SIDES])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shade = 0.55 + 0.45 * np.maximum(normals @ light, 0)
    return Box(corners, np.clip(muted(rng) * shade[:, None], 0, 255))
