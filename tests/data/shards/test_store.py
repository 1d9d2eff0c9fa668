"""Shards behind a URL, with servers that really fail."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import io
import os
import random
import shutil
import threading
import traceback
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem, sync
from fsspec.spec import AbstractFileSystem
from random_shards import BYTES, QUICK, Told, entries_of, fields_of, store_at
from shard_server import Fault, ShardServer

from trace_data.errors import ConfigError, ShardError
from trace_data.shards.entries import ShardEntry
from trace_data.shards.storage import remote
from trace_data.shards.storage import store as store_module
from trace_data.shards.storage.remote import NotFoundError, PassingError, RemoteFolder
from trace_data.shards.storage.store import open_store

pytest.importorskip("aiohttp", reason="fsspec speaks HTTP through aiohttp")
pytestmark = pytest.mark.usefixtures("small_ranges")


def test_a_folder_is_used_in_place(folder: Path, entries: list[ShardEntry]) -> None:
    store = open_store(folder)
    assert not store.remote and store.file(entries[1]) == folder / "a-train-00001.h5"
    assert store.read_index() == b"{}"
    with pytest.raises(ShardError, match="shard is missing"):
        open_store(folder.parent).open(entries[0])


@pytest.mark.parametrize("protocol", ["http", "file", "memory"])
def test_whole_files_come_from_anything_that_fsspec_knows(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path, protocol: str
) -> None:
    url = {"http": server.url, "file": f"file://{folder}", "memory": "memory://set"}[protocol]
    if protocol == "memory":
        import fsspec

        fsspec.filesystem("memory").put(str(folder), "/set", recursive=True)
    store = store_at(url, tmp_path)
    for entry in entries[:2]:
        assert store.file(entry).read_bytes() == (folder / entry.file).read_bytes()
        assert store.file(entry).parent == tmp_path / "shards"
    assert store.read_index() == b"{}" and store.sizes(entries) == [BYTES] * 6
    missing = ShardEntry(**{**fields_of(entries[0]), "file": "other.h5", "sha256": "0" * 64})
    with pytest.raises(ShardError, match=r"other\.h5: not found"):
        store.open(missing)


def test_a_shard_is_fetched_once_and_the_index_each_time(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    for _ in range(3):
        store = store_at(server.url, tmp_path)
        store.read_index()
        with ThreadPoolExecutor(4) as pool:
            for entry, path in zip(entries * 2, pool.map(store.file, entries * 2)):
                assert path.read_bytes() == (folder / entry.file).read_bytes()
    assert server.sent == {entry.file: BYTES for entry in entries} | {"index.json": 6}
    assert sorted(file.suffix for file in (tmp_path / "shards").iterdir()) == [""] + [".h5"] * 6, "and the lock"


def test_a_broken_download_goes_on_where_it_stopped(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    entry, told = entries[0], Told()
    server.once[entry.file].extend([Fault(), Fault(drop_after=40_000), Fault(status=503), Fault(status=500)])
    assert store_at(server.url, tmp_path, told=told).file(entry).read_bytes() == (folder / entry.file).read_bytes()
    # only the 40,000 bytes of the range that broke came twice
    assert server.sent[entry.file] - 2 * len(b"no") == BYTES + 40_000
    troubles = [line.partition("h5: ")[2].partition(";")[0] for line in told.lines[1:]]
    assert troubles == ["the server answers 503", "the server answers 500"], "a single failure is not worth a line"


def test_a_connection_that_always_breaks_still_gets_on(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    server.always[entries[0].file] = Fault(drop_after=20_000)
    found = store_at(server.url, tmp_path).file(entries[0]).read_bytes()
    assert found == (folder / entries[0].file).read_bytes()


def test_a_server_that_stays_in_trouble_is_given_up_and_named(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    store = store_at(server.url, tmp_path)
    server.always[entries[0].file] = Fault(status=503)
    with pytest.raises(ShardError, match=r"the server answers 503 \(4 attempts\)") as caught:
        store.open(entries[0])
    assert caught.value.where == f"{server.url}/{entries[0].file}"
    assert server.requests[f"GET {entries[0].file}"] == 4
    server.always[entries[1].file] = Fault(pause=3.0)  # it takes the question and never answers
    with pytest.raises(ShardError, match="the connection broke"):
        store.open(entries[1])
    server.always.clear()
    assert store.file(entries[0]).exists()


def test_a_flipped_bit_is_fetched_once_more_and_then_named(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    told = Told()
    store = store_at(server.url, tmp_path, told=told)
    first, second = entries[:2]
    server.once[first.file].append(Fault(flip=777))
    assert store.file(first).read_bytes() == (folder / first.file).read_bytes()
    assert len(told.lines) == 2 and "arrived damaged" in told.lines[1] and first.file in told.lines[1]
    server.always[second.file] = Fault(flip=200_000)
    spoilt = bytearray((folder / second.file).read_bytes())
    spoilt[200_000] ^= 1
    with pytest.raises(ShardError) as caught:
        store.open(second)
    assert caught.value.where == f"{server.url}/{second.file}"
    assert hashlib.sha256(spoilt).hexdigest() in str(caught.value) and second.sha256 in str(caught.value)
    assert server.sent[second.file] == 2 * BYTES
    assert [file.name for file in (tmp_path / "shards").glob("*.*")] == [f"{first.sha256}.h5"]


def test_refused_missing_and_unreachable_are_told_apart(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    store = store_at(server.url, tmp_path)
    name = entries[0].file
    for status, words in ((403, "access is refused (403)"), (401, "access is refused (401)"), (404, "not found"),
                          (418, "the server answers 418")):  # fmt: skip
        server.once[name].append(Fault(status=status))
        with pytest.raises(ShardError) as caught:
            store.open(entries[0])
        assert words in str(caught.value) and name in str(caught.value)
        server.once[name].extend([Fault(status=status)] * 2)  # some backends ask twice for a size
        with pytest.raises(ShardError) as caught:
            store.sizes(entries[:1])
        assert words in str(caught.value) and name in str(caught.value)
        server.once.clear()
    with pytest.raises(ShardError, match=r"127\.0\.0\.1:9/x/index\.json: the server cannot be reached: .*refused"):
        store_at("http://127.0.0.1:9/x", tmp_path).read_index()
    with pytest.raises(ShardError, match="the server cannot be reached"):
        store_at("http://host.invalid/x", tmp_path).sizes(entries[:1])
    with pytest.raises(ConfigError, match="no address that fsspec knows"):
        store_at("carrier-pigeon://x", tmp_path).read_index()
    with pytest.raises(ConfigError, match="--cache"):
        open_store("s3://bucket/shards")


def test_a_shard_of_another_length_is_told_at_once(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "set")
    entries = entries_of(folder)
    for entry, cut in zip(entries, (100_000, 1 << 16, 0)):  # within a range, between two, everything
        os.truncate(tmp_path / "set" / entry.file, cut)
    with ShardServer(tmp_path / "set") as server:
        store = store_at(server.url, tmp_path / "cache")
        for entry, cut in zip(entries, (100_000, 1 << 16, 0)):
            with pytest.raises(ShardError, match=rf"the shard has {cut:,} bytes, expected 300,000"):
                store.open(entry)
            assert server.requests[f"GET {entry.file}"] <= 3


def test_a_server_without_ranges_will_do(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    server.always[entries[0].file] = Fault(no_ranges=True)
    server.once[entries[0].file].append(Fault())
    found = store_at(server.url, tmp_path).file(entries[0]).read_bytes()
    assert found == (folder / entries[0].file).read_bytes()
    assert server.requests[f"GET {entries[0].file}"] == 2


@pytest.mark.parametrize("what", ["index", "shard"])
def test_a_server_that_never_ends_is_left_at_the_bytes_asked_for(
    folder: Path,
    entries: list[ShardEntry],
    server: ShardServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    monkeypatch.setattr(store_module, "LARGEST_INDEX", 1 << 20)
    name = "index.json" if what == "index" else entries[0].file
    server.always[name] = Fault(endless=True)
    store = store_at(server.url, tmp_path)
    with pytest.raises(ShardError, match="more than any index" if what == "index" else "damaged twice") as caught:
        store.read_index() if what == "index" else store.open(entries[0])
    assert str(caught.value.where).endswith(name)
    assert server.sent[name] < 16 << 20, "what the sockets hold and a few attempts"


@pytest.mark.parametrize("what", ["index", "shard"])
def test_a_server_that_drips_is_given_up(folder: Path, entries: list[ShardEntry], tmp_path: Path, what: str) -> None:
    shutil.copytree(folder, tmp_path / "set")
    (tmp_path / "set" / "index.json").write_text("{}" + " " * 5000)
    name = "index.json" if what == "index" else entries[0].file
    with ShardServer(tmp_path / "set") as server:
        server.always[name] = Fault(piece=1, pause=0.1)
        store = store_at(server.url, tmp_path)
        with pytest.raises(ShardError, match="bytes a second") as caught:
            store.read_index() if what == "index" else store.open(entries[0])
    assert str(caught.value.where).endswith(name)


class Bucket(AsyncFileSystem):  # type: ignore[misc]
    """As those of gs:// and az:// do, gives a range all at once; how many bytes of which arrived is not known."""

    protocol, cachable = "bucket", False
    content: ClassVar[bytes] = random.Random(0).randbytes(50_000)
    asked: ClassVar[list[int]] = []

    async def _cat_file(self, path: str, start: int, end: int, **_: object) -> bytes:
        self.asked.append(end - start)
        if path.endswith("drips"):
            await asyncio.sleep(60)
        if start >= len(self.content):
            raise ClientError("416")
        if path.endswith("has-no-end"):
            return bytes(1_000_000)
        return self.content[start:] if path.endswith("knows-no-ranges") else self.content[start:end]


