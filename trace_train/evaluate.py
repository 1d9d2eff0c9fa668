"""Evaluates a run, a checkpoint or a predicted video; docs/evaluation.md defines every metric."""

from __future__ import annotations

from pathlib import Path

from trace_data.assets.bodies import load_bodies
from trace_data.errors import ConfigError
from trace_data.files import writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.results.file import read_result
from trace_data.schema.body import GENDERS
from trace_data.schema.record import SequenceRecord
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.build import body_layers
from trace_train.evaluation.measures import MEASURES, Measure, Scores
from trace_train.evaluation.result import EvalReport, SequenceScores, data_hashes
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.video_score import Join, ResultScores, score_result
from trace_train.evaluation.video_truth import VideoTruth, truth_of_record, truth_of_result, truth_of_shards
from trace_train.inference.source import open_source

__all__ = [
    "MEASURES",
    "MODEL",
    "EvalReport",
    "Measure",
    "ResultScores",
    "Scores",
    "SequenceScores",
    "evaluate",
    "evaluate_result",
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
        switches=source.switches,
        checkpoint=str(source.where),
        weights_sha256=source.sha256,
        step=source.step,
        progress=progress,
    )
    report = report.of_data(*data_hashes(reader, packs))
    report.write(source.folder / report.file_name)
    return report


def evaluate_result(
    path: Path,
    *,
    against: Path | str | Store | SequenceRecord,
    packs: Path | None = None,
    sequence: str | None = None,
    join: Join = "frame",
) -> ResultScores:
    """Score the result of `trace predict` against what is known of the same video.

    `against`: shards, of which `sequence` names the sequence (None: the only one); the sequence of a dataset as its
    adapter reads it; or an exact result, such as the one that a synthetic video comes with. `packs`: of the body model
    that the result was made with; None: those that it names. `join`: whether frames are the same by their id or by
    their time. Raises ResultError, ShardError, ConfigError, AssetError.
    """
    result = read_result(path)
    packs = packs or result.packs
    if packs is None:
        raise ConfigError("does not say with which body models it was made", where=path, hint="name them: --packs DIR")
    truth = _truth(against, sequence, packs)
    return score_result(result, truth, body_layers(packs, GENDERS), join=join, name=str(path))


def _truth(against: Path | str | Store | SequenceRecord, sequence: str | None, packs: Path) -> VideoTruth:
    if isinstance(against, SequenceRecord):
        return truth_of_record(against, load_bodies(packs))
    if isinstance(against, Path) and against.is_file():
        return truth_of_result(read_result(against), str(against))
    store = as_store(against)
    check_index(store)
    return truth_of_shards(ShardReader(store), sequence)
