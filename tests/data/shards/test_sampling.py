"""Which clip comes when, against brute force."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import SequenceEntry, ShardIndex
from trace_data.shards.sampling.permutation import permuted
from trace_data.shards.sampling.sampler import ClipSampler, ClipTable, clip_table, positions, runs_of
from trace_data.shards.writer import id_runs


def entry(ids: np.ndarray, usable: np.ndarray, *, dataset: str = "3dpw", split: str = "train") -> SequenceEntry:
    return SequenceEntry(
        dataset=dataset, split=split, name="s", shard=0, first_frame=0, frames=len(ids),
        people=tuple(str(i) for i in range(len(usable))), first_person=0, fps=30.0, width=64, height=48, moving=True,
        world_valid=False, world_reason="", synthetic=False, frame_id_runs=id_runs(ids),
        usable=tuple(tuple(runs_of(flags)) for flags in usable), provenance={},
    )  # fmt: skip


def index_of(*entries: SequenceEntry) -> ShardIndex:
    return ShardIndex(folder=Path("shards"), shards=(), sequences=entries, bad=(), settings={})


def clips(table: ClipTable) -> list[ClipRef]:
    return [table.clip(i) for i in range(len(table))]


@pytest.mark.parametrize("seed", range(20))
def test_table_holds_exactly_the_valid_clips(seed: int) -> None:
    rng = np.random.default_rng(seed)
    base, frames = int(rng.integers(1, 6)), int(rng.integers(1, 40))
    # mostly the usual step, sometimes a gap
    ids = np.cumsum(np.where(rng.random(frames) < 0.9, base, base * rng.integers(2, 4, frames))) + 100
    usable = rng.random((int(rng.integers(0, 4)), frames)) < 0.9
    sequence = entry(ids, usable)
    np.testing.assert_array_equal(sequence.frame_ids(), ids)
    steps = np.diff(ids)
    usual = min(set(steps.tolist()), key=lambda s: (-(steps == s).sum(), s)) if frames > 1 else 1
    for length, hop in ((1, 1), (4, 1), (4, 3)):
        table = clip_table(index_of(sequence), length=length, strides=[1, 2, 3], split="train", hop=hop)
        expected = [
            ClipRef(sequence=0, start=start, stride=stride, length=length)
            for stride in (1, 2, 3)
            for start in range(0, frames, hop)
            if start + (length - 1) * stride < frames
            and all(
                ids[start + (k + 1) * stride] - ids[start + k * stride] == stride * usual for k in range(length - 1)
            )
            and any(all(flags[start + k * stride] for k in range(length)) for flags in usable)
        ]
        assert clips(table) == expected


def test_table_keeps_split_and_dataset_apart() -> None:
    everybody = np.ones((1, 10), bool)
    index = index_of(
        entry(np.arange(10), everybody),
        entry(np.arange(10), everybody, split="val"),
        entry(np.arange(10), everybody, dataset="dynacam"),
    )
    assert {c.sequence for c in clips(clip_table(index, length=2, strides=[1], split="train"))} == {0, 2}
    assert {c.sequence for c in clips(clip_table(index, length=2, strides=[1], split="val"))} == {1}
    only = clip_table(index, length=2, strides=[1], split="train", datasets=["dynacam"])
    assert {c.sequence for c in clips(only)} == {2}
    with pytest.raises(ConfigError, match="no split 'test'"):
        clip_table(index, length=2, strides=[1], split="test")


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 65, 1000, 4097])
def test_permutation_is_one(size: int) -> None:
    images = [permuted(i, size, (7, "a", 0)) for i in range(size)]
    assert sorted(images) == list(range(size))
    if size >= 64:
        other = [permuted(i, size, (7, "a", 1)) for i in range(size)]
        assert images != other
        assert abs(np.corrcoef(images, range(size))[0, 1]) < 0.4
        # neighbours do not stay neighbours
        assert np.mean(np.abs(np.diff(images)) == 1) < 0.15


def tables(*frames: int) -> dict[str, ClipTable]:
    return {
        f"set{i}": clip_table(
            index_of(entry(np.arange(n), np.ones((1, n), bool))), length=2, strides=[1], split="train"
        )
        for i, n in enumerate(frames)
    }


def test_an_epoch_shows_every_clip_once_whatever_the_ranks_and_workers() -> None:
    given = tables(41, 18)
    sampler = ClipSampler({"a": given["set0"]}, seed=3)
    whole = sorted((c.sequence, c.start) for c in clips(given["set0"]))
    for ranks, workers, start in ((1, 1, 0), (2, 3, 0), (4, 2, 16), (3, 1, 17)):
        seen = [
            position
            for rank in range(ranks)
            for worker in range(workers)
            for position in positions(
                len(sampler), rank=rank * workers + worker, world_size=ranks * workers, start=start
            )
        ]
        before = list(range(start))
        assert sorted(before + seen) == list(range(len(sampler)))
        drawn = [sampler.clip(5, p) for p in before + seen]
        assert sorted((c.sequence, c.start) for c in drawn) == whole
    both = ClipSampler(given, seed=3)
    assert len(both) == 40 + 17
    starts = [both.clip(0, p).start for p in range(len(both))]
    assert sorted(starts) == sorted([*range(40), *range(17)])


def test_clips_depend_on_seed_and_epoch_only() -> None:
    given = tables(60)
    draw = lambda seed, epoch: [ClipSampler(given, seed=seed).clip(epoch, p) for p in range(59)]  # noqa: E731
    assert draw(1, 4) == draw(1, 4)
    assert draw(1, 4) != draw(1, 5)
    assert draw(1, 4) != draw(2, 4)


def test_weights_set_the_shares_and_no_clip_repeats_before_all_have_come() -> None:
    given = tables(101, 31)
    sampler = ClipSampler(given, seed=0, weights={"set0": 1.0, "set1": 3.0}, clips_per_epoch=40)
    assert len(sampler) == 40
    # set1 has 30 clips and gets 30 positions an epoch; set0 has 100 and gets 10: ten epochs are one pass
    drawn = [sampler.clip(epoch, p).start for epoch in range(10) for p in range(40)]
    counts = np.bincount(drawn, minlength=100)
    np.testing.assert_array_equal(counts, [1 + 10 * (start < 30) for start in range(100)])
    with pytest.raises(ConfigError, match="no such table"):
        ClipSampler(given, seed=0, weights={"other": 1.0})
    with pytest.raises(ConfigError, match="long enough"):
        ClipSampler({}, seed=0)


def sharded(*frames: int, first: int = 0) -> ClipTable:
    """A table of one sequence a shard, with so many frames each."""
    everybody = [np.ones((1, n), bool) for n in frames]
    entries = [
        replace(entry(np.arange(n), usable), shard=first + i) for i, (n, usable) in enumerate(zip(frames, everybody))
    ]
    return clip_table(index_of(*entries), length=2, strides=[1], split="train")


@pytest.mark.parametrize("seed", range(12))
def test_a_window_shows_every_clip_once_a_cycle_from_few_shards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = {
        name: sharded(*rng.integers(1, 20, int(rng.integers(1, 12))).tolist(), 9, first=100 * i)
        for i, name in enumerate("abc"[: 1 + seed % 3])
    }
    window = int(rng.integers(1, 6))
    weights = {name: float(rng.integers(1, 4)) for name in given} if seed % 2 else None
    sampler = ClipSampler(given, seed=seed, weights=weights, window=window)
    draws = [[(epoch, p) for p in range(len(sampler))] for epoch in range(4)]
    # asked in another order, from another sampler, it is the same: nothing is remembered that matters
    asked = rng.permutation(4 * len(sampler)).tolist()
    other = ClipSampler(given, seed=seed, weights=weights, window=window)
    flat = [pair for epoch in draws for pair in epoch]
    again = {i: other.clip(*flat[i]) for i in asked}
    drawn: dict[str, list[tuple[int, ClipRef]]] = {name: [] for name in given}
    for i, (epoch, position) in enumerate(flat):
        ref, (name, _) = sampler.clip(epoch, position), sampler._table_at(position)
        assert again[i] == ref
        drawn[name].append((i, ref))
    for name, table in given.items():
        everything = sorted(clips(table), key=repr)
        refs = [ref for _, ref in drawn[name]]
        for cycle in range(len(refs) // len(table)):
            part = refs[cycle * len(table) : (cycle + 1) * len(table)]
            assert sorted(part, key=repr) == everything
            shards = [ref.sequence for ref in part]  # one sequence a shard
            spans = {s: (shards.index(s), len(shards) - 1 - shards[::-1].index(s)) for s in set(shards)}
            active = [sum(first <= at <= last for first, last in spans.values()) for at in range(len(part))]
            assert max(active) <= window, "groups do not mix, so only a border adds a second one"
        if len(table) > 40 and len(refs) > 2 * len(table):
            assert refs[: len(table)] != refs[len(table) : 2 * len(table)]


def test_tables_of_a_window_take_turns_evenly() -> None:
    given = {"a": sharded(31, 31), "b": sharded(31, first=10), "c": sharded(11, first=20)}
    sampler = ClipSampler(given, seed=0, window=1)
    names = [sampler._table_at(p)[0] for p in range(len(sampler))]
    assert (names.count("a"), names.count("b"), names.count("c")) == (60, 30, 10)
    for begin in range(0, 90, 10):
        part = names[begin : begin + 10]
        assert 5 <= part.count("a") <= 7 and 2 <= part.count("b") <= 4 and part.count("c") <= 2


@pytest.mark.parametrize("window", [1, 3])
def test_upcoming_shards_come_in_the_order_in_which_they_are_needed(window: int) -> None:
    given = {"a": sharded(*[12] * 9), "b": sharded(*[7] * 5, first=50), "c": sharded(13, 13, first=80)}
    firsts = {"a": 0, "b": 50, "c": 80}
    sampler = ClipSampler(given, seed=4, window=window)
    for epoch, position in ((0, 0), (0, 40), (2, 100), (1, len(sampler) - 1)):
        needed: dict[int, int] = {}
        for number in range(3 * len(sampler)):
            later, at = divmod(position + number, len(sampler))
            shard = firsts[sampler._table_at(at)[0]] + sampler.clip(epoch + later, at).sequence
            needed.setdefault(shard, number)
        soon = sampler.upcoming_shards(epoch, position, 16)
        assert set(soon) == set(needed) == {*range(9), *range(50, 55), 80, 81}
        assert sampler.upcoming_shards(epoch, position, 5) == soon[:5]
        if window == 1:  # each shard is a group of its own, so its first clip comes when the group begins
            begins = [needed[shard] for shard in soon]
            rarest = 8  # positions from one clip of the smallest table to the next
            assert np.diff(begins).min() > -rarest and min(begins[:3]) == 0, begins
    with pytest.raises(ConfigError, match="window of 0"):
        ClipSampler(given, seed=0, window=0)


def test_upcoming_shards_without_a_window_are_those_of_the_next_clips() -> None:
    sampler = ClipSampler({"a": sharded(*[12] * 9, first=20)}, seed=4)
    following = [20 + sampler.clip((95 + i) // 99, (95 + i) % 99).sequence for i in range(12)]
    assert sampler.upcoming_shards(0, 95, 3) == list(dict.fromkeys(following))[:3]


def test_ends_are_errors() -> None:
    sampler = ClipSampler(tables(10), seed=0)
    for position in (-1, 9):
        with pytest.raises(IndexError):
            sampler.clip(0, position)
    with pytest.raises(ConfigError):
        positions(10, rank=2, world_size=2)
