"""Draws the augmentation of a clip before any pixel is decoded.

All randomness comes from a generator keyed by (seed, stage, epoch, position), independent of workers and time. For the
effect and range of each augmentation, and differences from the published code, see docs/training.md#what-is-drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipAnnotations, Window
from trace_train.config import DataConfig, DatasetConfig
from trace_train.streaming.mirror import mirrored
from trace_train.streaming.occluders import Occluder, draw_occluder
from trace_train.streaming.person_boxes import PersonBoxes, held, places_of
from trace_train.streaming.synthetic_camera import SMALLEST_SIDE, panning, tracking, windows_along

Scale = tuple[float, float]
Colors = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ViewPlan:
    """The view of one clip: crop windows, mirroring, colours, occluder."""

    annotations: ClipAnnotations
    """Annotations of the frames as shown, mirrored if the frames are."""
    flip: bool = False
    """Whether the frames are shown mirrored; `windows` then lie in the mirrored frame."""
    windows: tuple[Window, ...]
    """One window per frame. If the sequence's own camera is static, the first one is the fixed view."""
    color: Colors = (1.0, 1.0, 1.0)
    """Factors for brightness, contrast and saturation, the same for all frames; ones change nothing."""
    occluder: Occluder | None = None
    """Synthetic object in front of the people."""

    @property
    def camera_moves(self) -> bool:
        """Whether a synthetic camera moves over the clip."""
        return any(window != self.windows[0] for window in self.windows)

    def stored_windows(self) -> tuple[Window, ...]:
        """The windows in the stored frames; if `flip` is set, their crops must be mirrored."""
        if not self.flip:
            return self.windows
        return tuple(window.mirrored(self.annotations.width) for window in self.windows)

    def crop_from_frame(self, size: int) -> npt.NDArray[np.float64]:
        """(T, 3, 3) maps from px of the frame as shown to px of the crop, pixel centres."""
        return np.stack([window.crop_from_frame(size) for window in self.windows])


def full_frame(width: int, height: int) -> Window:
    """The whole frame, letter-boxed into a square."""
    side = float(max(width, height))
    return Window(left=(width - side) / 2, top=(height - side) / 2, side=side)


def whole(annotations: ClipAnnotations) -> ViewPlan:
    """The whole frames, unchanged."""
    window = full_frame(annotations.width, annotations.height)
    return ViewPlan(annotations=annotations, windows=(window,) * len(annotations.frame_ids))


def plan(annotations: ClipAnnotations, generator: np.random.Generator, settings: DataConfig) -> ViewPlan:
    """Draw a clip's view in this order: flip, windows, colours, occluder (docs/reference/datasets.md#augmentation)."""
    flip = _happens(generator, settings.flip_probability)
    if flip:
        annotations = mirrored(annotations)
    windows = _windows(annotations, generator, settings)
    color = (1.0, 1.0, 1.0)
    if _happens(generator, settings.color_jitter_probability):
        drawn = 1 + generator.uniform(-settings.color_jitter, settings.color_jitter, 3)
        color = (float(drawn[0]), float(drawn[1]), float(drawn[2]))
    occluder = None
    if _happens(generator, settings.occlusion_probability):
        occluder = draw_occluder(windows[0], len(windows), generator)
    return ViewPlan(annotations=annotations, flip=flip, windows=windows, color=color, occluder=occluder)


def _windows(annotations: ClipAnnotations, generator: np.random.Generator, settings: DataConfig) -> tuple[Window, ...]:
    """Moving windows if a synthetic camera is drawn (only for a static camera), else a fixed window."""
    own = settings.datasets.get(annotations.dataset, DatasetConfig())
    scale = settings.crop_scale if own.crop_scale is None else own.crop_scale
    probability = settings.crop_probability if own.crop_probability is None else own.crop_probability
    frames = len(annotations.frame_ids)
    places = places_of(annotations)
    whole_frame = full_frame(annotations.width, annotations.height)
    moves = frames > 1 and not annotations.moving and _happens(generator, settings.camera_probability)
    if moves and _happens(generator, settings.tracking_probability):
        return tracking(annotations, places, generator, scale) or (whole_frame,) * frames
    crop = None
    if _happens(generator, probability):
        crop = _crop(places, generator, scale, settings.crop_shift)
    if not moves:
        return (whole_frame if crop is None else crop[0],) * frames
    if crop is not None:
        window, centers = crop
        return panning(window, (window.side / 2,) * 2, centers, frames, generator, settings.pan_reach)
    centers = places.most_often(np.arange(len(places.centers)))
    extent = (annotations.width / 2, annotations.height / 2)
    return panning(whole_frame, extent, centers, frames, generator, settings.pan_reach)


def _crop(
    places: PersonBoxes, generator: np.random.Generator, scale: Scale, shift: float
) -> tuple[Window, npt.NDArray[np.float64]] | None:
    """A square around a random subset of the people over all frames, and the centres (T, 2) of one person inside it.

    None if nobody is visible.
    """
    candidates = np.flatnonzero(np.isfinite(places.centers).any(axis=(1, 2)))
    if not len(candidates):
        return None
    chosen = generator.permutation(candidates)[: generator.integers(1, len(candidates) + 1)]
    low, high = np.nanmin(places.low[chosen], axis=(0, 1)), np.nanmax(places.high[chosen], axis=(0, 1))
    box = float((high - low).max())
    side = max(box * generator.uniform(*scale), SMALLEST_SIDE)
    middle = (low + high) / 2 + generator.uniform(-shift, shift, 2) * (side - box) / 2
    centers = places.most_often(chosen)
    path = held(np.tile(middle, (len(centers), 1)), centers, side / 2)
    return windows_along(path[:1], side)[0], centers


def _happens(generator: np.random.Generator, probability: float) -> bool:
    return probability > 0 and bool(generator.random() < probability)
