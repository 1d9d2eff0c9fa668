"""Files: opening only regular ones, output folders, locks, permissions, atomic writing."""

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
from typing import IO, Any

from trace_data.errors import ConfigError, OutputError


def open_regular(file: Path) -> IO[bytes]:
    """Open a file for reading; links are followed.

    Raises OSError for anything else than a regular file, too: a pipe is waited for without end, a device may be
    endless.
    """
    if "\0" in str(file):
        raise FileNotFoundError(errno.ENOENT, "no file has a NUL in its name", str(file))
    handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # non-blocking: no wait for a pipe's writer
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
    raise OSError(errno.ENOTSUP, "a pipe, socket or device, expected a regular file", str(file))


def read_within(stream: IO[bytes], limit: int) -> bytes:
    """All bytes of a stream, or `limit` and one more where it has more: never more memory than it has bytes."""
    try:
        left = os.fstat(stream.fileno()).st_size - stream.tell()
    except (OSError, ValueError, AttributeError):  # no file of the system: a member of an archive, bytes in memory
        pieces, missing = [], limit + 1
        while missing and (piece := stream.read(min(missing, 1 << 20))):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)
    return stream.read(min(limit, left) + 1)


def path_of(text: str, *, where: str | Path) -> Path:
    """The path that a user wrote, `~` and `~name` filled in. Raises ConfigError where `where` holds no path."""
    if "\0" in text:
        raise ConfigError(f"{text!r} is no path: it holds a NUL", where=where)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{text!r} names the home folder of a user whom this machine does not know",
            where=where,
            hint="write the whole path",
        ) from error


def writable_folder(folder: Path) -> None:
    """Create the folder and check that it is writable. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # without a name that two processes could share
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", where=folder, hint="give another --out DIR, or fix its permissions"
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock `folder` (created when missing) for this process. A killed process releases its lock.

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
                f"cannot be locked: {error.strerror}",
                where=folder,
                hint="choose a folder on a file system that supports locks",
            ) from error
        yield


def is_held(folder: Path) -> bool:
    """Whether a process holds `folder` by `exclusive` at this moment."""
    try:
        with (folder / "lock").open() as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock was ever taken, or this disk knows none
        return False
    return False


def as_any_new_file(file: Path) -> None:
    """Give a file the mode of a new file in its folder: the user's umask, or the folder's default ACL.

    safetensors creates files that only their owner can read, which breaks shared folders. Raises OSError.
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
