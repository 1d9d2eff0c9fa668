"""Score a run or checkpoint on a held-out split; docs/evaluation.md says what every number means."""

from __future__ import annotations

from pathlib import Path

import torch

from trace_data.files import writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.schema.clip import GENDERS, ClipRef
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers, build_network
from trace_train.evaluation.result import GROUPS, HIGHER_IS_BETTER, MEASURES, EvalReport, SequenceScores, data_hashes
from trace_train.evaluation.score import score
from trace_train.evaluation.source import open_source
from trace_train.evaluation.sums import MODEL, Scores
from trace_train.evaluation.windows import windows_of
from trace_train.network.model import TraceNetwork
from trace_train.weights.checkpoint import Checkpoint

__all__ = [
    "GROUPS",
    "HIGHER_IS_BETTER",
    "MEASURES",
    "MODEL",
    "EvalReport",
    "Scores",
    "SequenceScores",
    "evaluate",
    "frames_of",
    "load",
    "score",
]


def evaluate(
    path: Path,
    *,
    shards: Path | str | Store,
    packs: Path,
    split: str = "test",
    every: int = 1,
    threshold: float | None = None,
    progress: Progress = SILENT,
) -> EvalReport:
    """Score a run, a checkpoint or imported released weights on the sequences of a split, watched as videos.

    `every`: above one, every so many windows of them. `threshold`: least score of a detection, else the run's own. The
    result is also written beside the run's checkpoints. Raises CheckpointError, ShardError, ConfigError.
    """
    source = open_source(path)
    store = as_store(shards)
    check_index(store)
    reader = ShardReader(store)
    writable_folder(source.folder)  # found out now rather than after the work
    config = source.config
    if threshold is not None:
        changed = config.evaluation.model_copy(update={"threshold": threshold})
        config = config.model_copy(update={"evaluation": changed})
    report = score(
        source.network,
        body_layers(packs, GENDERS, next(source.network.parameters()).device),
        reader,
        config,
        split=split,
        every=every,
        flow=source.flow,
        checkpoint=str(source.where),
        weights_sha256=source.sha256,
        step=source.step,
        progress=progress,
    )
    report = report.of_data(*data_hashes(reader, packs))
    report.write(source.folder / report.file_name)
    return report


def load(checkpoint: Checkpoint, packs: Path) -> tuple[TraceNetwork, dict[str, BodyLayer], torch.device]:
    """The network of a checkpoint in evaluation mode, and the body layers of all genders, on their device."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_network(checkpoint.config.network)
    checkpoint.load_into(network)
    return network.to(device).eval(), body_layers(packs, GENDERS, device), device


def frames_of(reader: ShardReader, split: str, every: int) -> list[ClipRef]:
    """Every `every`-th frame of every sequence of a split, as clips of one frame. Raises ConfigError without any."""
    return [
        ClipRef(sequence=window.sequence, start=start, stride=1, length=1)
        for window in windows_of(reader, split)
        for start in range(0, window.frames, every)
    ]
