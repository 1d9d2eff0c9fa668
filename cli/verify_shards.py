"""`trace verify-shards`: check finished shards for completeness and valid content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trace_data.schema.findings import Problem
    from trace_data.shards.checks.shards import Depth, ShardReport, ShardsReport

OF_THE_FILE = ("file", "length", "content")
"""Keys of problems of a whole file, which add nothing to the message."""


@options.command("verify-shards")
@options.shards_folder
@options.local_shards
@click.option(
    "--depth",
    type=click.Choice(("index", "hashes", "frames")),
    default="frames",
    show_default=True,
    help="index: files, structure and tables; hashes: every byte; frames: every image and every annotation.",
)
@options.jobs
@options.json
@click.pass_context
def verify_shards(
    context: click.Context, directory: Path | None, shards: Path | None, depth: str, jobs: int, as_json: bool
) -> None:
    """Check the finished shards in the folder DIR [setting shards].

    Each depth includes the previous one. All problems are listed at once, with the command that fixes them; the exit
    code is then 3.

    \b
    Examples:
      trace verify-shards
      trace verify-shards /scratch/shards --depth hashes --jobs 16
      trace verify-shards --shards /scratch/shards --json
    """
    from trace_data.shards.checks.shards import verify_shards as verify

    from . import render

    with render.Display() as progress:
        report = verify(
            options.one_folder("shards", directory, shards), depth=cast("Depth", depth), jobs=jobs, progress=progress
        )
    if as_json:
        render.json_object(report.to_json())
    else:
        _show(report)
    if not report.ok:
        context.exit(3)


def _show(report: ShardsReport) -> None:
    from trace_data.progress import counted

    from . import render

    render.line(f"shards in {report.folder}{'  (synthetic)' if report.synthetic else ''}")
    columns = ("dataset", "split", "shards", "sequences", "frames", "people", "size", "2D to 3D px", "problems")
    groups: dict[tuple[str, str], list[ShardReport]] = {}
    for shard in report.shards:
        groups.setdefault((shard.dataset, shard.split), []).append(shard)
    render.table(columns, [_summary(*key, group) for key, group in groups.items()], numeric=columns[2:])
    _show_problems("index", report.index)
    for shard in report.shards:
        _show_problems(shard.file, shard.problems)
    if report.left_out:
        count = counted(len(report.left_out), "sequence")
        render.line(f"\n{count} left out by the build, first {report.left_out[0].key}")
    broken = [shard.file for shard in report.shards if not shard.ok]
    broken += ["the index"] if any(problem.severity == "error" for problem in report.index) else []
    unseen = {"index": "no byte of frames and annotations was looked at", "hashes": "no picture and no value"}
    depth = "" if report.depth == "frames" else f", at depth {report.depth}: {unseen[report.depth]}"
    render.line(f"\nnot well: {', '.join(broken)}" if broken else f"\nyes, all well{depth}")


def _summary(dataset: str, split: str, shards: Sequence[ShardReport]) -> tuple[str, ...]:
    from trace_data.progress import size_in_words

    from . import render

    problems = sum(problem.count for shard in shards for problem in shard.problems)
    worst = max((median for shard in shards for median in shard.reprojection_px.values()), default=None)
    counts = (sum(getattr(shard, name) for shard in shards) for name in ("sequences", "frames", "rows"))
    return (
        dataset,
        split,
        f"{len(shards):,}",
        *(f"{count:,}" for count in counts),
        size_in_words(sum(shard.bytes for shard in shards)),
        render.number(worst, 2),
        f"{problems:,}" if problems else "–",
    )


def _show_problems(name: str, problems: Sequence[Problem]) -> None:
    from . import render

    for problem in problems:
        times = "once" if problem.count == 1 else f"{problem.count:,} times"
        render.line(f"\n{name}  {problem.severity}: {problem.what}  ({times})")
        for example in problem.examples:
            shown = example.removeprefix(f"{name}: ")
            key, _, what = shown.partition(": ")
            if what != problem.what or key not in OF_THE_FILE:  # else it would only repeat the line above
                render.line(f"    {shown}")
        if problem.hint:
            render.line(f"  → {problem.hint}")
