"""The camera's rotation from the picture outside the people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]

WIDTH = 640
"""Pictures are compared at this width, px, or at their own if that is smaller; flows are given at this width."""
CELLS, FAINTEST, FEWEST = 24, 1e-3, 16
"""The strongest corner of each cell is followed, so that sharp people do not outnumber a faint background: cells across
the picture, strength below which a corner is none (share of the strongest), and the fewest corners from which something
is concluded."""
RETURN, INLIER = 0.5, 1.5
"""px by which a corner that is followed to the next frame and back may miss itself, and by which it may miss a
model."""
MARGIN = 0.1
"""Boxes of people are enlarged by this share of their size on each side."""
AGREEING, STILL_POINTS = 0.5, 0.8
"""Shares of the corners that follow a rotation: below the first it is not trusted; above the second there is no sign of
parallax, so the camera only turns."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BackgroundStep:
    """What the background did between two frames."""

    flow: float
    """Median length of its motion, px at a width of 640."""
    drift: Array
    """(2,) its median motion, px at a width of 640."""
    rotation: Array | None
    """(3, 3) from the axes of the earlier camera to those of the later one; None if no rotation explains the motion."""
    only_turns: bool
    """Whether the rotation explains the motion of nearly everything."""


class BackgroundMotion:
    """Follows corners outside the people from frame to frame.

    A homography by RANSAC sorts out what moves by itself; the rotation is fitted to the rays of the rest.
    """

    def __init__(self, intrinsics: Array) -> None:
        """`intrinsics` (3, 3), px of the upright picture."""
        self.intrinsics = intrinsics
        self._before: tuple[npt.NDArray[np.uint8], Array] | None = None

    def forget(self) -> None:
        """A new shot begins."""
        self._before = None

    def step(self, picture: npt.NDArray[np.uint8], boxes: Array, *, width: int | None = None) -> BackgroundStep | None:
        """Compare a picture (H, W) grey or (H, W, 3) with the previous one; `boxes` (K, 4) left, top, width, height of
        the people in it, px. `width`: of the frame, px, if the picture is a `reduced` one. None for a first picture, or
        where too few corners can be followed.
        """
        small = reduced(picture)
        scale = small.shape[1] / (width or picture.shape[1])
        grey = small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        previous, self._before = self._before, (np.asarray(grey, np.uint8), boxes * scale)
        if previous is None or previous[0].shape != grey.shape:
            return None
        old, new = _followed(*previous, *self._before)
        if len(old) < FEWEST:
            return None
        moved, unit = new - old, WIDTH / grey.shape[1]
        rotation, share = self._rotation((old + 0.5) / scale - 0.5, (new + 0.5) / scale - 0.5, INLIER / scale)
        return BackgroundStep(
            flow=unit * float(np.median(np.linalg.norm(moved, axis=1))),
            drift=unit * np.median(moved, axis=0),
            rotation=rotation if share >= AGREEING else None,
            only_turns=share >= STILL_POINTS,
        )

    def _rotation(self, old: Array, new: Array, reach: float) -> tuple[Array | None, float]:
        """Rotation of the camera from points (N, 2), px of the picture, and the share of points that follow it."""
        _, inlier = cv2.findHomography(old, new, cv2.RANSAC, reach)
        kept = np.zeros(len(old), bool) if inlier is None else inlier[:, 0] > 0
        if kept.sum() < FEWEST:
            return None, 0.0
        before, after = (_rays(points, self.intrinsics) for points in (old, new))
        left, _, right = np.linalg.svd(after[kept].T @ before[kept])
        left[:, 2] *= np.linalg.det(left @ right)
        rotation = left @ right
        seen = before @ (self.intrinsics @ rotation).T
        missed = np.linalg.norm(seen[:, :2] / seen[:, 2:] - new, axis=1)
        return rotation, float(np.mean(missed < reach))

    def state_dict(self) -> dict[str, Any]:
        """Tensors."""
        if self._before is None:
            return {}
        grey, boxes = self._before
        return {"grey": torch.from_numpy(grey.copy()), "boxes": torch.from_numpy(boxes.copy())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state_dict()`."""
        self._before = (state["grey"].numpy().copy(), state["boxes"].numpy().copy()) if state else None


def reduced(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A picture (H, W) or (H, W, 3) at the width at which pictures are compared, if it is wider."""
    scale = WIDTH / picture.shape[1]
    if scale >= 1:
        return picture
    size = WIDTH, max(round(picture.shape[0] * scale), 1)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _followed(
    old: npt.NDArray[np.uint8], old_boxes: Array, new: npt.NDArray[np.uint8], boxes: Array
) -> tuple[Array, Array]:
    """Corners of `old` outside the people, and where they are in `new`: two of (N, 2), px."""
    corners = _corners(old, _outside(old.shape, old_boxes))
    if not len(corners):
        return np.zeros((0, 2)), np.zeros((0, 2))
    there, found, _ = cv2.calcOpticalFlowPyrLK(old, new, corners, corners.copy())
    back, returned, _ = cv2.calcOpticalFlowPyrLK(new, old, there, corners.copy())
    good = (found[:, 0] > 0) & (returned[:, 0] > 0) & (np.linalg.norm((back - corners)[:, 0], axis=1) < RETURN)
    inside = np.rint(there[:, 0]).astype(int)
    good &= ((inside >= 0) & (inside < np.array(new.shape[::-1]))).all(1)
    good[good] &= _outside(new.shape, boxes)[inside[good, 1], inside[good, 0]] > 0
    return corners[good, 0].astype(np.float64), there[good, 0].astype(np.float64)


def _corners(grey: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N, 1, 2) px: the strongest corner of every cell where there is one."""
    strength: Any = cv2.cornerMinEigenVal(grey, 3)
    strength[mask == 0] = 0
    side = max(4, round(grey.shape[1] / CELLS))
    rows, columns = grey.shape[0] // side, grey.shape[1] // side
    cells = strength[: rows * side, : columns * side].reshape(rows, side, columns, side)
    cells = cells.swapaxes(1, 2).reshape(rows * columns, side * side)
    best = cells.argmax(axis=1)
    row, column = np.divmod(np.arange(rows * columns), columns)
    corners = np.stack([column * side + best % side, row * side + best // side], axis=1)
    found = cells.max(axis=1)
    chosen: npt.NDArray[np.float32] = corners[found > FAINTEST * found.max(initial=0)].astype(np.float32)
    return chosen[:, None]


def _outside(shape: tuple[int, ...], boxes: Array) -> npt.NDArray[np.uint8]:
    """(H, W) 255 outside the enlarged boxes."""
    mask = np.full(shape[:2], 255, np.uint8)
    for left, top, width, height in boxes[np.isfinite(boxes).all(1)]:
        across, down = MARGIN * width, MARGIN * height
        rows = slice(*np.clip([top - down, top + height + down], 0, shape[0]).astype(int))
        columns = slice(*np.clip([left - across, left + width + across], 0, shape[1]).astype(int))
        mask[rows, columns] = 0
    return mask


def _rays(points: Array, intrinsics: Array) -> Array:
    """Unit vectors (N, 3) of pixels (N, 2)."""
    rays = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ np.linalg.inv(intrinsics).T
    unit: Array = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    return unit
