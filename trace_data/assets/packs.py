"""Make body-model packs from the official files (docs/reference/assets.md#packed-files).

Keys, their order, shapes, types and values are those of the published packer, quirks included, so that code for its
packs works with these. A small JSON file beside each pack records its source.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.assets.official_names import EXTRA9, H36M17, KID, ORIGIN, SMIL
from trace_data.assets.pack_checks import check_arrays
from trace_data.assets.pack_files import EXTRA_JOINTS, load_pack, pack_bytes, same_pack, write_file
from trace_data.assets.raw_body import (
    COMPONENTS_1_1,
    RawBody,
    check_infant,
    check_kid,
    off_sum_rows,
    read_body,
    read_kid_template,
    read_regressor,
)
from trace_data.assets.source_files import SourceFile, SourceSet, find_sources
from trace_data.errors import AssetError, ConfigError, OutputError
from trace_data.progress import SILENT, Progress
from trace_data.schema.body import GENDERS
from trace_data.text_files import content_of, parse_json

__all__ = ["H36M_TO_J17", "PackReport", "load_pack", "prepare_smil", "prepare_smpl"]

H36M_TO_J17 = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9)
"""Rows of the regressor file in the order of the pack: LSP order, then pelvis, spine, jaw."""

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackReport:
    """Result for one body model."""

    gender: str
    """male, female, neutral or infant."""
    source: str
    """The source file."""
    version: str
    """Recognised model version."""
    components: int
    """Shape components of the source."""
    files: tuple[Path, ...]
    """The packs and their JSON files."""
    unchanged: bool
    """Whether all packs existed already with the same content."""
    synthetic: bool
    """Whether the source calls itself synthetic."""


def prepare_smpl(
    sources: Sequence[Path],
    out: Path,
    *,
    genders: Sequence[str],
    force: bool = False,
    allow_v1_0: bool = False,
    progress: Progress = SILENT,
) -> list[PackReport]:
    """Make `SMPL_{G}.pth` and `SMPLA_{G}.pth` in `out` for each of `genders` from what `find_sources` finds.

    Nothing is written until every model is read and checked. Raises ConfigError for an unknown gender, AssetError for
    missing, wrong or unreadable sources (all missing ones at once) and for SMPL 1.0.0 without `allow_v1_0`, OutputError
    when a different pack exists and `force` is not given, or `out` cannot be written.
    """
    for gender in genders:
        if gender not in GENDERS:
            raise ConfigError(f"{gender!r} is not a gender of a body model", hint=f"choose from {', '.join(GENDERS)}")
    sources_found = find_sources(sources)
    files = sources_found.require([*genders, EXTRA9, H36M17, KID])
    regressors = _read_regressors(files, progress)
    kid = read_kid_template(files[KID])
    bodies: dict[str, RawBody] = {}
    progress.begin("read body models", len(genders), "models")
    for gender in genders:
        bodies[gender] = body = read_body(files[gender])
        progress.advance(detail=files[gender].name)
        progress.log(f"found {files[gender].name}: {body.title} {gender}, {body.components} components")
        _check_version(body, allow_v1_0)
        check_kid(kid, files[KID], body)
        _check_no_twin(gender, body, bodies, out)
    _check_against_the_others(bodies, sources_found)
    progress.end()
    jobs = []
    for gender, body in bodies.items():
        smpl = smpl_arrays(body, regressors)
        name, aged = gender.upper(), with_kid(smpl, kid)
        _refuse_wrong(aged, body, files, infant=False)
        jobs.append((gender, body, {f"SMPL_{name}.pth": smpl, f"SMPLA_{name}.pth": aged}))
    return _write(jobs, out, force=force, model="SMPL", progress=progress)


def prepare_smil(
    sources: Sequence[Path], out: Path, *, force: bool = False, progress: Progress = SILENT
) -> list[PackReport]:
    """Make `smil_packed_info.pth` and `SMIL_NEUTRAL.pth`: the same content, since code exists for either name.

    Raises as `prepare_smpl` does, and AssetError when the body is no infant.
    """
    files = find_sources(sources).require([SMIL, EXTRA9, H36M17])
    regressors = _read_regressors(files, progress)
    body = read_body(files[SMIL])
    check_infant(body)
    progress.log(f"found {files[SMIL].name}: SMIL, {body.components} components")
    arrays = smpl_arrays(body, regressors)
    _refuse_wrong(arrays, body, files, infant=True)
    job = ("infant", body, {"smil_packed_info.pth": arrays, "SMIL_NEUTRAL.pth": arrays})
    return _write([job], out, force=force, model="SMIL", progress=progress)


def smpl_arrays(body: RawBody, regressors: Mapping[str, npt.NDArray[np.float64]]) -> Arrays:
    """The ten arrays of a pack in their order (docs/reference/assets.md#smpl-pack)."""
    float32 = np.float32
    pose_blend = body.posedirs.reshape(-1, body.posedirs.shape[2]).T
    return {
        "kintree_table": body.parents.copy(),
        "J_regressor_extra9": regressors[EXTRA9].astype(float32),
        "J_regressor_h36m17": regressors[H36M17][list(H36M_TO_J17)].astype(float32),
        "shapedirs": body.shapedirs.astype(float32),
        "posedirs": np.ascontiguousarray(pose_blend, dtype=float32),
        "extra_joints_index": np.array(EXTRA_JOINTS, dtype=np.int64),
        # float in the published packs too; exact, since ids are below 2**24
        "f": body.f.astype(float32),
        "v_template": body.v_template.astype(float32),
        "J_regressor": body.J_regressor.astype(float32),
        "weights": body.weights.astype(float32),
    }


def with_kid(smpl: Arrays, kid: npt.NDArray[np.float64]) -> Arrays:
    """The pack with an eleventh shape direction towards the kid template (docs/reference/assets.md#smpla-pack).

    The kid is centred on its vertices and the adult is not, as in the published packs: the constant offset vanishes
    once bodies are placed by their hips, and released weights were trained with it.
    """
    direction = (kid - kid.mean(axis=0) - smpl["v_template"]).astype(np.float32)
    return {**smpl, "smpla_shapedirs": np.concatenate([smpl["shapedirs"], direction[:, :, None]], axis=2)}


def _read_regressors(files: Mapping[str, SourceFile], progress: Progress) -> dict[str, npt.NDArray[np.float64]]:
    regressors = {role: read_regressor(files[role]) for role in (EXTRA9, H36M17)}
    for role, values in regressors.items():
        if rows := off_sum_rows(values):
            progress.log(f"warning: {rows} rows of {files[role].where} do not sum to one; is it the right file?")
    return regressors


def _refuse_wrong(arrays: Arrays, body: RawBody, files: Mapping[str, SourceFile], *, infant: bool) -> None:
    """Raise AssetError for a pack that `trace verify-assets` would call wrong, naming the file that makes it so."""
    roles = {"J_regressor_extra9": EXTRA9, "J_regressor_h36m17": H36M17, "smpla_shapedirs": KID}
    for finding in check_arrays(arrays, infant=infant):
        if finding.severity == "error":
            file = files[roles[finding.key]] if finding.key in roles else body.source
            raise AssetError(
                f"would give a wrong pack, and nothing was written: {finding.key} {finding.what}",
                where=file.where,
                hint=finding.hint or f"get {ORIGIN[file.role]}",
            )


def _check_version(body: RawBody, allow_v1_0: bool) -> None:
    if body.components >= COMPONENTS_1_1 or allow_v1_0:
        return
    raise AssetError(
        f"is {body.title} ({body.components} shape components), but TRACE needs 1.1.0 "
        f"({COMPONENTS_1_1} components): with another one the bodies come out visibly wrong",
        where=body.source.where,
        hint='get "version 1.1.0 for Python 2.7 (female/male/neutral, 300 shape PCs)" from the SMPL site,\n'
        "  or convert this one anyway with --allow-v1-0",
    )


def _check_no_twin(gender: str, body: RawBody, bodies: Mapping[str, RawBody], out: Path) -> None:
    """Raise AssetError when two genders have the same body: one of them is misnamed."""
    for name, raw in bodies.items():
        if name != gender and _same(raw.v_template, body):
            raise _twin(body, raw.source.where)
    for name in GENDERS:
        pack = out / f"SMPL_{name.upper()}.pth"
        if name not in bodies and _same(_template(pack), body):
            raise _twin(body, str(pack))


def _check_against_the_others(bodies: Mapping[str, RawBody], sources: SourceSet) -> None:
    """The same check against files that were found but are not converted."""
    others = [sources.best(name) for name in GENDERS if name not in bodies]
    for file in filter(None, others):
        try:
            template = read_body(file).v_template
        except AssetError:
            continue  # not converted, so its problems do not matter here
        for body in bodies.values():
            if _same(template, body):
                raise _twin(body, file.where)


def _twin(body: RawBody, other: str) -> AssetError:
    return AssetError(
        f"holds the same body as {other}: one of the two is not what its name says",
        where=body.source.where,
        hint="take both files again from the official zip, where the names are right",
    )


def _template(pack: Path) -> npt.NDArray[Any]:
    try:
        return load_pack(pack)["v_template"]
    except AssetError:
        # missing or damaged: does not matter here
        return np.empty((0, 3))


def _same(template: npt.NDArray[Any], body: RawBody) -> bool:
    return np.array_equal(template.astype(np.float32), body.v_template.astype(np.float32))


def _write(
    jobs: Sequence[tuple[str, RawBody, Mapping[str, Arrays]]], out: Path, *, force: bool, model: str, progress: Progress
) -> list[PackReport]:
    present = {out / name: same_pack(out / name, arrays) for _, _, packs in jobs for name, arrays in packs.items()}
    in_the_way = [str(path) for path, same in present.items() if same is False]
    if in_the_way and not force:
        raise OutputError(
            f"exists with other content: {', '.join(in_the_way)}; nothing was written",
            where=out,
            hint="add --force to replace, or give another --out",
        )
    progress.begin("write packs", len(present), "packs")
    reports = []
    for gender, body, packs in jobs:
        files: list[Path] = []
        for name, arrays in packs.items():
            pack, note = out / name, (out / name).with_suffix(".json")
            if not present[pack]:
                write_file(pack, pack_bytes(arrays), option="--out")
            expected = _note(pack, gender, model, body)
            if not (present[pack] and _still_true(note, expected)):
                write_file(note, (json.dumps(expected, indent=2) + "\n").encode(), option="--out")
            files += [pack, note]
            progress.advance(detail=name)
        reports.append(
            PackReport(
                gender=gender,
                source=body.source.where,
                version=body.version if model == "SMPL" else model,
                components=body.components,
                files=tuple(files),
                unchanged=all(present[out / name] for name in packs),
                synthetic=body.synthetic,
            )
        )
    progress.end()
    return reports


def _note(pack: Path, gender: str, model: str, body: RawBody) -> dict[str, Any]:
    try:
        tool = importlib.metadata.version("trace-5d")
    except importlib.metadata.PackageNotFoundError:
        tool = "not installed"
    return {
        "pack": pack.name,
        "model": model,
        "gender": gender,
        "source": body.source.where,
        "source_sha256": body.sha256,
        "version": body.version if model == "SMPL" else None,
        "shape_components": body.components,
        "synthetic": body.synthetic,
        "tool": f"trace-5d {tool}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _still_true(note: Path, told: Mapping[str, Any]) -> bool:
    """Whether the existing record is still true; the source file may have moved since."""
    try:
        there = parse_json(content_of(note, error=AssetError), where=note, error=AssetError)
    except (FileNotFoundError, AssetError):
        return False
    same = set(told) - {"source", "tool", "date"}
    return isinstance(there, dict) and all(there.get(key) == told[key] for key in same)
