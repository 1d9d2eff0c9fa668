"""Plan what the network will see of a clip, before a single pixel is decoded.

Everything drawn comes from a generator keyed by (seed, epoch, clip), never from a worker or the clock.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipAnnotations, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPlan:
    """How one clip is shown."""

    windows: tuple[Window, ...]
    """One window per frame."""
    color: tuple[float, float, float]
    """Factors of brightness, contrast and saturation; (1, 1, 1) leaves the colours alone."""


def full_frame(width: int, height: int) -> Window:
    """The whole frame, letter-boxed into a square."""
    side = float(max(width, height))
    return Window(left=(width - side) / 2, top=(height - side) / 2, side=side)


def plan(
    annotations: ClipAnnotations,
    generator: np.random.Generator,
    *,
    crop_probability: float,
    crop_scale: tuple[float, float],
    color_jitter: float,
    color_jitter_probability: float,
) -> ViewPlan:
    """Draw a fixed window for all frames of the clip (datasets.md 6.1) and its colour change (6.4, once a clip)."""
    frames = len(annotations.frame_ids)
    window = full_frame(annotations.width, annotations.height)
    if generator.random() < crop_probability:
        window = _crop(annotations, generator, crop_scale) or window
    color = (1.0, 1.0, 1.0)
    if generator.random() < color_jitter_probability:
        drawn = 1 + generator.uniform(-color_jitter, color_jitter, 3)
        color = (float(drawn[0]), float(drawn[1]), float(drawn[2]))
    return ViewPlan(windows=(window,) * frames, color=color)


def _crop(annotations: ClipAnnotations, generator: np.random.Generator, scale: tuple[float, float]) -> Window | None:
    """A square around one to all people, over all frames, shifted a little; None when nobody has visible joints."""
    visible = annotations.kp2d[..., 2] > 0.1
    candidates = np.flatnonzero(visible.any((1, 2)))
    if not len(candidates):
        return None
    chosen = generator.permutation(candidates)[: generator.integers(1, len(candidates) + 1)]
    points = annotations.kp2d[chosen][visible[chosen]][:, :2].astype(np.float64)
    low, high = points.min(0), points.max(0)
    box = float((high - low).max())
    side = max(box * generator.uniform(*scale), 8.0)
    slack = (side - box) / 2
    center = (low + high) / 2 + generator.uniform(-0.6, 0.6, 2) * slack
    return Window(left=float(center[0] + 0.5 - side / 2), top=float(center[1] + 0.5 - side / 2), side=side)


def recolor(frames: npt.NDArray[np.uint8], color: tuple[float, float, float]) -> npt.NDArray[np.uint8]:
    """Apply brightness, contrast and saturation factors to uint8 RGB frames (T, S, S, 3)."""
    if color == (1.0, 1.0, 1.0):
        return frames
    brightness, contrast, saturation = color
    x = frames.astype(np.float32) * brightness
    x = (x - x.mean()) * contrast + x.mean()
    gray = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = (x - gray[..., None]) * saturation + gray[..., None]
    recolored: npt.NDArray[np.uint8] = np.clip(np.rint(x), 0, 255).astype(np.uint8)
    return recolored
