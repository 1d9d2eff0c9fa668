"""Packs and the files they are made from, checked one by one and against each other (fact sheet assets.md, B6).

Problems are reported, never raised. Nothing is known of the licensed models themselves: a wrong file shows by what it
says of itself, by comparison with its neighbours, and by being no body.
"""

from __future__ import annotations

import hashlib
import json
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
from trace_data.schema.findings import Finding

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
"""Every pack, and what needs it."""
README_LAYOUT = ("SMPL_NEUTRAL.pth", "SMPLA_NEUTRAL.pth", "smil_packed_info.pth", *GENDERS, KID, SMIL)
"""Packs and sources of the published README's `parameters` folder (fact sheet assets.md, A2)."""
LAYOUTS = ("trace-readme",)
_PARAMETERS = ("parameters", "model_data/parameters")
_SAME = tuple(key for key in LAYOUT if key != "extra_joints_index")


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetReport:
    """What was found of one pack or source file."""

    kind: Literal["pack", "source"]
    name: str
    """Name of the pack, or role of the source: a gender, or the official name of a side file."""
    where: str | None
    """The file, None when there is none."""
    model: str = ""
    """Model and version as far as known, e.g. SMPL 1.1.0."""
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
        return not any(finding.severity == "error" for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetsReport:
    """What was found of everything."""

    packs: Path
    """Folder of the packs."""
    looked_in: tuple[Path, ...]
    """Places searched for sources."""
    files: tuple[AssetReport, ...]
    """Every pack and every role of a source, found or not."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong and nothing needed is missing; the command exits 3 otherwise."""
        return all(file.ok for file in self.files)

    @property
    def present(self) -> list[Path]:
        """The packs that are there, for a picture; the second name of the infant only when it stands alone."""
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
    """Check the packs in a folder, and the body-model files found in `sources`.

    Without a layout, `SMPL_NEUTRAL.pth` is what must be there. With `trace-readme`, `packs` is the published README's
    `parameters` folder or one above it, and what that README puts there must be there, sources included. Raises
    ConfigError for an unknown layout and AssetError for a source that does not exist.
    """
    if layout not in (None, *LAYOUTS):
        raise ConfigError(f"unknown layout {layout!r}", hint=f"layouts are {', '.join(LAYOUTS)}")
    if layout is not None:
        packs = _parameters(packs)
        sources = [*sources, packs] if packs.is_dir() else sources
    found = find_sources(sources)
    progress.begin("verify assets", len(PURPOSES) + len(ORIGIN), "files")
    needed = README_LAYOUT if layout else ("SMPL_NEUTRAL.pth",)
    known = _Known()
    reports = [_pack(packs / name, known, needed, progress) for name in PURPOSES]
    reports += _sources(found, known, needed, progress)
    progress.end()
    return AssetsReport(packs=packs, looked_in=found.looked_in, files=tuple(reports))


def check_packs(packs: Path, names: Sequence[str]) -> tuple[AssetReport, ...]:
    """Check some packs of a folder and compare each with those named before it; the last one must be there."""
    known = _Known()
    return tuple(_pack(packs / name, known, names[-1:], SILENT) for name in names)


class _Known:
    """What was read so far, as digests: enough to compare, and little to keep."""

    def __init__(self) -> None:
        self._digests: dict[str, dict[str, bytes]] = {}

    def add(self, name: str, arrays: Arrays) -> None:
        # packers differ in the type of faces and in whether they name the fingers
        alike = {**arrays, "f": arrays["f"].astype(np.int64)} if "f" in arrays else arrays
        self._digests[name] = {key: hashlib.sha256(value.tobytes()).digest() for key, value in alike.items()}

    def differing(self, name: str, other: str, keys: Sequence[str]) -> list[str]:
        """Keys in which two packs differ; none when either is not known."""
        one, two = self._digests.get(name, {}), self._digests.get(other, {})
        return [key for key in keys if key in one and key in two and one[key] != two[key]]

    def same_body(self, name: str, others: Sequence[str]) -> list[str]:
        """Those of `others` that hold the same template."""
        mine = self._digests.get(name, {}).get("v_template")
        return [o for o in others if o != name and mine and self._digests.get(o, {}).get("v_template") == mine]


def _parameters(folder: Path) -> Path:
    """The README's `parameters` folder at or below `folder`, which its configuration puts elsewhere (sheet, D3)."""
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
    """Whether the pack has the keys that its name promises."""
    key, wanted = KID_DIRECTIONS[0], name.startswith("SMPLA_")
    if wanted != (key in arrays):
        what = "is missing: this is no SMPLA pack" if wanted else "is there: this is an SMPLA pack"
        command = "prepare-smil" if "smil" in name.lower() else "prepare-smpl --gender all"
        yield Finding(severity="error", key=key, what=what, hint=f"trace {command} --force")
    if unknown := sorted(set(arrays) - {*LAYOUT, key}):
        what = f"holds {', '.join(unknown)} as well, which no packer writes"
        yield Finding(severity="warning", key="content", what=what)


def _note(pack: Path) -> tuple[Mapping[str, Any], list[Finding]]:
    """What stands beside a pack, and what is wrong with it: the pack itself cannot tell its version (sheet, D4)."""

    def warn(what: str, hint: str) -> Finding:
        return Finding(severity="warning", key=path.name, what=what, hint=hint)

    path = pack.with_suffix(".json")
    again = "trace prepare-smpl --gender all --force  makes the packs anew, with their notes"
    smil = "smil" in pack.name.lower()
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "is not there: whether the pack was made from SMPL 1.1.0 or 1.0.0 cannot be told"
        return {}, [] if smil else [warn(what, again)]
    except (OSError, ValueError) as error:
        return {}, [warn(f"cannot be read: {error}", again)]
    if not isinstance(note, dict):
        return {}, [warn("holds no object", again)]
    gender, components = note.get("gender"), note.get("shape_components")
    found = []
    if not smil and gender != pack.stem.rpartition("_")[2].lower():
        found.append(Finding(severity="error", key=path.name, what=f"says that the pack is {gender}", hint=again))
    if not smil and isinstance(components, int) and components < COMPONENTS_1_1:
        found.append(
            warn(
                f"says {components} shape components: SMPL {note.get('version')}, taken knowingly",
                f"get {ORIGIN['male']}",
            )
        )
    return note, found


def _neighbours(name: str, known: _Known) -> Iterator[Finding]:
    """What a pack must share with the packs read before it, and what not."""

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


def _sources(found: SourceSet, known: _Known, needed: Sequence[str], progress: Progress) -> Iterator[AssetReport]:
    """One report for each role, side files first because bodies are judged with them."""
    side: dict[str, Any] = {}
    for role in (EXTRA9, H36M17, KID, *GENDERS, SMIL):
        progress.advance(detail=role)
        file = found.best(role)
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
            what = f"would give another {pack} than there is: {', '.join(keys)} differ"
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
