"""Runs a training from start to finish. Everything is checked before anything is written."""

from __future__ import annotations

import hashlib
import shlex
import socket
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from trace_data.errors import CheckpointError, OutputError
from trace_data.files import atomic_write, exclusive, sha256_of, writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers, build_network, choose_device
from trace_train.config import Config
from trace_train.evaluation.in_loop import HeldOutScores
from trace_train.health.not_finite import keep_batch
from trace_train.health.watch import Watch
from trace_train.network.model import TraceNetwork
from trace_train.preview.snapshots import Snapshots
from trace_train.streaming.stored_flow import with_flow_provider
from trace_train.streaming.stream import TrainStream, with_shuffle_window
from trace_train.training.distributed import Processes, joined, synchronise_normalisation
from trace_train.training.hooks import Hooks
from trace_train.training.initialise import start_from_means
from trace_train.training.loop import loop
from trace_train.training.loss_module import LossModule, batch_targets
from trace_train.training.parameter_groups import NetworkParameters, stages_table
from trace_train.training.precision import set_float32_kernels
from trace_train.training.run_log import ERRORS, MetricsFile, read_metrics
from trace_train.training.stage_checks import stage_errors
from trace_train.training.state import RunState, new_state
from trace_train.weights.checkpoint import finished, open_checkpoint, refuse_changes
from trace_train.weights.checkpoint_writer import clear_partial
from trace_train.weights.flow import build_flow, check_same_weights, flow_folder, keep_flow
from trace_train.weights.provenance import hardware, training_data
from trace_train.weights.sources import open_start
from trace_train.weights.starting import Start, table

