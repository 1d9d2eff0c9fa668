"""A whole frame as the network sees it: padded to a square and resized."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import Window
from trace_data.shards.view import resample

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """Maps frames of one size to the network's input, and its outputs back to px of the frame.

    Padding is by whole px, the smaller half of an odd difference at the left or top. `black`: resized as in training
    and evaluation here. `white`: bicubically, as in the published inference
    (docs/reference/inference.md#frame-preprocessing).
    """

    width: int
    """Of the upright frame, px."""
    height: int
    size: int
    """Side of the input, px."""
    padding: Literal["black", "white"] = "black"

    @property
    def window(self) -> Window:
        """The square in the frame that becomes the input."""
        side = max(self.width, self.height)
        return Window(left=-((side - self.width) // 2), top=-((side - self.height) // 2), side=side)

    def put(self, frame: Pixels, out: Pixels) -> None:
        """Write a frame (height, width, 3) into the input `out` (size, size, 3). Raises ValueError for another size."""
        if frame.shape != (self.height, self.width, 3):
            raise ValueError(f"a frame of shape {frame.shape}, expected ({self.height}, {self.width}, 3)")
        window = self.window
        if self.padding == "black":
            resample(frame, window.crop_from_frame(self.size), int(window.side / self.size), out)
            return
        side, left, top = int(window.side), int(-window.left), int(-window.top)
        square = np.full((side, side, 3), 255, np.uint8)
        square[top : top + self.height, left : left + self.width] = frame
        cv2.resize(square, out.shape[:2], dst=out, interpolation=cv2.INTER_CUBIC)

    def to_frame(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Points of the input (..., 2), edges at -1 and 1, to px of the frame."""
        window = self.window
        px: npt.NDArray[np.float64] = (points + 1) * (window.side / 2) - 0.5 + np.array([window.left, window.top])
        return px
