"""`trace add-flow`: compute optical flow once and store it beside finished shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from . import options

if TYPE_CHECKING:
    from trace_data.shards.flow.index import Provider
    from trace_train.precompute.flow import FlowReport
    from trace_train.precompute.providers import FlowSource


@options.command("add-flow")
@options.shards_folder
@options.local_shards
@options.flow(required=True)
@options.flow_weights
@click.option(
    "--iterations", type=click.IntRange(min=1), default=20, show_default=True, help="Refinement iterations of RAFT."
)
@click.option(
    "--stride",
    "strides",
    multiple=True,
    type=click.IntRange(min=1),
    default=(1, 2, 3, 4),
    show_default=True,
    help="Distance between the two frames of a pair, in frames of a sequence; repeatable. Training needs all of"
    " data.strides, evaluation 1.",
)
@click.option(
    "--height",
    type=click.IntRange(min=64),
    default=512,
    show_default=True,
    help="Short side of the pictures that flow is computed on, px; a multiple of 8.",
)
@options.jobs
@options.force
@options.json
def add_flow(
    directory: Path | None,
    shards: Path | None,
    flow: str,
    weights: Path | None,
    iterations: int,
    strides: tuple[int, ...],
    height: int,
    jobs: int,
    force: bool,
    as_json: bool,
) -> None:
    """Compute the optical flow of the shards in the folder DIR [setting shards] and store it beside them.

    Training with network.flow=stored then reads it, for any crop, instead of computing it in every step. Neither the
    shards nor runs that use them are touched. RAFT uses a GPU where there is one. The same command resumes an
    interrupted pass, and after shards are rebuilt computes only what is missing.

    \b
    Examples:
      trace add-flow --flow raft
      trace add-flow /scratch/shards --flow raft --weights weights
      trace add-flow shards --flow dis --stride 1 --stride 2 --jobs 16
    """
    from trace_train.precompute.flow import add_flow as compute

    from . import render

    folder = options.one_folder("shards", directory, shards)
    source = open_source(flow, weights, jobs, iterations=iterations, strides=strides, height=height)
    with render.Display() as progress:
        report = compute(folder, source, jobs=jobs, force=force, progress=progress)
    if as_json:
        render.json_object(report.to_json())
    else:
        show(report)


def open_source(flow: str, weights: Path | None, jobs: int, **settings: Any) -> FlowSource:
    """The provider of the options. Raises ConfigError, CheckpointError."""
    from trace_train.precompute.providers import open_provider

    folder = options.folder("weights", weights) if flow == "raft" else None
    return open_provider(cast("Provider", flow), weights=folder, threads=jobs, **settings)


def show(report: FlowReport) -> None:
    """The report in two lines."""
    from trace_data.progress import counted, size_in_words

    from . import render

    facts = report.to_json()
    render.line(
        f"flow by {facts['provider'].upper()} of {counted(facts['frames'], 'frame')}, {size_in_words(facts['bytes'])},"
        f" {size_in_words(facts['bytes_per_frame'])} a frame"
    )
    speed = f", {facts['frames_per_second']:,.1f} frames/s" if report.computed else ""
    render.line(f"  computed {report.computed}, kept {report.kept}{speed} → {facts['folder']}")
    render.line("next: trace train --set network.flow=stored")
