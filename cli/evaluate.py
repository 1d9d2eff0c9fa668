"""`trace evaluate`: score a run, a checkpoint or a predicted video."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from . import options

if TYPE_CHECKING:
    from trace_data.progress import Progress
    from trace_data.schema.record import SequenceRecord
    from trace_data.shards.storage.store import Store
    from trace_train.evaluate import Scores


@options.command("evaluate")
@click.argument("run", metavar="RUN|RESULT", type=options.AnyPath(exists=True))
@options.shards
@options.packs
@options.adapters
@click.option("--split", type=click.Choice(options.SPLITS), default="test", show_default=True, help="Which split.")
@click.option(
    "--one-in",
    cls=options.Renamed,
    former="--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Score one in N windows of 3.3 s (100 frames at 30 fps); 1 scores whole sequences.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, max=1, max_open=True),
    help="Lowest score of a detection  [default: the run's own evaluation.threshold].",
)
@click.option(
    "--against",
    metavar="SHARDS|DATASET|TRUTH",
    help="Of a RESULT: shards, the folder of a dataset, or the exact result that a synthetic video comes with.",
)
@click.option("--sequence", metavar="NAME", help="Of a RESULT: the sequence of shards or dataset that the video shows.")
@click.option(
    "--join",
    type=click.Choice(("frame", "time")),
    default="frame",
    show_default=True,
    help="Of a RESULT: frames of it and of the annotation are the same by their id, or by their time since the first.",
)
@options.json
def evaluate(
    run: Path,
    shards: Path | str | None,
    cache: Path | None,
    cache_size: str | None,
    packs: Path | None,
    adapters: tuple[str, ...],
    split: str,
    one_in: int,
    threshold: float | None,
    against: str | None,
    sequence: str | None,
    join: Literal["frame", "time"],
    as_json: bool,
) -> None:
    """Score RUN (its last checkpoint) or a checkpoint folder on a split, beside the best constant predictors.

    Shards and packs are the run's own where none are named. RUN may also be a folder of imported released weights that
    holds a whole network.

    A RESULT (NAME.trace.npz) of a predicted video is scored against the annotation of the same video: bodies, world,
    camera, and identities (MOTA, IDF1, HOTA, id switches). Body models are those that it was predicted with, if
    they are still there.

    \b
    Examples:
      trace evaluate ~/.trace/runs/2026-11-22-debug
      trace evaluate ~/.trace/runs/2026-11-22-debug --split val --one-in 4
      trace evaluate RUN/checkpoints/step-00000200 --json
      trace evaluate clip.trace.npz --against ~/.trace/shards --sequence downtown_arguing_00
      trace evaluate clip.trace.npz --against ~/datasets/3DPW --sequence downtown_arguing_00
      trace evaluate clip.trace.npz --against truth/clip.trace.npz
    """
    from trace_train.evaluate import evaluate as score
    from trace_train.training.threads import fit_threads

    from . import render

    if run.is_file():
        _result(run, _Against(against, sequence, adapters, cache, cache_size), packs, join, as_json)
        return
    if against is not None or sequence is not None or adapters:
        raise click.UsageError(f"--against, --sequence and --adapter are for a RESULT, a file; {run} is a folder")
    shards, packs = _own_data(run, shards, packs)
    with render.Display() as progress:
        if said := fit_threads():
            progress.log(said)
        report = score(
            run,
            shards=options.store(shards, cache, cache_size, progress),
            packs=options.folder("packs", packs),
            split=split,
            every=one_in,
            threshold=threshold,
            progress=progress,
        )
    if as_json:
        render.json_object(report)
        return
    render.line(
        f"{report.split}: step {report.step:,}, {report.sequences:,} sequences, {report.frames:,} frames,"
        f" {report.people:,} people, {report.matched:,} matched{'  (synthetic)' if report.synthetic else ''}"
    )
    if report.advice:
        render.line(report.advice)
    _table(report.rows)
    for dataset, scores in report.datasets.items():
        render.line(f"\n{dataset}")
        _table(scores)
    render.line(f"\n{report.protocol}")


@dataclass(frozen=True)
class _Against:
    """What a result is compared with, as it was typed."""

    place: str | None
    sequence: str | None
    adapters: tuple[str, ...]
    cache: Path | None
    cache_size: str | None

    def open(self, progress: Progress) -> Path | Store | SequenceRecord:
        """The truth file, the shards, or the sequence of a dataset. Raises TraceError."""
        from trace_data.adapters.search import read_one, sequences_below
        from trace_data.shards.layout import INDEX_FILE

        if self.place is None:
            raise click.UsageError(
                "a RESULT needs  --against SHARDS|DATASET --sequence NAME,  or  --against TRUTH.trace.npz"
            )
        file = Path(self.place).expanduser()
        if file.is_file():
            return file
        if file.is_dir() and not (file / INDEX_FILE).is_file():
            refs = sequences_below(file, options.datasets((), self.adapters))
            if refs:
                return read_one(file, refs, self.sequence)
        return options.store(self.place, self.cache, self.cache_size, progress)


def _result(result: Path, truth: _Against, packs: Path | None, join: Literal["frame", "time"], as_json: bool) -> None:
    """Score a predicted video."""
    from trace_data.results.file import read_result
    from trace_train.evaluate import evaluate_result

    from . import render

    with render.Display() as progress:
        scores = evaluate_result(
            result,
            against=truth.open(progress),
            packs=options.packs_of(read_result(result), packs) or options.folder("packs"),
            sequence=truth.sequence,
            join=join,
        )
    if as_json:
        render.json_object(scores)
        return
    render.line(
        f"{scores.result} against {scores.truth}: {scores.frames:,} of {scores.annotated_frames:,} frames,"
        f" {scores.people:,} people, {scores.matched:,} matched, {scores.identities:,} identities of"
        f" {scores.annotated_identities:,}{'  (synthetic)' if scores.synthetic else ''}"
    )
    _table(scores.rows)
    render.line(f"\n{scores.protocol}")


def _own_data(run: Path, shards: Path | str | None, packs: Path | None) -> tuple[Path | str | None, Path | None]:
    """Shards and packs as given, else those that the run was trained on; imported weights have none."""
    from trace_train.weights.checkpoint import DESCRIPTION, describe_run
    from trace_train.weights.folder import DESCRIPTION as IMPORTED

    if (run / IMPORTED).is_file() or (shards is not None and packs is not None):
        return shards, packs
    own = describe_run(run.resolve().parent.parent if (run / DESCRIPTION).exists() else run)
    command = f"trace evaluate {shlex.quote(str(run))}"
    return (
        shards if shards is not None else options.still_there(own.shards, "shards", command),
        packs if packs is not None else Path(options.still_there(str(own.packs), "packs", command)),
    )


def _table(scores: Mapping[str, Scores]) -> None:
    """One row a measure, by group; measures that nobody has are left out."""
    from trace_train.evaluate import MEASURES

    from . import render

    rows = []
    for group in dict.fromkeys(measure.group for measure in MEASURES):
        title = group
        for m in MEASURES:
            values = [getattr(row, m.key) for row in scores.values()]
            if m.group == group and any(value is not None for value in values):
                rows.append((title, m.name, m.unit, *(render.number(value, m.digits, m.factor) for value in values)))
                title = ""
    render.table(("", "measure", "unit", *scores), rows, numeric=tuple(scores))
