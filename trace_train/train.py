"""The training loop: straight, with its phases in the order in which they happen."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trace_data.errors import InterruptedRun, OutputError
from trace_data.output import exclusive, writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.shards.index import check_index, sha256_of
from trace_data.shards.reader import ShardReader
from trace_data.shards.store import Store, as_store
from trace_train import checkpoint as checkpoints
from trace_train.body_layer import BodyLayer
from trace_train.build import body_layers, build_network, choose_device, freeze, start_from_means
from trace_train.config import Config
from trace_train.hooks import Hooks, Moment
from trace_train.network.model import TraceNetwork
from trace_train.optim import AveragedWeights, build_optimizer, learning_rate
from trace_train.run_flow import build_flow, keep_flow
from trace_train.runlog import RunLog, read_metrics
from trace_train.signals import stop_signals
from trace_train.step import Learner, batch_targets, train_step
from trace_train.streaming.pixels import finish
from trace_train.streaming.shuffle import with_shuffle_window
from trace_train.streaming.stream import TrainStream
from trace_train.weights.sources import open_start
from trace_train.weights.starting import Start, table

MEAN_BATCHES = 8
"""Batches whose mean pose, shape and camera a fresh network starts from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a run did."""

    run: Path
    checkpoint: Path
    """The last checkpoint."""
    steps: int
    """Steps of the run in all."""
    steps_now: int
    """Steps done by this call; the others were done before it."""
    seconds: float
    """Wall time of this call."""
    data_wait: float
    """Share of the loop's time spent waiting for batches."""
    first_loss: float
    """Mean total loss over the first logged window."""
    last_loss: float
    """Mean total loss over the last logged window."""
    parameters: int
    """Trained parameters."""
    synthetic: bool
    """Whether it was trained on the sample world."""


def train(
    config: Config,
    *,
    shards: Path | str | Store,
    packs: Path,
    run: Path,
    resume: bool = False,
    hooks: Hooks | None = None,
    progress: Progress = SILENT,
) -> TrainReport:
    """Train until `config.steps`; with `resume`, from the run's last checkpoint on.

    `hooks`: what happens beside the steps; None: `standard_hooks`.
    Interrupted at any step and resumed, a run on the CPU ends in the same weights and log to the last bit. Raises
    ConfigError, ShardError, AssetError, OutputError before the first step, TrainingDiverged, InterruptedRun (a
    checkpoint was saved) after it.
    """
    started = time.monotonic()
    device = choose_device(config)
    if run.is_dir() and any(run.iterdir()) and not resume:
        raise OutputError(
            "the run folder is not empty",
            where=run,
            hint=f"trace train --resume {run}  goes on with the run in it; --out names another folder",
        )
    store = as_store(shards)
    index = check_index(store)
    reader = ShardReader(store)
    config = with_shuffle_window(config, reader)
    begun = bool(checkpoints.finished(run))
    start = None if begun else open_start(config)
    if start is not None:
        config, taken_over = start.follow(config)
        for line in taken_over:
            progress.say(line)
    layer = body_layers(packs)["neutral"].to(device)
    facts = {
        "shards": store.where,
        "shards_sha256": hashlib.sha256(store.read_index()).hexdigest(),
        "packs_sha256": sha256_of(packs / "SMPL_NEUTRAL.pth"),
        "synthetic": index.synthetic,
        "start": None if start is None else start.facts,
    }
    writable_folder(run)
    with exclusive(run / ".lock"):
        state = begin(config, TrainStream(reader, config, device), start, run, facts, device, progress)
        waited = loop(state, config, layer, device, packs, hooks or standard_hooks(config), progress)
    lines = read_metrics(run)
    return TrainReport(
        run=run,
        checkpoint=checkpoints.finished(run)[-1],
        steps=config.steps,
        steps_now=config.steps - state.start,
        seconds=time.monotonic() - started,
        data_wait=waited,
        first_loss=lines[0]["loss"]["total"],
        last_loss=lines[-1]["loss"]["total"],
        parameters=sum(p.numel() for p in state.network.parameters() if p.requires_grad),
        synthetic=index.synthetic,
    )


@dataclass(slots=True, kw_only=True, eq=False)
class State:
    """What changes while a run goes on."""

    run: Path
    start: int
    """First step of this call."""
    stream: TrainStream
    network: TraceNetwork
    optimizer: torch.optim.Optimizer
    averaged: AveragedWeights | None
    facts: Mapping[str, Any]
    """What the run is trained on; written into every checkpoint."""
    window: list[dict[str, float]]
    """Loss terms of the steps since the last line of the log; kept in checkpoints so that no step is left out."""

    def save(self, config: Config, step: int) -> Path:
        """Write the checkpoint of a step."""
        return checkpoints.save(
            self.run,
            step=step,
            config=config,
            network=self.network,
            optimizer=self.optimizer,
            averaged=self.averaged,
            data=self.facts,
            window=self.window,
        )


