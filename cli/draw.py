"""`trace draw`: the result of a video on its pictures."""

from __future__ import annotations

from pathlib import Path

import click

from . import options


@options.command("draw")
@click.argument("result", type=options.AnyPath(dir_okay=False))
@click.argument("video", nargs=-1, required=True, metavar="VIDEO|FOLDER|IMAGE...", type=options.AnyPath())
@click.option(
    "--draw",
    default="overlay,ids",
    show_default=True,
    metavar="overlay,ids,skeleton,bird,side",
    help="Bodies, names, joints, the world from above and from the side.",
)
@options.packs
@click.option("--force", is_flag=True, help="Replace a drawn video that is there.")
@options.json
def draw(result: Path, video: tuple[Path, ...], draw: str, packs: Path | None, force: bool, as_json: bool) -> None:
    """Draw RESULT (NAME.trace.npz) onto its VIDEO, as NAME.overlay.mp4 beside it.

    No network is needed. Without a video encoder the pictures go into a page, NAME.overlay.html.

    \b
    Examples:
      trace draw street.trace.npz street.mp4
      trace draw street.trace.npz street.mp4 --draw overlay,ids,bird,side --force
    """
    from trace_data.frames.footage import open_footage
    from trace_data.overlay.items import items_of
    from trace_data.overlay.video import draw_result, free_place
    from trace_data.results.file import read_result

    from . import render

    items = items_of(draw)
    found = read_result(result)
    rate = (found.about.get("options") or {}).get("frame_rate")
    footage = open_footage(video, frame_rate=rate)
    place = free_place(result, force=force)
    with render.Display() as progress:
        draw_result(
            found,
            footage,
            place,
            items,
            packs=options.packs_of(found, packs) or options.folder("packs"),
            progress=progress,
        )
    if as_json:
        render.json_object({"video": place, "frames": len(found.time), "items": items})
        return
    render.line(f"{place}  {', '.join(items)}")