MEAN_BATCHES = 8
"""Number of batches whose mean pose, shape and camera initialise a new network."""
GROUPS_FILE = "parameters.txt"
"""Table in the run folder of which parameters are trained, and how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """Result of a call of `train`."""

    run: Path
    checkpoint: Path
    """The last checkpoint."""
    steps: int
    """Total steps of the run."""
    steps_now: int
    """Steps taken by this call; the rest were taken before it resumed."""
    seconds: float
    """Wall time of this call."""
    data_wait: float
    """Share of the loop's time spent waiting for batches."""
    stage: str
    """Name of the stage the run ended in; losses of different stages are sums of different terms."""
    first_loss: float
    """Mean total loss over the first logged window of that stage."""
    last_loss: float
    """Mean total loss over the last logged window."""
    parameters: int
    """Trained parameters."""
    synthetic: bool
    """Whether the training data were the sample world."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RunInputs:
    """The checked inputs of a run, before anything has been written."""

    config: Config
    """Resolved: values that depend on the shards and the initial weights are filled in."""
    stream: TrainStream
    layer: BodyLayer
    network: TraceNetwork
    """Newly initialised, on the device."""
    parts: NetworkParameters
    start: Start | None
    """Initial weights from `init.weights`, if any."""
    facts: Mapping[str, Any]
    """Facts about the training data; written into every checkpoint."""
    notes: tuple[str, ...]
    """Messages for the user before the run starts."""
    groups: tuple[str, ...]
    """Lines of the parameter table."""


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
    """Train up to `config.steps`; with `resume`, continue from the run's last checkpoint.

    `hooks`: callbacks between steps; None: `standard_hooks`. Under torchrun this is one process of the run, and rank 0
    writes the files. A CPU run that is interrupted at any step and resumed ends with bit-identical weights and log.
    Raises ConfigError, ShardError, AssetError, OutputError before the first step, and TrainingDiverged, LostProcess,
    InterruptedRun (after saving a checkpoint) during training.
    """
    with joined(config.distributed.timeout_minutes) as processes:
        progress = progress if processes.first else SILENT
        device = choose_device(config, processes.local_rank)
        set_float32_kernels(config, device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        if processes.first and not resume:
            check_unused(run)
        begun = processes.share(bool(finished(run)))
        inputs = prepare(config, shards, packs, begun, processes, device)
        if processes.first:
            writable_folder(run)
        with exclusive(run / ".lock") if processes.first else nullcontext():
            return _train(inputs, run, begun, packs, hooks, processes, device, progress)


def prepare(
    config: Config, shards: Path | str | Store, packs: Path, begun: bool, processes: Processes, device: torch.device
) -> RunInputs:
    """Collect and check all inputs of a run. Raises ConfigError, ShardError, AssetError, CheckpointError."""
    store = as_store(shards)
    index = check_index(store)
    reader = ShardReader(store, verify=config.data.verify)
    config = with_flow_provider(with_shuffle_window(config, reader), reader)
    start = None if begun else open_start(config)
    notes: list[str] = []
    if start is not None:
        config, notes = start.follow(config)
    for error in stage_errors(config, processes.world_size):
        raise error
    stream = TrainStream(reader, config, device, rank=processes.rank, world_size=processes.world_size)
    if (
        stream.flow is not None
        and config.network.flow_provider == "raft"
        and start is not None
        and start.flow is not None
    ):
        check_same_weights(start.flow, stream.flow.index.settings)
    layer = body_layers(packs, device=device)["neutral"]
    torch.manual_seed(config.seed)
    network = build_network(config.network).to(device)
    parts = NetworkParameters(network)
    groups = stages_table(parts, config)
    synchronise_normalisation(network, config.distributed.sync_batchnorm, processes, device)
    facts = {
        "shards": store.lasting,
        "shards_sha256": hashlib.sha256(store.read_index()).hexdigest(),
        "packs": str(packs.resolve()),
        "packs_sha256": sha256_of(packs / "SMPL_NEUTRAL.pth"),
        **({} if stream.flow is None else stream.flow.facts),
        "synthetic": index.synthetic,
        "trained_on": training_data(index),
        "hardware": hardware(device, processes.world_size),
        "threads": torch.get_num_threads(),
        "start": None if start is None else start.facts,
    }
    return RunInputs(
        config=config,
        stream=stream,
        layer=layer,
        network=network,
        parts=parts,
        start=start,
        facts=facts,
        notes=(*notes, *stream.notes),
        groups=tuple(groups),
    )


def standard_hooks(config: Config, progress: Progress) -> Hooks:
    """The hooks of an ordinary run."""
    watch = Watch(progress)
    return Hooks(
        on_line=watch.on_line,
        on_not_finite=keep_batch,
        evaluate=HeldOutScores(progress) if config.evaluation.every else None,
        draw=Snapshots(progress.log).draw if config.pictures_every else None,
        close=watch.close,
    )


def _train(
    inputs: RunInputs,
    run: Path,
    begun: bool,
    packs: Path,
    hooks: Hooks | None,
    processes: Processes,
    device: torch.device,
    progress: Progress,
) -> TrainReport:
    """The run itself; rank 0 holds the lock of the run folder."""
    started, config = time.monotonic(), inputs.config
    for note in (*inputs.notes, *inputs.groups):
        progress.log(note)
    if processes.first:
        clear_partial(run)
        if not begun:
            _begin(inputs, run, device, progress)
    if not begun:
        processes.broadcast_parameters(inputs.network)
    latest = processes.share(finished(run)[-1] if begun and processes.first else None)
    loss_module = LossModule(inputs.network, inputs.layer, config, build_flow(config, run, device))
    state = new_state(
        config,
        loss_module,
        inputs.parts,
        run=run,
        device=device,
        processes=processes,
        stream=inputs.stream,
        packs=packs,
        facts=inputs.facts,
    )
    if latest is not None:
        _go_on(state, latest, progress)
    if processes.first:
        with atomic_write(run / GROUPS_FILE) as partial:
            partial.write_text("".join(f"{line}\n" for line in inputs.groups), encoding="utf-8")
    if config.compile:
        inputs.network.compile(dynamic=False)  # shapes are constant within a stage
    first = state.step
    if not begun:
        state.save()
    own = ERRORS if processes.first else f"errors-rank{processes.rank}.jsonl"
    errors = MetricsFile(run / own, next_step=first, log=progress.log)
    state.stream.unreadable.on_message = lambda clip: errors.write(asdict(clip))
    hooks = hooks or standard_hooks(config, progress)
    try:
        loop(state, hooks, progress)
    finally:
        hooks.close()
    report = processes.share(_report(state, first, time.monotonic() - started, inputs))
    assert report is not None
    return report


def _begin(inputs: RunInputs, run: Path, device: torch.device, progress: Progress) -> None:
    """Initialise the network: to the mean of the training targets, then with the tensors of `init.weights`."""
    config, network, start = inputs.config, inputs.network, inputs.start
    whole = TrainStream(inputs.stream.reader, config, device)  # without sharding over processes
    batches = whole.batches(0, min(MEAN_BATCHES, config.steps))
    start_from_means(network, [batch_targets(network, batch.to(device)) for batch in batches])
    if start is not None:
        for line in table(start.fill(network, config.network), start):
            progress.log(line)
        if start.flow is not None:
            keep_flow(config, start.flow, run)


def _go_on(state: RunState, latest: Path, progress: Progress) -> None:
    """Restore the run's last checkpoint."""
    if not latest.is_dir():
        raise CheckpointError(
            f"process {state.processes.rank} on {socket.gethostname()} does not see this folder",
            where=latest,
            hint="a run on several machines needs its folder on a shared disk",
        )
    checkpoint = open_checkpoint(latest)
    refuse_changes(checkpoint, state.config, state.facts)
    state.restore(checkpoint)
    progress.log(f"goes on from step {state.step:,}" if state.step < state.config.steps else "all steps are done")


def check_unused(run: Path) -> None:
    """Raise OutputError unless the folder is empty or holds only what a run writes before its first checkpoint."""
    ours = {".lock", GROUPS_FILE, flow_folder(run).name, "checkpoints"}
    if run.is_dir() and (finished(run) or any(item.name not in ours for item in run.iterdir())):
        resume = f"trace train --resume {shlex.quote(str(run))}"
        raise OutputError(
            "the run folder is not empty",
            where=run,
            hint=f"{resume}  goes on with the run in it; --out names another folder",
        )


def _report(state: RunState, first: int, seconds: float, inputs: RunInputs) -> TrainReport | None:
    if not state.processes.first:
        return None
    lines = read_metrics(state.run)
    stage = lines[-1]["stage"]
    return TrainReport(
        run=state.run,
        checkpoint=finished(state.run)[-1],
        steps=state.config.steps,
        steps_now=state.config.steps - first,
        seconds=seconds,
        data_wait=state.window.share_waited,
        stage=stage,
        first_loss=next(line for line in lines if line["stage"] == stage)["loss"]["total"],
        last_loss=lines[-1]["loss"]["total"],
        parameters=sum(group.numbers for group in state.groups if not group.frozen),
        synthetic=bool(inputs.facts["synthetic"]),
    )
