"""Which sequences a run draws from: by the camera, by the world, and by the shares of the presets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trace_data.errors import ConfigError
from trace_data.shards.entries import SequenceEntry, ShardIndex
from trace_data.shards.index import load_index
from trace_data.shards.sampling.sampler import ClipTable
from trace_data.shards.storage.store import as_store
from trace_train.config import DataConfig, load_config
from trace_train.preflight.data import check_shards
from trace_train.streaming.stream import clip_tables, mixing

SOURCES = {
    # dataset: (moving, world is known) of its sequences
    "3dpw": ((True, False),),
    "bedlam": ((True, True), (False, True)),
    "dynacam": ((True, True), (True, False)),
    "h36m": ((False, True),),
    "mpi-inf-3dhp": ((False, True),),
    "penn-action": ((False, False),),
}


@pytest.fixture(scope="module")
def index(shards: Path) -> ShardIndex:
    found = load_index(shards)
    first = next(entry for entry in found.sequences if entry.split == "train")
    sequences = [
        replace(first, dataset=name, name=str(number), moving=moving, world_valid=known)
        for name, own in SOURCES.items()
        for number, (moving, known) in enumerate(own)
    ]
    return replace(found, sequences=tuple(sequences))


def drawn(index: ShardIndex, tables: dict[str, ClipTable]) -> dict[str, set[str]]:
    def entry(row: int) -> SequenceEntry:
        return index.sequences[row]

    return {name: {entry(int(row)).name for row in table.ranges[:, 0]} for name, table in tables.items() if len(table)}


def test_sequences_are_taken_by_camera_and_world(index: ShardIndex) -> None:
    everything = drawn(index, clip_tables(index, DataConfig(), 2))
    assert everything == {name: {str(n) for n in range(len(own))} for name, own in SOURCES.items()}
    still = drawn(index, clip_tables(index, DataConfig(camera="static"), 2))
    assert still == {"bedlam": {"1"}, "h36m": {"0"}, "mpi-inf-3dhp": {"0"}, "penn-action": {"0"}}
    world = drawn(index, clip_tables(index, DataConfig(camera="moving", world=True), 2))
    assert world == {"bedlam": {"0"}, "dynacam": {"0"}}


def test_presets_draw_what_they_say(index: ShardIndex) -> None:
    weights, note = mixing(load_config("trace-bedlam").data, clip_tables(index, load_config("trace-bedlam").data, 2))
    published = load_config("trace").data.datasets
    assert weights is not None and sum(weights.values()) == pytest.approx(1) and weights["bedlam"] == 0.25
    for name, own in published.items():
        assert own.share is not None and weights[name] == pytest.approx(0.75 * own.share), name
    data = load_config("world").data
    weights, note = mixing(data, clip_tables(index, data, 2))
    assert weights == {"bedlam": 0.5, "dynacam": 0.5} and "3dpw" in note


def test_shards_without_a_moving_camera_are_refused(shards: Path, tmp_path: Path) -> None:
    config = load_config("world", ["stages=[{clips: 2, frames: 2}]", "data.camera=static"])
    *_, clips = check_shards(as_store(shards), config)
    (error,) = [error for error in clips.errors if isinstance(error, ConfigError)][:1]
    assert "static cameras" in str(error) and "a known world" in str(error)
