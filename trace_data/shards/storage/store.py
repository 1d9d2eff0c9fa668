"""Where shards lie: a folder, used in place, or a URL with a bounded local cache in front of it."""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from trace_data.errors import ConfigError, OutputError, ShardError, TraceError
from trace_data.files import open_regular, read_regular
from trace_data.os_errors import in_words, is_missing
from trace_data.progress import SILENT, Progress, size_in_words
from trace_data.shards.entries import ShardEntry
from trace_data.shards.flow.layout import FLOW_INDEX_FILE
from trace_data.shards.layout import INDEX_FILE
from trace_data.shards.storage.cache import ShardCache
from trace_data.shards.storage.download import download
from trace_data.shards.storage.remote import NotFoundError, Patience, RemoteFolder
from trace_data.shards.storage.url import is_url

CACHE_BYTES = 200 * 10**9
"""Default bound of the cache for those who use the library; the command takes its own from the settings."""
DOWNLOADS = 4
"""Shards fetched ahead at the same time."""
QUESTIONS = 16
"""Files a server is asked about at the same time."""
INDEX_ATTEMPTS = 3
"""A wrong address should be told soon, so the first file is not waited for as long as later ones."""
LARGEST_INDEX = 256 << 20
"""Bytes of an index: half a million sequences. A server or device that never ends is left."""
POLL, LOOK = 0.1, 1.0
"""Seconds between two attempts at a shard that another process fetches, and between two looks whether it gets on."""
WAITING_WORD = 10.0
"""Seconds after which it is said that another process is waited for."""


class LocalStore:
    """A folder of shards."""

    remote = False
    index_repair_hint = "run the same trace build-shards command again: it keeps whole shards and writes the index anew"
    """The hint of every error about the index."""
    rebuild_hint = "build these shards anew: the same trace build-shards command with --force"
    """The hint where they are of an older format."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)
        """The place in words, for messages and records."""
        self.lasting = str(folder.resolve())
        """The same from any working folder, for a run that goes on later."""
        self.repair_hint = f"trace verify-shards {shlex.quote(str(folder))}  says what else is wrong, and what mends it"
        """The hint of every error about a shard."""

    def name(self, file: str) -> str:
        """The place of a file, for messages."""
        return str(self.folder / file)

    def read_index(self) -> bytes:
        """The content of `index.json`. Raises ShardError."""
        try:
            return read_regular(self.folder / INDEX_FILE, LARGEST_INDEX)
        except FileNotFoundError as error:
            begun = self.folder.is_dir()
            raise ShardError(
                "there are no finished shards here (index.json is written last and is missing)"
                if begun
                else "there is no such folder",
                where=self.where,
                hint="trace build-shards makes it; one that was stopped goes on when the same command is given again"
                if begun
                else "name a folder of built shards, or build them: trace build-shards",
            ) from error
        except OSError as error:
            what, hint = in_words(error)
            raise ShardError(what, where=self.name(INDEX_FILE), hint=hint or self.index_repair_hint) from error

    def read_flow_index(self) -> bytes | None:
        """The content of `flow.json`, None without one. Raises ShardError."""
        try:
            return read_regular(self.folder / FLOW_INDEX_FILE, LARGEST_INDEX)
        except FileNotFoundError:
            return None
        except OSError as error:
            what, hint = in_words(error)
            raise ShardError(what, where=self.name(FLOW_INDEX_FILE), hint=hint or self.repair_hint) from error

    def open(self, entry: ShardEntry) -> BinaryIO:
        """The shard's file; its `name` is a path as long as it is open. Raises ShardError."""
        try:
            return open_regular(self.file(entry))
        except OSError as error:
            raise self._refused(entry, error) from error

    def _refused(self, entry: ShardEntry, error: OSError) -> ShardError:
        what, hint = in_words(error)
        if is_missing(error):
            what, hint = f"the shard is missing: {error.strerror}", self.repair_hint
        return ShardError(what, where=self.name(entry.file), hint=hint or self.repair_hint)

    def file(self, entry: ShardEntry) -> Path:
        """The shard's path."""
        return self.folder / entry.file

    def sizes(self, entries: Sequence[ShardEntry]) -> list[int | None]:
        """Length of each shard. Raises ShardError for the first that is missing."""
        sizes: list[int | None] = []
        for entry in entries:
            try:
                sizes.append(self.file(entry).stat().st_size)
            except OSError as error:
                raise self._refused(entry, error) from error
        return sizes

    def prefetch(self, entries: Sequence[ShardEntry]) -> None:
        """Nothing to do: everything is here."""


