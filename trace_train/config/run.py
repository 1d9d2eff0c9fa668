"""A whole training run."""

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
    """What a fresh network starts from. A resumed run needs nothing of it."""

    weights: Path | None = None
    """Folder of `trace import-weights`, or a run or checkpoint to go on from with another configuration. None: random
    weights that begin at the constant predictor."""
    parts: tuple[Literal["image", "head", "flow"], ...] | None = None
    """Which of its parts are taken: backbone, everything else of the network, RAFT. None: all that are there."""


class LogConfig(ConfigPart):
    """Where a run tells how it goes, beside `metrics.jsonl`, which is always written."""

    tensorboard: Literal["auto", "always", "never"] = "auto"
    """Whether the lines of the log are written for TensorBoard too, into the run folder. `auto`: where it is
    installed."""
    wandb: str | None = None
    """Project at Weights & Biases that the lines are sent to. None: none, and the package is not looked for."""


class DistributedConfig(ConfigPart):
    """How several processes train together (docs/cluster.md). One alone needs nothing of it."""

    timeout_minutes: float = Field(10.0, gt=0)
    """How long one process waits for the others in a step before it ends with an error."""
    sync_batchnorm: Literal["auto", "always", "never"] = "auto"
    """Whether normalisation sees the clips of all processes; `auto`: on CUDA. Not possible on a CPU."""


class EvaluationConfig(ConfigPart):
    """How a run scores itself while it trains, and how a network watches videos when it is scored."""

    every: int = Field(0, ge=0)
    """Steps between evaluations on held-out shards; the last step is evaluated too. 0: none."""
    split: Literal["train", "val", "test"] = "val"
    """What is evaluated while the run goes on."""
    frames: int = Field(2000, ge=0)
    """About how many frames of it, in windows spread over its sequences. 0: all."""
    threshold: float = Field(0.2, ge=0, lt=1)
    """Least score of a detection."""
    videos: int = Field(4, ge=1)
    """Videos that are watched side by side; it changes the speed, not the result."""
    chunk: int = Field(8, ge=1)
    """Frames of each that are seen at once; it changes the speed, not the result."""


class Config(ConfigPart):
    """A whole training run."""

    preset: str = "trace"
    """Name of the preset it started from."""
    seed: int = 0
    """Seed of everything that is drawn."""
    steps: int = Field(100_000, ge=1)
    """Optimiser steps."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes CUDA; preset `debug` asks for the CPU."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What convolutions compute in; losses and bodies are float32. `auto`: bf16 where the device has it, else fp32."""
    compile: bool = False
    """Whether torch.compile makes one program of the network: slow to start, then faster."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of the log."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    checkpoint_minutes: float = Field(10.0, ge=0)
    """Minutes after which one is written in any case. 0: never."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the latest checkpoints stay, beside the best."""
    pictures_every: int = Field(0, ge=0)
    """Steps between pictures of predictions in the run folder. 0: none."""
    stages: tuple[Stage, ...] = (Stage(),)
    """Stretches of training, in order; their shares sum to one."""
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
    """The configuration with what stage `number` (from 0) has for itself put where it belongs.

    Loss weights, `optim.lr`, `optim.frozen` and `data.camera_probability`; whoever reads these need not know of stages.
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
    """What a stage is called in the log."""
    return config.stages[number].name or str(number + 1)
