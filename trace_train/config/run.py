"""A whole training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from trace_train.config.data import DataConfig
from trace_train.config.evaluation import EvaluationConfig
from trace_train.config.init import InitConfig
from trace_train.config.log import LogConfig
from trace_train.config.network import NetworkConfig
from trace_train.config.objective import LossConfig, OptimConfig, Stage
from trace_train.config.part import Part


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
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto` is bf16 where the device computes it natively."""
    log_every: int = Field(50, ge=1)
    """Steps between lines of the log."""
    checkpoint_every: int = Field(500, ge=1)
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(3, ge=1)
    """How many of the latest checkpoints stay."""
    pictures_every: int = Field(0, ge=0)
    """Steps between pictures of predictions in the run folder. 0: none."""
    stages: tuple[Stage, ...] = (Stage(),)
    """Batch shapes, in order; their shares sum to one."""
    init: InitConfig = InitConfig()
    network: NetworkConfig = NetworkConfig()
    data: DataConfig = DataConfig()
    loss: LossConfig = LossConfig()
    optim: OptimConfig = OptimConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    log: LogConfig = LogConfig()

    @field_validator("stages")
    @classmethod
    def _shares_sum_to_one(cls, stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
        total = sum(stage.share for stage in stages)
        if not stages or abs(total - 1) > 1e-6:
            raise ValueError(f"shares sum to {total:g}, expected 1")
        return stages
