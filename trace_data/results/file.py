"""The result file `NAME.trace.npz`: plain arrays in an uncompressed zip archive, no pickle.

Keys: docs/reference/export.md#result-keys.
"""

from __future__ import annotations

import io
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import OutputError, ResultError, quoted
from trace_data.files import as_json, atomic_write, open_regular
from trace_data.os_errors import TOO_LITTLE_MEMORY, in_words, is_missing
from trace_data.results.check import LAYOUTS, OPTIONAL, check_layouts, check_result
from trace_data.results.result import FORMAT, VERSION, Result
from trace_data.text_files import parse_json

SUFFIX = ".trace.npz"
PARTIAL = ".partial"
START = "start.json"
"""In the folder of an unfinished result: what was known when it began."""
MAX_PACKING = 64
"""Bytes that one byte of a file may unpack to. This program does not compress; files that others saved again may be
compressed, and one that claims to hold more is a trap for the memory."""
MAX_ABOUT = 1 << 20
"""Bytes of the run's facts."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of all members, so that equal results are equal files."""
_CHUNK = 1 << 20
_AGAIN = "it may have been cut short or changed: copy it again"
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError, EOFError, KeyError, NotImplementedError,
    RuntimeError, SyntaxError, ValueError, OverflowError,
)  # fmt: skip
_Header = tuple[np.dtype[Any], tuple[int, ...]]


def write_result(path: Path, result: Result) -> None:
    """Write a result, whole or not at all. Raises ResultError if it contradicts itself, OutputError."""
    check_result(result, path)
    arrays = {name: getattr(result, name) for name in LAYOUTS}
    members = {name: npy(array) for name, array in arrays.items() if array is not None}
    try:
        with atomic_write(path) as partial:
            write_members(partial, {**head(result.about), **members})
    except OSError as error:
        raise cannot_write(error, path) from error


def read_result(path: Path) -> Result:
    """Read and check a result.

    Arrays are loaded only after their announced sizes were compared with the file. Raises ResultError if it is missing,
    unfinished, cut short, of a newer version, no result, or contradicts itself.
    """
    try:
        with open_regular(path) as stream:
            arrays = _read(stream, stream.seek(0, 2), path)
    except OSError as error:
        raise _no_file(error, path) from error
    except ResultError as error:
        raise ResultError(error.message, where=path, hint=error.hint or _AGAIN) from error
    except MemoryError as error:
        raise ResultError("does not fit into the memory of this machine", where=path, hint=TOO_LITTLE_MEMORY) from error
    except _UNREADABLE as error:
        raise ResultError(f"is not readable as a result: {str(error)[:200]}", where=path, hint=_AGAIN) from error
    about = parse_json(str(arrays.pop("about")), where=f"{path}: about", error=ResultError, hint=_AGAIN)
    if not isinstance(about, dict):
        raise ResultError("about is no JSON object", where=path, hint=_AGAIN)
    fields: dict[str, Any] = dict.fromkeys(OPTIONAL) | arrays
    result = Result(about=about, **fields)
    check_result(result, path)
    return result


def is_result(path: Path) -> bool:
    """Whether a file calls itself a result, of any version and in any condition; only its beginning is read."""
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as archive:
            names = archive.namelist()
            return "format.npy" in names and _scalar(archive, "format") == FORMAT
    except (OSError, ResultError, *_UNREADABLE):
        return False


def partial_of(path: Path) -> Path:
    """The folder that holds an unfinished result."""
    return path.with_name(path.name + PARTIAL)


def head(about: Mapping[str, Any]) -> dict[str, IO[bytes]]:
    """The members at the beginning of a file. Raises ResultError if `about` is no JSON."""
    try:
        text = as_json(about).decode().strip()
    except (TypeError, ValueError) as error:
        raise ResultError(f"about is no JSON: {error}") from error
    return {"format": npy(np.array(FORMAT)), "version": npy(np.array(VERSION)), "about": npy(np.array(text))}


