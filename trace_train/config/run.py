"""Configuration of a training run."""

from __future__ import annotations

from fnmatch import filter as fitting
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from trace_train.config.data import DataConfig
from trace_train.config.network import NetworkConfig
from trace_train.config.objective import LossConfig, OptimConfig, Stage, SupervisionConfig
from trace_train.config.part import ConfigPart


class InitConfig(ConfigPart):
    """Initial weights of a new run. Ignored when a run is resumed."""

    weights: Path | None = None
    """Folder written by `trace import-weights`, or a run or checkpoint to continue from with another configuration.
    None: random weights initialised to predict the mean."""
    parts: tuple[Literal["image", "head", "flow"], ...] | None = None
    """Which parts to load: the backbone (`image`), the rest of the network (`head`), RAFT (`flow`). None: all that are
    available."""


class LogConfig(ConfigPart):
    """Logging beyond `metrics.jsonl`, which is always written."""

    tensorboard: Literal["auto", "always", "never"] = "auto"
    """Whether the log is also written for TensorBoard, into the run folder. `auto`: if TensorBoard is installed."""
    wandb: str | None = None
    """Weights & Biases project that receives the log. None: no W&B, and the package is not imported."""


class DistributedConfig(ConfigPart):
    """Multi-process training (docs/cluster.md). Unused by a single process."""

    timeout_minutes: float = Field(10.0, gt=0)
    """How long a process waits for the others within a step before it ends with an error."""
    sync_batchnorm: Literal["auto", "always", "never"] = "auto"
    """Whether batch normalisation is synchronised over all processes. `auto`: on CUDA. Not available on the CPU."""


class EvaluationConfig(ConfigPart):
    """Evaluation during training, and how videos are processed in any evaluation."""

    every: int = Field(0, ge=0)
    """Steps between evaluations on held-out shards; the last step is always evaluated. 0: no evaluation."""
    split: Literal["train", "val", "test"] = "val"
    """Split evaluated during training."""
    frames: int = Field(2000, ge=0)
    """Approximate number of frames evaluated, in windows spread over the split's sequences. 0: all."""
    threshold: float = Field(0.2, ge=0, lt=1)
    """Minimum score of a detection."""
    videos: int = Field(4, ge=1)
    """Videos processed in parallel; affects speed, not results."""
    chunk: int = Field(8, ge=1)
    """Frames of a video per forward pass; affects speed, not results."""


class Config(ConfigPart):
    """A training run."""

    preset: str = "trace"
    """Name of the preset it is based on."""
    seed: int = 0
    """Random seed."""
    steps: int = Field(100_000, ge=1)
    """Number of optimiser steps."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA. Preset `debug` uses the CPU."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of convolutions; losses and the body model use float32. `auto`: bf16 if the device supports it, else
    fp32."""
    compile: bool = False
    """Whether to use torch.compile: slow to start, then faster."""
    log_every: int = Field(50, ge=1)
    """Steps between log lines."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    checkpoint_minutes: float = Field(10.0, ge=0)
    """Maximum minutes between checkpoints. 0: no limit."""
    keep_checkpoints: int = Field(3, ge=1)
    """Number of latest checkpoints to keep, in addition to the best."""
    pictures_every: int = Field(0, ge=0)
    """Steps between preview pictures of predictions in the run folder. 0: none."""
    stages: tuple[Stage, ...] = (Stage(),)
    """Parts of training, in order; their shares sum to one."""
    init: InitConfig = InitConfig()
    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    optim: OptimConfig = OptimConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    log: LogConfig = LogConfig()
    distributed: DistributedConfig = DistributedConfig()

    @field_validator("stages")
    @classmethod
    def _shares_sum_to_one(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        total = sum(stage.share for stage in stages)
        names = [stage.name for stage in stages if stage.name is not None]
        if len(set(names)) < len(names):
            raise ValueError(f"two stages have the same name: {', '.join(names)}")
        if not stages or abs(total - 1) > 1e-6:
            raise ValueError(f"shares sum to {total:g}, expected 1")
        return stages

    @model_validator(mode="after")
    def _prior_has_its_file(self) -> Config:
        if self.uses_pose_prior and self.supervision.pose_prior_file is None:
            raise ValueError("loss.pose_prior has a weight, supervision.pose_prior_file names no file for it")
        return self

    @property
    def uses_pose_prior(self) -> bool:
        """Whether `loss.pose_prior` has a weight in any stage."""
        in_stages = [weight for stage in self.stages for name, weight in stage.loss.items() if _names_prior(name)]
        return self.loss.pose_prior > 0 or any(in_stages)


def _names_prior(pattern: str) -> bool:
    return fnmatchcase("pose_prior", pattern)


def at_stage(config: Config, number: int) -> Config:
    """The configuration as it applies in stage `number` (from 0).

    The stage's overrides of loss weights, `optim.lr`, `optim.frozen` and `data.camera_probability` are filled in, so
    that code reading these keys need not know about stages.
    """
    stage = config.stages[number]
    loss = config.loss.model_dump()
    for pattern, weight in stage.loss.items():
        loss |= dict.fromkeys(fitting(loss, pattern), weight)
    own = {"lr": stage.lr, "frozen": stage.frozen}
    moving = {"camera_probability": stage.camera_probability}
    return config.model_copy(
        update={
            "loss": config.loss.model_copy(update=loss),
            "optim": config.optim.model_copy(update={k: v for k, v in own.items() if v is not None}),
            "data": config.data.model_copy(update={k: v for k, v in moving.items() if v is not None}),
        }
    )


def stage_name(config: Config, number: int) -> str:
    """The name of a stage in the log."""
    return config.stages[number].name or str(number + 1)
