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


@contextlib.contextmanager
def atomic_write(file: Path, *, durable: bool = True) -> Iterator[Path]:
    """The path beside `file` that is to be written in the block, as a whole file; after it, it is renamed to `file`.

    Whoever reads `file`, after a crash too, finds what was there before or all of the new content; after an error in
    the block, what was there before. Folders are made, and the mode is that of any new file. Not `durable`: the rename
    does not wait for the disk, for many files that are made again when they are missing or damaged. Raises OSError.
    """
    partial = file.with_name(f"{file.name}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        if not partial.stat().st_mode & 0o077:
            as_any_new_file(partial)
        if durable:
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())  # a rename may reach the disk before the content does
        partial.replace(file)
    finally:
        with contextlib.suppress(OSError):  # a full disk needs its room
            partial.unlink()


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, whole or not at all. Raises OutputError."""
    try:
        with atomic_write(file) as partial:
            partial.write_text(json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=file) from error


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()