def begin(
    config: Config,
    stream: TrainStream,
    initial: Start | None,
    run: Path,
    facts: Mapping[str, Any],
    device: torch.device,
    progress: Progress,
) -> State:
    """A fresh run, or the state of the run's last checkpoint."""
    for note in stream.notes:
        progress.say(note)
    done = checkpoints.finished(run)
    torch.manual_seed(config.seed)
    network = build_network(config.network).to(device)
    freeze(network, config.optim.frozen or ())
    optimizer = build_optimizer(network, config.optim)
    if not done:
        batches = stream.batches(0, min(MEAN_BATCHES, config.steps))
        start_from_means(network, [batch_targets(network, batch.to(device)) for batch in batches])
        if initial is not None:  # over the means
            for line in table(initial.fill(network, config.network), initial, config.optim.frozen or ()):
                progress.say(line)
            if initial.flow is not None:
                keep_flow(config, initial.flow, run)
    averaged = AveragedWeights(network, config.optim.ema) if config.optim.ema else None
    start, window = 0, []
    if done:
        checkpoint = checkpoints.open_checkpoint(run)
        checkpoints.refuse_changes(checkpoint, config, facts)
        start = checkpoints.restore(checkpoint, network, optimizer, averaged)
        window, facts = list(checkpoint.facts["window"]), {**facts, "start": checkpoint.facts["data"].get("start")}
        progress.say(f"goes on from step {start:,}")
    state = State(
        run=run,
        start=start,
        stream=stream,
        network=network,
        optimizer=optimizer,
        averaged=averaged,
        facts=facts,
        window=window,
    )
    if not done:
        state.save(config, 0)
    return state


def standard_hooks(config: Config) -> Hooks:
    """What happens beside the steps of an ordinary run."""
    return Hooks()


def loop(
    state: State,
    config: Config,
    layer: BodyLayer,
    device: torch.device,
    packs: Path,
    hooks: Hooks,
    progress: Progress,
) -> float:
    """The steps, one after the other. Returns the share of time spent waiting for batches."""
    log = RunLog(state.run, config, next_step=state.start)
    learner = Learner(state.network, layer, config, build_flow(config, state.run, device)).train()

    def moment(step: int) -> Moment:
        return Moment(
            run=state.run,
            step=step,
            config=config,
            learner=learner,
            averaged=None if state.averaged is None else state.averaged.state,
            stream=state.stream,
            packs=packs,
        )

    began = line_began = time.monotonic()
    waited = waited_before = 0.0
    progress.begin(f"train {config.preset}", config.steps, "steps")
    progress.advance(state.start)
    with stop_signals() as stopped:
        batches = state.stream.batches(state.start, config.steps)
        for step in range(state.start, config.steps):
            asked = time.monotonic()
            batch = finish(next(batches).to(device))
            waited += time.monotonic() - asked
            rate = learning_rate(config.optim, step, config.steps)
            report, norm = train_step(
                learner, state.optimizer, batch, rate, on_not_finite=partial(hooks.on_not_finite, moment(step))
            )
            if state.averaged is not None:
                state.averaged.update(state.network, step)
            terms = {name: v.item() for name, v in {**report.values, "total": report.total}.items()}
            state.window.append(terms)
            done, last = step + 1, step + 1 == config.steps
            if done % config.log_every == 0 or last:
                elapsed = time.monotonic() - line_began
                line = {
                    "step": done,
                    "loss": {k: sum(w[k] for w in state.window) / len(state.window) for k in terms},
                    "counts": {k: int(v) for k, v in report.counts.items()},
                    "gradient_norm": norm,
                    "lr": rate,
                    "clips_per_s": len(state.window) * len(batch.refs) / elapsed,
                    "data_wait": (waited - waited_before) / elapsed,
                }
                log.write(line)
                hooks.on_line(moment(done), line)
                state.window, waited_before, line_began = [], waited, time.monotonic()
            progress.advance(1, f"loss {terms['total']:.1f}")
            if hooks.evaluate and config.evaluation.every and (last or done % config.evaluation.every == 0):
                hooks.evaluate(moment(done))
            if hooks.draw and config.pictures_every and done % config.pictures_every == 0:
                hooks.draw(moment(done))
            if done % config.checkpoint_every == 0 or last or stopped():
                state.save(config, done)
            if stopped() and not last:
                raise InterruptedRun(
                    f"stopped after step {done:,} of {config.steps:,}; the checkpoint is saved",
                    where=state.run,
                    hint=f"trace train --resume {state.run}  goes on",
                )
    progress.end()
    return waited / max(1e-9, time.monotonic() - began)
