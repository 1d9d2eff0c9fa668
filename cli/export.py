"""`trace export`: a result in the formats of other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trace_data.export.check import Verdict
    from trace_data.export.formats import Up
    from trace_data.export.run import ExportedFile
    from trace_data.results.result import Result


@options.command("export")
@click.argument("result", type=options.AnyPath(dir_okay=False))
@click.option(
    "--to",
    "formats",
    multiple=True,
    required=True,
    metavar="FORMAT,…",
    callback=options.words,
    help="Formats of the list.",
)
@options.out("Folder for the files [default: that of RESULT].")
@options.scene
@click.option(
    "--fps", type=click.FloatRange(min=0, min_open=True), help="Resample to this rate  [default: the video's]."
)
@click.option("--up", type=click.Choice(["y", "z", "camera"]), help="Axis that points up  [default: the format's own].")
@click.option(
    "--origin",
    type=click.Choice(["first-pelvis", "world"]),
    help="Origin at the first pelvis or the first camera  [default: first-pelvis; with the camera's axes, world].",
)
@click.option("--in-place", is_flag=True, help="Take the path along the ground out of each person's motion.")
@click.option(
    "--correctives",
    type=click.Choice(["none", "morph"]),
    default="none",
    show_default=True,
    help="GLB: the model's pose correctives as 207 morph targets (17 MB).",
)
@click.option(
    "--body",
    type=click.Choice(["model", "free"]),
    default="model",
    show_default=True,
    help="Meshes: the body model of the result, or a CC0 body that anyone may share.",
)
@click.option(
    "--names",
    type=click.Choice(["smpl", "mixamo", "unreal"]),
    default="smpl",
    show_default=True,
    help="GLB, BVH, USD: names of the joints. Names alone do not retarget.",
)
@click.option(
    "--layout",
    type=click.Choice(["smpl", "smplh", "smplx"]),
    default="smplh",
    show_default=True,
    help="AMASS: the body model that the file is for.",
)
@options.packs
@click.option("--validate", is_flag=True, help="Have the files read by whatever checkers are found; say which are not.")
@click.option("--force", is_flag=True, help="Replace files that exist.")
@options.json
def export(result: Path, formats: Sequence[str], out: Path | None, **given: Any) -> None:
    """Write RESULT (NAME.trace.npz) in formats that other programs read.

    \b
    glb                     everybody skinned, one animation, the camera      Blender, engines, browsers
    usd                     the same as text                                  Blender, Houdini, Omniverse
    fbx                     the same, through your Blender                    Maya, Unreal, Unity
    bvh                     a skeleton each                                   retargeting tools
    amass                   SMPL parameters each (--layout)                   robots, research code
    smpl, mcs               SMPL parameters each; everybody with the camera   Meshcapade
    obj, ply                one mesh a person and frame                       everything
    tum, nerfstudio, colmap the camera's path                                 evo, splats, reconstruction
    mot, coco, csv          boxes, 2D keypoints, 3D joints                    TrackEval, spreadsheets
    romp                    the published .npz (a pickle)                     scripts made for ROMP

    \b
    Examples:
      trace export walk.trace.npz --to glb,bvh
      trace export walk.trace.npz --to glb --body free --out share
      trace export walk.trace.npz --to amass --layout smplx --fps 30 --person 1
    """
    from trace_data.export.check import check_files
    from trace_data.export.run import Options, base_name, check_format, export_result
    from trace_data.results.file import read_result
    from trace_data.results.scene import SceneOptions, arrange

    from . import render

    for name in formats:
        check_format(name)
    raw = read_result(result)
    scenes: dict[Up, Result] = {}
    wishes = SceneOptions(
        person=tuple(given["people"]),
        **{key: given[key] for key in ("smooth", "level", "ground", "start", "end", "fps", "in_place")},
    )

    def arranged(up: Up) -> Result:
        if up not in scenes:
            origin: Any = given["origin"] or ("world" if up == "camera" else "first-pelvis")
            scenes[up] = arrange(raw, replace(wishes, up=up, origin=origin))
        return scenes[up]

    files = export_result(
        arranged,
        formats,
        out or result.absolute().parent,
        base_name(result),
        packs=options.packs_of(raw, given["packs"]),
        options=Options(**{key: given[key] for key in ("names", "layout", "correctives", "body", "up")}),
        force=given["force"],
    )
    verdicts = check_files([(file.format, file.path) for file in files]) if given["validate"] else []
    told = {up: scene.about["scene"] for up, scene in scenes.items()}
    if given["as_json"]:
        render.json_object({"files": files, "scenes": told, "checks": verdicts})
        return
    _tell(files, verdicts)
    for name in dict.fromkeys(formats):
        if all(file.format != name for file in files):
            render.line(f"{name:<10}  no file: it holds one person, and there is nobody")
    for up, facts in told.items():
        done = "; ".join(f"{key}: {facts[key]}" for key in ("level", "origin", "ground", "smoothing"))
        render.line(f"  scene, {up:<8}{done}")


def _tell(files: Sequence[ExportedFile], verdicts: Sequence[Verdict]) -> None:
    from trace_data.progress import size_in_words

    from . import render

    for (name, facts), same in _grouped(files).items():
        size = size_in_words(sum(file.bytes for file in same))
        path = same[0].path if len(same) == 1 else f"{Path(same[0].path).parent}"
        counted = "" if len(same) == 1 else f"{len(same):,} files, "
        render.line(f"{name:<10}  {path}  ({counted}{size}): {facts}")
    for name in dict.fromkeys(file.format for file in files):
        first = next(file for file in files if file.format == name)
        render.line(f"  {name:<10}  {first.hint}")
        render.line(f"  {'':<10}  licence: {first.licence}")
    for verdict in verdicts:
        said = "; ".join(verdict.problems) or "no problem"
        render.line(f"  check       {verdict.checker} on {verdict.path}: {said}") if verdict.done else None
    for checker, hint in {(v.checker, v.hint): None for v in verdicts if not v.done}:
        render.line(f"  not checked by {checker}, which is not installed:  {hint}")


def _grouped(files: Sequence[ExportedFile]) -> dict[tuple[str, str], list[ExportedFile]]:
    """Files of a folder that hold the same are told in one line."""
    groups: dict[tuple[str, str], list[ExportedFile]] = {}
    for file in files:
        groups.setdefault((file.format, file.facts), []).append(file)
    return groups
