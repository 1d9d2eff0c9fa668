"""`trace report`: a run as one self-contained page."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


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
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"{page} is not the name of a page: name it .html")
    from trace_data.progress import size_in_words
    from trace_train.report.run import write_report

    from . import render

    with render.Display() as progress:
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
