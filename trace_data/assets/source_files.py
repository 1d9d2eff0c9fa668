"""Find body-model files in folders and zips, and read them (docs/reference/assets.md#file-names-and-sources)."""

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
from trace_data.files import open_regular, path_of
from trace_data.schema.body import GENDERS

MAX_FOLDERS, MAX_FILES, MAX_DEPTH, MAX_BYTES = 5_000, 50_000, 8, 1 << 30
MAX_NAMED = 5
"""Number of skipped files that an error lists."""
_RANK = {"1.1.0": 0, None: 1, "1.0.0": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """One recognised file, on disk or inside a zip."""

    path: Path
    """The file, or the zip that holds it."""
    member: str | None
    """Name inside the zip."""
    role: str
    """A gender, or the official name of an auxiliary file."""
    version: str | None
    """1.1.0 or 1.0.0, if the name says so."""
    place: int = 0
    """Index of the given location that holds it."""

    @property
    def name(self) -> str:
        """File name without folders."""
        return Path(self.member or self.path).name

    @property
    def where(self) -> str:
        """Full location, for messages and the pack's record."""
        return str(self.path) if self.member is None else f"{self.path}:{self.member}"

    def read(self) -> bytes:
        """The content. Raises AssetError when it cannot be read or is larger than any model."""
        if self.size() > MAX_BYTES:
            raise AssetError(f"is larger than {MAX_BYTES:,} bytes, more than any body model", where=self.where)
        with _named_errors(self.where):
            if self.member is None:
                with open_regular(self.path) as file:
                    return file.read(MAX_BYTES)
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as packed:
                return packed.read(MAX_BYTES)

    def size(self) -> int:
        """Unpacked size in bytes. Raises AssetError when it cannot be determined."""
        with _named_errors(self.where):
            if self.member is None:
                return self.path.stat().st_size
            with zipfile.ZipFile(self.path) as archive:
                return archive.getinfo(self.member).file_size

    def sha256(self) -> str:
        """Hash of the content."""
        return hashlib.sha256(self.read()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSet:
    """Result of a search."""

    looked_in: tuple[Path, ...]
    """The locations searched."""
    files: tuple[SourceFile, ...]
    """All recognised files, in the order of the locations."""
    passed_by: tuple[str, ...] = ()
    """Skipped files, each with the reason."""

    def best(self, role: str) -> SourceFile | None:
        """The file to use for a gender or auxiliary file, from the first location that has one.

        Where a location has several: version 1.1.0 by its name, then renamed files, then 1.0.0.
        """
        candidates = [file for file in self.files if file.role == role]
        return min(candidates, key=lambda file: (file.place, _RANK[file.version]), default=None)

    def require(self, roles: Sequence[str]) -> dict[str, SourceFile]:
        """The file of every role. Raises one AssetError that names all missing ones and where to get them."""
        files = {role: self.best(role) for role in roles}
        missing = [role for role, file in files.items() if file is None]
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
        return {role: file for role, file in files.items() if file is not None}


def find_sources(sources: Sequence[Path]) -> SourceSet:
    """Search folders (recursively), single files and zips for body-model files, ignoring case.

    A file given directly may have any name that contains its gender. Zips inside a folder are searched when their names
    mention SMPL or SMIL. Raises AssetError when a location does not exist or a zip is broken.
    """
    files: list[SourceFile] = []
    passed_by: list[str] = []
    for number, place in enumerate(sources):
        place = path_of(str(place), where="--source")
        try:
            mode = place.stat().st_mode
        except OSError as error:
            raise AssetError(
                f"cannot be opened: {error.strerror}",
                where=place,
                hint="give --source a folder, a file or a downloaded zip",
            ) from error
        matches: Iterable[SourceFile]
        if stat.S_ISDIR(mode):
            matches = _in_folder(place, passed_by)
        elif not stat.S_ISREG(mode):
            raise AssetError("is neither a file nor a folder", where=place, hint="give --source a folder or a file")
        elif place.suffix.lower() == ".zip":
            matches = _in_zip(place)
        else:
            matches = [_given(place)]
        files.extend(replace(file, place=number) for file in matches)
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
        passed_by.append(f"{error.filename} cannot be opened ({error.strerror})")

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
        # a link may lead back to a folder that was searched already
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
    """Whether the path is something other than a file: reading a pipe would block forever."""
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
    recognised = ((member, recognise(Path(member).name)) for member in members if not member.startswith("__MACOSX"))
    return [
        SourceFile(path=path, member=member, role=known[0], version=known[1]) for member, known in recognised if known
    ]


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
