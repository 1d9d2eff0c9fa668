"""Which frames are scored: all of them once, in order, each video after its own past."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from trace_data.shards.reader import ShardReader
from trace_train.evaluation.windows import VideoSpan, every_within, refs_of, schedule, windows_of


@pytest.mark.parametrize("seed", range(6))
def test_every_frame_is_seen_once_after_the_one_before(seed: int) -> None:
    rng = random.Random(seed)
    windows = [
        VideoSpan(sequence=k, start=rng.randrange(9), frames=rng.randrange(1, 40)) for k in range(rng.randrange(90))
    ]
    videos, frames = rng.randrange(1, 7), rng.randrange(1, 12)
    reached = dict.fromkeys(range(len(windows)), 0)
    before: tuple[int, ...] = ()
    chunks = list(schedule(windows, videos=videos, frames=frames))
    for chunk in chunks:
        assert 1 <= len(chunk.windows) <= videos and 1 <= chunk.frames <= frames
        if chunk.kept:  # the state of just these videos
            assert tuple(before[place] for place in chunk.kept) == chunk.windows
        else:
            assert chunk.at == 0
        for number, ref in zip(chunk.windows, refs_of(chunk, windows), strict=True):
            window = windows[number]
            assert reached[number] == chunk.at
            assert (ref.sequence, ref.start, ref.stride) == (window.sequence, window.start + chunk.at, 1)
            reached[number] += chunk.frames
        before = chunk.windows
    assert reached == {number: window.frames for number, window in enumerate(windows)}
    # side by side is worth it: little more than the fewest pieces there can be, unless lengths differ wildly
    assert len(chunks) <= sum(-(-w.frames // frames) for w in windows)


def test_windows_of_a_like_length_fill_the_batch() -> None:
    windows = [VideoSpan(sequence=k, start=0, frames=100) for k in range(64)]
    assert len(list(schedule(windows, videos=8, frames=10))) == 8 * 10


def test_a_budget_takes_windows_spread_over_the_split(shards: Path) -> None:
    reader = ShardReader(shards)
    whole = windows_of(reader, "train")
    there = sum(w.frames for w in whole)
    assert [w.frames for w in whole] == [e.frames for e in reader.index.sequences if e.split == "train"]
    assert every_within(reader, "train", 0) == every_within(reader, "train", there) == 1
    every = every_within(reader, "train", there // 3)
    some = windows_of(reader, "train", every=every)
    assert every == 3 and some == whole[::3]


@pytest.mark.parametrize(
    ("runs", "step"),
    [
        (((0, 3, 20),), 3),
        (((0, 10, 3), (21, 1, 2)), 1),  # as often 10 as 1
        (((0, 10, 2), (30, 1, 1), (60, 1, 1), (100, 1, 1)), 10),  # frames that stand alone have no step
    ],
)
def test_windows_last_so_many_seconds_by_the_usual_step(
    shards: Path, runs: tuple[tuple[int, int, int], ...], step: int
) -> None:
    reader = ShardReader(shards)
    entry = next(entry for entry in reader.index.sequences if entry.split == "train")
    frames = sum(count for _, _, count in runs)
    entry = replace(entry, frame_id_runs=runs, frames=frames, fps=0.9 * step)  # 3 frames in 3.33 s
    reader.index = replace(reader.index, sequences=(entry,))
    windows = windows_of(reader, "train", every=2)
    assert [w.frames for w in windows] == [min(3, frames - start) for start in range(0, frames, 6)]
