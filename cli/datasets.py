"""`trace verify-datasets`: what is wrong with a dataset folder, before hours are spent on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from . import options

if TYPE_CHECKING:
    from trace_data.agreement import Agreement, Spread
    from trace_data.verify import DatasetReport, Depth, VerifyReport

WORST = 5
"""Sequences of a dataset that the table of geometry shows; `--json` has them all."""


@options.command("verify-datasets")
@options.names
@options.root
@options.packs
@click.option(
    "--depth",
    type=click.Choice(("layout", "content", "geometry")),
    default="content",
    show_default=True,
    help="layout: folders and names; content: every image and annotation; geometry: annotations against each other.",
)
@options.limit
@options.jobs
@options.json
@click.pass_context
def verify_datasets(
    context: click.Context,
    names: tuple[str, ...],
    root: Path | None,
    packs: Path | None,
    depth: str,
    limit: int | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Check the datasets NAME (all that are known when none is named) below the root folder.

    Each depth includes the one before. With body-model packs, geometry also compares bodies with joints. The exit
    code is 3 when something must be mended before shards are built.

    \b
    Examples:
      trace verify-datasets
      trace verify-datasets 3dpw --root /data/hmr --depth layout
      trace verify-datasets 3dpw --root world/datasets --packs packs --depth geometry --json
    """
    from trace_data.verify import verify_datasets as verify

    from . import render

    with render.Display() as progress:
        report = verify(
            names,
            options.folder("root", root),
            depth=cast("Depth", depth),
            packs=options.packs_if_any(packs),
            limit=limit,
            jobs=jobs,
            progress=progress,
        )
    if as_json:
        render.json_object(report.to_json())
    else:
        _show(report)
    if not report.ok:
        context.exit(3)


def _show(report: VerifyReport) -> None:
    from . import render

    columns = ("dataset", "layout found", "sequences", "frames", "people", "problems")
    render.table(columns, [_summary(dataset) for dataset in report.datasets], numeric=columns[2:])
    for dataset in report.datasets:
        for problem in dataset.problems:
            render.line(f"\n{dataset.name}  {problem.severity}: {problem.what}  ({_times(problem.count)})")
            for example in problem.examples:
                render.line(f"    {example}")
            if problem.hint:
                render.line(f"  → {problem.hint}")
        if dataset.geometry:
            _show_geometry(dataset)
    broken = [dataset.name for dataset in report.datasets if not dataset.ok]
    render.line(f"\nnot ready: {', '.join(broken)}" if broken else f"\nready, at depth {report.depth}")


def _summary(dataset: DatasetReport) -> tuple[str, ...]:
    sequences = ", ".join(f"{split} {count:,}" for split, count in dataset.sequences.items())
    name = f"{dataset.name}{'  (synthetic)' if dataset.synthetic else ''}"
    problems = f"{sum(problem.count for problem in dataset.problems):,}" if dataset.problems else "–"
    return name, dataset.layout or "none", sequences, f"{dataset.frames:,}", f"{dataset.people or '–'}", problems


def _show_geometry(dataset: DatasetReport) -> None:
    from . import render

    render.line(f"\n{dataset.name}: {WORST} worst of {len(dataset.geometry)} sequences (median / 95th / worst)")
    columns = ("sequence", "reprojection px", "body to joints mm", "bones change", "left and right")
    render.table(columns, [_geometry_row(agreement) for agreement in dataset.geometry[:WORST]])


def _geometry_row(agreement: Agreement) -> tuple[str, ...]:
    def words(spread: Spread | None) -> str:
        return "–" if spread is None else f"{spread.median:.2f} / {spread.p95:.2f} / {spread.worst:.2f}"

    bones = "–" if agreement.bone_change is None else f"{100 * agreement.bone_change:.2f} %"
    sides = f"exchanged for {', '.join(agreement.swapped)}" if agreement.swapped else "✓"
    return agreement.key, words(agreement.reprojection_px), words(agreement.body_mm), bones, sides


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"