def write_members(file: Path, members: Mapping[str, IO[bytes]]) -> None:
    """Write an archive of .npy members, given as open streams. Raises OSError."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, stream in members.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _DATE), "w", force_zip64=True) as target:
                shutil.copyfileobj(stream, target, _CHUNK)


def cannot_write(error: OSError, path: Path) -> OutputError:
    """The error for a result that cannot be written."""
    if isinstance(error, IsADirectoryError):
        return OutputError(
            "an unfinished prediction of this name stands beside it",
            where=path,
            hint=f"finish it with the command that began it, or  rm -r {quoted(partial_of(path))}",
        )
    return OutputError(f"cannot be written: {error.strerror or error}", where=path, hint="free space, or give --out")


def npy(array: npt.NDArray[Any]) -> IO[bytes]:
    """An array in the .npy format, as an open stream."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
    stream.seek(0)
    return stream


def _read(stream: IO[bytes], size: int, path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an open file of `size` bytes. Raises ResultError without the path, and `_UNREADABLE`."""
    if path.name.endswith(PARTIAL):
        raise ResultError("is unfinished: its name ends in .partial", hint="run the same  trace predict  command again")
    try:
        archive = zipfile.ZipFile(stream)
    except zipfile.BadZipFile as error:
        stream.seek(0)
        if stream.read(4) == b"PK\x03\x04":
            raise ResultError("is cut short: the end of the archive is missing") from error
        raise ResultError("is no result: it is not an .npz archive", hint=_expected()) from error
    with archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        _check_kind(archive, members)
        names = [name for name in LAYOUTS if name in members]
        unpacked = sum(members[name].file_size for name in names)
        if len(members) < len(archive.infolist()) or unpacked > MAX_PACKING * size:
            raise ResultError(f"announces {unpacked:,} bytes in a file of {size:,}")
        check_layouts({name: _header(archive, members[name]) for name in names})
        return {"about": np.array(_scalar(archive, "about")), **{name: _array(archive, name) for name in names}}


def _check_kind(archive: zipfile.ZipFile, members: Iterable[str]) -> None:
    """Whether the archive is a result of a version that this program reads."""
    names = set(members)
    if {"outputs", "imgpaths"} <= names:
        raise ResultError("is a result of the published code (outputs, imgpaths), which is pickled", hint=_expected())
    if "format" not in names or _scalar(archive, "format") != FORMAT:
        shown = ", ".join(sorted(names)[:5]) or "nothing"
        raise ResultError(f"is no result: the archive holds {shown}", hint=_expected())
    version = _scalar(archive, "version")
    if not isinstance(version, int) or version < 1:
        raise ResultError(f"has the version {version!r}, expected a number")
    if version > VERSION:
        raise ResultError(
            f"has version {version}, this program reads up to {VERSION}",
            hint="pip install --upgrade trace-5d",
        )


def _header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Header:
    """Type and shape of a member, which has to be as long as they say."""
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        begin = stream.tell()
    content = dtype.itemsize
    for length in shape:
        content *= length
    if dtype.hasobject or begin + content != member.file_size:
        kind = "Python objects" if dtype.hasobject else f"{content:,} bytes and has {member.file_size - begin:,}"
        raise ResultError(f"{member.filename} announces {kind}")
    return dtype, shape


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    with archive.open(f"{name}.npy") as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
        while stream.read(_CHUNK):  # to the end, where the checksum is verified
            pass
    return array


def _scalar(archive: zipfile.ZipFile, name: str) -> Any:
    """The one value of a small member."""
    member = archive.getinfo(f"{name}.npy")
    if member.file_size > 4 * MAX_ABOUT:
        raise ResultError(f"{name} has {member.file_size:,} bytes")
    _, shape = _header(archive, member)
    if shape != ():
        raise ResultError(f"{name} has the shape {shape}, expected one value")
    return _array(archive, name).item()


def _expected() -> str:
    return f"trace predict VIDEO  writes NAME{SUFFIX}"


def _no_file(error: OSError, path: Path) -> ResultError:
    unfinished = partial_of(path)
    if is_missing(error) and (unfinished / START).exists():
        return ResultError(
            "does not exist yet: its prediction was interrupted",
            where=path,
            hint=f"run the same  trace predict  command again; {unfinished.name} holds what is done",
        )
    what, hint = in_words(error)
    return ResultError(what, where=path, hint=hint or _expected())
