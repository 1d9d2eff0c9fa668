"""What a run is made of. These models are the only schema; a preset holds only what differs from the defaults.

Every problem is reported at once, before anything slow starts, and an unknown key names its nearest neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from trace_data.errors import ConfigError, nearest


def _scale_in_order(scale: tuple[float, float]) -> tuple[float, float]:
    low, high = scale
    if not 0.5 <= low <= high:
        raise ValueError(f"({low}, {high}), expected 0.5 <= lower <= upper")
    return scale


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, values: Any) -> Any:
        # pydantic takes True for 1; here it is a mistake
        switches = {key for key, field in cls.model_fields.items() if field.annotation is bool}
        for key, value in values.items() if isinstance(values, dict) else ():
            if isinstance(value, bool) and key not in switches:
                raise ValueError(f"{key} is {value}, expected a number or a name")
        return values


class NetworkConfig(_Part):
    """Sizes of the network. The defaults are the published ones (fact sheet network.md)."""

    input_size: int = Field(512, ge=64, multiple_of=32)
    """Side of the square input, px."""
    width: int = Field(32, ge=4)
    """Channels of the finest HRNet branch; the others have 2, 4 and 8 times as many."""
    stem: int = Field(64, ge=4)
    """Channels of the two stem convolutions."""
    bottleneck: int = Field(64, ge=4)
    """Inner channels of the first stage's bottleneck blocks."""
    bottleneck_blocks: int = Field(4, ge=1)
    """Bottleneck blocks of the first stage."""
    stage_modules: tuple[PositiveInt, PositiveInt, PositiveInt] = (1, 4, 3)
    """Fusion modules in stages 2, 3 and 4."""
    stage_blocks: int = Field(4, ge=1)
    """Residual blocks per branch of a fusion module."""
    depth_levels: int = Field(64, ge=8)
    """Levels of the 3D centre map along depth."""
    head_channels: int = Field(128, ge=8)
    """Channels inside the map heads and of the mesh features."""
    mesh_blocks: int = Field(2, ge=1)
    """Residual blocks of the mesh-feature head."""
    motion_channels: int = Field(2, ge=0)
    """Input channels kept for optical flow; they hold zeros while no flow is computed."""
    bird_eye_channels: int = Field(16, ge=4)
    """Channels of the features folded into the bird's-eye view."""
    bird_eye_hidden: int = Field(512, ge=16)
    """Channels inside the bird's-eye layers."""
    regressor_hidden: int = Field(256, ge=16)
    """Hidden units of the per-person regressors."""
    temporal: bool = True
    """Whether frames of a clip see each other: temporal features, motion and world heads. Without them every frame
    stands for itself."""
    gru_layers: int = Field(2, ge=1)
    """Layers of the convolutional GRU."""
    offset_blocks: int = Field(3, ge=0)
    """Residual blocks between feature differences and the offsets of the deformable convolution."""
    deform_groups: int = Field(8, ge=1)
    """Groups of channels with offsets of their own; divides `width`."""
    motion_blocks: int = Field(2, ge=1)
    """Residual blocks of the motion head."""
    world_blocks: int = Field(6, ge=2)
    """Residual blocks of the world-motion head; the world-rotation head starts before the last one."""
    world_rotation_blocks: int = Field(1, ge=1)
    """Residual blocks of the world-rotation head: 1 in the released weights, 3 in the published training."""
    center_maps: Literal["logits", "raw"] = "logits"
    """What centre maps hold; `raw` belongs to released weights, and so do the values named in the next three lines."""
    world_rotation: Literal["composed", "additive"] = "composed"
    """How world-rotation offsets and root rotations combine: as rotations, or `additive`, a sum in 6D."""
    world_motion_gain: float = Field(1.0, gt=0)
    """Factor of world motion in y and x; 2 for released weights."""
    camera_constants: Literal["exact", "published"] = "exact"
    """Focal length and guards of decoding and projection; `published` differs by 0.2 %."""

    @model_validator(mode="after")
    def _groups_divide_width(self) -> NetworkConfig:
        if self.temporal and self.width % self.deform_groups:
            raise ValueError(f"deform_groups {self.deform_groups} does not divide width {self.width}")
        return self


class Stage(_Part):
    """A stretch of training with its own batch shape."""

    share: float = Field(1.0, gt=0, le=1)
    """Share of all steps."""
    clips: int = Field(6, ge=1)
    """Clips in a step, those of all processes together."""
    frames: int = Field(10, ge=1)
    """Frames of a clip."""


class DatasetConfig(_Part):
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


