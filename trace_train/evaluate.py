"""Evaluates a run or checkpoint on a held-out split; docs/evaluation.md defines every metric."""

from __future__ import annotations

from pathlib import Path

from trace_data.files import writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.schema.body import GENDERS
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.build import body_layers
from trace_train.evaluation.measures import MEASURES, Measure, Scores
from trace_train.evaluation.result import EvalReport, SequenceScores, data_hashes
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL
from trace_train.inference.source import open_source

__all__ = [
    "MEASURES",
    "MODEL",
    "EvalReport",
    "Measure",
    "Scores",
    "SequenceScores",
    "evaluate",
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
    """Evaluate a run, a checkpoint or imported released weights on a split, processing each sequence as a video.

    `every`: evaluate only every n-th window of the sequences. `threshold`: minimum detection score; default: the run's
    own. The result is also written next to the run's checkpoints. Raises CheckpointError, ShardError, ConfigError.
    """
    source = open_source(path)
    store = as_store(shards)
    check_index(store)
    reader = ShardReader(store, verify=source.config.data.verify)
    writable_folder(source.folder)  # fails now rather than after the evaluation
    config = source.config
    if threshold is not None:
        changed = config.evaluation.model_copy(update={"threshold": threshold})
        config = config.model_copy(update={"evaluation": changed})
    report = score(
        source.network,
        body_layers(packs, GENDERS, source.device),
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
