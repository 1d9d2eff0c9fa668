"""Shards damaged while they are read: the stream stops with a name, or goes on with the same other clips every time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from shard_damage import blot, first_of

from trace_data.errors import ShardError
from trace_data.shards.reader import ShardReader
from trace_train.config import DataConfig, load_config
from trace_train.streaming.batch import LoadedClip
from trace_train.streaming.stream import BatchPlan, TrainStream, read_ahead
from trace_train.streaming.unreadable import SkippedClip, another


@pytest.fixture
def own(several_shards: Path, tmp_path: Path) -> Path:
    return shutil.copytree(several_shards, tmp_path / "shards")


def stream_of(shards: Path, *more: str, on_message: Callable[[SkippedClip], None] = lambda clip: None) -> TrainStream:
    stages = "stages=[{clips: 3, frames: 2}]"
    config = load_config("debug", ["steps=30", "network.input_size=64", "data.skip_limit=1", stages, *more])
    return TrainStream(ShardReader(shards), config, on_message=on_message)


@pytest.mark.parametrize("damage", ["blot", "cut", "delete"])
def test_a_shard_damaged_while_it_is_read_stops_the_stream_with_its_name(damage: str, own: Path) -> None:
    stream = stream_of(own, "data.threads=2")
    batches = stream.batches(0, 30)
    seen = [next(batches) for _ in range(2)]
    files = sorted(own.glob("*-train-*.h5"))
    for file in files:
        if damage == "delete":
            file.unlink()
        elif damage == "cut":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    if damage == "blot":
        for entry in stream.reader.index.sequences:
            blot(own, entry.name)
    with pytest.raises(ShardError, match=r"3dpw/train/.*frames from") as caught:
        seen += list(batches)
    assert 2 <= len(seen) < 12 and caught.value.where is not None and Path(caught.value.where) in files
    assert "data.on_error=skip" in str(caught.value)


def test_skipped_clips_are_replaced_by_the_same_ones_whoever_reads_and_from_wherever(own: Path) -> None:
    name = first_of(own)
    blot(own, name)
    told: list[SkippedClip] = []
    whole = list(stream_of(own, "data.on_error=skip", on_message=told.append).batches(0, 30))
    other = list(stream_of(own, "data.on_error=skip", "data.threads=3", "data.prefetch=2").batches(11, 30))
    index = ShardReader(own).index
    for a, b in zip(whole[11:], other, strict=True):
        assert a.refs == b.refs and torch.equal(a.images, b.images)
    shown = [index.sequences[ref.sequence].name for batch in whole for ref in batch.refs]
    assert name not in shown and len(shown) == 90
    planned = [ref for step in range(30) for _, _, ref in stream_of(own).positions(step)]
    lost = [ref for ref in planned if index.sequences[ref.sequence].name == name]
    assert lost and len(told) >= len(lost) and {clip.clip for clip in told} == {f"3dpw/train/{name}"}
    assert all(clip.file.endswith(".h5") and "changed since they were written" in clip.reason for clip in told)
    kept = [a == b for a, b in zip(planned, (ref for batch in whole for ref in batch.refs))]
    assert kept.count(False) == len(lost), "only the clips that cannot be read change"


def test_a_vanished_file_is_skipped_while_the_run_goes_on(own: Path) -> None:
    told: list[SkippedClip] = []
    stream = stream_of(own, "data.on_error=skip", on_message=told.append)
    batches = stream.batches(0, 30)
    next(batches)
    gone = sorted(own.glob("*-train-*.h5"))[1]
    gone.unlink()
    assert len(list(batches)) == 29
    assert told and {clip.file for clip in told} == {str(gone)} and stream.unreadable.skipped == len(told)
    assert stream.unreadable.read == 90


def test_too_many_stop_the_run_and_so_does_a_disk_that_is_gone(own: Path) -> None:
    name = first_of(own)
    blot(own, name)
    with pytest.raises(ShardError, match=r"more than data\.skip_limit allows"):
        list(stream_of(own, "data.on_error=skip", "data.skip_limit=0.0001").batches(0, 30))
    for file in own.glob("*.h5"):
        file.unlink()
    with pytest.raises(ShardError, match="nor can 5 others"):
        list(stream_of(own, "data.on_error=skip").batches(0, 30))


def test_the_clip_in_place_of_another_is_fixed_by_its_place(several_shards: Path) -> None:
    sampler = stream_of(several_shards).samplers[0]
    chosen = [another(sampler, (0, 0), 0, 5, attempt) for attempt in range(1, 6)]
    assert chosen == [another(sampler, (0, 0), 0, 5, attempt) for attempt in range(1, 6)]
    assert sampler.clip(0, 5) not in chosen and len(set(chosen)) > 1


def test_a_thread_that_ends_does_not_leave_the_run_waiting() -> None:
    """Whatever a thread that reads dies of arrives where the batch is waited for."""

    class Death(BaseException):
        pass

    def dies(out: torch.Tensor) -> LoadedClip:
        raise Death

    plans = [BatchPlan(loaders=[dies, dies], frames=1, size=8)] * 4
    with pytest.raises(Death):
        list(read_ahead(plans, DataConfig(threads=1)))
