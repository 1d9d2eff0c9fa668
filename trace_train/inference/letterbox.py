"""A whole frame as the network sees it: padded to a square and resized, from a video or from shards."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.errors import AnnotationError, ShardError
from trace_data.frames.image import decode
from trace_data.schema.clip import ClipRef, Window
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader
from trace_data.shards.view import resample
from trace_train.streaming.batch import LoadedClip
from trace_train.streaming.stream import load_clip

Pixels = npt.NDArray[np.uint8]
Padding = Literal["black", "white"]


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
    padding: Padding = "black"

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


def load_padded(
    reader: ShardReader,
    ref: ClipRef,
    size: int,
    padding: Padding,
    out: Tensor | None = None,
    *,
    flow: FlowReader | None = None,
    continues: bool = False,
) -> LoadedClip:
    """As `load_clip`, with the padding that weights need: white is put around the largest stored pictures as a
    `Letterbox` does, and has no stored flow: the imported weights that need it compute theirs. Raises ShardError.
    """
    if padding == "black":
        return load_clip(reader, ref, size, out, flow=flow, continues=continues)
    annotations = reader.annotations(ref)
    side = max(annotations.width, annotations.height)
    images, scales = reader.stored(ref, side, side)
    place = torch.empty(ref.length, size, size, 3, dtype=torch.uint8) if out is None else out
    maps = np.empty((ref.length, 3, 3))
    for pixels, image, scale, into in zip(place.numpy(), images, scales, maps):
        try:
            picture = decode(image, "frame", rgb=True, strict=True)
        except AnnotationError as error:
            raise ShardError(
                f"a frame of {reader.index.sequences[ref.sequence].key} does not decode: {error.message}",
                where=reader.store.where,
                hint=reader.store.repair_hint,
            ) from error
        letterbox = Letterbox(width=picture.shape[1], height=picture.shape[0], size=size, padding=padding)
        letterbox.put(picture, pixels)
        picture_from_frame = np.diag([*scale, 1.0])
        picture_from_frame[:2, 2] = 0.5 * scale - 0.5
        into[:] = letterbox.window.crop_from_frame(size) @ picture_from_frame
    return LoadedClip(ref=ref, frames=place, crop_from_frame=maps, annotations=annotations)
