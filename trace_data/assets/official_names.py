"""Which body-model files are recognised, under which names, and where they come from (fact sheet assets.md, A1, A2)."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from trace_data.errors import AssetError

GENDERS = ("male", "female", "neutral")
EXTRA9, H36M17, KID, SMIL = "J_regressor_extra.npy", "J_regressor_h36m.npy", "smpl_kid_template.npy", "smil_web.pkl"

ORIGIN = {
    **dict.fromkeys(
        GENDERS,
        'SMPL_python_v.1.1.0.zip, "version 1.1.0 for Python 2.7 (female/male/neutral, 300 shape PCs)" on the SMPL site',
    ),
    EXTRA9: "smpl_model_data.zip of the ROMP release (also in the SPIN and VIBE data bundles)",
    H36M17: "smpl_model_data.zip of the ROMP release (also in the SPIN and VIBE data bundles)",
    KID: "smpl_model_data.zip of the ROMP release (also on the AGORA site)",
    SMIL: "smil.zip of Fraunhofer IOSB",
}
"""Where each role's file is downloaded."""

_PATTERNS = (
    (re.compile(r"basicmodel_(m|f|neutral)_lbs_10_207_0_v(1\.[01]\.0)\.(?:pkl|npz)"), "official"),
    (re.compile(r"smpl_(male|female|neutral)\.(?:pkl|npz)"), "renamed"),
)
_SIDE_FILES = {name.lower(): name for name in (EXTRA9, H36M17, KID, SMIL)} | {"smil_web.npz": SMIL}
_TOKENS = {"m": "male", "f": "female"}
_TOKEN = re.compile(r"(?<![a-z])(male|female|neutral|m|f|n)(?![a-z])")
MAX_FOLDERS, MAX_FILES, MAX_DEPTH, MAX_BYTES = 5_000, 50_000, 8, 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One recognised file, on disk or inside a zip."""

    path: Path
    """The file, or the zip that holds it."""
    member: str | None
    """Name inside the zip."""
    role: str
    """A gender, or one of the side files' official names."""
    version: str | None
    """1.1.0 or 1.0.0 where the name says so."""

    @property
    def name(self) -> str:
        """File name without folders."""
        return Path(self.member or self.path).name

    @property
    def where(self) -> str:
        """Full place for messages and the sidecar."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    def read(self) -> bytes:
        """The whole content. Raises AssetError when it cannot be read or is larger than any model."""
        try:
            if self.member is None:
                with self.path.open("rb") as file:
                    data = file.read(MAX_BYTES + 1)
            else:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as file:
                    data = file.read(MAX_BYTES + 1)
        except (OSError, zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error) as error:
            raise AssetError(
                f"cannot be read: {error}", where=self.where, hint="check it, or download it again"
            ) from error
        if len(data) > MAX_BYTES:
            raise AssetError(f"is larger than {MAX_BYTES:,} bytes, more than any body model", where=self.where)
        return data

    def size(self) -> int:
        """Bytes, unpacked."""
        if self.member is None:
            return self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive:
            return archive.getinfo(self.member).file_size

    def sha256(self) -> str:
        """Of the content."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSet:
    """What a search found."""

    looked_in: tuple[Path, ...]
    """The places given."""
    files: tuple[SourceFile, ...]
    """Everything recognised: in the order of the places, official names with the newer version first in each."""

    def best(self, role: str) -> SourceFile | None:
        """The file to use for a gender or side file: version 1.1.0 by its name, then renamed files, then 1.0.0."""
        candidates = [file for file in self.files if file.role == role]
        return min(candidates, key=lambda file: _RANK[file.version], default=None)

    def require(self, roles: Sequence[str]) -> dict[str, SourceFile]:
        """The file of every role. Raises one AssetError that names all missing ones and where they come from."""
        found = {role: self.best(role) for role in roles}
        missing = [role for role, file in found.items() if file is None]
        if missing:
            looked = ", ".join(map(str, self.looked_in)) or "no folder"
            others = [f"{file.name} ({file.role})" for file in self.files if file.role in GENDERS]
            present = f"; found only {', '.join(others)}" if others and set(missing) & set(GENDERS) else ""
            raise AssetError(
                f"missing: {', '.join(map(_title, missing))}{present}; nothing was written",
                where=f"looked in {looked}",
                hint="\n  ".join([*(f"{_title(r)}: {ORIGIN[r]}" for r in missing), "add --source PATH for each place"]),
            )
        return {role: file for role, file in found.items() if file is not None}


