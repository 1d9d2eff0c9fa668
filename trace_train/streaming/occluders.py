"""Synthetic occluders: small RGBA pictures placed by a view plan and drawn on the device.

A picture is one of the user's cut-outs or a generated textured shape; the published trainer used cut-outs from Pascal
VOC. Occluded joints stay annotated, so the network learns to infer them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, ConfigError
from trace_data.frames.image import image_size, read_bytes
from trace_data.schema.clip import Window

SIDE = 128
"""Side of an object's square picture, px."""
SIZES = (0.3, 0.6)
"""Range of an object's longer side, relative to the window's side."""
JUMP_PROBABILITY = 0.1
JUMP = 1 / 32
"""Maximum random jump of an object in single frames, relative to the window's side (published: 16 px)."""

Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Occluder:
    """One object at a fixed place in the frame, for a whole clip."""

    seed: int
    """Selects one of the user's cut-outs, or seeds a generated shape."""
    centers: npt.NDArray[np.float64]
    """(T, 2) x, y of its centre in px of the frame, measured from the frame's edge."""
    half: float
    """Half the side of its picture, px of the frame."""

    def place(self, crop_from_frame: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(T, 2, 3) maps from pixel centres of the crop to the object's picture, whose edges are at -1 and 1."""
        picture_from_frame = np.tile(np.diag([1 / self.half, 1 / self.half, 1.0]), (len(self.centers), 1, 1))
        picture_from_frame[:, :2, 2] = (0.5 - self.centers) / self.half
        placed: npt.NDArray[np.float64] = (picture_from_frame @ np.linalg.inv(crop_from_frame))[:, :2]
        return placed


def draw_occluder(first: Window, frames: int, generator: np.random.Generator) -> Occluder:
    """An object placed in the central half of the first frame's window; a moving window moves past it."""
    seed = int(generator.integers(2**32))
    half = 0.5 * first.side * generator.uniform(*SIZES)
    middle = np.array([first.left, first.top]) + first.side * generator.uniform(0.25, 0.75, 2)
    jumps = generator.uniform(-JUMP, JUMP, (frames, 2)) * (generator.random((frames, 1)) < JUMP_PROBABILITY)
    return Occluder(seed=seed, centers=middle + jumps * first.side, half=float(half))


def picture_of(occluder: Occluder, cutouts: Pictures | None) -> Pictures:
    """(SIDE, SIDE, 4) uint8 RGBA of an object. `cutouts`: those of `load_cutouts`, None draws a shape."""
    return shape(occluder.seed) if cutouts is None else cutouts[occluder.seed % len(cutouts)]


def shape(seed: int) -> Pictures:
    """(SIDE, SIDE, 4) uint8 RGBA: an ellipse or rectangle, turned, with noise or stripes of two colours."""
    generator = np.random.default_rng([seed, SIDE])
    ellipse, striped = generator.random(2) < 0.5
    angle, slenderness = generator.uniform(0, np.pi), generator.uniform(0.4, 1.0)
    colours = generator.integers(0, 256, (2, 3)).astype(np.float64)
    at = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = np.meshgrid(at, at, indexing="ij")
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    if ellipse:
        distance = np.hypot(u, v / slenderness)
    else:  # its corners lie on the picture's inscribed circle
        reach = 1 / np.hypot(1, slenderness)
        distance = np.maximum(np.abs(u), np.abs(v) / slenderness) / reach
    if striped:
        share = 0.5 + 0.5 * np.sin(2 * np.pi * generator.uniform(2, 8) * (x * generator.random() + y))
    else:
        grains = generator.random((2 ** int(generator.integers(3, 7)),) * 2).astype(np.float32)
        share = cv2.resize(grains, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST).astype(np.float64)
    picture = np.empty((SIDE, SIDE, 4), np.uint8)
    picture[..., :3] = np.rint(colours[0] + share[..., None] * (colours[1] - colours[0]))
    picture[..., 3] = np.rint(255 * np.clip((1 - distance) * SIDE / 4, 0, 1))  # soft over two pixels
    return picture


def load_cutouts(folder: Path) -> Pictures:
    """(K, SIDE, SIDE, 4) uint8 RGBA pictures of a folder, sorted by name, each scaled to fit the square.

    Raises ConfigError if no picture has an alpha channel.
    """
    files = sorted(file for file in folder.glob("*") if file.suffix.lower() == ".png")
    pictures = [picture for file in files if (picture := _cutout(file)) is not None]
    if not pictures:
        raise ConfigError(
            f"no picture with an alpha channel among {len(files)} files",
            where=folder,
            hint="data.occluders names a folder of RGBA cut-outs (.png); without it, shapes are drawn",
        )
    return np.stack(pictures)


def _cutout(file: Path) -> Pictures | None:
    try:
        data = read_bytes(file)
        image_size(data, file)
    except AnnotationError:
        return None
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4 or image.dtype != np.uint8:
        return None
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # premultiply by alpha before scaling, or transparent pixels would bleed into the edge
    alpha = image[..., 3:].astype(np.float32)
    weighted = np.concatenate([image[..., 2::-1] * (alpha / 255), alpha], axis=2)
    small = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    colours = small[..., :3] * (255 / np.maximum(small[..., 3:], 1e-3))
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    inside = picture[top : top + size[1], left : left + size[0]]
    inside[:] = np.clip(np.rint(np.concatenate([colours, small[..., 3:]], axis=2)), 0, 255)
    return picture
