"""`trace import-weights` and `trace export-weights`: read and write the published checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from trace_train.weights.importing import PartReport


@options.command("import-weights")
@click.option("--image", type=options.AnyPath(dir_okay=False), help="trace_image_backbone.pkl, the image model.")
@click.option("--head", type=options.AnyPath(dir_okay=False), help="trace_head.pkl, the temporal head.")
@click.option("--flow", type=options.AnyPath(dir_okay=False), help="raft-things.pth, the optical flow.")
@click.option(
    "--from-bev",
    type=options.AnyPath(dir_okay=False),
    help="An image model with BEV's heads, to start a head from; instead of --image and --head.",
)
@options.out("Folder the weights are written to [setting weights].")
@click.option("--allow-unexpected", is_flag=True, help="Keep tensors with unknown names instead of rejecting the file.")
@options.force
@options.json
def import_weights(
    image: Path | None,
    head: Path | None,
    flow: Path | None,
    from_bev: Path | None,
    out: Path | None,
    allow_unexpected: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Convert the released checkpoints to a folder of safetensors, and record where they came from.

    Nothing in the files is executed. A tensor that is missing, of another shape or unknown is an error, and nothing is
    written. Without a file option, files with the published names in the folder of the setting
    `sources` are used. Download locations: trace docs weights.

    \b
    Examples:
      trace import-weights --image trace_image_backbone.pkl --head trace_head.pkl --flow raft-things.pth --out weights
      trace import-weights --flow raft-things.pth
      trace import-weights --from-bev BEV.pth --out start
    """
    from trace_train.weights.importing import import_weights as run

    from . import render

    named = {"image": image, "head": head, "flow": flow}
    files = {part: path for part, path in named.items() if path is not None}
    if not files and from_bev is None:
        files = _in_sources()
    with render.Display() as progress:
        report = run(
            files,
            options.folder("weights", out),
            from_bev=from_bev,
            allow_unexpected=allow_unexpected,
            force=force,
            progress=progress,
        )
    if as_json:
        render.json_object(report)
        return
    _show(report.parts)
    render.line(f"\nwritten: {report.out}   (weights.json says where they came from)")


def _in_sources() -> dict[str, Path]:
    from trace_data.errors import ConfigError
    from trace_train.weights.published import PARTS

    folder = options.folder("sources")
    files = {
        name: folder / file
        for name, part in PARTS.items()
        for file in (*part.also, part.file)  # the last match wins
        if (folder / file).is_file()
    }
    if not files:
        raise ConfigError(
            f"no file is given, and none of {', '.join(part.file for part in PARTS.values())} is there",
            where=folder,
            hint="trace import-weights --image trace_image_backbone.pkl --head trace_head.pkl --flow raft-things.pth",
        )
    return files


def _show(parts: tuple[PartReport, ...]) -> None:
    from trace_train.weights.published import FATES

    from . import render

    rows = [
        (part.part, group.module, f"{group.tensors:,}", FATES[group.fate]) for part in parts for group in part.groups
    ]
    render.table(("part", "module", "tensors", "state"), rows, numeric=("tensors",))
    render.line()
    totals = []
    for part in parts:
        mapped = sum(group.tensors for group in part.groups if group.fate == "mapped")
        numbers = (part.tensors, mapped, part.tensors - mapped, len(part.missing), len(part.unexpected))
        totals.append((part.part, part.source, *(f"{number:,}" for number in numbers)))
    columns = ("part", "file", "tensors", "mapped", "kept", "missing", "unexpected")
    render.table(columns, totals, numeric=columns[2:])
    for part in parts:
        if part.missing:
            render.line(f"{part.part}: missing, none of them needed: {_shortened(part.missing)}")
        if part.unexpected:
            render.line(f"{part.part}: unexpected: {_shortened(part.unexpected)}")
        for note in part.notes:
            render.line(f"{part.part}: {note}")


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6:,} more (--json lists all)" if len(names) > 6 else "")


@options.command("export-weights")
@click.argument("source", required=False, metavar="[RUN|DIR]", type=options.AnyPath(file_okay=False))
@options.out("Folder the files are written to.", default="published")
@click.option(
    "--form",
    type=click.Choice(("published", "network")),
    default="published",
    show_default=True,
    help="The published files, or a network to share: one file and its configuration.",
)
@click.option("--half", is_flag=True, help="With --form network: float16, half the size.")
@options.force
@options.json
def export_weights(source: Path | None, out: Path, form: str, half: bool, force: bool, as_json: bool) -> None:
    """Write weights for others: under the published file names, or as a network to share.

    The published files come from a folder of imported weights (default: the setting `weights`), or from a run or
    checkpoint that started from one. The published inference code reads them.

    A network to share holds the weights of any run, without RAFT, and its configuration, without what only training
    needs. `trace predict --weights`, `trace evaluate` and `init.weights` take its folder.

    \b
    Examples:
      trace export-weights
      trace export-weights ~/.trace/runs/2026-11-22-trace --out published
      trace export-weights quickstart/run --form network --half --out mine
    """
    from trace_train.weights.exporting import export_weights as run

    from . import render

    if form == "network":
        _share(options.folder("weights", source), out, half=half, force=force, as_json=as_json)
        return
    if half:
        raise click.UsageError("--half is for  --form network")
    written = run(options.folder("weights", source), out, force=force)
    if as_json:
        render.json_object({"files": written})
        return
    rows = [(item.part, str(item.file), f"{item.tensors:,}", f"{len(item.missing):,}") for item in written]
    render.table(("part", "file", "tensors", "not in it"), rows, numeric=("tensors", "not in it"))


def _share(source: Path, out: Path, *, half: bool, force: bool, as_json: bool) -> None:
    from trace_train.weights.shared import share

    from . import render

    shared = share(source, out, half=half, force=force)
    if as_json:
        render.json_object({"folder": shared.folder, "step": shared.step, "sha256": shared.sha256})
        return
    size = shared.file.stat().st_size / 1e6
    render.line(f"{shared.file}: {size:,.1f} MB, step {shared.step:,}, trained on {shared.trained_on}")
