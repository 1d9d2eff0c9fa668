"""Sampling and augmentation of training clips."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt, field_validator

from trace_train.config.part import ConfigPart


def _scale_in_order(scale: tuple[float, float]) -> tuple[float, float]:
    low, high = scale
    if not 0.5 <= low <= high:
        raise ValueError(f"({low}, {high}), expected 0.5 <= lower <= upper")
    return scale


class DatasetConfig(ConfigPart):
    """Sampling settings of one dataset; preset `trace` holds the published table."""

    share: float | None = Field(None, ge=0)
    """Share of the drawn clips, normalised over the datasets present."""
    crop_probability: float | None = Field(None, ge=0, le=1)
    """As `data.crop_probability`, which holds where this is None."""
    crop_scale: tuple[float, float] | None = None
    """As `data.crop_scale`, which holds where this is None."""

    @field_validator("crop_scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        return scale if scale is None else _scale_in_order(scale)


class DataConfig(ConfigPart):
    """Sampling and augmentation of clips (docs/training.md#what-is-drawn)."""

    strides: tuple[PositiveInt, ...] = (1, 2, 3, 4)
    """Possible frame strides of a clip."""
    weights: dict[str, float] | None = None
    """Exact share of each dataset in the drawn clips, overriding `datasets`; every dataset named must be present.
    Without weights and shares all clips are equally likely."""
    datasets: dict[str, DatasetConfig] = Field(default_factory=dict)
    """Settings per dataset, by canonical name, for example `data.datasets.h36m.crop_scale`."""
    camera: Literal["any", "moving", "static"] = "any"
    """Which sequences are drawn, by whether their own camera moves."""
    world: bool = False
    """Whether only sequences are drawn whose world may be supervised."""
    crop_probability: float = Field(0.5, ge=0, le=1)
    """Probability that a clip is cropped around its people instead of showing the whole frame."""
    crop_scale: tuple[float, float] = (1.3, 2.2)
    """Range of the crop's side, relative to the longer side of the people's bounding box."""
    crop_shift: float = Field(0.0, ge=0, le=1)
    """Maximum random shift of a crop, as a share of its margin around the people's bounding box."""
    camera_probability: float = Field(0.8, ge=0, le=1)
    """Probability of a synthetic camera motion in a clip recorded by a static camera."""
    tracking_probability: float = Field(0.6, ge=0, le=1)
    """Probability that the synthetic camera follows a person; otherwise it pans."""
    pan_reach: tuple[float, float] = (0.2, 0.1)
    """Horizontal and vertical extent of a pan, in half sizes of the window."""
    flip_probability: float = Field(0.0, ge=0, le=1)
    """Probability that a clip is mirrored, including its world and cameras."""
    color_jitter: float = Field(0.1, ge=0, le=0.5)
    """Maximum relative change of brightness, contrast and saturation, drawn once per clip."""
    color_jitter_probability: float = Field(0.2, ge=0, le=1)
    """Probability of colour jitter in a clip."""
    occlusion_probability: float = Field(0.0, ge=0, le=1)
    """Probability that a synthetic occluder is drawn over a clip."""
    occluders: Path | None = None
    """Folder of RGBA cut-outs (.png) used as occluders; None: textured shapes."""
    decode: Literal["auto", "cpu", "gpu"] = "auto"
    """Where frames are decoded and cropped. `gpu` uses nvJPEG through torchvision and is untested; until it is tested,
    `auto` means `cpu`."""
    shuffle_window: int | None = Field(None, ge=0)
    """Number of shards per dataset in one shuffle window; 0 shuffles all clips together. None: 0 for a folder; for a
    URL as many as fit in half of the cache, at most 32 in total. The value is fixed when a run starts."""
    threads: int = Field(2, ge=1)
    """Number of reading and decoding threads."""
    prefetch: int = Field(4, ge=1)
    """Number of batches to read ahead."""
    on_error: Literal["stop", "skip"] = "stop"
    """What to do when a clip cannot be read: `stop` saves a checkpoint and ends the run; `skip` replaces the clip by
    another, chosen deterministically, and lists it in `errors.jsonl`."""
    verify: Literal["first", "always", "off"] = "first"
    """When frames and annotations are verified against the checksums in their shard: on the first read in each
    process, on every read, or never. A shard's tables are verified whenever it is opened."""
    skip_limit: float = Field(0.01, gt=0, le=1)
    """Share of the clips (counted from 1,000 on) that may be skipped before the run stops anyway."""

    @field_validator("crop_scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float]) -> tuple[float, float]:
        return _scale_in_order(scale)
