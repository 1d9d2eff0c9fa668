"""Sizes of stored frames (levels), and the choice of a level for a view.

A stored size is named by its short side. The default is one size of 720 px: people who fill half of a
frame then still cover a network's 512 px. Where people are smaller, the size is raised
(docs/build-shards.md#in-which-sizes-frames-are-stored).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NETWORK_SIDE = 512
"""Side of the published network's input, px."""
WINDOW_SCALE = 1.6
"""Side of a typical crop over the longer side of its person's box; the published ranges run from 1.3 to 3.0."""
SMALL_WINDOWS = 0.05
"""Share of enlarged crops above which a sequence is stored at a larger size."""
ENLARGEMENT_BINS = (1.0, 1.25, 1.5, 2.0)
"""Upper bounds of the bins in which a build counts the enlargement of crops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Sizes at which a build stores frames."""

    heights: tuple[int, ...] = (720,)
    """Short side of each level, px, ascending; () keeps the original bytes. Frames are never enlarged."""
    raised: bool = True
    """Whether the last level is enlarged, up to the original size, where people are small."""

    def sides(self, width: int, height: int, boxes: npt.NDArray[np.floating]) -> tuple[int | None, ...]:
        """Short side of each level for frames of `width` x `height`, px; None where the one below is the original.

        `boxes`: (N, 4) people's boxes, px. The last level is raised when more than `SMALL_WINDOWS` of the typical crops
        would have fewer stored px than the network's input.
        """
        original = min(width, height)
        wanted = list(self.heights)
        windows = window_sides(boxes)
        if self.raised and wanted and len(windows):
            needed = NETWORK_SIDE / float(np.quantile(windows, SMALL_WINDOWS)) * original
            wanted[-1] = max(wanted[-1], min(original, math.ceil(needed)))
        levels: list[int | None] = []
        for side in wanted:
            levels.append(None if original in levels else min(side, original))
        return tuple(levels)


def window_sides(boxes: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N,) side of a typical crop around each box (N, 4), px of the frame."""
    sides: npt.NDArray[np.float64] = WINDOW_SCALE * np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    return np.maximum(sides, 1.0)


def enlargement(boxes: npt.NDArray[np.floating], scale: float) -> npt.NDArray[np.int64]:
    """(bins + 1,) counts of typical crops by enlargement, when frames are stored at `scale`."""
    factors = NETWORK_SIDE / (scale * window_sides(boxes))
    return np.bincount(np.searchsorted(ENLARGEMENT_BINS, factors), minlength=len(ENLARGEMENT_BINS) + 1)


def level_for(scales: Sequence[float], side: float, size: int) -> int:
    """The smallest level with full detail for a window of `side` frame px shown at `size` px; else the largest one.

    `scales`: stored px per frame px of each level, ascending; 0 where a level is empty.
    """
    stored = [level for level, scale in enumerate(scales) if scale > 0]
    return next((level for level in stored if scales[level] * side >= size), stored[-1])