class ClientError(Exception):
    status = 416


def test_object_stores_are_asked_for_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the time of one question tells who drips: for the longest index it would be a day."""
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    monkeypatch.setattr(remote, "SLICE", 10_000)
    folder = RemoteFolder("bucket://set", patience=dataclasses.replace(QUICK, connecting=0.1, silence=0.1, slowest=1e6))
    Bucket.asked.clear()
    for name in ("good", "knows-no-ranges"):
        assert folder.read(name, most=1 << 28) == Bucket.content, "its end is that of a slice"
        assert folder.read(name, 0, 25_000, most=50_000)[:25_000] == Bucket.content[:25_000]
    assert folder.read("good", 30_000, 70_000, most=1 << 28) == Bucket.content[30_000:]
    assert max(Bucket.asked) == 10_000
    with pytest.raises(PassingError, match="the connection broke"):
        folder.read("drips", most=1 << 28)


def test_object_stores_that_send_more_than_was_asked_for_are_refused() -> None:
    fsspec.register_implementation("bucket", Bucket, clobber=True)
    with pytest.raises(ShardError, match="1,000,000 bytes came") as caught:
        RemoteFolder("bucket://set", patience=QUICK).read("has-no-end", 0, 1000, most=50_000)
    assert not isinstance(caught.value, PassingError) and caught.value.where == "bucket://set/has-no-end"


class Mount(AbstractFileSystem):  # type: ignore[misc]
    """As those of sftp:// and hdfs:// do, keeps its caller waiting for as long as it likes."""

    protocol, cachable = "mount", False
    content: ClassVar[bytes] = random.Random(1).randbytes(50_000)
    opened: ClassVar[list[str]] = []
    ended = threading.Event()

    def open(self, path: str, mode: str) -> io.BytesIO:
        self.opened.append(path)
        if path.endswith("never-opens"):
            self.ended.wait()
        return Hanging(self.content) if path.endswith("stops") else io.BytesIO(self.content)

    def info(self, path: str) -> dict[str, int]:
        if path.endswith("never-opens"):
            self.ended.wait()
        return {"size": len(self.content)}


