"""Files of random bytes that stand for shards, a store on them that is soon out of patience, and who reads it."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

from trace_data.progress import Progress
from trace_data.shards.entries import ShardEntry
from trace_data.shards.storage.remote import Patience
from trace_data.shards.storage.store import RemoteStore, open_store

BYTES = 300_000
QUICK = Patience(attempts=4, first_delay=0.005, longest_delay=0.01, connecting=2.0, silence=0.5)


def write_files(folder: Path) -> Path:
    """Six files of random bytes, and an index that nobody reads here."""
    folder.mkdir()
    for number in range(6):
        (folder / f"a-train-{number:05d}.h5").write_bytes(random.Random(number).randbytes(BYTES))
    (folder / "index.json").write_text("{}")
    return folder


class Told(Progress):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


def entries_of(folder: Path) -> list[ShardEntry]:
    return [
        ShardEntry(
            file=file.name, dataset="a", split="train", bytes=file.stat().st_size,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(), sequences=1, frames=1, rows=1,
        )
        for file in sorted(folder.glob("*.h5"))
    ]  # fmt: skip


def fields_of(entry: ShardEntry) -> dict[str, object]:
    return {name: getattr(entry, name) for name in ShardEntry.__dataclass_fields__}


def store_at(url: str, cache: Path, *, limit: int = 10 * BYTES, told: Progress | None = None) -> RemoteStore:
    store = open_store(url, cache=cache, cache_bytes=limit, patience=QUICK, progress=told or Told())
    assert isinstance(store, RemoteStore)
    return store


READ_ALL = """
import sys
from pathlib import Path
from trace_data.shards.storage import download
from random_shards import entries_of, store_at
download.RANGE = 1 << 16
folder, url, cache = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
store = store_at(url, cache)
for entry in entries_of(folder)[:int(sys.argv[4])]:
    assert store.file(entry).stat().st_size == entry.bytes
"""


def start_reader(folder: Path, url: str, cache: Path, count: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    return subprocess.Popen([sys.executable, "-c", READ_ALL, str(folder), url, str(cache), str(count)], env=environment)
