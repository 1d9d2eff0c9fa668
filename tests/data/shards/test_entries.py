"""What entries of an index say of frames, and of splits that they lack."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trace_data.adapters import BUILT_IN, load_adapter
from trace_data.shards.entries import SPLITS, ShardIndex, build_split, usual_step


@pytest.mark.parametrize(
    ("ids", "step"),
    [
        ([7], 1),
        ([7, 10], 3),
        ([0, 5, 10, 15], 5),
        ([0, 5, 10, 50, 55], 5),  # a gap
        ([0, 10, 20, 21, 22], 1),  # a tie: gaps only make distances larger
        ([0, 10, 30, 60, 100], 10),  # no two alike
        ([0, 1, 11, 21, 31], 10),  # the most frequent one, though it is not the smallest
    ],
)
def test_the_usual_step_is_the_most_frequent_distance(ids: list[int], step: int) -> None:
    assert usual_step(np.array(ids)) == step


def test_splits_are_those_of_the_adapters() -> None:
    assert {name: load_adapter(name).SPEC.splits for name in BUILT_IN} == SPLITS


@pytest.mark.parametrize(
    ("datasets", "split", "words"),
    [
        (["penn-action"], "val", "penn-action has no split 'val'"),
        (["h36m"], "test", "h36m has no split 'test'"),
        (["penn-action", "3dpw"], "val", "trace build-shards 3dpw --split val"),
        (["my-own"], "val", "trace build-shards my-own --split val"),
        ([], "train", "trace build-shards --split train"),
    ],
)
def test_a_split_is_only_suggested_of_datasets_that_have_it(
    datasets: list[str], split: str, words: str, tmp_path: Path
) -> None:
    entries = tuple(SimpleNamespace(dataset=name, split="train") for name in datasets)
    index = ShardIndex(folder=tmp_path, shards=(), sequences=entries, bad=(), settings={})  # type: ignore[arg-type]
    assert words in build_split(index, split)
    assert ("--split" in build_split(index, split)) == ("--split" in words)
