"""Evaluates a network on a split of the shards, during or after training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trace_data.progress import SILENT, Progress
from trace_data.shards.flow.reader import FlowReader
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.config import Config, EvaluationConfig
from trace_train.evaluation.accumulator import ScoreAccumulator
from trace_train.evaluation.baselines import MEAN_POSE, MEAN_POSE_IN_CAMERA, ConstantPredictor
from trace_train.evaluation.measures import Scores, defined
from trace_train.evaluation.protocol import in_words
from trace_train.evaluation.result import EvalReport, SequenceScores
from trace_train.evaluation.sums import MODEL, Sums, mean_of_sequences, pooled
from trace_train.evaluation.tracks import STANDS_STILL
from trace_train.evaluation.videos import Videos
from trace_train.evaluation.windows import Chunk, VideoSpan, digest_of, refs_of, schedule, windows_of
from trace_train.inference.detections import best_score, detect, refuse_not_finite
from trace_train.inference.letterbox import Padding, load_padded
from trace_train.inference.stream import use_chunk_statistics
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.protocols.loading import load_protocol
from trace_train.protocols.protocol import Protocol
from trace_train.streaming.batch import Batch
from trace_train.streaming.stored_flow import flow_reader
from trace_train.streaming.stream import BatchPlan, read_ahead
from trace_train.training.precision import whole_float32
from trace_train.weights.folder import InferenceSwitches

PIECES_AHEAD = 64
"""Number of upcoming chunks whose shards are prefetched, if they are remote."""


def score(
    network: TraceNetwork,
    layers: Mapping[str, BodyLayer],
    reader: ShardReader,
    config: Config,
    *,
    split: str,
    protocol: Protocol | None = None,
    every: int = 1,
    flow: FlowProvider | None = None,
    constants: ConstantPredictor | None = None,
    switches: InferenceSwitches | None = None,
    checkpoint: str = "",
    weights_sha256: str = "",
    step: int = 0,
    progress: Progress = SILENT,
) -> EvalReport:
    """Process a split as videos, match detections, compute errors, and compare with the constant baselines.

    Settings come from `config.evaluation` and `config.data`. `protocol`: None is the default one. `every`: evaluate
    every n-th window instead of all frames. `layers`: of all genders, on the network's device. `flow`: the run's
    provider, which computes flow unless the network takes stored flow and the shards have it. `constants`: fitted here
    if not given. `switches`: how the weights expect to be used, as in a prediction. `checkpoint`, `weights_sha256` and
    `step` are recorded in the report. The network's weights and modes and torch's random states are left unchanged.
    Raises ConfigError if the split does not exist or holds nothing of the protocol, ShardError, and CheckpointError if
    predictions are not finite.
    """
    switches, rules = switches or InferenceSwitches(), protocol or load_protocol()
    settings = config.evaluation
    if switches.bn == "chunk":  # the statistics are those of one video
        settings = settings.model_copy(update={"videos": 1})
    windows = windows_of(reader, split, every=every, protocol=rules)
    if not rules.baselines:
        constants = ConstantPredictor(body=None, joints=None)
    constants = constants or ConstantPredictor.fit(reader, layers)
    videos = Videos(network, flow, [len(reader.index.sequences[w.sequence].people) for w in windows])
    accumulator = ScoreAccumulator(reader, windows, layers, constants, videos, rules)
    device = next(network.parameters()).device
    stored = None if flow is None else flow_reader(config, reader)
    candidates, highest = 0, 0.0
    progress.begin(f"evaluate {split}", sum(w.frames for w in windows), "frames")
    with torch.no_grad(), whole_float32(), untouched(network):
        if switches.bn == "chunk":
            use_chunk_statistics(network)
        for chunk, batch in _pieces(reader, windows, config, settings, switches.padding, stored):
            batch = batch.to(device)
            maps = videos.see(chunk, batch.images, batch.flow)
            highest = max(highest, best_score(maps.center_3d, logits=network.center_logits))
            detections = detect(network, maps, layers["neutral"], threshold=settings.threshold)
            refuse_not_finite(detections.people.camera, detections.rotations, detections.betas)
            accumulator.add(chunk, batch, maps, detections)
            candidates += len(detections.frame)
            progress.advance(len(chunk.windows) * chunk.frames)
    progress.end()
    return _report(
        reader,
        windows,
        accumulator,
        rules,
        checkpoint=checkpoint,
        weights_sha256=weights_sha256,
        step=step,
        candidates=candidates,
        best_score=highest,
        split=split,
        settings={**settings.model_dump(exclude={"every", "split", "frames"}), "every": every, **asdict(switches)},
        configuration=config.model_dump(mode="json"),
        protocol=in_words(
            rules,
            every=every,
            threshold=settings.threshold,
            temporal=network.temporal,
            flow=config.network.computed_flow or "none",
            stored=stored is not None,
            fitted=constants.body is not None or constants.joints is not None,
            switches=switches,
            chunk=settings.chunk,
        ),
    )


@contextmanager
def untouched(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and restore every module's mode and all random states afterwards.

    torch.compile is disabled: it would recompile for every shape.
    """
    modes = {module: module.training for module in network.modules()}
    averages = {module: module.track_running_stats for module in modes if isinstance(module, _BatchNorm)}
    device = next(network.parameters()).device
    forked = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with forked, torch.compiler.set_stance("force_eager"):
        try:
            network.eval()
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            for module, tracked in averages.items():
                module.track_running_stats = tracked


