"""`trace evaluate`: what a run has learnt."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@options.command("evaluate")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@options.shards
@options.packs
@click.option("--split", type=click.Choice(options.SPLITS), default="test", show_default=True, help="Which split.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True, help="Score every so many frames.")
@options.json
def evaluate(
    run: Path,
    shards: Path | str | None,
    cache: Path | None,
    cache_size: str | None,
    packs: Path | None,
    split: str,
    every: int,
    as_json: bool,
) -> None:
    """Score RUN (its last checkpoint) or one checkpoint folder on a split, beside the best constant predictors.

    \b
    Examples:
      trace evaluate ~/.trace/runs/2026-11-22-debug
      trace evaluate ~/.trace/runs/2026-11-22-debug --split val --every 4
      trace evaluate RUN/checkpoints/step-00000200 --json
    """
    from trace_train.evaluate import MEASURES
    from trace_train.evaluate import evaluate as score

    from . import render

    with render.Display() as progress:
        report = score(
            run,
            shards=options.store(shards, cache, cache_size, progress),
            packs=options.folder("packs", packs),
            split=split,
            every=every,
            progress=progress,
        )
    if as_json:
        render.json_object(report)
        return
    render.line(
        f"{report.split}: step {report.step:,}, {report.sequences:,} sequences, {report.frames:,} frames,"
        f" {report.people:,} people, {report.matched:,} matched{'  (synthetic)' if report.synthetic else ''}"
    )
    rows = []
    for key, name, unit, digits, factor in MEASURES:
        values = [getattr(scores, key) for scores in report.rows.values()]
        rows.append((name, unit, *(render.number(value, digits, factor) for value in values)))
    render.table(("measure", "unit", *report.rows), rows, numeric=tuple(report.rows))
    render.line(report.protocol)