class Hanging(io.BytesIO):
    def read(self, count: int | None = -1) -> bytes:
        if self.tell() >= 20_000:
            Mount.ended.wait()
        return super().read(count)


def test_a_synchronous_file_system_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation("mount", Mount, clobber=True)
    monkeypatch.setattr(remote, "SLICE", 10_000)
    folder = RemoteFolder("mount://set", patience=dataclasses.replace(QUICK, connecting=0.1, silence=0.1, slowest=1e6))
    try:
        assert folder.read("good", most=1 << 28) == Mount.content and folder.size("good") == 50_000
        assert folder.read("good", 30_000, 70_000, most=1 << 28) == Mount.content[30_000:]
        assert len(Mount.opened) == 2, "each opening reads ahead"
        for name in ("stops", "never-opens"):
            with pytest.raises(PassingError, match="the connection broke") as caught:
                folder.read(name, most=1 << 28)
            assert caught.value.where == f"mount://set/{name}"
        with pytest.raises(PassingError, match="the connection broke"):
            folder.size("never-opens")
    finally:
        Mount.ended.set()


class GoogleStore(AsyncFileSystem):  # type: ignore[misc]
    """What is used of gcsfs, with a server of ours in place of Google's."""

    server: ClassVar[ShardServer]
    session: Any = None

    async def _set_session(self) -> None:
        import aiohttp

        self.session = self.session or aiohttp.ClientSession()

    def url(self, path: str) -> str:
        return f"{self.server.url}/{path.rpartition('/')[2]}"

    def _get_params(self, given: dict[str, str]) -> dict[str, str]:
        return given

    def _get_headers(self, given: dict[str, str]) -> dict[str, str]:
        return given


