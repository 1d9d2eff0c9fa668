"""State of a training run: weights, optimiser, averaged weights, step; adapted at the start of each stage."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from trace_data.errors import TrainingDiverged
from trace_train.config import Config, at_stage, stage_name
from trace_train.network.model import TraceNetwork
from trace_train.streaming.stream import TrainStream
from trace_train.training.distributed import Processes
from trace_train.training.hooks import RunSnapshot
from trace_train.training.loss_module import LossModule
from trace_train.training.optimizer import build_optimizer, carry_over
from trace_train.training.parameter_groups import NetworkParameters, ParameterGroup
from trace_train.training.precision import gradient_scaler
from trace_train.training.run_log import MetricsWindow
from trace_train.training.update import Update, Updater
from trace_train.weights.averaged import AveragedWeights
from trace_train.weights.checkpoint import Checkpoint, random_states, restore
from trace_train.weights.checkpoint_writer import keep, save


@dataclass(slots=True, kw_only=True, eq=False)
class RunState:
    """State of a training run."""

    run: Path
    config: Config
    device: torch.device
    processes: Processes
    stream: TrainStream
    loss_module: LossModule
    parts: NetworkParameters
    packs: Path
    facts: Mapping[str, Any]
    """Facts about the training data; written into every checkpoint."""
    averaged: AveragedWeights | None
    """In rank 0 only, if `optim.ema` is set."""
    updater: Updater
    groups: list[ParameterGroup]
    """All parameters, grouped for the current stage."""
    step: int = 0
    """Number of steps taken."""
    window: MetricsWindow = field(default_factory=MetricsWindow)
    history: list[dict[str, Any]] = field(default_factory=list)
    """Scores of all evaluations so far, with their steps."""
    skipped: int = 0
    """Number of steps skipped because the fp16 gradient overflowed."""
    skipped_in_a_row: int = 0

    @property
    def network(self) -> TraceNetwork:
        """The network being trained."""
        return self.loss_module.network

    def enter(self, number: int) -> None:
        """Switch to a stage; the optimiser state of parameters that stay trained is kept."""
        config = self.loss_module.config = at_stage(self.config, number)
        groups, updater = self.parts.groups(config.optim), self.updater
        updater.begin_stage()
        if list(map(_described, groups)) == list(map(_described, self.groups)):
            return
        self.groups = groups
        updater.optimizer.zero_grad(set_to_none=True)
        self.parts.apply(groups)
        optimizer = build_optimizer(groups, config.optim)
        carry_over(updater.optimizer, optimizer)
        updater.optimizer = optimizer

    def take(self, update: Update) -> None:
        """Record an update as the next step. Raises TrainingDiverged after too many skipped updates in a row."""
        self.skipped_in_a_row = self.skipped_in_a_row + 1 if update.skipped else 0
        self.skipped += update.skipped
        if self.averaged is not None and not update.skipped:
            self.averaged.update(self.network, self.step)
        self.window.add(update)
        self.step += 1
        if self.skipped_in_a_row >= self.config.optim.max_skipped:
            raise TrainingDiverged(
                f"the gradients of {self.skipped_in_a_row} steps in a row were too large for fp16, up to step"
                f" {self.step:,}",
                where=self.run,
                hint="--set precision=bf16 (or fp32) in a new run; --set optim.max_skipped=… waits longer",
            )

    def save(self) -> None:
        """Write a checkpoint and delete outdated ones; all processes wait until it is written."""
        random = self.processes.gather(random_states(self.device))
        if self.processes.first:
            number, _ = self.stream.stage_at(self.step)
            facts = {
                "data_position": {"next_step": self.step, "stage": stage_name(self.config, number)},
                "processes": self.processes.world_size,
                "config": self.config.model_dump(mode="json"),
                "data": dict(self.facts),
                "window": self.window.updates,
                "skipped": self.skipped,
                "skipped_in_a_row": self.skipped_in_a_row,
                "history": self.history,
            }
            save(
                self.run,
                step=self.step,
                network=self.network,
                optimizer=self.updater.optimizer,
                scaler=self.updater.scaler,
                averaged=self.averaged,
                random=random,
                facts=facts,
                resume=self.resume_command,
            )
            keep(self.run, self.config.keep_checkpoints, self.history)
        self.processes.share(None)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state from a checkpoint. Raises CheckpointError."""
        self.enter(self.stream.stage_at(max(0, checkpoint.step - 1))[0])
        restore(
            checkpoint,
            network=self.network,
            optimizer=self.updater.optimizer,
            scaler=self.updater.scaler,
            averaged=self.averaged,
            rank=self.processes.rank,
            device=self.device,
        )
        facts = checkpoint.facts
        self.step, self.window = checkpoint.step, MetricsWindow(facts["window"])
        self.facts = {**self.facts, "start": facts["data"].get("start")}
        self.history = [dict(scores) for scores in facts["history"]]
        self.skipped, self.skipped_in_a_row = facts["skipped"], facts["skipped_in_a_row"]

    def snapshot(self) -> RunSnapshot:
        """The state passed to hooks."""
        return RunSnapshot(
            run=self.run,
            step=self.step,
            config=self.config,
            loss_module=self.loss_module,
            averaged=None if self.averaged is None else self.averaged.state,
            stream=self.stream,
            packs=self.packs,
        )

    @property
    def resume_command(self) -> str:
        """The command that resumes the run."""
        command = f"train --resume {shlex.quote(str(self.run))}"
        return f"torchrun … -m trace_cli {command}" if self.processes.together else f"trace {command}"


def new_state(
    config: Config,
    loss_module: LossModule,
    parts: NetworkParameters,
    *,
    run: Path,
    device: torch.device,
    processes: Processes,
    stream: TrainStream,
    packs: Path,
    facts: Mapping[str, Any],
) -> RunState:
    """The state of a new run with the loss module's weights, in its first stage. Called by all processes."""
    loss_module.config = at_stage(config, 0)
    optim = loss_module.config.optim
    groups = parts.groups(optim)
    parts.apply(groups)
    averaged = AveragedWeights(loss_module.network, optim.ema) if optim.ema and processes.first else None
    updater = Updater(
        loss_module=loss_module,
        optimizer=build_optimizer(groups, optim),
        scaler=gradient_scaler(config, device),
        processes=processes,
    )
    return RunState(
        run=run,
        config=config,
        device=device,
        processes=processes,
        stream=stream,
        loss_module=loss_module,
        parts=parts,
        packs=packs,
        facts=facts,
        averaged=averaged,
        updater=updater,
        groups=groups,
    )


def _described(group: ParameterGroup) -> tuple[object, ...]:
    return group.name, tuple(group.parameters), group.lr_factor, group.weight_decay, group.frozen
