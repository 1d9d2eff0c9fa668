"""A size-limited local cache of remote shards, shared by all processes of a machine.

Files are named by their SHA-256, so different datasets or builds never mix:

    <sha256>.h5               a whole, verified shard
    <sha256>-<bytes>.partial  a download in progress; counted with its final size
    lock                      held while names in the folder change

Files with other names are neither counted nor touched, and a folder of built shards is refused. A file is trusted once
its hash was verified in this process, and only while no other user except root could change it.

A file is in use while a process holds a lock on it: readers a shared one, the downloading process an exclusive one.
The system releases both when a process dies. Only unused files are evicted, least recently used first; an unlocked
partial file was left by a process that died, and is treated like the others.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shlex
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any

from trace_data.errors import ConfigError, OutputError, ShardError
from trace_data.files import cannot_lock, open_own, sha256_of_open, wait_for_lock, writable_folder
from trace_data.progress import SILENT, Progress
from trace_data.shards.entries import ShardEntry
from trace_data.shards.layout import INDEX_FILE

_HASH = re.compile(r"[0-9a-f]{64}")
_WHOLE = re.compile(r"[0-9a-f]{64}\.h5")
_PARTIAL = re.compile(r"[0-9a-f]{64}-(\d+)\.partial")
DISK_SHARE = 0.9
"""Share of the disk's available space used if the limit exceeds it."""


