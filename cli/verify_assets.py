"""`trace verify-assets`: check packs and body-model files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from trace_data.assets.verify import AssetReport, AssetsReport


@options.command("verify-assets")
@options.packs
@options.source
@click.option(
    "--layout",
    type=click.Choice(("trace-readme",)),
    help="trace-readme: --packs is the `parameters` folder of the published README, or one above it.",
)
@click.option(
    "--picture",
    type=options.AnyPath(dir_okay=False),
    help="Draw every pack, at rest and in ten poses, into this .png or .jpg.",
)
@options.json
@click.pass_context
def verify_assets(
    context: click.Context,
    packs: Path | None,
    sources: tuple[Path, ...],
    layout: str | None,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Check packs and, if found, the body-model files they are made from.

    Checks cover content, mesh, weights, regressors, left and right, posing, and the consistency of the files.
    The exit code is 3 if something is wrong, or missing and needed for training.

    \b
    Examples:
      trace verify-assets
      trace verify-assets --packs ~/.romp --picture packs.png
      trace verify-assets --layout trace-readme --packs project_data --json
    """
    from trace_data.assets.verify import verify_assets as verify

    from . import render

    if picture is not None:
        from trace_data.assets.pack_picture import check_picture_name

        check_picture_name(picture)
    places = options.body_sources(sources) if sources or options.folder("sources").is_dir() else []
    with render.Display() as progress:
        report = verify(options.folder("packs", packs), places, layout=layout, progress=progress)
        if picture is not None:
            _draw(report, picture)
    if as_json:
        render.json_object(report.to_json() | {"picture": picture})
    else:
        _show(report, picture)
    if not report.ok:
        context.exit(3)


def _draw(report: AssetsReport, picture: Path) -> None:
    from trace_data.assets.pack_files import write_file
    from trace_data.assets.pack_picture import encoded, pack_picture
    from trace_data.errors import AssetError

    if not report.present:
        raise AssetError("there is no pack to draw", where=report.packs, hint="trace prepare-smpl --gender all")
    write_file(picture, encoded(pack_picture(report.present), picture), option="--picture")


def _show(report: AssetsReport, picture: Path | None) -> None:
    from trace_data.assets.verify import PURPOSES

    from . import render

    packs = [file for file in report.files if file.kind == "pack"]
    rows = [(*_known(file), Path(file.made_from).name or "–", _state(file, PURPOSES[file.name])) for file in packs]
    render.line(f"packs in {report.packs}")
    render.table(("pack", "model", "height", "made from", "state"), rows, numeric=("height",))
    sources = [file for file in report.files if file.kind == "source"]
    if any(file.where for file in sources):
        rows = [(*_known(file), file.where or "–", _state(file)) for file in sources]
        render.line()
        render.table(("source", "model", "height", "file", "state"), rows, numeric=("height",))
    for file in report.files:
        for finding in file.findings:
            key = "" if finding.key == file.name else f"{finding.key} "
            render.line(f"\n{file.name}  {finding.severity}: {key}{finding.what}")
            if finding.hint:
                render.line(f"  → {finding.hint}")
    if picture is not None:
        render.line(f"\npicture: {picture}")
    broken = [file.name for file in report.files if not file.ok]
    render.line(f"\nnot ready: {', '.join(broken)}" if broken else "\nyes, all well")


def _known(file: AssetReport) -> tuple[str, str, str]:
    return file.name, file.model or "–", "–" if file.height is None else f"{file.height:.2f} m"


def _state(file: AssetReport, purpose: str = "") -> str:
    errors = sum(finding.severity == "error" for finding in file.findings)
    if file.where is None:
        needed = f" (needed for {purpose})" if purpose else ""
        return f"missing{needed}" if errors else f"not there{needed}"
    if errors:
        return f"{errors} error{'s' * (errors > 1)}"
    warned = f", {len(file.findings)} warning{'s' * (len(file.findings) > 1)}" if file.findings else ""
    return f"ok{'  (synthetic)' * file.synthetic}{warned}"
