"""Evaluates a run, a checkpoint or a predicted video; docs/evaluation.md defines every metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from trace_data.assets.bodies import load_bodies
from trace_data.errors import ConfigError
from trace_data.files import writable_folder
from trace_data.progress import SILENT, Progress, counted
from trace_data.results.file import SUFFIX, read_result
from trace_data.schema.body import GENDERS
from trace_data.schema.record import SequenceRecord
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import Store, as_store
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers
from trace_train.evaluation.measures import MEASURES, Measure, Scores
from trace_train.evaluation.pooling import PooledScores, pool
from trace_train.evaluation.result import EvalReport, SequenceScores, data_hashes
from trace_train.evaluation.score import score
from trace_train.evaluation.sums import MODEL
from trace_train.evaluation.video_score import Join, ResultScores, score_result
from trace_train.evaluation.video_truth import VideoTruth, truth_of_record, truth_of_result, truth_of_shards
from trace_train.inference.source import open_source
from trace_train.protocols.loading import DEFAULT, load_protocol
from trace_train.protocols.protocol import Protocol

__all__ = [
    "MEASURES",
    "MODEL",
    "EvalReport",
    "Measure",
    "PooledScores",
    "ResultScores",
    "Scores",
    "SequenceScores",
    "Truth",
    "evaluate",
    "evaluate_result",
    "evaluate_results",
    "exact_result",
    "score",
]

Truth = Path | str | Store | Callable[[str | None], SequenceRecord]
"""What a result is compared with: an exact result or a folder of them, shards, or what reads a dataset's sequence of a
name, such as `partial(read_one, folder, refs)` of `trace_data.adapters.search`; None is the only one there is."""


def evaluate(
    path: Path,
    *,
    shards: Path | str | Store,
    packs: Path,
    split: str | None = None,
    protocol: str = DEFAULT,
    every: int = 1,
    threshold: float | None = None,
    progress: Progress = SILENT,
) -> EvalReport:
    """Evaluate a run, a checkpoint or imported released weights on a split, processing each sequence as a video.

    `protocol`: a name, or a YAML file. `split`: default: the protocol's, else test. `every`: evaluate only every n-th
    window of the sequences. `threshold`: minimum detection score; default: the run's
    own. The result is also written next to the run's checkpoints. Raises CheckpointError, ShardError, ConfigError.
    """
    rules = load_protocol(protocol)
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
        split=split_of(rules, split),
        protocol=rules,
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


def split_of(rules: Protocol, split: str | None) -> str:
    """The split to score. Raises ConfigError where the protocol has another one."""
    if rules.data.split is not None and split not in (None, rules.data.split):
        raise ConfigError(
            f"protocol {rules.name} is about split {rules.data.split!r}, not {split!r}",
            where="--split",
            hint="leave --split out, or write a protocol of your own with  base: " + rules.name,
        )
    return split or rules.data.split or "test"


def evaluate_result(
    path: Path,
    *,
    against: Truth,
    packs: Path | None = None,
    sequence: str | None = None,
    join: Join = "frame",
    protocol: str = DEFAULT,
) -> ResultScores:
    """Score the result of `trace predict` against what is known of the same video.

    `against`: shards or a dataset, of which `sequence` names the sequence (None: the only one), or an
    exact result, such as the one that a synthetic video comes with. `packs`: of the body model that the result was made
    with; None: those that it names. `join`: whether frames are the same by their id or by their time. `protocol`: a
    name, or a YAML file. Raises ResultError, ShardError, ConfigError, AssetError, AnnotationError.
    """
    given = None if sequence is None else [sequence]
    return evaluate_results(
        [path], against=[against], packs=packs, sequences=given, join=join, protocol=protocol
    ).videos[0]


def evaluate_results(
    paths: Sequence[Path],
    *,
    against: Sequence[Truth],
    packs: Path | Sequence[Path] | None = None,
    sequences: Sequence[str] | None = None,
    join: Join = "frame",
    protocol: str = DEFAULT,
) -> PooledScores:
    """Score several results, each as `evaluate_result` does, and all of them together.

    `against`: one for each, or one for all: shards, a dataset, or a folder of exact results with the names of the
    results. `packs`: one for all, or one for each; None: those that each names. `sequences`: one for each;
    None: of several results the names of their files, as NAME of `NAME.trace.npz`. Raises what `evaluate_result` does.
    """
    folders = [packs] * len(paths) if isinstance(packs, Path) else packs
    for what, given in (("--against", against), ("--packs", folders), ("--sequence", sequences)):
        if given is not None and len(given) not in ((1, len(paths)) if what == "--against" else (len(paths),)):
            raise ConfigError(
                f"{len(given)} of {what} for {counted(len(paths), 'result')}",
                where=what,
                hint=f"give {what} once for each result, in their order",
            )
    rules = load_protocol(protocol)
    layers: dict[Path, dict[str, BodyLayer]] = {}
    readers: dict[str, ShardReader] = {}
    scores = []
    for number, path in enumerate(paths):
        sequence = sequences[number] if sequences is not None else None
        if sequence is None and len(paths) > 1:
            sequence = path.name.removesuffix(SUFFIX)
        result = read_result(path)
        own = result.packs if folders is None else folders[number]
        if own is None:
            raise ConfigError(
                "does not say with which body models it was made", where=path, hint="name them: --packs DIR"
            )
        if own not in layers:
            layers[own] = body_layers(own, GENDERS)
        truth = _truth(against[number if len(against) > 1 else 0], path, sequence, own, readers)
        scores.append(score_result(result, truth, layers[own], protocol=rules, join=join, name=str(path)))
    return pool(scores)


def _truth(
    against: Truth, path: Path, sequence: str | None, packs: Path, readers: dict[str, ShardReader]
) -> VideoTruth:
    """What is known of the video of the result at `path`; `readers`: of the shards opened so far, by their place."""
    if not isinstance(against, Path | str | Store):
        return truth_of_record(against(sequence), load_bodies(packs))
    if (exact := exact_result(against, path)) is not None:
        return truth_of_result(read_result(exact), str(exact))
    store = as_store(against)
    if store.where not in readers:
        check_index(store)
        readers[store.where] = ShardReader(store)
    return truth_of_shards(readers[store.where], sequence)


def exact_result(against: Truth, path: Path) -> Path | None:
    """The exact result to compare with: the file named, or in a folder the other one of the same name, `.trace.npz` or
    `.truth.npz`. None for shards and datasets."""
    if not isinstance(against, Path) or against.is_file():
        return against if isinstance(against, Path) else None
    files = (against / name for name in (path.name, path.name.removesuffix(SUFFIX) + ".truth.npz"))
    return next((file for file in files if file.is_file() and file.resolve() != path.resolve()), None)
