"""Downloads a shard into its partial file: in ranges, resumable, verified by its SHA-256."""

from __future__ import annotations

import hashlib
from io import FileIO

from trace_data.errors import ShardError
from trace_data.progress import SILENT, Progress
from trace_data.shards.entries import ShardEntry
from trace_data.shards.storage.cache import ShardCache
from trace_data.shards.storage.remote import PassingError, RemoteFolder

RANGE = 8 << 20
"""Bytes per request: at 50 ms latency and 100 MB/s transfer dominates, and a thread holds 8 MB."""
SMALLEST_RANGE = 1 << 16
"""Each failure halves the range down to this, so that connections that always break after a while still progress."""


def download(
    entry: ShardEntry, remote: RemoteFolder, cache: ShardCache, partial: FileIO, progress: Progress = SILENT
) -> None:
    """Complete a claimed partial file and give it its name in the cache.

    Continues an earlier download. A complete file with a wrong SHA-256 is downloaded once more from the start. Raises
    ShardError if it is wrong again, or if the server lacks the shard or keeps failing, OutputError if writing fails.
    """
    digest = _complete(entry, remote, cache, partial)
    if digest != entry.sha256:
        progress.log(f"{remote.name(entry.file)}: arrived damaged (SHA-256 {digest[:16]}…), fetched once more")
        partial.truncate(0)
        digest = _complete(entry, remote, cache, partial)
    if digest != entry.sha256:
        cache.discard(entry)
        raise ShardError(
            f"arrived damaged twice: SHA-256 {digest}, expected {entry.sha256}",
            where=remote.name(entry.file),
            hint="upload this shard again, and index.json with it where the shards were built anew",
        )
    cache.finish(entry, partial)


def _complete(entry: ShardEntry, remote: RemoteFolder, cache: ShardCache, partial: FileIO) -> str:
    """Append to the partial file until it has all bytes; returns the SHA-256 of what it then holds."""
    digest = hashlib.sha256()
    partial.seek(0)
    while block := partial.read(1 << 22):
        digest.update(block)
    at, wanted, failures = partial.tell(), RANGE, 0
    while at < entry.bytes:
        try:
            data = _range(entry, remote, at, min(at + wanted, entry.bytes))
        except PassingError as error:
            failures, wanted = failures + 1, max(wanted // 2, SMALLEST_RANGE)
            remote.pause(failures, error)
            continue
        failures, wanted = 0, min(2 * wanted, RANGE)
        digest.update(data)
        cache.write(partial, data)
        at += len(data)
    return digest.hexdigest()


def _range(entry: ShardEntry, remote: RemoteFolder, start: int, end: int) -> bytes:
    """The bytes start:end of a shard, or more. Raises as `RemoteFolder.read` does, ShardError when it is too short."""
    data = remote.read(entry.file, start, end, most=entry.bytes)
    if len(data) > end - start:  # a server that knows no ranges sends the whole file, so take it
        data = data[start : entry.bytes]
    if len(data) < end - start:
        _check_length(entry, remote)
        raise PassingError(
            f"{len(data):,} bytes came of {end - start:,}", where=remote.name(entry.file), hint="check the server"
        )
    return data


def _check_length(entry: ShardEntry, remote: RemoteFolder) -> None:
    """Raises ShardError if the server reports another length for the shard, as retries would not help."""
    try:
        size = remote.size(entry.file)
    except PassingError:
        return
    if size is not None and size != entry.bytes:
        raise ShardError(
            f"the shard has {size:,} bytes, expected {entry.bytes:,}",
            where=remote.name(entry.file),
            hint="upload this shard again, and index.json with it where the shards were built anew",
        )
