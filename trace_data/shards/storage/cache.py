"""A bounded folder of shards that came from elsewhere, shared by all processes of a machine.

Files are named by their SHA-256, so two datasets, or one that was built anew, never mix:

    <sha256>.h5               a whole, verified shard
    <sha256>-<bytes>.partial  one on its way; counted with the bytes it will have
    lock                      held while names in the folder change

A file is in use while somebody holds a lock on it: readers a shared one, the process that downloads an exclusive one.
The system drops both when a process dies, however it dies. Only files that nobody holds are evicted, the one that was
used longest ago first; a partial one that nobody holds was left by a process that died, and counts like the others.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path

from trace_data.errors import ConfigError, OutputError, ShardError
from trace_data.files import writable_folder
from trace_data.shards.entries import ShardEntry

_HASH = re.compile(r"[0-9a-f]{64}")
_PARTIAL = re.compile(r"[0-9a-f]{64}-(\d+)\.partial")
DISK_SHARE = 0.9
"""Share of what the disk can give that the folder takes when its bound is beyond that."""


class ShardCache:
    """At most `limit` bytes of shards in `folder`. Picklable, safe between threads and processes."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Raises OutputError when the folder cannot be made or written."""
        writable_folder(folder)
        self.folder = folder
        on_disk = int(DISK_SHARE * (shutil.disk_usage(folder).free + sum(size for _, size, _ in self._held())))
        self.limit = min(limit, on_disk)
        """Bytes; less than asked for when the disk has less."""

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
        """The whole shard, in use until it is closed; None when it is not here."""
        path = self.path(entry)
        while True:
            try:
                stream = path.open("rb", buffering=0)
            except FileNotFoundError:
                return None
            fcntl.flock(stream, fcntl.LOCK_SH)
            if _stands(stream, path):
                if os.fstat(stream.fileno()).st_size == entry.bytes:
                    _use_now(stream.fileno())
                    return stream
                path.unlink(missing_ok=True)  # damaged since it was verified: as if it had never come
            stream.close()  # evicted between the two calls

    def touch(self, entries: Sequence[ShardEntry]) -> list[ShardEntry]:
        """Mark the shards as needed soon, the first ones soonest; returns those that are not here."""
        missing = []
        for entry in reversed(entries):
            try:
                _use_now(self.path(entry))
            except FileNotFoundError:
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
            stream = os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stream.close()
                return None
            return stream

    def finish(self, entry: ShardEntry, partial: FileIO) -> None:
        """Give the verified partial file its name. It stays in use, now like a reader's, until `partial` is closed."""
        os.fsync(partial.fileno())
        with self._changing():
            (self.folder / f"{entry.sha256}-{entry.bytes}.partial").rename(self.path(entry))
        fcntl.flock(partial, fcntl.LOCK_SH)

    def discard(self, entry: ShardEntry) -> None:
        """Delete the shard's partial file, which the caller has claimed."""
        with self._changing():
            (self.folder / f"{entry.sha256}-{entry.bytes}.partial").unlink(missing_ok=True)

    def write(self, partial: FileIO, data: bytes) -> None:
        """Write to a claimed file; when the disk is full, at the cost of other shards. Raises OutputError."""
        view = memoryview(data)
        while view:
            try:
                view = view[partial.write(view) :]
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise OutputError(f"cannot be written: {error.strerror}", where=self.folder) from error
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
        """Evict until `needed` bytes more keep the bound; False when what is in use leaves too little."""
        while sum(size for _, size, _ in self._held()) + needed > self.limit:
            if not self._evict_one():
                return False
        return True

    def _evict_one(self) -> bool:
        """Delete the file that was used longest ago of those that nobody uses now; False when there is none."""
        for _, _, file in sorted(self._held()):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), file.open("rb", buffering=0) as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.unlink()
                return True
        return False

    def _held(self) -> list[tuple[int, int, Path]]:
        """Time of last use, bytes (those it will have) and path of every file."""
        held = []
        for file in self.folder.iterdir():
            partial = _PARTIAL.fullmatch(file.name)
            if partial or file.suffix == ".h5":
                with contextlib.suppress(FileNotFoundError):
                    status = file.stat()
                    held.append((status.st_mtime_ns, int(partial[1]) if partial else status.st_size, file))
        return held

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield


def _use_now(file: int | Path) -> None:
    now = time.time_ns()  # the system's own idea of now moves in steps of milliseconds
    os.utime(file, ns=(now, now))


def _stands(stream: FileIO, path: Path) -> bool:
    """Whether the open file is still the one that `path` names."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False
