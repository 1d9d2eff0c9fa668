"""Finding body-model files in folders, zips and by name, and reading them (fact sheet assets.md, A1, A2)."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trace_data.assets.official_names import ORIGIN, other_model, own_name, recognise, title
from trace_data.errors import AssetError
from trace_data.files import open_regular
from trace_data.schema.body import GENDERS

MAX_FOLDERS, MAX_FILES, MAX_DEPTH, MAX_BYTES = 5_000, 50_000, 8, 1 << 30
MAX_NAMED = 5
"""Of what was passed by, how many are told."""
_RANK = {"1.1.0": 0, None: 1, "1.0.0": 2}


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
    place: int = 0
    """In which of the places given it was found."""

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
        if self.size() > MAX_BYTES:
            raise AssetError(f"is larger than {MAX_BYTES:,} bytes, more than any body model", where=self.where)
        with _named_errors(self.where):
            if self.member is None:
                with open_regular(self.path) as file:
                    return file.read(MAX_BYTES)
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as packed:
                return packed.read(MAX_BYTES)

    def size(self) -> int:
        """Bytes, unpacked. Raises AssetError when it cannot be found out."""
        with _named_errors(self.where):
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
    """Everything recognised, in the order of the places."""
    passed_by: tuple[str, ...] = ()
    """What was seen and not taken, each with the reason."""

    def best(self, role: str) -> SourceFile | None:
        """The file to use for a gender or side file, of the first place that has one.

        Where that place has several: version 1.1.0 by its name, then renamed files, then 1.0.0.
        """
        candidates = [file for file in self.files if file.role == role]
        return min(candidates, key=lambda file: (file.place, _RANK[file.version]), default=None)

    def require(self, roles: Sequence[str]) -> dict[str, SourceFile]:
        """The file of every role. Raises one AssetError that names all missing ones and where they come from."""
        found = {role: self.best(role) for role in roles}
        missing = [role for role, file in found.items() if file is None]
        if missing:
            looked = ", ".join(map(str, self.looked_in)) or "no folder"
            others = [f"{file.name} ({file.role})" for file in self.files if file.role in GENDERS]
            present = f"; found only {', '.join(others)}" if others and set(missing) & set(GENDERS) else ""
            passed_by = "".join(f"; {what}" for what in self.passed_by[:MAX_NAMED])
            raise AssetError(
                f"missing: {', '.join(map(title, missing))}{present}{passed_by}; nothing was written",
                where=f"looked in {looked}",
                hint="\n  ".join([*(f"{title(r)}: {ORIGIN[r]}" for r in missing), "add --source PATH for each place"]),
            )
        return {role: file for role, file in found.items() if file is not None}


def find_sources(sources: Sequence[Path]) -> SourceSet:
    """Search folders (with sub-folders), single files and zips for body-model files, by any letter case.

    A file given directly is taken even under an unknown name when that name tells its gender. Zips inside a folder are
    searched when their names speak of SMPL or SMIL. Raises AssetError when a place does not exist or a zip is broken.
    """
    files: list[SourceFile] = []
    passed_by: list[str] = []
    for number, place in enumerate(sources):
        place = place.expanduser()
        try:
            mode = place.stat().st_mode
        except OSError as error:
            raise AssetError(
                f"cannot be opened: {error.strerror}",
                where=place,
                hint="give --source a folder, a file or a downloaded zip",
            ) from error
        found: Iterable[SourceFile]
        if stat.S_ISDIR(mode):
            found = _in_folder(place, passed_by)
        elif not stat.S_ISREG(mode):
            raise AssetError("is neither a file nor a folder", where=place, hint="give --source a folder or a file")
        elif place.suffix.lower() == ".zip":
            found = _in_zip(place)
        else:
            found = [_given(place)]
        files.extend(replace(file, place=number) for file in found)
    return SourceSet(looked_in=tuple(sources), files=tuple(files), passed_by=tuple(passed_by))


def _given(path: Path) -> SourceFile:
    known = recognise(path.name) or own_name(path.name)
    if known is None and (other := other_model(path.name)):
        raise AssetError(f"is {other} by its name, expected SMPL", where=path, hint=f"get {ORIGIN['neutral']}")
    if known is None:
        raise AssetError(
            "is not a body-model file by its name",
            where=path,
            hint="official names are basicmodel_{m,f,neutral}_lbs_10_207_0_v1.1.0.pkl; or rename it SMPL_MALE.pkl, "
            "SMPL_FEMALE.pkl or SMPL_NEUTRAL.pkl",
        )
    return SourceFile(path=path, member=None, role=known[0], version=known[1])


def _in_folder(folder: Path, passed_by: list[str]) -> Iterator[SourceFile]:
    def closed(error: OSError) -> None:
        passed_by.append(f"{error.filename} cannot be looked into ({error.strerror})")

    seen, been = 0, set()
    for count, (here, folders, names) in enumerate(os.walk(folder, onerror=closed, followlinks=True)):
        seen += len(names)
        if count > MAX_FOLDERS or seen > MAX_FILES:
            raise AssetError(
                f"holds more than {MAX_FILES:,} files or {MAX_FOLDERS:,} folders",
                where=folder,
                hint="give --source the folder that holds the body models itself",
            )
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__MACOSX")))
        # a link may lead to where the search has been
        if (real := Path(here).resolve()) in been or len(Path(here).relative_to(folder).parts) >= MAX_DEPTH:
            folders.clear()
        if real not in been:
            been.add(real)
            yield from _among(Path(here), sorted(names), passed_by)


def _among(folder: Path, names: Sequence[str], passed_by: list[str]) -> Iterator[SourceFile]:
    for name in names:
        path = folder / name
        known, is_zip = recognise(name), name.lower().endswith(".zip") and re.search("smpl|smil", name.lower())
        if known and not _is_special(path):
            yield SourceFile(path=path, member=None, role=known[0], version=known[1])
        elif is_zip and not _is_special(path):
            yield from _in_zip(path)
        elif other := other_model(name):
            passed_by.append(f"{path} is {other}")


def _is_special(path: Path) -> bool:
    """Whether something stands there that is no file: a pipe would be waited for without end."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _in_zip(path: Path) -> list[SourceFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist()[:MAX_FILES] if not info.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise AssetError(f"cannot be read as a zip: {error}", where=path, hint="download it again") from error
    found = ((member, recognise(Path(member).name)) for member in members if not member.startswith("__MACOSX"))
    return [SourceFile(path=path, member=member, role=known[0], version=known[1]) for member, known in found if known]


@contextlib.contextmanager
def _named_errors(where: str) -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        zipfile.BadZipFile,
        EOFError,
        KeyError,
        RuntimeError,
        ValueError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise AssetError(f"cannot be read: {reason}", where=where, hint="check it, or download it again") from error
