"""A whole training run."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Literal

from pydantic import Field, field_validator, model_validator

from trace_train.config.data import DataConfig
from trace_train.config.distributed import DistributedConfig
from trace_train.config.evaluation import EvaluationConfig
from trace_train.config.init import InitConfig
from trace_train.config.log import LogConfig
from trace_train.config.network import NetworkConfig
from trace_train.config.objective import LossConfig, OptimConfig, Stage
from trace_train.config.part import Part
from trace_train.config.supervision import SupervisionConfig


class Config(Part):
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