def test_google_store_is_watched_while_it_answers(
    folder: Path, entries: list[ShardEntry], server: ShardServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GoogleStore, "server", server, raising=False)
    system = GoogleStore(skip_instance_cache=True)
    monkeypatch.setattr(remote, "_filesystem", lambda *_: system)
    store, name = RemoteFolder("gs://bucket/set", patience=QUICK), entries[0].file
    try:
        assert store.read(name, 1000, 5000, most=BYTES) == (folder / name).read_bytes()[1000:5000]
        assert server.sent[name] <= 4000, "counted once it was sent"
        server.always[name] = Fault(endless=True)
        assert len(store.read(name, 0, 5000, most=BYTES)) == BYTES
        assert server.sent[name] < 16 << 20, "what the sockets hold"
        with pytest.raises(NotFoundError):
            store.read("other.h5", most=BYTES)
    finally:
        sync(system.loop, system.session.close)


def test_a_slow_server_that_gets_on_is_waited_for(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    server.always[entries[0].file] = Fault(piece=4096, pause=0.02)  # 200 KB a second, longer than `silence` a range
    assert store_at(server.url, tmp_path).file(entries[0]).read_bytes() == (folder / entries[0].file).read_bytes()


@pytest.mark.parametrize("host", ["", "localhost"])
def test_file_urls_are_decoded_like_any_url(folder: Path, entries: list[ShardEntry], tmp_path: Path, host: str) -> None:
    shutil.copytree(folder, tmp_path / "my shards 100%")
    quoted = f"file://{host}{tmp_path}/my%20shards%20100%25"
    store = store_at(quoted, tmp_path)
    assert store.read_index() == b"{}" and store.sizes(entries[:1]) == [BYTES]
    assert store.file(entries[0]).read_bytes() == (folder / entries[0].file).read_bytes()


@pytest.mark.parametrize("remote", [False, True])
def test_pipes_in_place_of_index_and_shard_are_not_waited_for(
    entries: list[ShardEntry], tmp_path: Path, remote: bool
) -> None:
    place = tmp_path / "set"
    place.mkdir()
    os.mkfifo(place / "index.json")
    os.mkfifo(place / entries[0].file)
    store = store_at(f"file://{place}", tmp_path) if remote else open_store(place)
    for ask in (store.read_index, lambda: store.open(entries[0])):
        with pytest.raises(ShardError, match="is a pipe"):
            ask()


def test_no_message_shows_a_password_or_a_signature(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    told = Told()
    secret = f"http://somebody:hunter2@{server.address}/set?sig=s3cr3t&se=2027"
    server.always["index.json"] = Fault(status=403)
    server.always[entries[0].file] = Fault(status=503)
    server.always[entries[1].file] = Fault(flip=3)
    server.always[entries[2].file] = Fault(drop_after=10)
    store = store_at(secret, tmp_path, told=told)
    texts = [store.where, store.name("index.json")]
    for attempt in (store.read_index, *(lambda e=entry: store.open(e).close() for entry in entries[:4]),
                    store_at("http://somebody:hunter2@127.0.0.1:9/?sig=s3cr3t", tmp_path).read_index,
                    store_at("pigeon://somebody:hunter2@127.0.0.1:9/?sig=s3cr3t", tmp_path).read_index):  # fmt: skip
        try:
            attempt()
        except (ShardError, ConfigError) as error:
            texts += [str(error), "".join(traceback.format_exception(error))]
    texts += told.lines
    assert len(texts) >= 2 + 2 * 6 + 4 and "access is refused" in texts[2]
    assert not [text for text in texts if "hunter2" in text or "s3cr3t" in text]
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 1
    assert not [file for file in files if b"hunter2" in file.read_bytes() or "hunter2" in str(file)]
    assert server.requests["GET index.json"] == 1, "no second attempt where none helps"


@pytest.mark.parametrize(("limit", "words"), [(20_000_000, "20 MB"), (3_500, "3.5 KB"), (2_000_000_000, "2.0 GB")])
def test_the_bound_of_a_small_cache_is_told_in_words(
    server: ShardServer, tmp_path: Path, limit: int, words: str
) -> None:
    told = Told()
    open_store(server.url, cache=tmp_path, cache_bytes=limit, progress=told)
    assert told.lines == [f"shards of {server.url} are kept in {tmp_path}/shards, at most {words}"]


class AzureStore(AsyncFileSystem):  # type: ignore[misc]
    """What is used of adlfs and Azure's library, with an answer of ours in place of a server's."""

    answers: ClassVar[dict[str, tuple[int, dict[str, str] | None, bytes]]] = {}
    read: ClassVar[list[str]] = []
    service_client: Any = None

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.service_client = self

    def split_path(self, path: str) -> tuple[str, str, str | None]:
        return "set", path.rpartition("/")[2], None

    def get_blob_client(self, *, container: str, blob: str) -> AzureBlob:
        assert container == "set"
        return AzureBlob(blob)


class AzureBlob:
    def __init__(self, name: str) -> None:
        self.name = name

    async def __aenter__(self) -> AzureBlob:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def download_blob(self, *, offset: int, length: int, raw_response_hook: Any, **_: object) -> AzureBlob:
        self.low, self.high = offset, offset + length
        status, headers, self.body = AzureStore.answers[self.name]
        told = {"Content-Length": str(len(self.body[self.low : self.high]))} if headers is None else headers
        answer = types.SimpleNamespace(status_code=status, headers=told)
        raw_response_hook(types.SimpleNamespace(http_response=answer))
        return self

    async def readall(self) -> bytes:
        AzureStore.read.append(self.name)
        return self.body[self.low : self.high]


AZURE_REFUSED = {
    "no length": (206, {}, ShardError, "unknown length"),
    "long": (206, {"Content-Length": "1000000000"}, ShardError, "1,000,000,000 bytes"),
    "packed": (206, {"Content-Length": "90", "Content-Encoding": "gzip"}, ShardError, "packed"),
    "forbidden": (403, {"Content-Length": "90"}, ShardError, "refused"),
    "missing": (404, {}, NotFoundError, "not found"),
    "busy": (503, {}, PassingError, "503"),
}


def test_azure_s_answers_are_looked_at_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_filesystem", lambda *_: AzureStore(skip_instance_cache=True))
    monkeypatch.setattr(remote, "SLICE", 10_000)
    folder = RemoteFolder("az://set", patience=QUICK)
    AzureStore.read.clear()
    AzureStore.answers = {name: (case[0], case[1], b"") for name, case in AZURE_REFUSED.items()}
    for name, (_, _, kind, words) in AZURE_REFUSED.items():
        with pytest.raises(kind, match=words) as caught:
            folder.read(name, 0, 1000, most=50_000)
        assert caught.value.where == f"az://set/{name}" and isinstance(caught.value, PassingError) == (name == "busy")
    assert not AzureStore.read
    AzureStore.answers["good"] = (206, None, Bucket.content)
    assert folder.read("good", 1000, 25_000, most=50_000) == Bucket.content[1000:25_000]
    assert folder.read("good", most=1 << 20) == Bucket.content
