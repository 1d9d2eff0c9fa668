"""Configuration of a run. These models are the only schema; a preset lists only what differs from the defaults."""

from trace_train.config.data import DataConfig, DatasetConfig
from trace_train.config.loading import changed, config_from, load_config, prediction_config, presets
from trace_train.config.network import NetworkConfig
from trace_train.config.objective import GroupRule, LossConfig, OptimConfig, Stage
from trace_train.config.prediction import PredictionConfig
from trace_train.config.run import Config, DistributedConfig, EvaluationConfig, InitConfig, at_stage, stage_name

__all__ = [
    "Config",
    "DataConfig",
    "DatasetConfig",
    "DistributedConfig",
    "EvaluationConfig",
    "GroupRule",
    "InitConfig",
    "LossConfig",
    "NetworkConfig",
    "OptimConfig",
    "PredictionConfig",
    "Stage",
    "at_stage",
    "changed",
    "config_from",
    "load_config",
    "prediction_config",
    "presets",
    "stage_name",
]
