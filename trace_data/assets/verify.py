"""Check packs and their source files, one by one and against each other.

Source: docs/reference/assets.md#properties-of-a-valid-pack.

Problems are reported, never raised. There are no reference values of the licensed models: a wrong file is recognised by
its own metadata, by comparison with the other files, and by not being a valid body.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from trace_data.assets.official_names import EXTRA9, H36M17, KID, ORIGIN, SMIL
from trace_data.assets.pack_checks import check_arrays
from trace_data.assets.pack_files import KID_DIRECTIONS, LAYOUT, Arrays, read_arrays
from trace_data.assets.packs import smpl_arrays, with_kid
from trace_data.assets.raw_body import COMPONENTS_1_1, off_sum_rows, read_body, read_kid_template, read_regressor
from trace_data.assets.source_files import SourceFile, SourceSet, find_sources
from trace_data.errors import AssetError, ConfigError, quoted
from trace_data.progress import SILENT, Progress
from trace_data.schema.body import GENDERS
from trace_data.schema.findings import Finding, any_error
from trace_data.text_files import content_of, parse_json

PURPOSES = {
    "SMPL_NEUTRAL.pth": "training",
    "SMPL_FEMALE.pth": "3DPW",
    "SMPL_MALE.pth": "3DPW",
    "SMPLA_NEUTRAL.pth": "children",
    "SMPLA_FEMALE.pth": "children",
    "SMPLA_MALE.pth": "children",
    "SMIL_NEUTRAL.pth": "infants",
    "smil_packed_info.pth": "infants, the name that BEV reads",
}
"""Every pack and its purpose."""
README_LAYOUT = ("SMPL_NEUTRAL.pth", "SMPLA_NEUTRAL.pth", "smil_packed_info.pth", *GENDERS, KID, SMIL)
"""Packs and sources of the published README's `parameters` folder (docs/reference/assets.md#folder-layouts)."""
LAYOUTS = ("trace-readme",)
_PARAMETERS = ("parameters", "model_data/parameters")
_SAME = tuple(key for key in LAYOUT if key != "extra_joints_index")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetReport:
    """Result for one pack or source file."""

    kind: Literal["pack", "source"]
    name: str
    """Name of the pack, or role of the source: a gender, or the official name of a side file."""
    where: str | None
    """The file; None when it is missing."""
    model: str = ""
    """Model and version if known, e.g. SMPL 1.1.0."""
    components: int | None = None
    """Shape components of the body-model file."""
    height: float | None = None
    """Metres."""
    made_from: str = ""
    """For a pack, the file it was made from."""
    synthetic: bool = False
    """Whether the file calls itself synthetic."""
    findings: tuple[Finding, ...] = ()

    @property
    def ok(self) -> bool:
        """No errors; warnings do not count."""
        return not any_error(self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetsReport:
    """Result for all packs and sources."""

    packs: Path
    """Folder of the packs."""
    looked_in: tuple[Path, ...]
    """Places searched for sources."""
    files: tuple[AssetReport, ...]
    """Every pack and every source role, found or not."""

    @property
    def ok(self) -> bool:
        """No errors and nothing required missing; the command exits 3 otherwise."""
        return all(file.ok for file in self.files)

    @property
    def present(self) -> list[Path]:
        """The existing packs, for a picture; the infant's second name only if the first is missing."""
        packs = [self.packs / file.name for file in self.files if file.kind == "pack" and file.where]
        twins = {self.packs / "SMIL_NEUTRAL.pth", self.packs / "smil_packed_info.pth"}
        return [pack for pack in packs if not (twins <= set(packs) and pack.name == "smil_packed_info.pth")]

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        files = [{**asdict(file), "ok": file.ok} for file in self.files]
        return {"packs": str(self.packs), "looked_in": list(map(str, self.looked_in)), "ok": self.ok, "files": files}


def verify_assets(
    packs: Path, sources: Sequence[Path] = (), *, layout: str | None = None, progress: Progress = SILENT
) -> AssetsReport:
    """Check the packs in a folder and the body-model files in `sources`.

    Without a layout only `SMPL_NEUTRAL.pth` is required. With `trace-readme`, `packs` is the published README's
    `parameters` folder or one above it, and everything that README lists is required, sources included. Raises
    ConfigError for an unknown layout and AssetError for a source that does not exist.
    """
    if layout not in (None, *LAYOUTS):
        raise ConfigError(f"unknown layout {layout!r}", hint=f"layouts are {', '.join(LAYOUTS)}")
    if layout is not None:
        packs = _parameters(packs)
        sources = [*sources, packs] if packs.is_dir() else sources
    sources_found = find_sources(sources)
    progress.begin("verify assets", len(PURPOSES) + len(ORIGIN), "files")
    needed = README_LAYOUT if layout else ("SMPL_NEUTRAL.pth",)
    known = _Known()
    reports = [_pack(packs / name, known, needed, progress) for name in PURPOSES]
    reports += _sources(sources_found, known, needed, progress)
    progress.end()
    return AssetsReport(packs=packs, looked_in=sources_found.looked_in, files=tuple(reports))


def check_packs(packs: Path, names: Sequence[str]) -> tuple[AssetReport, ...]:
    """Check some packs of a folder and compare each with those named before it; the last one is required."""
    known = _Known()
    return tuple(_pack(packs / name, known, names[-1:], SILENT) for name in names)


class _Known:
    """Digests of the files read so far, for comparisons."""

    def __init__(self) -> None:
        self._digests: dict[str, dict[str, bytes]] = {}

    def add(self, name: str, arrays: Arrays) -> None:
        # packers differ in the type of faces and in whether finger tips are included
        alike = {**arrays, "f": arrays["f"].astype(np.int64)} if "f" in arrays else arrays
        self._digests[name] = {key: hashlib.sha256(value.tobytes()).digest() for key, value in alike.items()}

    def differing(self, name: str, other: str, keys: Sequence[str]) -> list[str]:
        """Keys in which two packs differ; [] when either is unknown."""
        one, two = self._digests.get(name, {}), self._digests.get(other, {})
        return [key for key in keys if key in one and key in two and one[key] != two[key]]

    def same_body(self, name: str, others: Sequence[str]) -> list[str]:
        """Those of `others` with the same template."""
        mine = self._digests.get(name, {}).get("v_template")
        return [o for o in others if o != name and mine and self._digests.get(o, {}).get("v_template") == mine]


def _parameters(folder: Path) -> Path:
    """The published README's `parameters` folder at or below `folder` (docs/reference/assets.md#folder-layouts)."""
    above = ("", "trace_data", "project_data/trace_data")
    places = [folder / top / below for top in above for below in _PARAMETERS]
    return next((place for place in places if place.is_dir()), folder)


def _pack(path: Path, known: _Known, needed: Sequence[str], progress: Progress) -> AssetReport:
    progress.advance(detail=path.name)
    name = path.name
    command = "trace prepare-smil" if "smil" in name.lower() else "trace prepare-smpl --gender all"
    if not path.exists():
        missing = Finding(severity="error", key=name, what="is missing", hint=f"{command} --out {quoted(path.parent)}")
        return AssetReport(kind="pack", name=name, where=None, findings=(missing,) if name in needed else ())
    try:
        arrays = read_arrays(path)
    except AssetError as error:
        return AssetReport(kind="pack", name=name, where=str(path), findings=(_raised(name, error),))
    known.add(name, arrays)
    note, about_note = _note(path)
    infant = command == "trace prepare-smil"
    findings = [*_keys(name, arrays), *check_arrays(arrays, infant=infant), *about_note, *_neighbours(name, known)]
    height = float(np.ptp(arrays["v_template"][:, 1])) if arrays.get("v_template", np.empty(0)).ndim == 2 else None
    return AssetReport(
        kind="pack",
        name=name,
        where=str(path),
        model=" ".join(str(note[key]) for key in ("model", "version") if note.get(key)),
        components=note.get("shape_components"),
        height=None if height is None else round(height, 3),
        made_from=str(note.get("source", "")),
        synthetic=note.get("synthetic") is True,
        findings=tuple(findings),
    )


def _keys(name: str, arrays: Arrays) -> Iterator[Finding]:
    """Check that the pack has the keys that its name implies."""
    key, wanted = KID_DIRECTIONS[0], name.startswith("SMPLA_")
    if wanted != (key in arrays):
        what = "is missing: this is no SMPLA pack" if wanted else "is there: this is an SMPLA pack"
        command = "prepare-smil" if "smil" in name.lower() else "prepare-smpl --gender all"
        yield Finding(severity="error", key=key, what=what, hint=f"trace {command} --force")
    if unknown := sorted(set(arrays) - {*LAYOUT, key}):
        what = f"holds {', '.join(unknown)} as well, which no packer writes"
        yield Finding(severity="warning", key="content", what=what)


def _note(pack: Path) -> tuple[Mapping[str, Any], list[Finding]]:
    """The record beside a pack, and problems with it. The pack alone does not tell its model's version.

    Source: docs/reference/assets.md#version-of-the-neutral-model.
    """

    def warn(what: str, hint: str) -> Finding:
        return Finding(severity="warning", key=path.name, what=what, hint=hint)

    path = pack.with_suffix(".json")
    again = "trace prepare-smpl --gender all --force  makes the packs anew, with their notes"
    smil = "smil" in pack.name.lower()
    try:
        note = parse_json(content_of(path, error=AssetError), where=path, error=AssetError)
    except FileNotFoundError:
        what = "is missing: whether the pack was made from SMPL 1.1.0 or 1.0.0 is unknown"
        return {}, [] if smil else [warn(what, again)]
    except AssetError as error:
        return {}, [warn(error.message, again)]
    if not isinstance(note, dict):
        return {}, [warn("holds no object", again)]
    gender, components = note.get("gender"), note.get("shape_components")
    findings = []
    if not smil and gender != pack.stem.rpartition("_")[2].lower():
        findings.append(Finding(severity="error", key=path.name, what=f"says that the pack is {gender}", hint=again))
    if not smil and isinstance(components, int) and components < COMPONENTS_1_1:
        findings.append(
            warn(
                f"says {components} shape components: SMPL {note.get('version')}, accepted by --allow-v1-0",
                f"get {ORIGIN['male']}",
            )
        )
    return note, findings


def _neighbours(name: str, known: _Known) -> Iterator[Finding]:
    """Compare a pack with those read before it: some arrays must be equal, others must not."""

    def wrong(what: str, hint: str) -> Finding:
        return Finding(severity="error", key=name, what=what, hint=hint)

    again = "trace prepare-smpl --gender all --force"
    adults = [f"SMPL_{gender.upper()}.pth" for gender in GENDERS]
    if name in adults:
        for twin in known.same_body(name, adults):
            yield wrong(f"holds the same body as {twin}", f"{again}, from the official zip, where the names are right")
    elif name.startswith("SMPLA_"):
        if keys := known.differing(name, name.replace("SMPLA", "SMPL"), _SAME):
            yield wrong(f"differs from {name.replace('SMPLA', 'SMPL')} in {', '.join(keys)}", again)
    else:
        if keys := known.differing(name, "SMPL_NEUTRAL.pth", ("f", "kintree_table")):
            yield wrong(f"differs from SMPL_NEUTRAL.pth in {', '.join(keys)}", "trace prepare-smil --force")
        for twin in known.same_body(name, adults):
            yield wrong(f"holds the same body as {twin}", "trace prepare-smil --force")
        if keys := known.differing(name, "SMIL_NEUTRAL.pth", _SAME):
            yield wrong(f"differs from SMIL_NEUTRAL.pth in {', '.join(keys)}", "trace prepare-smil --force")


def _sources(sources: SourceSet, known: _Known, needed: Sequence[str], progress: Progress) -> Iterator[AssetReport]:
    """One report for each role; auxiliary files first, because checks of the bodies need them."""
    side: dict[str, Any] = {}
    for role in (EXTRA9, H36M17, KID, *GENDERS, SMIL):
        progress.advance(detail=role)
        file = sources.best(role)
        if file is None:
            missing = Finding(severity="error", key=role, what="is missing", hint=ORIGIN[role])
            yield AssetReport(kind="source", name=role, where=None, findings=(missing,) if role in needed else ())
            continue
        try:
            if role in (EXTRA9, H36M17):
                side[role] = read_regressor(file)
                rows = off_sum_rows(side[role])
                what = f"has {rows} rows that do not sum to one"
                findings = (Finding(severity="warning", key=role, what=what, hint=ORIGIN[role]),) if rows else ()
                yield AssetReport(kind="source", name=role, where=file.where, findings=findings)
            elif role == KID:
                side[role] = read_kid_template(file)
                height = round(float(np.ptp(side[role][:, 1])), 3)
                yield AssetReport(kind="source", name=role, where=file.where, height=height)
            else:
                yield _source_body(file, side, known)
        except AssetError as error:
            yield AssetReport(kind="source", name=role, where=file.where, findings=(_raised(role, error),))


def _source_body(file: SourceFile, side: Mapping[str, Any], known: _Known) -> AssetReport:
    role, body = file.role, read_body(file)
    findings: list[Finding] = []
    smil = role == SMIL
    pack = "SMIL_NEUTRAL.pth" if smil else f"SMPL_{role.upper()}.pth"
    if not smil and body.components < COMPONENTS_1_1:
        what = f"is {body.title} ({body.components} shape components), but TRACE needs 1.1.0"
        findings.append(Finding(severity="error", key=role, what=what, hint=f"get {ORIGIN[role]}"))
    if EXTRA9 in side and H36M17 in side:
        arrays = smpl_arrays(body, side)
        findings += check_arrays(with_kid(arrays, side[KID]) if KID in side and not smil else arrays, infant=smil)
        known.add(role, arrays)
        twins = known.same_body(role, (*GENDERS, SMIL))
        findings += [Finding(severity="error", key=role, what=f"holds the same body as {twin}") for twin in twins]
        if keys := known.differing(role, pack, _SAME):
            what = f"would give a different {pack}: {', '.join(keys)} differ"
            command = "prepare-smil" if smil else f"prepare-smpl --gender {role}"
            hint = f"trace {command} --force  if this is the right file"
            findings.append(Finding(severity="warning", key=role, what=what, hint=hint))
    return AssetReport(
        kind="source",
        name=role,
        where=file.where,
        model="SMIL" if smil else f"SMPL {body.version}",
        components=body.components,
        height=round(float(np.ptp(body.v_template[:, 1])), 3),
        synthetic=body.synthetic,
        findings=tuple(findings),
    )


def _raised(key: str, error: AssetError) -> Finding:
    return Finding(severity="error", key=key, what=error.message, hint=error.hint or "")
