"""Folders that results are written to: made, tried, held by one writer at a time, read by whom the user lets."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trace_data.errors import OutputError


def read_regular(file: Path, limit: int) -> bytes:
    """The whole of a file from elsewhere of at most `limit` bytes. Raises OSError, for a pipe or device too."""
    with open(file, "rb", opener=lambda path, _: os.open(path, os.O_RDONLY | os.O_NONBLOCK)) as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(file))
        data = stream.read(limit + 1) if found.st_size <= limit else b""
    if found.st_size > limit or len(data) > limit:
        raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, expected at most {limit:,}", str(file))
    return data


def writable_folder(folder: Path) -> None:
    """Make the folder and make sure that it can be written. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # without a name that two processes could share
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", where=folder, hint="give another --out DIR, or mend its permissions"
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold `folder` (made when missing) for this process; the system lets go even when the process is killed.

    Raises OutputError when another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                "another process is writing here", where=folder.parent, hint="wait until it ends"
            ) from error
        except OSError as error:
            raise OutputError(
                f"cannot be locked: {error.strerror}", where=folder, hint="choose a folder on a disk that knows locks"
            ) from error
        yield


def is_held(folder: Path) -> bool:
    """Whether some process holds `folder` by `exclusive` at this moment."""
    try:
        with (folder / "lock").open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock was ever taken, or this disk knows none
        return False
    return False


def as_any_new_file(file: Path) -> None:
    """Give a file the mode of any new one beside it, by the user's umask or the folder's own rule.

    safetensors makes its files for their owner alone, which nobody else of a shared folder could read. Raises OSError.
    """
    beside = file.with_name(f"{file.name}.mode")
    try:
        beside.touch()
        file.chmod(beside.stat().st_mode & 0o777)
    finally:
        beside.unlink(missing_ok=True)


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys under a temporary name, then rename it. Raises OutputError."""
    partial = file.with_name(file.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, sort_keys=True, separators=(",", ":"))
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=file) from error


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
