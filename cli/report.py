"""`trace report` and `trace compare`: one run, or several beside each other, as one self-contained page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from trace_train.report.compare import Comparison

COMPARISON = "compare.html"


@options.command("report")
@click.argument("run", type=options.Folder(exists=True, file_okay=False))
@options.page("The page, .html [default: RUN/report.html].", former="--out")
@options.shards
@options.packs
@options.json
def report(
    run: Path,
    page: Path | None,
    shards: Path | str | None,
    cache: Path | None,
    cache_size: str | None,
    packs: Path | None,
    as_json: bool,
) -> None:
    """Show RUN on a page that opens from disk: scores, curves, pictures, settings, and what to look at.

    The run may be finished, interrupted or in progress. Its worst and best clips are drawn from its own shards, or from
    --shards.

    \b
    Examples:
      trace report ~/.trace/runs/2026-11-22-debug
      trace report RUN --page for-a-colleague.html
      trace report RUN --shards /elsewhere/shards --json
    """
    _named_as_page(page)
    from trace_data.progress import size_in_words
    from trace_train.report.run import write_report
    from trace_train.training.threads import fit_threads

    from . import render

    with render.Display() as progress:
        if said := fit_threads():
            progress.log(said)
        result = write_report(
            run,
            out=page,
            shards=None if shards is None else options.store(shards, cache, cache_size, progress),
            packs=options.packs_if_any(packs),
            progress=progress,
        )
    if as_json:
        render.json_object(result)
        return
    synthetic = "  (synthetic data)" if result.synthetic else ""
    render.line(f"report  {result.state}, {result.step:,} of {result.steps:,} steps{synthetic}")
    for note in result.notes:
        render.line(f"  {note}")
    render.line(f"  page  {result.report}  ({size_in_words(result.bytes)}, open it in any browser)")


@options.command("compare")
@click.argument(
    "runs", nargs=-1, required=True, metavar="RUN RUN...", type=options.Folder(exists=True, file_okay=False)
)
@options.page(f"The page, .html [default: {COMPARISON}].", former="--out")
@options.json
def compare(runs: tuple[Path, ...], page: Path | None, as_json: bool) -> None:
    """Show two to eight runs beside each other on a page that opens from disk.

    Scores are compared only on the same data and protocol; missing ones are listed with the command that computes them.
    Curves are overlaid; settings that differ are in a table. Only the run folders are read.

    \b
    Examples:
      trace compare ~/.trace/runs/2026-11-22-debug ~/.trace/runs/2026-11-23-debug
      trace compare RUN RUN RUN --page ablation.html --json
    """
    _named_as_page(page)
    from trace_train.report.compare import write_comparison

    from . import render

    result = write_comparison(runs, out=page or Path(COMPARISON))
    if as_json:
        render.json_object(result)
    else:
        _show(result)


def _named_as_page(page: Path | None) -> None:
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{page} is not the name of a page: name it .html")


def _show(result: Comparison) -> None:
    from trace_data.progress import size_in_words
    from trace_train.evaluate import MEASURES

    from . import render

    for run in result.runs:
        render.line(f"{run.name}: {run.state}, {run.step:,} of {run.steps:,} steps")
    for one in result.scores:
        render.line(f"\n{one.split}, {one.frames:,} frames")
        rows = []
        for m in MEASURES:
            values = [scores[m.key] for scores in one.scores.values()]
            if any(value is not None for value in values):
                rows.append((m.name, m.unit, *(render.number(value, m.digits, m.factor) for value in values)))
        render.table(("measure", "unit", *one.scores), rows, numeric=tuple(one.scores))
    if not result.scores:
        render.line("no two of these runs are scored on the same data with the same protocol")
    render.line(f"\nsettings that differ: {', '.join(result.settings) or 'none'}")
    for text in result.missing:
        render.line(f"  {text}")
    render.line(f"  page  {result.page}  ({size_in_words(result.bytes)}, open it in any browser)")
