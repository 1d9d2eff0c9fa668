"""Which triangle is in front at each pixel: a depth buffer in NumPy.

A `Rasteriser` is the part of drawing that hardware may do instead; `pytorch3d.py` holds another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_AT_ONCE = 1 << 21
"""Pixels of triangles that are handled together; it bounds the memory."""
_EDGE = 1e-6
"""px by which a triangle is larger, so that no gap opens between neighbours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raster:
    """The K pixels that some triangle covers, by the nearest one."""

    pixel: Index
    """(K,) row · width + column, ascending."""
    face: Index
    """(K,)"""
    share: Array
    """(K, 3) weights of the triangle's corners, in the picture's plane; their sum is 1."""
    depth: Array
    """(K,) m along the optical axis."""


class Rasteriser(Protocol):
    """Finds the nearest triangle of each pixel."""

    name: str
    """As shown to the user."""

    def __call__(self, corners: Array, depth: Array, size: tuple[int, int]) -> Raster:
        """`corners` (F, 3, 2) px, pixel centres are whole numbers; `depth` (F, 3) m, positive; `size` (H, W) px."""


class DepthBuffer:
    """Our own rasteriser: rows of triangles are found first, then all of their pixels at once."""

    name = "depth buffer in NumPy"

    def __call__(self, corners: Array, depth: Array, size: tuple[int, int]) -> Raster:
        """See `Rasteriser`."""
        height, width = size
        planes = _planes(corners)
        # in the picture, the inverse of the depth is linear on a triangle
        inverse = np.einsum("fkc,fk->fc", planes, 1 / depth)
        nearest = np.zeros(height * width)
        front = np.full(height * width, -1, np.int64)
        for face, row, left, right in _rows(corners, planes, size):
            lengths = right - left + 1
            ends = np.cumsum(lengths)
            column = np.arange(ends[-1]) - np.repeat(ends - lengths - left, lengths)
            pixel = np.repeat(row * width, lengths) + column
            slope, start = inverse[face, 0], inverse[face, 1] * row + inverse[face, 2]
            value = np.repeat(slope, lengths) * column + np.repeat(start, lengths)
            np.maximum.at(nearest, pixel, value)
            winner = np.flatnonzero(nearest[pixel] == value)
            front[pixel[winner]] = np.repeat(face, lengths)[winner]
        found = np.flatnonzero(front >= 0)
        face = front[found]
        row, column = np.divmod(found, width)
        where = np.stack([column, row, np.ones_like(row)], axis=-1).astype(np.float64)
        share = np.einsum("kic,kc->ki", planes[face], where)
        return Raster(pixel=found, face=face, share=share, depth=1 / nearest[found])


def _planes(corners: Array) -> Array:
    """(F, 3, 3): the weight of each corner at (x, y) is its row · (x, y, 1). Triangles without area have NaN."""
    x, y = corners[..., 0], corners[..., 1]
    following, last = [1, 2, 0], [2, 0, 1]
    slope_x = y[:, following] - y[:, last]
    slope_y = x[:, last] - x[:, following]
    constant = x[:, following] * y[:, last] - x[:, last] * y[:, following]
    area = constant.sum(1)
    area = np.where(np.abs(area) < 1e-12, np.nan, area)
    planes: Array = np.stack([slope_x, slope_y, constant], axis=-1) / area[:, None, None]
    return planes


def _rows(corners: Array, planes: Array, size: tuple[int, int]) -> Iterator[tuple[Index, Index, Index, Index]]:
    """Blocks of (face, row, first column, last column) of everything that lies in the picture."""
    height, width = size
    top = np.clip(np.ceil(corners[..., 1].min(1) - _EDGE), 0, height).astype(np.int64)
    bottom = np.clip(np.floor(corners[..., 1].max(1) + _EDGE), -1, height - 1).astype(np.int64)
    heights = np.where(np.isfinite(planes[:, 0, 0]), np.maximum(bottom - top + 1, 0), 0)
    first = 0
    ends = np.cumsum(heights)
    while first < len(heights):
        done = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, done + _AT_ONCE // 8, side="right")))
        number = np.arange(first, last)
        counts = heights[first:last]
        face = np.repeat(number, counts)
        row = np.arange(len(face)) - np.repeat(ends[first:last] - counts - done - top[first:last], counts)
        left, right = _columns(corners[face], planes[face], row, width)
        inside = np.flatnonzero(right >= left)
        face, row, left, right = face[inside], row[inside], left[inside], right[inside]
        pixels = np.cumsum(right - left + 1)
        begin = 0
        while begin < len(face):
            before = pixels[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(pixels, before + _AT_ONCE, side="right")))
            yield face[begin:end], row[begin:end], left[begin:end], right[begin:end]
            begin = end
        first = last


def _columns(corners: Array, planes: Array, row: Index, width: int) -> tuple[Index, Index]:
    """First and last column of each triangle (M, 3, 2) in its row (M,); the last is less where there is none."""
    first, second, third = corners[..., 0].T
    low = np.maximum(np.minimum(np.minimum(first, second), third), 0.0)
    high = np.minimum(np.maximum(np.maximum(first, second), third), width - 1.0)
    for edge in range(3):
        slope = planes[:, edge, 0]
        rest = planes[:, edge, 1] * row + planes[:, edge, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -rest / slope
        low = np.where(slope > 0, np.maximum(low, crossing), low)
        high = np.where(slope < 0, np.minimum(high, crossing), high)
        high = np.where((slope == 0) & (rest < -_EDGE), -1.0, high)
    return np.ceil(low - _EDGE).astype(np.int64), np.floor(high + _EDGE).astype(np.int64)
