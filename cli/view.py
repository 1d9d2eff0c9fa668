"""`trace view`: a result, or a sequence of the shards, on one page in 3D."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trace_data.view.view import Viewed

OF_RESULTS = ("video", "embed_video", "frames", "body", "people", "start", "end", "level", "ground", "smooth")
OF_SHARDS = ("sequence",)
OF_PAGES = ("page", "video", "embed_video", "frames", "open_it", "as_json")
"""Options that mean nothing for a sequence of shards, for a result, and without a page."""


@options.command("view")
@click.argument("result", metavar="RESULT|URL|SHARDS", type=options.Place())
@options.page("The page, .html  [default: beside RESULT].", former="--out")
@click.option("--video", type=options.AnyPath(), help="The video, or folder of images  [default: as RESULT names it].")
@click.option("--embed-video", is_flag=True, help="Put the video into the page instead of naming it.")
@click.option(
    "--embed-frames",
    "frames",
    cls=options.Renamed,
    former="--frames",
    is_flag=True,
    help="Put small pictures of the frames into the page instead of the video.",
)
@click.option("--sequence", metavar="NAME", help="SHARDS: the sequence to show, by name or pattern.")
@click.option(
    "--body",
    type=click.Choice(["model", "free"]),
    default="model",
    show_default=True,
    help="Surfaces: the body model of the result, or a CC0 body that anyone may share.",
)
@options.scene
@options.packs
@click.option("--open", "open_it", is_flag=True, help="Open the page in the browser.")
@click.option("--live", is_flag=True, help="Serve the scene with viser instead of writing a page (extra viewer).")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port of --live.")
@options.json
@click.pass_context
def view(context: click.Context, /, result: Path | str, page: Path | None, **given: Any) -> None:
    """Show RESULT (NAME.trace.npz) on one page that opens from disk, or a sequence of SHARDS.

    The video with the bodies over it on the left, the world in 3D on the right, in step. The page needs no internet and
    no file but the video. Without prepared body models people are skeletons. A result at a URL is first copied into the
    working folder.

    \b
    Examples:
      trace view walk.trace.npz --open
      trace view walk.trace.npz --embed-video --body free --page for-others.html
      trace view /scratch/shards --sequence downtown_arguing_00
    """
    from trace_data.results.file import read_result
    from trace_data.results.scene import SceneOptions
    from trace_data.view.view import Choice, fetched, scene_of_file, scene_of_sequence, view_result, view_sequence

    from . import render

    annotated, name = isinstance(result, Path) and result.is_dir(), given["sequence"]
    if annotated:
        _refuse_without_effect(context, OF_RESULTS, "annotations are shown as they are")
    else:
        _refuse_without_effect(context, OF_SHARDS, f"{result} is no folder of shards")
    if given["live"]:
        _refuse_without_effect(context, OF_PAGES, "--live writes no page")
    else:
        _refuse_without_effect(context, ("port",), "it is for --live")
    if not isinstance(result, Path):
        result = fetched(result, Path.cwd())
    choice = Choice(
        **{key: given[key] for key in ("video", "embed_video", "frames", "body")},
        packs=options.packs_if_any(given["packs"])
        if annotated
        else options.packs_of(read_result(result), given["packs"]),
        scene=SceneOptions(
            person=tuple(given["people"]), **{key: given[key] for key in ("start", "end", "level", "ground", "smooth")}
        ),
    )
    if given["live"]:
        from trace_data.view.live import serve

        scene = scene_of_sequence(result, name, choice) if annotated else scene_of_file(result, choice)
        serve(scene, given["port"], render.line)
        return
    shown = view_sequence(result, name, page, choice) if annotated else view_result(result, page, choice)
    if given["as_json"]:
        render.json_object(shown)
    else:
        _tell(shown)
    if given["open_it"]:
        click.launch(str(shown.page))


def _refuse_without_effect(context: click.Context, names: Sequence[str], why: str) -> None:
    """Raises UsageError if any of these options was given."""
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option.opts[0]} has no effect here: {why}", context)


def _tell(shown: Viewed) -> None:
    from trace_data.progress import size_in_words

    from . import render

    render.line(f"{shown.title}: {shown.lead}")
    for note in shown.notes:
        render.line(f"  {note}")
    render.line(f"  page     {shown.page}  ({size_in_words(shown.bytes)}, open it in any browser)")
    render.line(f"  picture  {shown.picture}")
    render.line(f"  licence  {shown.licence}")
