"""Which clips are drawn and how they are seen."""

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
    """What is drawn differently from one dataset, by its name; preset `trace` holds the published table."""

    share: float | None = Field(None, ge=0)
    """Share in the clips drawn among those datasets that are there; absent ones are left out."""
    crop_probability: float | None = Field(None, ge=0, le=1)
    """As `data.crop_probability`, which holds where this is None."""
    crop_scale: tuple[float, float] | None = None
    """As `data.crop_scale`, which holds where this is None."""

    @field_validator("crop_scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float] | None) -> tuple[float, float] | None:
        return scale if scale is None else _scale_in_order(scale)


class DataConfig(ConfigPart):
    """How clips are drawn and seen (docs/training.md#what-is-drawn)."""

    strides: tuple[PositiveInt, ...] = (1, 2, 3, 4)
    """Frame distances a clip may have."""
    weights: dict[str, float] | None = None
    """Exact share of each dataset in the clips drawn, whatever `datasets` says; all of them must be there. Without
    weights and shares every clip is drawn equally often."""
    datasets: dict[str, DatasetConfig] = Field(default_factory=dict)
    """What differs from dataset to dataset, by canonical name, as in `data.datasets.h36m.crop_scale`."""
    crop_probability: float = Field(0.5, ge=0, le=1)
    """How often a clip shows a crop around its people rather than the whole frame."""
    crop_scale: tuple[float, float] = (1.3, 2.2)
    """Side of that crop over the longer side of the people's box: lower and upper bound."""
    crop_shift: float = Field(0.0, ge=0, le=1)
    """How far a crop is shifted off its people, at most, as a share of what their box leaves free."""
    camera_probability: float = Field(0.8, ge=0, le=1)
    """How often a synthetic camera moves over a clip whose own camera stands still."""
    tracking_probability: float = Field(0.6, ge=0, le=1)
    """How often that camera follows a person; otherwise it pans."""
    pan_reach: tuple[float, float] = (0.2, 0.1)
    """How far a pan goes across and upwards, in half sizes of the window."""
    flip_probability: float = Field(0.0, ge=0, le=1)
    """How often a clip is mirrored, with its world and cameras."""
    color_jitter: float = Field(0.1, ge=0, le=0.5)
    """Largest relative change of brightness, contrast and saturation, drawn once a clip."""
    color_jitter_probability: float = Field(0.2, ge=0, le=1)
    """How often a clip's colours are changed."""
    occlusion_probability: float = Field(0.0, ge=0, le=1)
    """How often an object stands in front of a clip's people."""
    occluders: Path | None = None
    """Folder of RGBA cut-outs to take objects from; None draws textured shapes."""
    decode: Literal["auto", "cpu", "gpu"] = "auto"
    """Where frames are decoded and cropped; `gpu` asks for nvJPEG through torchvision, which was never run: `auto` is
    `cpu` until it was."""
    shuffle_window: int | None = Field(None, ge=0)
    """Shards of each dataset whose clips are mixed at a time; 0 mixes all clips. None chooses: 0 for a folder, for a
    URL as many as fit half of its cache, at most 32 in all. A run keeps what it began with."""
    threads: int = Field(2, ge=1)
    """Threads that read and decode."""
    prefetch: int = Field(4, ge=1)
    """Batches read ahead."""
    on_error: Literal["stop", "skip"] = "stop"
    """What happens when a clip cannot be read: the run stops, its checkpoint saved, or the clip is replaced by another,
    always the same one, and listed in `errors.jsonl`."""
    verify: Literal["first", "always", "off"] = "first"
    """When frames and annotations are compared with the checksums in their shard: the first time that a process reads
    them, each time, or never. A shard's tables are checked whenever it is opened."""
    skip_limit: float = Field(0.01, gt=0, le=1)
    """Share of the clips (of at least 1,000) that may be replaced before the run stops all the same."""

    @field_validator("crop_scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float]) -> tuple[float, float]:
        return _scale_in_order(scale)