class DataConfig(_Part):
    """How clips are drawn and seen (docs/training.md, "What is drawn")."""

    strides: tuple[PositiveInt, ...] = (1, 2, 3, 4)
    """Frame distances a clip may have."""
    weights: dict[str, float] | None = None
    """Exact share of each dataset in the clips drawn, whatever `datasets` says; all of them must be there. Without
    weights and shares every clip is drawn equally often."""
    datasets: dict[str, DatasetConfig] = {}
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
    """Where frames are decoded and cropped; `auto` is `gpu` where CUDA and nvJPEG (through torchvision) are there."""
    shuffle_window: int | None = Field(None, ge=0)
    """Shards of each dataset whose clips are mixed at a time; 0 mixes all clips. None chooses: 0 for a folder, for a
    URL as many as fit half of its cache, at most 32 in all. A run keeps what it began with."""
    threads: int = Field(2, ge=1)
    """Threads that read and decode."""
    prefetch: int = Field(4, ge=1)
    """Batches read ahead."""

    @field_validator("crop_scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float]) -> tuple[float, float]:
        return _scale_in_order(scale)


class LossConfig(_Part):
    """Weights of the loss terms (training.md 1.3); 0 switches a term off."""

    center_map: float = Field(200.0, ge=0)
    """Focal loss of the front-view centre map."""
    center_map_3d: float = Field(300.0 / 64, ge=0)
    """Focal loss of the 3D centre map; published as 300 on a mean over 64 depths."""
    joints2d: float = Field(600.0, ge=0)
    """Projected joints, normalised crop coordinates."""
    joints3d: float = Field(300.0, ge=0)
    """Joints relative to the hip midpoint, metres."""
    pa_joints3d: float = Field(260.0, ge=0)
    """The same after similarity alignment, metres."""
    root_rotation: float = Field(80.0, ge=0)
    """Root rotation in the camera frame, Frobenius norm."""
    body_pose: float = Field(80.0, ge=0)
    """Body-joint rotations, Frobenius norm."""
    shape: float = Field(60.0, ge=0)
    """Shape coefficients, with a pull to the mean where they are unknown."""
    camera: float = Field(100.0, ge=0)
    """Camera triple."""


class OptimConfig(_Part):
    """The optimiser and its schedule: linear warm-up, then a cosine to `final_lr`."""

    lr: float = Field(1e-4, gt=0)
    """Peak learning rate."""
    final_lr: float = Field(0.05, ge=0, le=1)
    """Learning rate at the last step, as a share of the peak."""
    warmup: int = Field(500, ge=0)
    """Steps of linear warm-up."""
    weight_decay: float = Field(0.01, ge=0)
    """Decoupled weight decay of matrices and kernels."""
    clip_norm: float = Field(10.0, gt=0)
    """Largest norm of the whole gradient."""
    ema: float = Field(0.0, ge=0, lt=1)
    """Decay of the averaged weights that are evaluated; 0 evaluates the raw ones."""


class Config(_Part):
    """A whole training run."""

    preset: str = "trace"
    """Name of the preset it started from."""
    seed: int = 0
    """Seed of everything that is drawn."""
    steps: int = Field(100_000, ge=1)
    """Optimiser steps."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA; preset `debug` asks for the CPU."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 where the device computes it natively."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of the log."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the latest checkpoints stay."""
    stages: tuple[Stage, ...] = (Stage(),)
    """Batch shapes, in order; their shares sum to one."""
    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()

    @field_validator("stages")
    @classmethod
    def _shares_sum_to_one(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        total = sum(stage.share for stage in stages)
        if not stages or abs(total - 1) > 1e-6:
            raise ValueError(f"shares sum to {total:g}, expected 1")
        return stages


def presets() -> list[str]:
    """Names that `--config` knows."""
    folder = resources.files("trace_train.presets")
    return sorted(f.name.removesuffix(".yaml") for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_config(preset: str | Path, assignments: Sequence[str] = ()) -> Config:
    """A preset's name or a YAML file, with `key.sub=value` assignments on top.

    A file holds what differs from the preset that its key `preset` names (default: the published sizes). Raises
    ConfigError with every unknown key, wrong type and value out of range.
    """
    values = _read(preset)
    base = values.get("preset")
    if str(preset) not in presets() and isinstance(base, str):
        values = _merged(_read(base), values)
    for text in assignments:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"{text!r} is no assignment", hint="write --set key.sub=value, as in --set steps=200")
        try:
            _assign(values, key.strip().split("."), yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise ConfigError(f"{value!r} is no YAML value", where=f"--set {key}") from error
    return config_from(values, origin=str(preset))


def config_from(values: dict[str, Any], *, origin: str) -> Config:
    """Validate nested values read from `origin`."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        raise ConfigError(
            f"{len(lines)} problem{'s' if len(lines) > 1 else ''} in the configuration:\n    " + "\n    ".join(lines),
            where=origin,
            hint="every key is listed in docs/configuration.md",
        ) from error


def _read(preset: str | Path) -> dict[str, Any]:
    name = str(preset)
    if name in presets():
        text = resources.files("trace_train.presets").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    elif Path(name).suffix in {".yaml", ".yml"} and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        near = nearest(name, presets())
        raise ConfigError(
            f"no preset or YAML file is called {name!r}" + (f", did you mean {near!r}?" if near else ""),
            hint=f"presets are {', '.join(presets())}",
        )
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot be read as YAML: {error}", where=name) from error
    if not isinstance(values, dict):
        raise ConfigError(f"holds a {type(values).__name__}, expected keys and values", where=name)
    return values


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, mapping by mapping."""
    out = dict(base)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return out


def _assign(values: dict[str, Any], path: list[str], value: object) -> None:
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{'.'.join(path)} cannot be set: {key} is a single value")
        values = inner
    values[path[-1]] = value


def _explain(item: Any) -> str:
    path = [str(part) for part in item["loc"]]
    name = ".".join(path) or "configuration"
    if item["type"] != "extra_forbidden":
        return f"{name}: {item['msg'].removeprefix('Value error, ')}, found {item['input']!r}"
    model: Any = Config
    for part in path[:-1]:
        if (field := model.model_fields.get(part)) is not None:  # else an index of a list or a key of a mapping
            inner = (field.annotation, *get_args(field.annotation))
            model = next(t for t in inner if hasattr(t, "model_fields"))
    near = nearest(path[-1], model.model_fields)
    return f"{name}: unknown key" + (f", did you mean {near!r}?" if near else "")
