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
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.config import Config, EvaluationConfig
from trace_train.evaluation.accumulator import ScoreAccumulator
from trace_train.evaluation.baselines import MEAN_POSE, MEAN_POSE_IN_CAMERA, ConstantPredictor
from trace_train.evaluation.measures import Scores
from trace_train.evaluation.protocol import protocol
from trace_train.evaluation.result import EvalReport, SequenceScores
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.evaluation.tracks import STANDS_STILL
from trace_train.evaluation.videos import Videos
from trace_train.evaluation.windows import Chunk, VideoSpan, digest_of, refs_of, schedule, windows_of
from trace_train.inference.detections import best_score, detect
from trace_train.inference.letterbox import Padding, load_padded
from trace_train.inference.stream import use_chunk_statistics
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.streaming.batch import Batch
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

    Settings come from `config.evaluation` and `config.data`. `every`: evaluate every n-th window instead of all frames.
    `layers`: of all genders, on the network's device. `constants`: fitted here if not given. `switches`: how the
    weights expect to be used, as in a prediction. `checkpoint`, `weights_sha256` and `step` are recorded in the report.
    The network's weights and modes and torch's random states are left unchanged. Raises ConfigError if the split does
    not exist, ShardError.
    """
    switches = switches or InferenceSwitches()
    settings = config.evaluation
    if switches.bn == "chunk":  # the statistics are those of one video
        settings = settings.model_copy(update={"videos": 1})
    windows = windows_of(reader, split, every=every)
    constants = constants or ConstantPredictor.fit(reader, layers)
    videos = Videos(network, flow, [len(reader.index.sequences[w.sequence].people) for w in windows])
    accumulator = ScoreAccumulator(reader, windows, layers, constants, videos)
    device = next(network.parameters()).device
    candidates, highest = 0, 0.0
    progress.begin(f"evaluate {split}", sum(w.frames for w in windows), "frames")
    with torch.no_grad(), whole_float32(), untouched(network):
        if switches.bn == "chunk":
            use_chunk_statistics(network)
        for chunk, batch in _pieces(reader, windows, config, settings, switches.padding):
            batch = batch.to(device)
            maps = videos.see(chunk, batch.images)
            detections = detect(network, maps, layers["neutral"], threshold=settings.threshold)
            accumulator.add(chunk, batch, maps, detections)
            candidates += len(detections.frame)
            highest = max(highest, best_score(maps.center_3d, logits=network.center_logits))
            progress.advance(len(chunk.windows) * chunk.frames)
    progress.end()
    return _report(
        reader,
        windows,
        accumulator,
        checkpoint=checkpoint,
        weights_sha256=weights_sha256,
        step=step,
        candidates=candidates,
        best_score=highest,
        split=split,
        settings={**settings.model_dump(exclude={"every", "split", "frames"}), "every": every, **asdict(switches)},
        configuration=config.model_dump(mode="json"),
        protocol=protocol(
            every=every,
            threshold=settings.threshold,
            temporal=network.temporal,
            flow=config.network.flow,
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
    reader: ShardReader, windows: Sequence[VideoSpan], config: Config, settings: EvaluationConfig, padding: Padding
) -> Iterator[tuple[Chunk, Batch]]:
    """The chunks of all videos with their frames, prefetched."""
    size = config.network.input_size
    chunks = list(schedule(windows, videos=settings.videos, frames=settings.chunk))

    def plan(number: int) -> BatchPlan:
        if number % PIECES_AHEAD == 0:
            coming = chunks[number : number + PIECES_AHEAD]
            reader.prefetch([ref for chunk in coming for ref in refs_of(chunk, windows)])
        chunk = chunks[number]
        loaders = [partial(load_padded, reader, ref, size, padding) for ref in refs_of(chunk, windows)]
        return BatchPlan(loaders=loaders, frames=chunk.frames, size=size)

    yield from zip(chunks, read_ahead(map(plan, range(len(chunks))), config.data))


def _report(
    reader: ShardReader, windows: Sequence[VideoSpan], accumulator: ScoreAccumulator, **facts: Any
) -> EvalReport:
    entries = [reader.index.sequences[w.sequence] for w in windows]
    names = _predictors(accumulator.constants)
    everything: dict[str, Sums] = defaultdict(Sums)
    by_dataset: dict[str, dict[str, Sums]] = defaultdict(lambda: defaultdict(Sums))
    for entry, rows in zip(entries, accumulator.sums):
        for name, sums in rows.items():
            everything[name].take(sums)
            by_dataset[entry.dataset][name].take(sums)
    return EvalReport(
        synthetic=any(entry.synthetic for entry in entries),
        sequences=len({w.sequence for w in windows}),
        sequences_sha256=digest_of(windows, reader),
        frames=sum(w.frames for w in windows),
        people=sum(accumulator.people),
        matched=sum(accumulator.matched),
        rows=_rows(everything, names),
        datasets={}
        if len(by_dataset) == 1
        else {name: _rows(rows, names) for name, rows in sorted(by_dataset.items())},
        sequence_scores=tuple(
            SequenceScores(
                dataset=entry.dataset,
                name=entry.name,
                start=window.start,
                frames=window.frames,
                people=people,
                matched=matched,
                scores=rows[MODEL].scores(),
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


def _rows(sums: Mapping[str, Sums], names: Sequence[str]) -> dict[str, Scores]:
    return {name: sums.get(name, Sums()).scores() for name in names}
