"""`trace build-shards`: datasets into shards for training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from . import options


@options.command("build-shards")
@options.names
@options.root
@options.packs
@options.out("Folder the shards are written to [setting shards].")
@options.split()
@click.option(
    "--height",
    "heights",
    multiple=True,
    type=click.IntRange(min=16),
    help="Short side of a stored frame, px; larger frames are scaled down [720, more where people are small]. Repeat it"
    " to store several sizes: 288, 512 and 720 take 76 % more room and are read faster.",
)
@click.option(
    "--frames",
    type=click.Choice(["scaled", "original"]),
    default="scaled",
    show_default=True,
    help="Scale frames to --height, or keep the bytes of the original files.",
)
@options.limit
@options.jobs
@options.force
@options.json
@click.pass_context
def build_shards(
    context: click.Context,
    names: tuple[str, ...],
    root: Path | None,
    packs: Path | None,
    out: Path | None,
    splits: tuple[str, ...],
    heights: tuple[int, ...],
    frames: str,
    limit: int | None,
    jobs: int,
    force: bool,
    as_json: bool,
) -> None:
    """Turn the datasets NAME (all that are known when none is named) into HDF5 shards.

    A build that was stopped goes on where it was when the same command is given again. A sequence that cannot be
    used is left out and listed with its reason; the exit code is then 3.

    \b
    Examples:
      trace build-shards
      trace build-shards 3dpw --root /data/hmr --out /scratch/shards --jobs 16
      trace build-shards 3dpw --split val --limit 5
    """
    from trace_data.build import build_shards as build

    if heights and frames == "original":
        raise click.UsageError("--height and --frames original exclude each other: original bytes keep their size")
    from . import render

    with render.Display() as progress:
        report = build(
            names,
            options.folder("root", root),
            options.folder("shards", out),
            packs=options.packs_if_any(packs),
            splits=splits,
            limit=limit,
            storage=_storage(heights, frames),
            jobs=jobs,
            force=force,
            progress=progress,
        )
    facts = report.to_json()
    if as_json:
        render.json_object(facts)
    else:
        render.line(
            f"{facts['shards']:,} shards, {facts['bytes'] / 1e6:,.1f} MB, {facts['sequences']:,} sequences,"
            f" {facts['frames']:,} frames, {facts['people']:,} people{'  (synthetic)' if facts['synthetic'] else ''}"
        )
        speed = facts["frames_per_second"]
        render.line(f"  built {report.built}, kept {report.kept}, {speed:,.0f} frames/s → {facts['folder']}")
        if report.bad:
            render.table(("left out", "reason"), [(bad.key, bad.reason) for bad in report.bad])
    if report.bad:
        context.exit(3)


def _storage(heights: tuple[int, ...], frames: str) -> Any:
    """The sizes that the options ask for."""
    from trace_data.shards.levels import Storage

    if frames == "original":
        return Storage(heights=(), raised=False)
    return Storage(heights=tuple(sorted(set(heights))), raised=False) if heights else Storage()
