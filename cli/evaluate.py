"""`trace evaluate`: score a run, a checkpoint or a predicted video."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from . import options

if TYPE_CHECKING:
    from trace_train.evaluate import Scores


@options.command("evaluate")
@click.argument("run", metavar="RUN|RESULT", type=options.AnyPath(exists=True))
@options.shards
@options.packs
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
    metavar="SHARDS|TRUTH",
    help="Of a RESULT: shards, or the exact result that a synthetic video comes with.",
)
@click.option("--sequence", metavar="NAME", help="Of a RESULT: the sequence of the shards that the video shows.")
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
    holds a whole network, a network to share, or the word demo for the small network that comes with this package.

    A RESULT (NAME.trace.npz) of a predicted video is scored against the annotation of the same video: bodies, world,
    camera, and identities (MOTA, IDF1, HOTA, id switches).

    \b
    Examples:
      trace evaluate ~/.trace/runs/2026-11-22-debug
      trace evaluate ~/.trace/runs/2026-11-22-debug --split val --one-in 4
      trace evaluate RUN/checkpoints/step-00000200 --json
      trace evaluate clip.trace.npz --against ~/.trace/shards --sequence downtown_arguing_00
      trace evaluate clip.trace.npz --against truth/clip.trace.npz
    """
    from trace_train.evaluate import evaluate as score
    from trace_train.training.threads import fit_threads

    from . import render

    if run.is_file():
        _result(run, against, sequence, join, (cache, cache_size, packs), as_json)
        return
    if against is not None or sequence is not None:
        raise click.UsageError(f"--against and --sequence are for a RESULT, a file; {run} is a folder")
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


def _result(
    result: Path,
    against: str | None,
    sequence: str | None,
    join: Literal["frame", "time"],
    data: tuple[Path | None, str | None, Path | None],
    as_json: bool,
) -> None:
    """Score a predicted video."""
    from trace_train.evaluate import evaluate_result

    from . import render

    if against is None:
        raise click.UsageError("a RESULT needs  --against SHARDS --sequence NAME,  or  --against TRUTH.trace.npz")
    cache, cache_size, packs = data
    with render.Display() as progress:
        file = Path(against).expanduser()
        scores = evaluate_result(
            result,
            against=file if file.is_file() else options.store(against, cache, cache_size, progress),
            packs=options.folder("packs", packs),
            sequence=sequence,
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
    """Shards and packs as given, else those that the run was trained on; only a run has any."""
    from trace_train.weights.checkpoint import DESCRIPTION, describe_run
    from trace_train.weights.folder import DESCRIPTION as IMPORTED
    from trace_train.weights.shared import DESCRIPTION as SHARED
    from trace_train.weights.shared import resolve

    others = (resolve(run) / IMPORTED, resolve(run) / SHARED)
    if any(file.is_file() for file in others) or (shards is not None and packs is not None):
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
