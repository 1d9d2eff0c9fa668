"""Six files that stand for shards, and a server of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from random_shards import entries_of, write_files
from shard_server import ShardServer

from trace_data.shards.entries import ShardEntry
from trace_data.shards.storage import download


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small files too are downloaded in several pieces."""
    monkeypatch.setattr(download, "RANGE", 1 << 16)
    monkeypatch.setattr(download, "SMALLEST_RANGE", 1 << 12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six files of random bytes, and an index that nobody reads. Read only."""
    return write_files(tmp_path_factory.mktemp("remote") / "set")


@pytest.fixture(scope="module")
def entries(folder: Path) -> list[ShardEntry]:
    return entries_of(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[ShardServer]:
    with ShardServer(folder) as running:
        yield running
