"""Checks that the stages of a configuration can be trained, for runs and preflight."""

from __future__ import annotations

from collections.abc import Iterator

from trace_data.errors import ConfigError
from trace_train.config import Config
from trace_train.config.run import at_stage
from trace_train.losses.table import losses_of


def processes_able(config: Config) -> list[int]:
    """Process counts that divide the clips of every stage evenly; a resumed run must keep its clips per step."""
    most = min(stage.clips for stage in config.stages)
    parts = config.optim.accumulate
    return [n for n in range(1, most + 1) if not any(stage.clips % (n * parts) for stage in config.stages)]


def stage_errors(config: Config, world_size: int) -> Iterator[ConfigError]:
    """Errors of stages whose clips cannot be split evenly over `world_size` processes or into micro-batches, or that
    have no loss."""
    able = " or ".join(map(str, processes_able(config)))
    for number, stage in enumerate(config.stages):
        where, parts = f"stages[{number}]", config.optim.accumulate
        if stage.clips % world_size:
            yield ConfigError(
                f"{stage.clips} clips a step cannot be dealt evenly to {world_size} processes",
                where=where,
                hint=f"{able} processes can share them; a new run may also be given a multiple of {world_size} as"
                " stages.clips, which counts the clips of all processes together",
            )
        elif (stage.clips // world_size) % parts:
            yield ConfigError(
                f"{stage.clips // world_size} clips of a process cannot be computed in {parts} equal parts"
                " (optim.accumulate)",
                where=where,
                hint=f"{able} processes can; a new run may also be given a multiple as stages.clips"
                if able
                else "give stages.clips a multiple of it",
            )
        weights = at_stage(config, number).loss.model_dump()
        losses = losses_of(stage.frames, config.network.temporal)
        if not any(weights[name] > 0 for name in losses):
            yield ConfigError(
                f"no loss has a weight here: clips of {stage.frames} frame{'s' * (stage.frames > 1)} have "
                f"{', '.join(losses)}",
                where=where,
                hint="give one of these a weight in loss, or in the loss of the stage",
            )
