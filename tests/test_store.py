"""Shards behind a URL, with servers, disks and processes that really fail."""

from __future__ import annotations

import errno
import gc
import hashlib
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from shard_server import Fault, ShardServer

from trace_data.errors import ConfigError, OutputError, ShardError
from trace_data.progress import Progress
from trace_data.shards import download
from trace_data.shards.cache import ShardCache
from trace_data.shards.index import ShardEntry
from trace_data.shards.remote import Patience
from trace_data.shards.store import RemoteStore, open_store

pytest.importorskip("aiohttp", reason="fsspec speaks HTTP through aiohttp")

BYTES = 300_000
QUICK = Patience(attempts=4, first_delay=0.005, longest_delay=0.01, connecting=2.0, silence=0.5)


class Told(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "RANGE", 1 << 16)
    monkeypatch.setattr(download, "SMALLEST_RANGE", 1 << 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files of random bytes, and an index that nobody reads here."""
    made = tmp_path_factory.mktemp("remote") / "set"
    made.mkdir()
    for number in range(6):
        (made / f"a-train-{number:05d}.h5").write_bytes(random.Random(number).randbytes(BYTES))
    (made / "index.json").write_text("{}")
    return made


def entries_of(folder: Path) -> list[ShardEntry]:
    return [
        ShardEntry(
            file=file.name, dataset="a", split="train", bytes=file.stat().st_size,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(), sequences=1, frames=1, rows=1,
        )
        for file in sorted(folder.glob("*.h5"))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[ShardEntry]:
    return entries_of(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[ShardServer]:
    with ShardServer(folder) as running:
        yield running


def store_at(url: str, cache: Path, *, limit: int = 10 * BYTES, told: Progress | None = None) -> RemoteStore:
    store = open_store(url, cache=cache, cache_bytes=limit, patience=QUICK, progress=told or Told())
    assert isinstance(store, RemoteStore)
    return store


def held(cache: Path) -> int:
    return sum(file.stat().st_size for file in (cache / "shards").iterdir())


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
    missing = ShardEntry(**{**_fields(entries[0]), "file": "other.h5", "sha256": "0" * 64})
    with pytest.raises(ShardError, match=r"other\.h5: not found"):
        store.open(missing)


def _fields(entry: ShardEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in ShardEntry.__dataclass_fields__}


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
    for attempt in (store.read_index, *(lambda e=entry: store.open(e) for entry in entries[:4]),
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


READ_ALL = """
import sys
from pathlib import Path
from trace_data.shards import download
from test_store import entries_of, store_at
download.RANGE = 1 << 16
folder, url, cache = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
store = store_at(url, cache)
for entry in entries_of(folder)[:int(sys.argv[4])]:
    assert store.file(entry).stat().st_size == entry.bytes
"""


def start_reader(folder: Path, url: str, cache: Path, count: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", READ_ALL, str(folder), url, str(cache), str(count)], env=environment)


def test_two_processes_fetch_each_shard_once(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    for entry in entries:
        server.always[entry.file] = Fault(pause=0.005)  # long enough that they meet
    readers = [start_reader(folder, server.url, tmp_path, 6) for _ in range(2)]
    assert [reader.wait(60) for reader in readers] == [0, 0]
    assert server.sent == {entry.file: BYTES for entry in entries}


@pytest.mark.parametrize("waiting", [False, True])
def test_a_killed_download_is_resumed(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path, waiting: bool
) -> None:
    entry = entries[0]
    server.always[entry.file] = Fault(pause=0.03)
    reader = start_reader(folder, server.url, tmp_path, 1)
    partial = tmp_path / "shards" / f"{entry.sha256}-{BYTES}.partial"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (partial.exists() and partial.stat().st_size >= 2 << 16):
        time.sleep(0.002)
    other = start_reader(folder, server.url, tmp_path, 1) if waiting else None
    os.kill(reader.pid, signal.SIGKILL)
    reader.wait()
    left = partial.stat().st_size
    assert 2 << 16 <= left < BYTES and not partial.with_name(f"{entry.sha256}.h5").exists()
    if other is None:
        server.always.clear()
        time.sleep(0.3)  # the server notices that nobody listens any more
        server.sent.clear()
        assert store_at(server.url, tmp_path).file(entry).read_bytes() == (folder / entry.file).read_bytes()
        assert server.sent[entry.file] == BYTES - left, "only the rest"
    else:
        assert other.wait(60) == 0, "the other process takes over what the dead one held"
        assert partial.with_name(f"{entry.sha256}.h5").read_bytes() == (folder / entry.file).read_bytes()
    assert not partial.exists()


def test_the_bound_is_kept_and_what_is_in_use_stays(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    limit = int(2.5 * BYTES)
    store = store_at(server.url, tmp_path, limit=limit)
    draw = random.Random(0)
    most = 0
    with store.open(entries[0]) as used:
        path = Path(used.name)
        for _ in range(30):
            entry = draw.choice(entries)
            with store.open(entry) as stream:
                at = draw.randrange(BYTES - 100)
                assert os.pread(stream.fileno(), 100, at) == (folder / entry.file).read_bytes()[at : at + 100]
            most = max(most, held(tmp_path))
            assert path.exists()
    assert 2 * BYTES <= most <= limit
    assert server.sent[entries[0].file] == BYTES and server.sent.total() > 8 * BYTES
    for entry in entries[1:3]:
        store.file(entry)
    assert not path.exists(), "used longest ago, and by nobody now"


def test_threads_that_want_more_than_fits_take_turns(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    store = store_at(server.url, tmp_path, limit=int(1.5 * BYTES))

    def read(number: int) -> bytes:
        with store.open(entries[number % 6]) as stream:
            return os.pread(stream.fileno(), BYTES, 0)

    with ThreadPoolExecutor(4) as pool:
        for number, found in enumerate(pool.map(read, range(12))):
            assert found == (folder / entries[number % 6].file).read_bytes()
    assert held(tmp_path) <= 1.5 * BYTES


def test_partial_files_of_the_dead_make_room(folder: Path, entries: list[ShardEntry], tmp_path: Path) -> None:
    cache = ShardCache(tmp_path, int(1.5 * BYTES))
    left = cache.claim(entries[0])
    assert left is not None and cache.claim(entries[0]) is None and cache.claim(entries[1]) is None
    cache.write(left, b"half")
    left.close()  # as the system does for a killed process
    taken = cache.claim(entries[1])
    assert taken is not None and not list(tmp_path.glob(f"{entries[0].sha256}*"))
    taken.close()


def test_a_shard_larger_than_the_cache_is_told(entries: list[ShardEntry], server: ShardServer, tmp_path: Path) -> None:
    store = store_at(server.url, tmp_path, limit=BYTES - 1)
    for attempt in (lambda: store.open(entries[0]), lambda: store.sizes(entries)):
        with pytest.raises(
            ConfigError, match=r"a-train-00000\.h5 has 300,000 bytes, the cache may hold 299,999"
        ) as caught:
            attempt()
        assert "--cache-size" in str(caught.value.hint)
    wrong = ShardEntry(**{**_fields(entries[0]), "sha256": "../../etc/passwd"})
    with pytest.raises(ShardError, match="malformed index"):
        store.open(wrong)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.25 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1280k", "tmpfs", str(disk)], capture_output=True)
    if made.returncode:
        pytest.skip("no permission to mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_full_disk_costs_other_shards_first_and_is_then_told(
    folder: Path, entries: list[ShardEntry], server: ShardServer, small_disk: Path
) -> None:
    told = Told()
    store = store_at(server.url, small_disk, told=told)
    assert store.cache.limit < 1_250_000 and "the disk has no room for" in told.lines[0]
    for entry in entries[:3]:
        store.file(entry)
    (small_disk / "of somebody else").write_bytes(bytes(300_000))
    assert store.file(entries[3]).read_bytes() == (folder / entries[3].file).read_bytes()
    assert not store.cache.path(entries[0]).exists() and store.cache.path(entries[2]).exists()
    with pytest.raises(OSError, match="No space left") as full, (small_disk / "more").open("wb", 0) as rest:
        for entry in entries:
            store.cache.path(entry).unlink(missing_ok=True)
        while True:
            rest.write(bytes(4096))
    assert full.value.errno == errno.ENOSPC
    with pytest.raises(OutputError, match=r"the disk of the cache is full: 0 bytes are free") as caught:
        store_full = store.open(entries[4])
        store_full.close()
    assert "--cache" in str(caught.value.hint)
    (small_disk / "more").unlink()
    assert store.file(entries[4]).read_bytes() == (folder / entries[4].file).read_bytes()


def test_what_is_wanted_next_comes_in_the_background(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    limit = int(4.5 * BYTES)
    store = store_at(server.url, tmp_path, limit=limit)
    store.prefetch(entries)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not all(store.cache.path(entry).exists() for entry in entries[:4]):
        time.sleep(0.005)
    fetched = dict(server.sent)
    assert fetched == {entry.file: BYTES for entry in entries[:4]}, "as many as fit, each once"
    for entry in entries[:4]:
        store.file(entry)
    assert server.sent == fetched
    # an old shard that is needed soon is not the one that goes
    store.prefetch([entries[0], entries[5]])
    while time.monotonic() < deadline and not store.cache.path(entries[5]).exists():
        time.sleep(0.005)
    assert [store.cache.path(entry).exists() for entry in entries] == [True, False, True, True, False, True]
    server.always[entries[4].file] = Fault(status=404)
    store.prefetch([entries[4]])  # its failure is nobody's until the shard is read
    with pytest.raises(ShardError, match="not found"):
        store.open(entries[4])
    assert {thread.daemon for thread in threading.enumerate() if thread.name == "shards ahead"} <= {True}


def test_a_damaged_file_in_the_cache_comes_anew(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    store = store_at(server.url, tmp_path)
    path = store.file(entries[0])
    path.write_bytes(path.read_bytes()[:1000])
    with store.open(entries[0]) as stream:
        assert stream.read() == (folder / entries[0].file).read_bytes()


def _read_in_child(store: RemoteStore, entry: ShardEntry) -> None:
    store.prefetch([entry])
    with store.open(entry) as stream:
        os._exit(0 if hashlib.sha256(stream.read()).hexdigest() == entry.sha256 else 1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_store_works_on_in_a_child(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path, method: str
) -> None:
    store = store_at(server.url, tmp_path)
    store.prefetch(entries[:1])
    store.file(entries[0])
    pickle.loads(pickle.dumps(store)).file(entries[1])
    gc.collect()  # or the child would clear up connections of other tests, a second for each
    child = multiprocessing.get_context(method).Process(target=_read_in_child, args=(store, entries[2]))
    child.start()
    child.join(60)
    assert child.exitcode == 0
