"""Writes a result in the chosen formats: all files or, after an error, none."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from trace_data.errors import AssetError, ConfigError, OutputError, nearest
from trace_data.export.amass import HONESTY, Layout
from trace_data.export.fbx import blender, conversion
from trace_data.export.formats import AXES, FORMATS, Format, Job, Up
from trace_data.export.glb import Correctives
from trace_data.export.mesh import FreeMeshes, Meshes, PackMeshes
from trace_data.export.rate import Clock, clock
from trace_data.export.skeleton import person_label
from trace_data.export.track import absences
from trace_data.files import writable_folder
from trace_data.results.file import SUFFIX, read_result
from trace_data.results.result import Result
from trace_data.results.scene import SceneOptions, arrange
from trace_data.schema.body import GENDERS, Gender

BodyChoice = Literal["model", "free"]

LEAST_OFF, LEAST_ZOOM = 1.0, 0.005
"""Pixels, and share of the focal length, from which a lens that a format cannot describe is told."""

LICENCE: dict[str, str] = {
    "camera": "nothing of the body model",
    "parameters": "parameters or a skeleton, nothing of the body model itself",
    "mesh": "holds the template, faces and skin weights of the body model: its licence says who may have this file",
    "model": "holds the pose directions of the body model, i.e. the licensed model itself: do not pass it on",
    "free": "holds the CC0 free body: anyone may have this file",
}
"""What is said of a file that holds this much of a body model (docs/reference/export.md#licences-of-exported-files)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How files are written; `--help` of the command says what each means."""

    names: str = "smpl"
    layout: Layout = "smplh"
    correctives: Correctives = "none"
    body: BodyChoice = "model"
    up: Up | None = None
    """None: that of each format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One written file."""

    format: str
    path: str
    bytes: int
    facts: str
    """What it holds, axes, unit, rate, people and gaps."""
    hint: str
    """How to import it."""
    licence: str


def export_result(
    arranged: Callable[[Up], Result],
    formats: Sequence[str],
    out: Path,
    base: str,
    *,
    packs: Path | None = None,
    options: Options | None = None,
    force: bool = False,
) -> list[ExportedFile]:
    """Write a result in `formats` to the folder `out`, in files whose names begin with `base`.

    `arranged` gives the result with its world turned as asked. `packs`: the folder of prepared body models, needed by
    formats with a mesh unless the body is the free one. Raises ConfigError for an unknown format; AssetError for packs
    that are missing or belong to another model; OutputError when a file exists and `force` is not given, or `out`
    cannot be written. After an error, nothing was written.
    """
    options = options or Options()
    for name in formats:
        check_format(name)
    writable_folder(out)
    meshes: Meshes | None = None
    written: list[ExportedFile] = []
    with _all_or_nothing(out, base, force=force) as folder:
        for name in dict.fromkeys(formats):
            form = FORMATS[name]
            up = form.up and (options.up or form.up)
            result = arranged(up or "camera")
            if form.mesh and meshes is None:
                meshes = meshes_for(result, options.body, packs)
            job = _job(result, up, meshes if form.mesh else None, options)
            for suffix, content, person in form.write(job):
                label = "" if person is None else f".person-{result.person[person]}"
                path = folder / f"{base}{label}{suffix}"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
                written.append(
                    ExportedFile(
                        format=name,
                        path=str(out / path.relative_to(folder)),
                        bytes=len(content),
                        facts=_facts(form, job, person),
                        hint=_hint(name, job, str(out / f"{base}")),
                        licence=_licence(form, job),
                    )
                )
    return written


def export_beside(file: Path, formats: Sequence[str], packs: Path | None, *, force: bool = False) -> list[ExportedFile]:
    """Write a result file in `formats`, beside it, with the defaults of `trace export`.

    Raises ResultError, and what `export_result` raises.
    """
    raw = read_result(file)

    def arranged(up: Up) -> Result:
        return arrange(raw, SceneOptions(up=up, origin="world" if up == "camera" else "first-pelvis"))

    return export_result(arranged, formats, file.absolute().parent, base_name(file), packs=packs, force=force)


def check_format(name: str) -> None:
    """Raises ConfigError when there is no such format."""
    if name not in FORMATS:
        near = nearest(name, FORMATS)
        raise ConfigError(
            f"there is no format {name!r}" + (f", did you mean {near!r}?" if near else ""),
            where="--to",
            hint=f"the formats are {', '.join(FORMATS)}",
        )


def base_name(path: Path) -> str:
    """Beginning of the names of exported files: the result's name without its endings."""
    return path.name.removesuffix(SUFFIX).removesuffix(".npz") or path.name


def gender_of(result: Result) -> Gender:
    """Gender of the body model that the result was made with; neutral where it does not say."""
    model = result.about.get("body_model")
    named = model.get("gender") if isinstance(model, dict) else None
    return next((gender for gender in GENDERS if gender == named), "neutral")


def meshes_for(result: Result, body: BodyChoice, packs: Path | None) -> Meshes:
    """Meshes of a result's people. Raises AssetError."""
    if body == "free":
        return FreeMeshes(gender_of(result))
    if packs is None:
        raise AssetError(
            "a mesh needs the body model, and no packs have been prepared",
            hint="trace prepare-smpl --source DIR, or export with  --body free",
        )
    return PackMeshes(packs, gender_of(result))


@contextlib.contextmanager
def _all_or_nothing(out: Path, base: str, *, force: bool) -> Iterator[Path]:
    """A folder beside the files-to-be; after the block they are moved to their places, after an error removed."""
    folder = out / f"{base}.export.partial"
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of a killed process
        folder.mkdir()
        yield folder
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        places = [out / path.relative_to(folder) for path in files]
        there = [place for place in places if place.exists()]
        if there and not force:
            more = f" and {len(there) - 1} more" * (len(there) > 1)
            raise OutputError(
                f"exists already{more}; nothing was written",
                where=there[0],
                hint="add --force to replace, or give another --out",
            )
        for path, place in zip(files, places):
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=error.filename or out,
            hint="free some space or give another --out",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _job(result: Result, up: Up | None, meshes: Meshes | None, options: Options) -> Job:
    return Job(
        result=result,
        clock=clock(result),
        people=tuple(person for person in range(len(result.person)) if len(result.rows_of(person))),
        meshes=meshes,
        gender=gender_of(result),
        up=up,
        names=options.names,
        layout=options.layout,
        correctives=options.correctives,
    )


def _facts(form: Format, job: Job, person: int | None) -> str:
    people = job.people if person is None else (person,)
    parts = [
        form.holds.format(layout=job.layout, honesty=HONESTY[job.layout]),
        *([AXES[job.up]] if job.up else []),
        form.unit,
        _rate(job.clock, form),
    ]
    parts += _lens(form, job.result)
    if form.people:
        parts.append(", ".join(person_label(job.result, index) for index in people) or "nobody")
        parts += [gaps for index in people if (gaps := _gaps(job.result, index))]
    return "; ".join(parts)


def _lens(form: Format, result: Result) -> list[str]:
    """What the format's camera cannot say of this video's lens."""
    if not form.lens:
        return []
    off = result.intrinsics[0, :2, 2] - (result.image_size - 1) / 2
    focal = result.intrinsics[:, 0, 0]
    parts = []
    if form.lens == "centred" and np.abs(off).max() > LEAST_OFF:
        parts.append(f"without the principal point, {np.abs(off).max():.1f} px from the middle")
    if np.ptp(focal) > LEAST_ZOOM * focal[0]:
        parts.append("the lens of the first frame, although the video zooms")
    return parts


def _rate(clock: Clock, form: Format) -> str:
    if form.rate == "none":
        return "frame numbers without times"
    if form.rate == "true":
        return "true times" + f" ({clock.fps:.6g} fps)" * (not clock.resampled)
    frames = f"{clock.frames:,} frame{'s' * (clock.frames != 1)}"
    return f"{clock.fps:.6g} fps, {frames}" + " resampled from uneven times" * clock.resampled


def _gaps(result: Result, person: int) -> str:
    """When a person is absent, in seconds from the first frame; empty if never."""
    gaps = absences(result, person)
    shown = ", ".join(f"{start:.2f}–{end:.2f}" for start, end in gaps[:3])
    more = f" and {len(gaps) - 3} more times" * (len(gaps) > 3)
    return f"{person_label(result, person)} absent {shown} s{more}" if gaps else ""


def _hint(name: str, job: Job, base: str) -> str:
    width, height = (int(size) for size in job.result.image_size)
    if name == "fbx" and blender() is None:
        command = conversion(f"{base}.glb", f"{base}.fbx", fps=job.clock.fps, width=width, height=height)
        return f"Blender was not found; this is the GLB that it turns into FBX:  {command}"
    return FORMATS[name].hint.format(fps=job.clock.fps, width=width, height=height)


def _licence(form: Format, job: Job) -> str:
    if job.meshes is None or form.parameters:
        return LICENCE["parameters" if form.people else "camera"]
    if job.meshes.free:
        return LICENCE["free"]
    return LICENCE["model" if job.correctives == "morph" and form.write is FORMATS["glb"].write else "mesh"]
