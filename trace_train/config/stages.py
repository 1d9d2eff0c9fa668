"""The configuration as it is in one stage."""

from __future__ import annotations

from fnmatch import filter as fitting

from trace_train.config.run import Config


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
