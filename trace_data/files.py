"""File handling: safe opening of foreign and own files, output folders, locks, permissions, atomic writes."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import IO, Any, BinaryIO

from trace_data.errors import ConfigError, OutputError
from trace_data.os_errors import SpecialFile

LOCK_WORD, LOCK_END = 5.0, 120.0
"""Seconds after which waiting for a lock is reported, and after which it fails."""
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
"""Errors of file systems without file locks."""
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
_WITHOUT_WAITING = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_regular(file: Path) -> BinaryIO:
    """Open a foreign file, or a link to one, for reading; its `name` is the path.

    Raises OSError; SpecialFile for a pipe or device, on which reading could block or never end.
    """
    if "\0" in str(file):
        raise FileNotFoundError(errno.ENOENT, "no file has a NUL in its name", str(file))
    _refuse_special(file, file.stat())  # before opening, which has side effects on some devices
    stream = open(file, "rb", opener=lambda path, _: os.open(path, os.O_RDONLY | _WITHOUT_WAITING))  # noqa: SIM115
    try:
        _refuse_special(file, os.fstat(stream.fileno()))  # it may have been replaced meanwhile
    except OSError:
        stream.close()
        raise
    return stream


def check_regular(file: Path) -> None:
    """For libraries that open files by name. Raises OSError as `open_regular` does."""
    with open_regular(file):
        pass


def read_regular(file: Path, limit: int) -> bytes:
    """Read a foreign file of at most `limit` bytes. Raises OSError as `open_regular` does."""
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = stream.read(limit + 1) if size <= limit else b""
    if size > limit or len(data) > limit:
        raise OSError(errno.EFBIG, f"{size:,} bytes, expected at most {limit:,}", str(file))
    return data


def read_within(stream: IO[bytes], limit: int) -> bytes:
    """Read all bytes of a stream, up to `limit` + 1, without allocating more memory than it has bytes."""
    try:
        left = os.fstat(stream.fileno()).st_size - stream.tell()
    except (OSError, ValueError, AttributeError):  # not a system file: an archive member, bytes in memory
        pieces, missing = [], limit + 1
        while missing and (piece := stream.read(min(missing, 1 << 20))):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)
    return stream.read(min(limit, left) + 1)


def path_of(text: str, *, where: str | Path) -> Path:
    """A path given by the user, with `~` and `~name` expanded; `where`: its source. Raises ConfigError if invalid."""
    if "\0" in text:
        raise ConfigError(f"{text!r} is no path: it holds a NUL", where=where)
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{text!r} names the home folder of a user whom this machine does not know",
            where=where,
            hint="write the whole path, or ./~… for a folder of that name",
        ) from error


def is_there(path: Path, *, folder: bool) -> bool:
    """Whether a file, or a folder, of this name is there; not for a name from a file that no system could have."""
    try:
        return path.is_dir() if folder else path.is_file()
    except (OSError, ValueError):  # too long, or with a zero byte
        return False


def _refuse_special(file: Path, found: os.stat_result) -> None:
    if kind := _KINDS.get(stat.S_IFMT(found.st_mode)):
        raise SpecialFile(errno.EINVAL, kind, str(file))
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))


def open_own(file: Path, *, make: bool = True) -> FileIO:
    """Open one of our own files for reading and writing, unbuffered, without truncation, to lock or append to it.

    `make`: create it if missing. In a folder where others can write, it could be replaced by a link, pipe or hard link
    to another file: these are refused, as writes would end up there. Raises OutputError, OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        _refuse_foreign(file, file.lstat())  # before opening, which has side effects on some devices
    flags = os.O_RDWR | (os.O_CREAT if make else 0) | os.O_NOFOLLOW | _WITHOUT_WAITING
    stream = open(file, "r+b", buffering=0, opener=lambda path, _: os.open(path, flags, 0o666))  # noqa: SIM115
    try:
        _refuse_foreign(file, os.fstat(stream.fileno()))
    except OutputError:
        stream.close()
        raise
    return stream


def _refuse_foreign(file: Path, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:
        return
    kind = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: "another name of some file"} | _KINDS
    raise OutputError(
        f"is {kind.get(stat.S_IFMT(found.st_mode), 'no file')}, expected a file of our own; nothing was written",
        where=file,
        hint=f"find out who put it there, then  rm {shlex.quote(str(file))}",
    )


def wait_for_lock(lock: Callable[[], object], file: Path, say: Callable[[str], object]) -> None:
    """Call `lock`, which must raise BlockingIOError instead of waiting, until it succeeds.

    `say` receives a message after `LOCK_WORD` seconds. Raises OutputError after `LOCK_END` seconds, or if the file
    system has no locks.
    """
    began, reported, pause = time.monotonic(), False, 0.001
    while True:
        try:
            lock()
            return
        except BlockingIOError as error:
            waited = time.monotonic() - began
            if waited >= LOCK_END:
                raise OutputError(
                    f"another process has held this lock for {waited:.0f} s",
                    where=file,
                    hint=f"fuser -v {shlex.quote(str(file))}  names it; it may be stopped or hang",
                ) from error
            if waited >= LOCK_WORD and not reported:
                say(f"{file}: waiting for another process that holds this lock, at most {LOCK_END:.0f} s")
                reported = True
        except OSError as error:
            raise cannot_lock(error, file.parent) from error
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


def cannot_lock(error: OSError, folder: Path) -> OutputError:
    """The error if a lock fails for another reason than being held."""
    if error.errno in NO_LOCKS:
        return OutputError(
            f"this disk knows no file locks ({error.strerror}), which keep several processes apart",
            where=folder,
            hint="choose a folder on a disk of this machine",
        )
    return OutputError(f"cannot be locked: {error.strerror}", where=folder)


def writable_folder(folder: Path) -> None:
    """Create the folder and check that it is writable. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # unnamed, so that processes cannot collide
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", where=folder, hint="give another --out DIR, or fix its permissions"
        ) from error


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock `folder` (created if missing) for this process. A killed process releases its lock.

    Raises OutputError if another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_own(folder / "lock") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                "another process is writing here", where=folder.parent, hint="wait until it ends"
            ) from error
        except OSError as error:
            raise cannot_lock(error, folder) from error
        yield


def is_held(folder: Path) -> bool:
    """Whether a process currently holds `folder` by `exclusive`."""
    try:
        with open_regular(folder / "lock") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # never locked, or a file system without locks
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
    partial.unlink(missing_ok=True)  # left by a killed process, or a link to a file of somebody's
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


def as_json(content: Mapping[str, Any]) -> bytes:
    """JSON with sorted keys that every reader takes.

    Names that are no UTF-8 hold halves of surrogate pairs in Python, which strict readers refuse: they stand as the
    text `\\udcff` with its backslash, as `encode(errors="backslashreplace")` gives it too.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _HALF_PAIR.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text).encode() + b"\n"


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys, as `as_json` makes it, whole or not at all. Raises OutputError."""
    try:
        with atomic_write(file) as partial:
            partial.write_bytes(as_json(content))
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror}", where=file, hint="free some space, or write to another disk"
        ) from error


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in blocks."""
    with open_regular(file) as stream:
        return sha256_of_open(stream)


def sha256_of_open(stream: IO[bytes]) -> str:
    """SHA-256 of an open file from its beginning, hexadecimal; the place of the stream does not matter."""
    digest, at = hashlib.sha256(), 0
    while block := os.pread(stream.fileno(), 1 << 22, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()
