"""`trace build-shards`: build shards for training from datasets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from trace_data.builder.build import BuildReport


def _part(context: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """Parse `2/8` as a BuildPart."""
    if value is None:
        return None
    from trace_data.builder.plan import BuildPart

    number, _, of = value.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise click.BadParameter(f"{value!r} is not a part, expected I/N with I from 1 to N, such as 2/8")
    return BuildPart(number=int(number), of=int(of))


@options.command("build-shards")
@options.names
@options.adapters
@options.root
@options.packs
@options.out("Folder the shards are written to [setting shards].")
@options.split()
@options.sequences
@options.limit
@click.option(
    "--every",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Only every N-th frame; frame ids and fps stay those of the release.",
)
@click.option(
    "--height",
    "heights",
    multiple=True,
    type=click.IntRange(min=16),
    help="Short side of a stored frame, px; larger frames are scaled down [720, more where people are small]. Repeat it"
    " to store several sizes: 288, 512 and 720 take 76 % more space and are read faster.",
)
@click.option(
    "--frames",
    type=click.Choice(["scaled", "original"]),
    default="scaled",
    show_default=True,
    help="Scale frames to --height, or keep the bytes of the original files.",
)
@click.option(
    "--shard-size",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    metavar="MIB",
    help="Close a shard once it exceeds this size.",
)
@options.defects
@click.option(
    "--check",
    type=click.Choice(["content", "geometry"]),
    default="content",
    show_default=True,
    help="Leave sequences out that verify-datasets would call wrong at this depth: content costs next to nothing,"
    " geometry also compares 2D joints, 3D joints and bodies.",
)
@options.jobs
@click.option(
    "--part", metavar="I/N", callback=_part, help="Build the I-th of N parts, for several machines; then --finish."
)
@click.option("--finish", is_flag=True, help="Build nothing: check that all parts exist and write the index.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Local processes, or a Ray cluster (needs the extra [ray]).",
)
@click.option("--ray-address", metavar="HOST:PORT", help="Ray cluster to use [default: start one of --jobs processes].")
@options.flow()
@options.flow_weights
@options.force
@options.json
@click.pass_context
def build_shards(
    context: click.Context,
    /,
    names: tuple[str, ...],
    adapters: tuple[str, ...],
    root: Path | None,
    packs: Path | None,
    out: Path | None,
    heights: tuple[int, ...],
    frames: str,
    shard_size: int,
    part: Any,
    jobs: int,
    engine: str,
    ray_address: str | None,
    flow: str | None,
    weights: Path | None,
    as_json: bool,
    **selection: Any,
) -> None:
    """Build HDF5 shards from the datasets NAME (default: all known ones).

    The same command resumes an interrupted build. A sequence that cannot be used is left out and listed with the
    reason; the exit code is then 3.

    \b
    Examples:
      trace build-shards
      trace build-shards 3dpw --root /data/hmr --out /scratch/shards --jobs 16
      trace build-shards 3dpw --split val --limit 5
      trace build-shards 3dpw --sequences 'downtown_*' --every 5
      trace build-shards 3dpw --packs packs --check geometry
      trace build-shards 3dpw --flow raft --weights weights    (as trace add-flow afterwards)
      trace build-shards 3dpw --part 2/8    (on the second of eight machines; at the end once with --finish)
      trace build-shards --engine ray --ray-address head:6379
    """
    from trace_data.builder.build import build_shards as build

    if heights and frames == "original":
        raise click.UsageError("--height and --frames original exclude each other: original bytes keep their size")
    _check_part(part, finish=selection["finish"], force=selection["force"])
    if ray_address and engine != "ray":
        raise click.UsageError("--ray-address belongs to --engine ray")
    if flow and part is not None:
        raise click.UsageError("--flow is computed for whole folders: give it with --finish, or use trace add-flow")
    from . import render
    from .flow import open_source, show

    chosen, folder = options.datasets(names, adapters), options.folder("shards", out)
    source = open_source(flow, weights, jobs) if flow else None  # before hours of building
    with render.Display() as progress:
        report = build(
            chosen,
            options.datasets_root(chosen, root),
            folder,
            packs=options.packs_if_any(packs),
            storage=_storage(heights, frames),
            shard_bytes=shard_size << 20,
            part=part,
            engine=_engine(engine, jobs, ray_address),
            progress=progress,
            **selection,
        )
        added = None
        if source is not None:
            from trace_train.precompute.flow import add_flow

            added = add_flow(folder, source, jobs=jobs, force=selection["force"], progress=progress)
    if as_json:
        render.json_object(report.to_json() | ({} if added is None else {"flow": added.to_json()}))
    else:
        _show(report)
        if added is not None:
            show(added)
    if report.bad:
        context.exit(3)


def _show(report: BuildReport) -> None:
    from trace_data.progress import counted, size_in_words

    from . import render

    facts = report.to_json()
    render.line(
        f"{counted(facts['shards'], 'shard')}, {size_in_words(facts['bytes'])},"
        f" {counted(facts['sequences'], 'sequence')}, {counted(facts['frames'], 'frame')},"
        f" {facts['people']:,} people{'  (synthetic)' if facts['synthetic'] else ''}"
    )
    speed = f", {facts['frames_per_second']:,.0f} frames/s" if report.built else ""
    render.line(f"  built {report.built}, kept {report.kept}{speed} → {facts['folder']}")
    if facts["with_known_defects"]:
        count = facts["with_known_defects"]
        of = f"{count:,} sequence{'s' * (count != 1)}"
        render.line(f"  known defects removed from {of} (--no-defects keeps them)")
    if report.part is not None:
        render.line(f"  part {report.part}: when all parts are built, the same command with --finish writes the index")
    if report.bad:
        render.line()
        render.table(("left out", "reason"), [(bad.key, bad.reason) for bad in report.bad])
        render.line("  fix them and run the same command again: only their shards are rebuilt")


def _check_part(part: Any, *, finish: bool, force: bool) -> None:
    if part is not None and finish:
        raise click.UsageError("--part and --finish exclude each other: parts first, then --finish once")
    if (part is not None or finish) and force:
        raise click.UsageError("--force would remove shards of other parts: empty the folder first, then start")


def _engine(name: str, jobs: int, address: str | None) -> Any:
    """The engine for the options."""
    from trace_data.builder.engines import LocalEngine, RayEngine

    return RayEngine(address=address, jobs=jobs) if name == "ray" else LocalEngine(jobs=jobs)


def _storage(heights: tuple[int, ...], frames: str) -> Any:
    """Sizes of stored frames, by the options."""
    from trace_data.shards.levels import Storage

    if frames == "original":
        return Storage(heights=(), raised=False)
    return Storage(heights=tuple(sorted(set(heights))), raised=False) if heights else Storage()