class RemoteStore:
    """Shards behind a URL. Whole shards are fetched when they are first needed, verified, and kept while there is room.

    Picklable, and safe between threads and processes, which share the cache.
    """

    remote = True
    repair_hint = index_repair_hint = "upload the folder again, index.json last"
    """The hint of every error about a shard, and of those about the index."""
    rebuild_hint = "build these shards anew, and upload them, index.json last"
    """The hint where they are of an older format."""

    def __init__(self, folder: RemoteFolder, cache: ShardCache, progress: Progress = SILENT) -> None:
        self._folder, self.cache, self._progress = folder, cache, progress
        self.where = self.lasting = folder.where
        """The URL without its secrets, for messages and records."""
        self._ahead: tuple[int, _Ahead] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_progress": SILENT, "_ahead": None}

    def name(self, file: str) -> str:
        """The URL of a file, for messages."""
        return self._folder.name(file)

    def read_index(self) -> bytes:
        """The content of `index.json`, fetched now. Raises ShardError."""
        return self._read(INDEX_FILE)

    def read_flow_index(self) -> bytes | None:
        """The content of `flow.json`, fetched now, None without one. Raises ShardError."""
        try:
            return self._read(FLOW_INDEX_FILE)
        except NotFoundError:
            return None

    def _read(self, file: str) -> bytes:
        content = self._folder.patiently(lambda: self._folder.read(file, most=LARGEST_INDEX + 1), INDEX_ATTEMPTS)
        if len(content) > LARGEST_INDEX:
            raise ShardError(
                f"has more than {LARGEST_INDEX:,} bytes, more than any index", where=self.name(file),
                hint=self.index_repair_hint,
            )  # fmt: skip
        return content

    def open(self, entry: ShardEntry) -> BinaryIO:
        """The shard's file, fetched when it is not here; its `name` is a path as long as it is open.

        Nobody evicts it before it is closed. Raises ShardError, ConfigError, OutputError as `download` does, and
        OutputError when another process that fetches it does not get on.
        """
        turn = _Turn(entry, self.cache, self._folder.patience, self._progress)
        while (stream := self.cache.open(entry)) is None:
            partial = self.cache.claim(entry)
            if partial is None:
                turn.look()
                time.sleep(POLL)
                continue
            with partial:
                download(entry, self._folder, self.cache, partial, self._progress)
                stream = self.cache.open(entry)  # while we still hold it
                if stream is not None:
                    return stream
        return stream

    def file(self, entry: ShardEntry) -> Path:
        """A whole, verified file of the shard, fetched when it is not here. Another process may evict it: `open` is
        for reading. Raises as `open` does."""
        with self.open(entry):
            return self.cache.path(entry)

    def sizes(self, entries: Sequence[ShardEntry]) -> list[int | None]:
        """Length of each shard, None where the server does not tell. Raises ShardError for one that is missing."""

        def size(entry: ShardEntry) -> int | None:
            self.cache.check_fits(entry)
            return self._folder.patiently(lambda: self._folder.size(entry.file))

        with ThreadPoolExecutor(QUESTIONS) as pool:
            return list(pool.map(size, entries))

    def prefetch(self, entries: Sequence[ShardEntry]) -> None:
        """Fetch these shards, which will be needed in this order, in the background: as many as the cache holds.

        Each call replaces what the one before has asked for and is not under way. A shard that cannot be fetched is
        left to `open`, which tells why.
        """
        fitting, total = [], 0
        for entry in entries:
            total += entry.bytes
            if total > self.cache.limit:
                break
            fitting.append(entry)
        if self._ahead is None or self._ahead[0] != os.getpid():  # threads do not survive a fork
            self._ahead = (os.getpid(), _Ahead(self.file))
        self._ahead[1].want(self.cache.touch(fitting))


