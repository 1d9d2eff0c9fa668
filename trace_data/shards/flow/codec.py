"""Encodes a field of optical flow: rounded to 1/16 px, differences along x, deflated.

    steps   int16 (2, h, w)   round(16 flow), x and then y; differences along each row, of the first cell itself
    zigzag  uint16            2 d for d >= 0, else -2 d - 1, so that small differences have a high byte of zero
    bytes                     zlib of all low bytes, then all high bytes

Rounding moves a vector by at most 1/32 px of the picture in x and in y. At a short side of 512 px a field takes 4 to 8
KB, where half precision would take 29 KB (docs/stored-flow.md#what-it-costs-and-saves).
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

STEPS = 16
"""Steps a pixel."""
LARGEST = 2000.0
"""Longest component stored, px; longer ones are cut to it."""
LEVEL = 6
"""Of zlib: higher ones save 2 %."""


def encode_flow(flow: npt.NDArray[np.float32]) -> bytes:
    """Encode flow (h, w, 2), px. Raises ValueError for values that are not finite."""
    if not np.isfinite(flow).all():
        raise ValueError("flow has NaN or infinite values")
    steps = np.rint(np.clip(flow, -LARGEST, LARGEST) * STEPS).astype(np.int16).transpose(2, 0, 1)
    change = np.diff(steps, axis=2, prepend=np.int16(0))  # wraps around, and so does its inverse
    zigzag = ((change << 1) ^ (change >> 15)).astype("<i2")
    halves = np.frombuffer(zigzag.tobytes(), np.uint8).reshape(-1, 2)
    return zlib.compress(halves.T.tobytes(), LEVEL)


def decode_flow(data: bytes, width: int, height: int) -> npt.NDArray[np.float32]:
    """Flow (height, width, 2), px, from its bytes. Raises ValueError when they are not such a field."""
    count = 2 * width * height
    inflater = zlib.decompressobj()
    try:
        halves = inflater.decompress(data, 2 * count)
    except zlib.error as error:
        raise ValueError(f"the flow does not inflate: {error}") from error
    if len(halves) != 2 * count or not inflater.eof:
        raise ValueError(f"the flow is not one of {width} x {height} cells")
    zigzag = np.frombuffer(np.frombuffer(halves, np.uint8).reshape(2, count).T.tobytes(), "<u2")
    change = (zigzag >> 1).astype(np.int16) ^ -(zigzag & 1).astype(np.int16)
    steps = np.cumsum(change.reshape(2, height, width), axis=2, dtype=np.int16)
    return np.ascontiguousarray(steps.transpose(1, 2, 0), np.float32) * np.float32(1 / STEPS)