def _pieces(
    reader: ShardReader,
    windows: Sequence[VideoSpan],
    config: Config,
    settings: EvaluationConfig,
    padding: Padding,
    flow: FlowReader | None,
) -> Iterator[tuple[Chunk, Batch]]:
    """The chunks of all videos with their frames, and their stored flow if it is read, prefetched."""
    size = config.network.input_size
    chunks = list(schedule(windows, videos=settings.videos, frames=settings.chunk))

    def plan(number: int) -> BatchPlan:
        if number % PIECES_AHEAD == 0:
            coming = chunks[number : number + PIECES_AHEAD]
            reader.prefetch([ref for chunk in coming for ref in refs_of(chunk, windows)])
        chunk = chunks[number]
        load = partial(load_padded, flow=flow, continues=chunk.at > 0)
        loaders = [partial(load, reader, ref, size, padding) for ref in refs_of(chunk, windows)]
        return BatchPlan(loaders=loaders, frames=chunk.frames, size=size)

    yield from zip(chunks, read_ahead(map(plan, range(len(chunks))), config.data))


def _report(
    reader: ShardReader, windows: Sequence[VideoSpan], accumulator: ScoreAccumulator, rules: Protocol, **facts: Any
) -> EvalReport:
    entries = [reader.index.sequences[w.sequence] for w in windows]
    names = _predictors(accumulator.constants)
    everything: dict[str, list[Sums]] = defaultdict(list)
    by_dataset: dict[str, dict[str, list[Sums]]] = defaultdict(lambda: defaultdict(list))
    for entry, rows in zip(entries, accumulator.sums):
        for name, sums in rows.items():
            everything[name].append(sums)
            by_dataset[entry.dataset][name].append(sums)
    return EvalReport(
        protocol_name=rules.name,
        rules=rules.model_dump(mode="json"),
        synthetic=any(entry.synthetic for entry in entries),
        sequences=len({w.sequence for w in windows}),
        sequences_sha256=digest_of(windows, reader),
        frames=sum(w.frames for w in windows),
        people=sum(accumulator.people),
        matched=sum(accumulator.matched),
        rows=_rows(everything, names, rules),
        datasets={}
        if len(by_dataset) == 1
        else {name: _rows(rows, names, rules) for name, rows in sorted(by_dataset.items())},
        sequence_scores=tuple(
            SequenceScores(
                dataset=entry.dataset,
                name=entry.name,
                start=window.start,
                frames=window.frames,
                people=people,
                matched=matched,
                scores=defined(rows[MODEL].scores(), rules),
            )
            for entry, window, people, matched, rows in zip(
                entries, windows, accumulator.people, accumulator.matched, accumulator.sums
            )
        ),
        **facts,
    )


def _predictors(constants: ConstantPredictor) -> list[str]:
    """Names of the rows, the network first, then the constant baselines that could be fitted."""
    body, joints = constants.body is not None, constants.joints is not None
    fitted = {MEAN_POSE: body, MEAN_POSE_IN_CAMERA: body or joints}
    return [MODEL, *(name for name, there in fitted.items() if there), STANDS_STILL]


def _rows(sums: Mapping[str, Sequence[Sums]], names: Sequence[str], rules: Protocol) -> dict[str, Scores]:
    mean = mean_of_sequences if rules.mean == "sequences" else pooled
    return {name: defined(mean(sums.get(name, ())), rules) for name in names}
