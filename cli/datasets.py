"""`trace verify-datasets`: check dataset folders before a build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trace_data.adapters.base import DatasetRoots
    from trace_data.consistency.sequence import Consistency, Spread
    from trace_data.verify.datasets import DatasetReport, Depth, VerifyReport
    from trace_data.verify.manifest import Counts
    from trace_data.verify.manifest_diff import Differences

WORST = 5
"""Number of sequences in the table of geometry; `--json` has all."""
MORE = "… (--list for all)"
STATE_FILE = "verify-datasets.jsonl"
"""Name of the record of earlier results, in the cache folder."""


@options.command("verify-datasets")
@options.names
@options.adapters
@options.root
@options.packs
@click.option(
    "--depth",
    type=click.Choice(("layout", "content", "geometry")),
    default="content",
    show_default=True,
    help="layout: folders and names; content: every image and annotation; geometry: annotations against each other.",
)
@click.option("--decode", is_flag=True, help="Decode every image fully, which also finds damage in its middle; slower.")
@options.defects
@options.limit
@click.option("--list", "every_case", is_flag=True, help="List all cases of each problem, not only the first five.")
@click.option(
    "--state",
    type=options.AnyPath(dir_okay=False),
    help="File that records valid sequences  [verify-datasets.jsonl in the setting cache].",
)
@click.option("--anew", is_flag=True, help="Read everything, even files unchanged since an earlier check.")
@click.option(
    "--write-manifest",
    type=options.AnyPath(dir_okay=False),
    help="Write every file with its size and hash, and every sequence with its samples, to this file.",
)
@click.option("--fast", is_flag=True, help="With --write-manifest: hash only the first and last MB of a file.")
@click.option("--against", type=options.AnyPath(dir_okay=False), help="Compare with the manifest in this file.")
@click.option(
    "--picture", type=options.AnyPath(dir_okay=False), help="Draw the worst and some random frames into this image."
)
@options.page("Write the results to this HTML page.", former="--report")
@options.jobs
@options.json
@click.pass_context
def verify_datasets(
    context: click.Context,
    /,
    names: tuple[str, ...],
    adapters: tuple[str, ...],
    root: Path | None,
    packs: Path | None,
    depth: str,
    every_case: bool,
    state: Path | None,
    picture: Path | None,
    page: Path | None,
    as_json: bool,
    write_manifest: Path | None,
    fast: bool,
    against: Path | None,
    jobs: int,
    **manner: Any,
) -> None:
    """Check the datasets NAME (default: all known ones) below the root folder.

    Each depth includes the previous one. With body-model packs, geometry also compares bodies with joints. Valid
    sequences are not read again until they change. The exit code is 3 when something must be fixed before shards can be
    built, or differs from the manifest.

    \b
    Examples:
      trace verify-datasets
      trace verify-datasets 3dpw --root /data/hmr --depth layout
      trace verify-datasets 3dpw --depth geometry --packs packs --page 3dpw.html
      trace verify-datasets --adapter my_package.my_dataset --list
      trace verify-datasets 3dpw --depth layout --write-manifest 3dpw.jsonl
      trace verify-datasets 3dpw --depth layout --against 3dpw.jsonl
    """
    from trace_data.schema.findings import EXAMPLES
    from trace_data.verify.datasets import verify_datasets as verify

    from . import render

    if fast and write_manifest is None:
        raise click.UsageError("--fast belongs to --write-manifest; --against hashes as its manifest does")
    chosen = options.datasets(names, adapters)
    folder = options.datasets_root(chosen, root)
    examples = None if every_case else EXAMPLES
    packs = options.packs_if_any(packs)
    with render.Display() as progress:
        report = verify(
            chosen,
            folder,
            depth=cast("Depth", depth),
            packs=packs,
            examples=examples,
            state=state or options.folder("cache") / STATE_FILE,
            jobs=jobs,
            progress=progress,
            **manner,
        )
        work = {"jobs": jobs, "progress": progress}
        written = _write(chosen, folder, write_manifest, fast, work) if write_manifest else None
        compared = _compare(chosen, folder, against, examples, work) if against else None
    drawn = _draw(report, picture, packs, manner["defects"]) if picture else None
    if page is not None:
        from trace_data.verify.page import write_page

        write_page(report, page, packs=packs, defects=manner["defects"])
    if as_json:
        extra = {"manifest": written, "differences": compared, "picture": drawn, "page": page}
        render.json_object({**report.to_json(), **{name: value for name, value in extra.items() if value is not None}})
    else:
        _show(report)
        _show_more(written, compared, drawn, write_manifest, picture)
        if page is not None:
            render.line(f"page → {page}  (open it in any browser)")
    if not report.ok or (compared is not None and not compared.ok):
        context.exit(3)


def _write(names: Sequence[str], root: DatasetRoots, file: Path, fast: bool, work: dict[str, Any]) -> Counts:
    from trace_data.verify.manifest import write_manifest

    return write_manifest(names, root, file, hash="fast" if fast else "sha256", **work)


def _compare(
    names: Sequence[str], root: DatasetRoots, file: Path, examples: int | None, work: dict[str, Any]
) -> Differences:
    from trace_data.verify.manifest_diff import compare_with

    return compare_with(file, names, root, examples=examples, **work)


def _draw(report: VerifyReport, file: Path, packs: Path | None, defects: bool) -> int:
    from trace_data.verify.contact_sheet import draw_sheet

    return draw_sheet(report, file, packs=packs, defects=defects)


def _show(report: VerifyReport) -> None:
    from . import render

    columns = ("dataset", "layout found", "sequences", "frames", "people", "problems")
    render.table(columns, [_summary(dataset) for dataset in report.datasets], numeric=columns[2:])
    for dataset in report.datasets:
        render.problems(dataset.name, dataset.problems, more=MORE)
        for defect in dataset.defects:
            where = f"{defect.frames:,} frames in {defect.sequences:,} sequence{'s' * (defect.sequences != 1)}"
            render.line(f"\n{dataset.name}  known defect: {defect.reason}")
            render.line(f"    {defect.effect} removed from {where}; --no-defects keeps it")
        if dataset.geometry:
            _show_geometry(dataset)
    broken = [dataset.name for dataset in report.datasets if not dataset.ok]
    here = [dataset.name for dataset in report.datasets if dataset.layout]
    if 0 < len(here) < len(report.datasets):
        render.line(f"\nhere: {', '.join(here)}; these alone:  trace verify-datasets {' '.join(here)} …")
    render.line(f"\nnot ready: {', '.join(broken)}" if broken else f"\nready, at depth {report.depth}")


def _show_more(
    written: Counts | None, compared: Differences | None, drawn: int | None, manifest: Path | None, picture: Path | None
) -> None:
    from . import render

    if written is not None:
        facts = f"{written.files:,} files, {written.bytes / 1e9:,.2f} GB, {written.sequences:,} sequences"
        render.line(f"manifest: {facts} → {manifest}")
    if compared is not None:
        facts = f"{compared.files:,} files and {compared.sequences:,} sequences compared with {compared.manifest}"
        render.problems("manifest", compared.problems, more=MORE)
        render.line(f"{facts}: {'the same data' if compared.ok else 'not the same data'}")
    if drawn is not None:
        render.line(f"{drawn} frames → {picture}" if drawn else "no frame can be shown")


def _summary(dataset: DatasetReport) -> tuple[str, ...]:
    sequences = ", ".join(f"{split} {count:,}" for split, count in dataset.sequences.items())
    name = f"{dataset.name}{'  (synthetic)' if dataset.synthetic else ''}"
    problems = f"{sum(problem.count for problem in dataset.problems):,}" if dataset.problems else "–"
    return name, dataset.layout or "none", sequences, f"{dataset.frames:,}", f"{dataset.people or '–'}", problems


def _show_geometry(dataset: DatasetReport) -> None:
    from . import render

    shown = min(WORST, len(dataset.geometry))
    render.line(f"\n{dataset.name}: {shown} worst of {len(dataset.geometry)} sequences (median / 95th / worst)")
    columns = ("sequence", "reprojection px", "body to joints mm", "bones change", "fastest", "left and right")
    render.table(columns, [_geometry_row(consistency) for consistency in dataset.geometry[:WORST]])


def _geometry_row(consistency: Consistency) -> tuple[str, ...]:
    def words(spread: Spread | None) -> str:
        return "–" if spread is None else f"{spread.median:.2f} / {spread.p95:.2f} / {spread.worst:.2f}"

    speed = "–" if consistency.fastest is None else f"{consistency.fastest:.1f} m/s"
    bones = "–" if consistency.bone_change is None else f"{100 * consistency.bone_change:.2f} %"
    swapped = {*consistency.swapped, *consistency.swapped_body, *consistency.backwards}
    compared = consistency.reprojection_px is not None or consistency.body_mm is not None
    sides = f"exchanged for {', '.join(sorted(swapped))}" if swapped else "✓" if compared else "–"
    return consistency.key, words(consistency.reprojection_px), words(consistency.body_mm), bones, speed, sides
