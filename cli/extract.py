"""`trace extract-frames`: the frames of a dataset's videos as image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trace_data.extract import ExtractReport
    from trace_data.schema.record import Split


@options.command("extract-frames")
@click.argument("name", required=False)
@options.adapters
@options.root
@options.out("Folder the images are written below  [where the dataset's reader looks for them, or its folder frames].")
@options.split()
@click.option(
    "--only",
    type=click.Choice(["missing", "all"]),
    default="missing",
    show_default=True,
    help="Only missing frames, or all of them again.",
)
@click.option(
    "--every", type=click.IntRange(min=1), default=1, show_default=True, help="Only every N-th annotated frame."
)
@click.option(
    "--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="JPEG quality of the images."
)
@options.limit
@options.jobs
@options.json
@click.pass_context
def extract_frames(
    context: click.Context,
    name: str | None,
    adapters: tuple[str, ...],
    root: Path | None,
    out: Path | None,
    splits: Sequence[str],
    only: str,
    every: int,
    quality: int,
    limit: int | None,
    jobs: int,
    as_json: bool,
) -> None:
    """Write the annotated video frames of the dataset NAME as image files.

    Shards are built directly from videos; this is for tools that need images. The same command resumes an interrupted
    extraction. The exit code is 3 when a video cannot be read.

    \b
    Examples:
      trace extract-frames mpi-inf-3dhp --root /data/hmr
      trace extract-frames h36m --only missing --every 5 --jobs 16
      trace extract-frames --adapter my_package.my_dataset --out /scratch/frames
    """
    from trace_data.extract import extract_frames as extract

    from . import render

    names = options.datasets([name] if name else [], adapters)
    if len(names) != 1:
        raise click.UsageError("give one dataset: NAME, or --adapter MODULE for one of your own")
    with render.Display() as progress:
        report = extract(
            names[0],
            options.datasets_root(names, root),
            out=out,
            splits=cast("Sequence[Split]", splits),
            every=every,
            again=only == "all",
            quality=quality,
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


def _show(report: ExtractReport) -> None:
    from . import render

    facts = [f"{report.written:,} frames of {report.videos:,} videos written", f"{report.kept:,} existed"]
    if report.without_video:
        facts.append(f"{report.without_video:,} sequences have no video")
    render.line(f"{', '.join(facts)} → {report.out}")
    render.problems(report.name, report.problems)