class ShardCache:
    """At most `limit` bytes of shards in `folder`. Picklable, safe between threads and processes."""

    def __init__(self, folder: Path, limit: int, progress: Progress = SILENT) -> None:
        """Raises OutputError when the folder cannot be made or written, ConfigError when it holds built shards."""
        if (folder / INDEX_FILE).exists():
            raise ConfigError(
                f"there are built shards here ({INDEX_FILE}); a cache deletes what was used longest ago",
                where=folder,
                hint="name another folder with --cache DIR: shards are kept in DIR/shards",
            )
        writable_folder(folder)
        self.folder = folder
        self._progress = progress
        with tempfile.TemporaryFile(dir=folder) as own:
            self._owners = {0, os.geteuid(), os.fstat(own.fileno()).st_uid}  # some mounts give files another owner
        self._sound: set[tuple[str, int, int]] = set()  # SHA-256, device and number of files found right
        held = sum(length for _, length, _, _ in self._held())
        on_disk = int(DISK_SHARE * (shutil.disk_usage(folder).free + held))
        self.limit = min(limit, on_disk)
        """Maximum bytes; less than requested if the disk has less."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_progress": SILENT, "_sound": set()}

    def path(self, entry: ShardEntry) -> Path:
        """Where the whole shard stands or will stand. Raises ShardError when the index gives it no proper hash."""
        if not _HASH.fullmatch(entry.sha256):
            raise ShardError(f"malformed index: SHA-256 {entry.sha256[:80]!r}", where=entry.file)
        return self.folder / f"{entry.sha256}.h5"

    def check_fits(self, entry: ShardEntry) -> None:
        """Raises ConfigError when the shard is larger than the whole cache may become."""
        if entry.bytes > self.limit:
            raise ConfigError(
                f"{entry.file} has {entry.bytes:,} bytes, the cache may hold {self.limit:,}",
                where=self.folder,
                hint="allow more with --cache-size, or name a folder on a larger disk with --cache",
            )

    def open(self, entry: ShardEntry) -> FileIO | None:
        """Open the complete shard, in use until closed; None if not cached. Its hash is verified once per process.

        Raises OutputError if its path is not a regular file, or is a file that another user could change.
        """
        path = self.path(entry)
        while True:
            try:
                stream = open_own(path, make=False)
            except FileNotFoundError:
                return None
            try:
                wait_for_lock(lambda: fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB), path, self._progress.log)  # noqa: B023
                if _stands(stream, path):
                    self._check_owner(stream, path)
                    if self._is_whole(entry, stream):
                        _use_now(stream.fileno())
                        return stream
                    path.unlink(missing_ok=True)  # damaged since it was verified: as if it had never come
                    self._progress.log(f"{path}: was changed or cut since it came, fetched once more")
            except BaseException:
                stream.close()
                raise
            stream.close()  # evicted between the two calls

    def _check_owner(self, stream: FileIO, path: Path) -> None:
        owner = os.fstat(stream.fileno()).st_uid
        if owner not in self._owners:
            raise OutputError(
                f"belongs to another user (uid {owner}), who could change it while it is read",
                where=path,
                hint=f"name a folder of your own with --cache DIR, or  rm {shlex.quote(str(path))}",
            )

    def _is_whole(self, entry: ShardEntry, stream: FileIO) -> bool:
        state = os.fstat(stream.fileno())
        key = (entry.sha256, state.st_dev, state.st_ino)
        if state.st_size == entry.bytes and key not in self._sound and sha256_of_open(stream) == entry.sha256:
            self._sound.add(key)
        return state.st_size == entry.bytes and key in self._sound

    def touch(self, entries: Sequence[ShardEntry]) -> list[ShardEntry]:
        """Mark shards as needed soon, the first ones soonest; returns those not cached."""
        missing = []
        for entry in reversed(entries):
            try:
                _use_now(self.path(entry))
            except OSError:  # whatever it is, `open` will say
                missing.append(entry)
        return missing[::-1]

    def claim(self, entry: ShardEntry) -> FileIO | None:
        """The shard's partial file, ours alone until it is closed, with room for the rest of it.

        None when there is nothing to do yet: the shard is here, another process is fetching it, or every file that
        would have to go is in use. Ask again a little later. Raises ConfigError when the shard can never fit.
        """
        self.check_fits(entry)
        partial = self.folder / f"{entry.sha256}-{entry.bytes}.partial"
        with self._changing():
            if self.path(entry).exists():
                return None
            if not partial.exists() and not self._make_room(entry.bytes):
                return None
            stream = open_own(partial)
            try:
                self._check_owner(stream, partial)
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                return None
            except OSError as error:
                stream.close()
                raise cannot_lock(error, self.folder) from error
            except OutputError:
                stream.close()
                raise
            return stream

    def state(self) -> dict[str, int]:
        """Name and present length of every file of ours: while another process gets on, this changes."""
        return {file.name: length for _, length, _, file in self._held()}

    def finish(self, entry: ShardEntry, partial: FileIO) -> None:
        """Rename the verified partial file. It stays in use, as by a reader, until `partial` is closed."""
        os.fsync(partial.fileno())
        with self._changing():
            (self.folder / f"{entry.sha256}-{entry.bytes}.partial").rename(self.path(entry))
        state = os.fstat(partial.fileno())
        self._sound.add((entry.sha256, state.st_dev, state.st_ino))
        fcntl.flock(partial, fcntl.LOCK_SH)

    def discard(self, entry: ShardEntry) -> None:
        """Delete the shard's partial file, which the caller has claimed."""
        with self._changing():
            (self.folder / f"{entry.sha256}-{entry.bytes}.partial").unlink(missing_ok=True)

    def write(self, partial: FileIO, data: bytes) -> None:
        """Write to a claimed file, evicting other shards if the disk is full. Raises OutputError."""
        view = memoryview(data)
        while view:
            try:
                view = view[partial.write(view) :]
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise OutputError(
                        f"cannot be written: {error.strerror}",
                        where=self.folder,
                        hint="give another folder with --cache",
                    ) from error
                with self._changing():
                    freed = self._evict_one()
                if not freed:
                    raise OutputError(
                        f"the disk of the cache is full: {shutil.disk_usage(self.folder).free:,} bytes are free,"
                        f" {len(view):,} more are needed",
                        where=self.folder,
                        hint="free some space there, or name a folder on a larger disk with --cache",
                    ) from error

    def _make_room(self, needed: int) -> bool:
        """Evict until `needed` more bytes fit the limit; False if files in use leave too little room."""
        while sum(size for _, _, size, _ in self._held()) + needed > self.limit:
            if not self._evict_one():
                return False
        return True

    def _evict_one(self) -> bool:
        """Delete the least recently used file that is not in use; False if there is none."""
        for _, _, _, file in sorted(self._held()):
            with (
                contextlib.suppress(FileNotFoundError, BlockingIOError, OutputError),
                open_own(file, make=False) as stream,
            ):
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
                return True
        return False

    def _held(self) -> list[tuple[int, int, int, Path]]:
        """Time of last use, present bytes, bytes it will have, and path of every file of ours."""
        held = []
        for file in self.folder.iterdir():
            partial = _PARTIAL.fullmatch(file.name)
            if partial or _WHOLE.fullmatch(file.name):
                with contextlib.suppress(FileNotFoundError):
                    status = file.lstat()
                    if stat.S_ISREG(status.st_mode):
                        size = int(partial[1]) if partial else status.st_size
                        held.append((status.st_mtime_ns, status.st_size, size, file))
        return held

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        file = self.folder / "lock"
        with open_own(file) as stream:
            wait_for_lock(lambda: fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB), file, self._progress.log)
            yield


def _use_now(file: int | Path) -> None:
    now = time.time_ns()  # the system's own idea of now moves in steps of milliseconds
    os.utime(file, ns=(now, now), follow_symlinks=isinstance(file, int))


def _stands(stream: FileIO, path: Path) -> bool:
    """Whether the open file is still the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
