"""The training loop: straight, with its phases in the order in which they happen."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch

from trace_data.errors import InterruptedRun, OutputError, TrainingDiverged
from trace_data.progress import SILENT, Progress
from trace_data.shards.reader import ShardReader
from trace_train import checkpoint as checkpoints
from trace_train.body_layer import BodyLayer
from trace_train.build import body_layers, build_network, choose_device, start_from_means, uses_bf16
from trace_train.config import Config
from trace_train.losses.objective import LossReport, objective
from trace_train.network.model import TraceNetwork
from trace_train.optim import AveragedWeights, build_optimizer, learning_rate
from trace_train.runlog import RunLog, read_metrics
from trace_train.streaming.batch import Batch
from trace_train.streaming.stream import TrainStream
from trace_train.targets import Targets, make_targets

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


def train(
    config: Config,
    *,
    shards: Path,
    packs: Path,
    run: Path,
    resume: bool = False,
    progress: Progress = SILENT,
) -> TrainReport:
    """Train until `config.steps`; with `resume`, from the run's last checkpoint on.

    Interrupted at any step and resumed, a run on the CPU ends in the same weights to the last bit. Raises ConfigError,
    ShardError, AssetError before the first step, TrainingDiverged, InterruptedRun (a checkpoint was saved) after it.
    """
    started = time.monotonic()
    device = choose_device(config)
    done = checkpoints.finished(run)
    if done and not resume:
        raise OutputError(
            f"holds a run with {len(done)} checkpoints",
            where=run,
            hint=f"trace train --resume {run}  goes on with it; --out names another folder",
        )
    reader = ShardReader(shards)
    layer = body_layers(packs)["neutral"].to(device)
    stream = TrainStream(reader, config)
    torch.manual_seed(config.seed)
    network = build_network(config.network).to(device)
    optimizer = build_optimizer(network, config.optim)
    start = 0
    if done:
        averaged = AveragedWeights(network, config.optim.ema) if config.optim.ema else None
        start = checkpoints.restore(checkpoints.open_checkpoint(run), network, optimizer, averaged)
        progress.say(f"goes on from step {start}")
    else:
        first = [batch_targets(network, b.to(device)) for b in stream.batches(0, min(MEAN_BATCHES, config.steps))]
        start_from_means(network, first)
        averaged = AveragedWeights(network, config.optim.ema) if config.optim.ema else None
    log = RunLog(run, config, next_step=start)
    facts = {"shards": str(shards), "synthetic": reader.synthetic}

    def save(step: int) -> Path:
        return checkpoints.save(
            run, step=step, config=config, network=network, optimizer=optimizer, averaged=averaged, data=facts
        )

    if not done:
        save(0)
    network.train()
    window: list[dict[str, float]] = []
    waited, waited_all, window_start, loop_start = 0.0, 0.0, time.monotonic(), time.monotonic()
    progress.begin(f"train {config.preset}", config.steps, "steps")
    progress.advance(start)
    with stop_signals() as stopped:
        batches = stream.batches(start, config.steps)
        for step in range(start, config.steps):
            asked = time.monotonic()
            batch = next(batches).to(device)
            waited += time.monotonic() - asked
            rate = learning_rate(config.optim, step, config.steps)
            report, norm = train_step(network, layer, optimizer, batch, config, rate, device)
            if averaged is not None:
                averaged.update(network, step)
            window.append({name: v.item() for name, v in {**report.values, "total": report.total}.items()})
            if (step + 1) % config.log_every == 0 or step + 1 == config.steps:
                elapsed = time.monotonic() - window_start
                log.write(
                    {
                        "step": step + 1,
                        "loss": {k: sum(w[k] for w in window) / len(window) for k in window[0]},
                        "counts": {k: int(v) for k, v in report.counts.items()},
                        "gradient_norm": norm,
                        "lr": rate,
                        "clips_per_s": len(window) * len(batch.refs) / elapsed,
                        "data_wait": waited / elapsed,
                    }
                )
                waited_all += waited
                window, waited, window_start = [], 0.0, time.monotonic()
            progress.advance(1, f"loss {report.total.item():.1f}")
            if (step + 1) % config.checkpoint_every == 0 or step + 1 == config.steps or stopped():
                save(step + 1)
            if stopped() and step + 1 < config.steps:
                raise InterruptedRun(
                    f"stopped after step {step + 1} of {config.steps}; the checkpoint is saved",
                    where=run,
                    hint=f"trace train --resume {run}  goes on",
                )
    lines = read_metrics(run)
    progress.end()
    return TrainReport(
        run=run,
        checkpoint=checkpoints.finished(run)[-1],
        steps=config.steps,
        steps_now=config.steps - start,
        seconds=time.monotonic() - started,
        data_wait=waited_all / max(1e-9, time.monotonic() - loop_start),
        first_loss=lines[0]["loss"]["total"],
        last_loss=lines[-1]["loss"]["total"],
        parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
    )


def batch_targets(network: TraceNetwork, batch: Batch) -> Targets:
    """Targets in the sizes of the network."""
    return make_targets(batch, input_size=4 * network.map_size, map_size=network.map_size, levels=network.depth_levels)


def compute_loss(
    network: TraceNetwork, layer: BodyLayer, batch: Batch, config: Config, device: torch.device
) -> LossReport:
    """Forward pass and losses of a batch; people are read at their annotated centres (training.md 0.1)."""
    targets = batch_targets(network, batch)
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=uses_bf16(config, device)):
        maps = network(batch.images.flatten(0, 1))
    rows = targets.center_mask.nonzero(as_tuple=True)
    clip, person, frame = rows
    flat = clip * batch.images.shape[1] + frame
    yx = targets.cell[clip, person, frame]
    zyx = torch.cat([network.depth_at(maps, flat, yx)[:, None], yx], dim=1)
    people = network.regress(maps, flat, zyx)
    return objective(maps, people, rows, targets, layer, config.loss.model_dump())


def train_step(
    network: TraceNetwork,
    layer: BodyLayer,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: Config,
    rate: float,
    device: torch.device,
) -> tuple[LossReport, float]:
    """One step; returns the losses and the gradient's norm. Raises TrainingDiverged before any weight is touched."""
    report = compute_loss(network, layer, batch, config, device)
    optimizer.zero_grad(set_to_none=True)
    report.total.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm))
    if not (torch.isfinite(report.total) and norm < float("inf")):
        terms = ", ".join(f"{name} {value.item():.4g}" for name, value in report.values.items())
        clips = ", ".join(f"{r.sequence}:{r.start}+{r.stride}" for r in batch.refs)
        raise TrainingDiverged(
            f"the loss is not finite (gradient norm {norm:g}): {terms}",
            where=f"clips {clips}",
            hint="look at these clips, or lower the rate: --set optim.lr=…",
        )
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    return report, norm


@contextmanager
def stop_signals() -> Iterator[StopFlag]:
    """SIGINT and SIGTERM end the loop after the step at hand; outside the main thread nothing is changed."""
    flag = StopFlag()
    try:
        before = {s: signal.signal(s, flag.raise_flag) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        before = {}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopFlag:
    """Whether somebody asked the run to stop."""

    def __init__(self) -> None:
        self.stop = False

    def raise_flag(self, number: int, frame: FrameType | None) -> None:
        """The signal handler."""
        self.stop = True

    def __call__(self) -> bool:
        return self.stop