class JoinedStore:
    """Several sets of shards as one. In its entries the number of the set precedes `file`, as in `1/h36m-….h5`."""

    index_repair_hint = "look at each of the sets:  trace verify-shards DIR"
    rebuild_hint = "build the set that is named anew: the same trace build-shards command with --force"
    repair_hint = "trace verify-shards DIR  with the folder that is named says what else is wrong, and what mends it"

    def __init__(self, parts: Sequence[LocalStore | RemoteStore]) -> None:
        self.parts = tuple(parts)
        self.where = JOIN.join(part.where for part in parts)
        self.lasting = JOIN.join(part.lasting for part in parts)
        self.remote = any(part.remote for part in parts)

    @property
    def cache(self) -> ShardCache:
        """The one that all sets behind URLs share; only where some are."""
        return next(part.cache for part in self.parts if isinstance(part, RemoteStore))

    def name(self, file: str) -> str:
        """The place of a file, for messages; all sets for a file of none, as the index."""
        number, _, name = file.partition("/")
        return self.parts[int(number)].name(name) if name else self.where

    def read_index(self) -> bytes:
        """The content of every `index.json`, for who compares it. Raises ShardError."""
        return b"".join(part.read_index() for part in self.parts)

    def _own(self, entry: ShardEntry) -> tuple[LocalStore | RemoteStore, ShardEntry]:
        number, _, name = entry.file.partition("/")
        return self.parts[int(number)], replace(entry, file=name)

    def open(self, entry: ShardEntry) -> BinaryIO:
        """The shard's file, as its set opens it."""
        part, own = self._own(entry)
        return part.open(own)

    def file(self, entry: ShardEntry) -> Path:
        """The shard's path, as its set gives it."""
        part, own = self._own(entry)
        return part.file(own)

    def sizes(self, entries: Sequence[ShardEntry]) -> list[int | None]:
        """Length of each shard. Raises ShardError for one that is missing."""
        found: dict[str, int | None] = {}
        for part, of_part in self._by_part(entries):
            names = [entry.file for entry in of_part]
            found.update(zip(names, part.sizes([self._own(entry)[1] for entry in of_part])))
        return [found[entry.file] for entry in entries]

    def prefetch(self, entries: Sequence[ShardEntry]) -> None:
        """Let each set fetch its own, in this order."""
        for part, of_part in self._by_part(entries):
            part.prefetch([self._own(entry)[1] for entry in of_part])

    def _by_part(self, entries: Sequence[ShardEntry]) -> Iterator[tuple[LocalStore | RemoteStore, list[ShardEntry]]]:
        for part in self.parts:
            if of_part := [entry for entry in entries if self._own(entry)[0] is part]:
                yield part, of_part


Store = LocalStore | RemoteStore | JoinedStore
JOIN = " + "
"""Between the folders and URLs of several sets that are used as one."""


def places_of(location: str) -> list[str]:
    """The folders and URLs that a text names: several where it joins them."""
    return location.split(JOIN) if JOIN in location and not Path(location).is_dir() else [location]


def joined_place(places: Sequence[str | Path]) -> str:
    """The text that names several sets as one. Raises ConfigError when a name could be taken for two."""
    if broken := next((place for place in map(str, places) if JOIN in place), None):
        raise ConfigError(f"holds {JOIN!r}, which stands between several sets", where=broken, hint="rename the folder")
    return JOIN.join(map(str, places))


