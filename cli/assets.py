"""`trace prepare-smpl` and `trace prepare-smil`: make packs from downloaded body models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from trace_data.assets.packs import PackReport

GENDERS = ("neutral", "female", "male")


@options.command("prepare-smpl")
@click.option(
    "--gender",
    type=click.Choice((*GENDERS, "all")),
    default="all",
    show_default=True,
    help="Which model; all prepares all three.",
)
@options.source
@options.out("Folder the packs are written to [setting packs].")
@click.option("--allow-v1-0", is_flag=True, help="Accept an SMPL 1.0.0 model (10 shape components).")
@options.force
@options.json
def prepare_smpl(
    gender: str, sources: tuple[Path, ...], out: Path | None, allow_v1_0: bool, force: bool, as_json: bool
) -> None:
    """Convert SMPL pickles to packs (.pth), the form that everything else reads.

    Sources are files, zips or folders as downloaded from the SMPL site and the TRACE release, searched in the given
    order, then the folder of the setting `sources`. Nothing in a pickle is executed.

    \b
    Examples:
      trace prepare-smpl --gender male
      trace prepare-smpl --gender all --source ~/Downloads/SMPL_python_v.1.1.0.zip --source smpl_model_data
      trace prepare-smpl --source world/body_models --out packs
    """
    from trace_data.assets.packs import prepare_smpl as prepare

    from . import render

    with render.Display() as progress:
        reports = prepare(
            options.body_sources(sources),
            options.folder("packs", out),
            genders=GENDERS if gender == "all" else (gender,),
            force=force,
            allow_v1_0=allow_v1_0,
            progress=progress,
        )
    _show(reports, as_json)


@options.command("prepare-smil")
@options.source
@options.out("Folder the pack is written to [setting packs].")
@options.force
@options.json
def prepare_smil(sources: tuple[Path, ...], out: Path | None, force: bool, as_json: bool) -> None:
    """Convert the SMIL infant model to its pack (.pth).

    \b
    Examples:
      trace prepare-smil
      trace prepare-smil --source ~/Downloads/smil_web.pkl
    """
    from trace_data.assets.packs import prepare_smil as prepare

    from . import render

    with render.Display() as progress:
        reports = prepare(options.body_sources(sources), options.folder("packs", out), force=force, progress=progress)
    _show(reports, as_json)


def _show(reports: Sequence[PackReport], as_json: bool) -> None:
    from . import render

    if as_json:
        render.json_object({"packs": reports})
        return
    rows = [
        (
            report.gender,
            f"{report.version}{'  (synthetic)' if report.synthetic else ''}",
            str(report.components),
            ", ".join(file.name for file in report.files if file.suffix == ".pth"),
            "unchanged" if report.unchanged else "written",
            report.source,
        )
        for report in reports
    ]
    columns = ("model", "version", "components", "packs", "state", "source")
    render.table(columns, rows, numeric=("components",))
