"""`trace preview`: show the content of shards, as stored or as the network sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from . import options

if TYPE_CHECKING:
    from trace_train.preview.preview import PreviewReport

PAGE = "preview.html"


@options.command("preview")
@options.shards_folder
@options.shards
@options.packs
@click.option("--clips", type=click.IntRange(1, 1000), default=12, show_default=True, help="Maximum number of clips.")
@options.clip_frames(least=1, text="Frames of a clip.")
@click.option("--stride", type=click.IntRange(min=1), default=1, show_default=True, help="Show every N-th frame.")
@options.split()
@options.sequences
@click.option(
    "--augmented",
    is_flag=True,
    help="Show training batches instead: cropped, jittered and resized as the network gets them.",
)
@click.option("--config", "preset", default="trace", show_default=True, help="With --augmented: preset or YAML file.")
@click.option("--set", "assignments", multiple=True, metavar="KEY=VALUE", help="With --augmented: as of trace train.")
@options.page(f"The page, .html [default: {PAGE}].", former="--out")
@click.option(
    "--sheet", type=options.AnyPath(dir_okay=False), help="Draw the clips into this .jpg or .png, one row per clip."
)
@options.json
@click.pass_context
def preview(
    context: click.Context,
    directory: Path | None,
    shards: Path | str | None,
    cache: Path | None,
    cache_size: str | None,
    packs: Path | None,
    clips: int,
    clip_frames: int,
    stride: int,
    splits: tuple[str, ...],
    sequences: tuple[str, ...],
    augmented: bool,
    preset: str,
    assignments: tuple[str, ...],
    page: Path | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Show clips of the shards in DIR, or of --shards, on a page that opens from disk and plays them.

    Joints, bodies and paths seen from above are drawn over the frames and can be switched off. Clips are chosen evenly
    over datasets, splits and sequences. With --sheet alone, only the contact sheet is drawn.

    \b
    Examples:
      trace preview
      trace preview /scratch/shards --split val --clips 20 --sheet val.jpg
      trace preview --sequences outdoors_fencing_01 --clips 4 --clip-frames 40
      trace preview --shards /scratch/shards --shards /data/mine
      trace preview --augmented --config debug --page augmented.html
    """
    _check(context, augmented, page)
    if directory is not None and shards is not None and str(directory) != str(shards):
        raise click.UsageError(f"two places are named: {directory} and --shards {shards}; repeat --shards for both")
    from trace_train.config import load_config
    from trace_train.preview.choose import Wanted
    from trace_train.preview.preview import preview as show

    from . import render

    with render.Display() as progress:
        report = show(
            options.store(directory if shards is None else shards, cache, cache_size, progress),
            packs=options.packs_if_any(packs),
            wanted=Wanted(clips=clips, frames=clip_frames, stride=stride, splits=splits, sequences=sequences),
            page=page or (Path(PAGE) if sheet is None else None),
            sheet=sheet,
            augmented=load_config(preset, assignments) if augmented else None,
            progress=progress,
        )
    if as_json:
        render.json_object(report)
    else:
        _tell(report)


def _check(context: click.Context, augmented: bool, page: Path | None) -> None:
    """Reject options that would silently have no effect."""
    only = {True: ("clip_frames", "stride", "splits"), False: ("preset", "assignments")}[augmented]
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if parameter.name in only and given:
            why = "with --augmented the configuration determines it" if augmented else "it needs --augmented"
            raise click.UsageError(f"{parameter.opts[0]} has no effect here: {why}", context)
    if page is not None and page.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(
            f"{page} is not the name of a page: name it .html, or give --sheet for a picture", context
        )


def _tell(report: PreviewReport) -> None:
    from trace_data.progress import counted, size_in_words

    from . import render

    how = " as the network sees them" if report.augmented else ""
    render.line(f"{counted(len(report.clips), 'clip')}{how}{'  (synthetic)' if report.synthetic else ''}")
    for note in report.notes[1:]:
        render.line(f"  {note}")
    if report.page is not None:
        render.line(f"  page   {report.page}  ({size_in_words(report.bytes)}, open it in any browser)")
    if report.sheet is not None:
        render.line(f"  sheet  {report.sheet}")