class _Turn:
    """Waits for a shard that another process is fetching, or for room that others take, as long as anything happens."""

    def __init__(self, entry: ShardEntry, cache: ShardCache, patience: Patience, progress: Progress) -> None:
        self._entry, self._cache, self._progress = entry, cache, progress
        self._limit = patience.longest_trouble
        self._began = self._looked = self._changed = time.monotonic()
        self._state: dict[str, int] = {}
        self._told = False

    def look(self) -> None:
        """Say that we wait when it takes long. Raises OutputError when nothing happens any more."""
        now = time.monotonic()
        if now - self._looked < LOOK:
            return
        self._looked = now
        if (state := self._cache.state()) != self._state:
            self._state, self._changed = state, now
        if now - self._changed > self._limit:
            raise OutputError(
                f"{self._entry.file} was waited for {now - self._changed:.0f} s while nothing changed here: another"
                " process holds it, or everything that would have to make room",
                where=self._cache.folder,
                hint=f"fuser -v {shlex.quote(str(self._cache.folder))}/*  names who; or allow more with --cache-size",
            )
        if now - self._began > WAITING_WORD and not self._told:
            self._told = True
            self._progress.log(f"{self._entry.file}: waiting for another process that fetches it, or for room")


class _Ahead:
    """A few background threads that fetch what is wanted next. They end with the program, however it ends."""

    def __init__(self, fetch: Callable[[ShardEntry], object]) -> None:
        self._fetch = fetch
        self._lock = threading.Lock()
        self._wanted: deque[ShardEntry] = deque()
        self._running = 0

    def want(self, entries: Sequence[ShardEntry]) -> None:
        with self._lock:
            self._wanted = deque(entries)
            for _ in range(min(DOWNLOADS, len(entries)) - self._running):
                self._running += 1
                threading.Thread(target=self._work, name="shards ahead", daemon=True).start()

    def _next(self) -> ShardEntry | None:
        with self._lock:
            if self._wanted:
                return self._wanted.popleft()
            self._running -= 1
            return None

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            try:
                self._fetch(entry)
            except (TraceError, OSError):
                self._wanted.clear()  # a server or disk in trouble is not asked for more than is needed


def open_store(
    location: str | Path,
    *,
    cache: Path | None = None,
    cache_bytes: int = CACHE_BYTES,
    progress: Progress = SILENT,
    patience: Patience | None = None,
) -> Store:
    """The store at a folder or URL (`s3://`, `https://`, `gs://`, `file://`, … whatever fsspec knows).

    A text with " + " between several is a `JoinedStore` of them, as for `--shards A --shards B`.

    `cache`: folder whose part `shards` holds at most `cache_bytes` of a URL's shards. `progress` is told so, and when a
    server is in trouble. Raises ConfigError when a URL comes without cache, with a protocol that is not installed, or
    with a cache in which shards were built; OutputError when the cache cannot be written. Nothing is fetched yet.
    """
    places = places_of(location) if isinstance(location, str) else []
    if len(places) > 1:
        return _joined(places, cache, cache_bytes, progress, patience)
    if not is_url(location):
        return LocalStore(Path(location))
    assert isinstance(location, str)
    folder = RemoteFolder(location, patience=patience, progress=progress)
    if cache is None:
        raise ConfigError("remote shards need a local folder to be kept in", where=folder.where, hint="--cache DIR")
    held = ShardCache(cache / "shards", cache_bytes, progress)
    less = "" if held.limit == cache_bytes else f"; the disk has no room for {size_in_words(cache_bytes)}"
    progress.log(f"shards of {folder.where} are kept in {held.folder}, at most {size_in_words(held.limit)}{less}")
    return RemoteStore(folder, held, progress)


def _joined(
    places: Sequence[str], cache: Path | None, cache_bytes: int, progress: Progress, patience: Patience | None
) -> JoinedStore:
    parts: list[LocalStore | RemoteStore] = []
    held: ShardCache | None = None
    for place in places:
        part = open_store(place, cache=cache, cache_bytes=cache_bytes, progress=progress, patience=patience)
        assert not isinstance(part, JoinedStore)
        if isinstance(part, RemoteStore):
            held = part.cache = held or part.cache  # one keeper of one folder
        parts.append(part)
    return JoinedStore(parts)


def as_store(location: Path | str | Store) -> Store:
    """The store at a folder, or one that is open already."""
    return open_store(location) if isinstance(location, Path | str) else location
