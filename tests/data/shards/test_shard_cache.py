"""The cache of remote shards, with processes that are killed and disks that are full."""

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
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from random_shards import BYTES, Told, fields_of, start_reader, store_at
from shard_server import Fault, ShardServer
from small_disk import mounted

from trace_data.errors import ConfigError, OutputError, ShardError
from trace_data.shards.entries import ShardEntry
from trace_data.shards.storage import cache
from trace_data.shards.storage import store as store_module
from trace_data.shards.storage.cache import ShardCache
from trace_data.shards.storage.remote import Patience
from trace_data.shards.storage.store import RemoteStore

pytest.importorskip("aiohttp", reason="fsspec speaks HTTP through aiohttp")
pytestmark = pytest.mark.usefixtures("small_ranges")


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


def held(cache: Path) -> int:
    return sum(file.stat().st_size for file in (cache / "shards").iterdir())


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
    wrong = ShardEntry(**{**fields_of(entries[0]), "sha256": "../../etc/passwd"})
    with pytest.raises(ShardError, match="malformed index"):
        store.open(wrong)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1.25 MB."""
    with mounted(tmp_path / "disk", "1280k") as disk:
        yield disk


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
    kept = [True, False, True, True, False, True]  # the new one comes a moment before the old one goes
    while time.monotonic() < deadline and [store.cache.path(entry).exists() for entry in entries] != kept:
        time.sleep(0.005)
    assert [store.cache.path(entry).exists() for entry in entries] == kept
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


def test_a_cached_file_of_the_right_length_is_hashed_once_a_process(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store_at(server.url, tmp_path).file(entries[0])
    changed = bytearray(path.read_bytes())
    changed[1234] ^= 1
    path.write_bytes(changed)
    told = Told()
    store = store_at(server.url, tmp_path, told=told)  # what another process would make
    assert store.file(entries[0]).read_bytes() == (folder / entries[0].file).read_bytes()
    assert any("was changed" in line for line in told.lines)
    server.sent.clear()
    hashed: list[int] = []
    monkeypatch.setattr(cache, "sha256_of_open", lambda stream: hashed.append(1) or entries[0].sha256)
    for _ in range(3):
        store.file(entries[0])
    other = store_at(server.url, tmp_path)
    for _ in range(3):
        other.file(entries[0])
    assert len(hashed) == 1 and not server.sent, "by the other one; what was downloaded here was hashed on the way"


def test_files_of_other_users_are_not_read(entries: list[ShardEntry], server: ShardServer, tmp_path: Path) -> None:
    store = store_at(server.url, tmp_path)
    path = store.file(entries[0])
    store.cache._owners = {os.geteuid() + 1}
    with pytest.raises(OutputError, match="another user") as caught:
        store.open(entries[0])
    assert caught.value.where == str(path)
    with pytest.raises(OutputError, match="another user"):
        store.open(entries[1])


def test_the_cache_touches_only_files_of_its_own_names(
    folder: Path, entries: list[ShardEntry], server: ShardServer, tmp_path: Path
) -> None:
    shards = tmp_path / "shards"
    shutil.copytree(folder, shards)
    (shards / "index.json").unlink()  # a build that is not finished
    (shards / "thesis.h5").write_bytes(bytes(BYTES))
    before = {file.name: file.read_bytes() for file in shards.iterdir()}
    store = store_at(server.url, tmp_path, limit=int(1.5 * BYTES))
    for entry in entries:
        store.file(entry)
    assert {name: (shards / name).read_bytes() for name in before} == before
    assert len(list(shards.iterdir())) == len(before) + 2, "one shard and the lock"


@pytest.mark.parametrize("protocol", ["http", "file"])
def test_built_shards_are_no_cache(folder: Path, server: ShardServer, tmp_path: Path, protocol: str) -> None:
    shutil.copytree(folder, tmp_path / "shards")
    before = sorted(file.name for file in (tmp_path / "shards").iterdir())
    url = server.url if protocol == "http" else f"file://{tmp_path}/shards"
    with pytest.raises(ConfigError, match="built shards") as caught:
        store_at(url, tmp_path)
    assert caught.value.where == str(tmp_path / "shards") and "--cache" in str(caught.value.hint)
    assert sorted(file.name for file in (tmp_path / "shards").iterdir()) == before


@pytest.mark.parametrize("name", ["lock", "partial", "whole"])
def test_links_in_the_cache_are_not_written_through(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path, name: str
) -> None:
    precious = tmp_path / "thesis"
    precious.write_text("three years")
    store = store_at(server.url, tmp_path)
    names = {
        "lock": "lock", "partial": f"{entries[0].sha256}-{BYTES}.partial", "whole": f"{entries[0].sha256}.h5"
    }  # fmt: skip
    (tmp_path / "shards" / names[name]).symlink_to(precious)
    with pytest.raises(OutputError, match="a link") as caught:
        store.open(entries[0])
    assert str(caught.value.where).endswith(names[name]) and precious.read_text() == "three years"


def test_who_does_not_get_on_is_waited_for_with_a_word_and_an_end(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "WAITING_WORD", 0.05)
    monkeypatch.setattr(store_module, "LOOK", 0.05)
    monkeypatch.setattr(Patience, "longest_trouble", 0.4)
    told = Told()
    store = store_at(server.url, tmp_path, told=told)
    held = ShardCache(tmp_path / "shards", 10 * BYTES).claim(entries[0])
    assert held is not None
    with held, pytest.raises(OutputError, match="while nothing changed") as caught:
        store.open(entries[0])
    assert caught.value.where == str(tmp_path / "shards")
    assert sum("waiting for another process" in line for line in told.lines) == 1
    store.open(entries[0]).close()


def test_a_cache_on_a_disk_without_locks_says_what_it_needs(
    entries: list[ShardEntry], server: ShardServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    store = store_at(server.url, tmp_path)
    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OutputError, match="knows no file locks") as caught:
        store.open(entries[0])
    assert caught.value.where == str(tmp_path / "shards")


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