_RANK = {"1.1.0": 0, None: 1, "1.0.0": 2}


def find_sources(sources: Sequence[Path]) -> SourceSet:
    """Search folders (with sub-folders), single files and zips for body-model files, by any letter case.

    A file given directly is taken even under an unknown name when that name tells its gender. Zips inside a folder are
    searched when their names speak of SMPL or SMIL. Raises AssetError when a place does not exist or a zip is broken.
    """
    files: list[SourceFile] = []
    for place in sources:
        place = place.expanduser()
        try:
            mode = place.stat().st_mode
        except OSError as error:
            raise AssetError(
                f"cannot be opened: {error.strerror}",
                where=place,
                hint="give --source a folder, a file or a downloaded zip",
            ) from error
        if stat.S_ISDIR(mode):
            files.extend(_in_folder(place))
        elif place.suffix.lower() == ".zip":
            files.extend(_in_zip(place))
        else:
            files.append(_given(place))
    return SourceSet(looked_in=tuple(sources), files=tuple(files))


def recognise(name: str) -> tuple[str, str | None] | None:
    """Role and version of a file by its name, or None."""
    low = name.lower()
    if low in _SIDE_FILES:
        return _SIDE_FILES[low], None
    for pattern, kind in _PATTERNS:
        if match := pattern.fullmatch(low):
            return _TOKENS.get(match[1], match[1]), match[2] if kind == "official" else None
    return None


def _given(path: Path) -> SourceFile:
    known = recognise(path.name)
    if known is None:
        tokens = {word[0] for word in _TOKEN.findall(path.stem.lower())}
        if path.suffix.lower() not in (".pkl", ".npz") or len(tokens) != 1:
            raise AssetError(
                "is not a body-model file by its name",
                where=path,
                hint="official names are basicmodel_{m,f,neutral}_lbs_10_207_0_v1.1.0.pkl; or rename it SMPL_MALE.pkl, "
                "SMPL_FEMALE.pkl or SMPL_NEUTRAL.pkl",
            )
        known = {"m": "male", "f": "female", "n": "neutral"}[tokens.pop()], None
    return SourceFile(path=path, member=None, role=known[0], version=known[1])


def _in_folder(folder: Path) -> Iterator[SourceFile]:
    seen = 0
    for count, (here, folders, names) in enumerate(os.walk(folder)):
        seen += len(names)
        if count > MAX_FOLDERS or seen > MAX_FILES:
            raise AssetError(
                f"holds more than {MAX_FILES:,} files or {MAX_FOLDERS:,} folders",
                where=folder,
                hint="give --source the folder that holds the body models itself",
            )
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        if len(Path(here).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        for name in sorted(names):
            path = Path(here, name)
            if known := recognise(name):
                yield SourceFile(path=path, member=None, role=known[0], version=known[1])
            elif name.lower().endswith(".zip") and re.search("smpl|smil", name.lower()) and path.is_file():
                yield from _in_zip(path)


def _in_zip(path: Path) -> list[SourceFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist()[:MAX_FILES] if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise AssetError(f"cannot be read as a zip: {error}", where=path, hint="download it again") from error
    found = ((member, recognise(Path(member).name)) for member in members if not member.startswith("__MACOSX"))
    return [SourceFile(path=path, member=member, role=known[0], version=known[1]) for member, known in found if known]


def _title(role: str) -> str:
    return f"the {role} body model" if role in GENDERS else role
