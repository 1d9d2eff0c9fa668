"""Rows of packed files on disk: any order in, the order of numbers out, and what is wrong with one clip stays there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from trace_data.adapters.packed_rows import PackedRows
from trace_data.errors import AnnotationError, OutputError


def test_rows_come_back_in_the_order_of_their_numbers() -> None:
    rng = np.random.default_rng(0)
    wanted = {clip: {int(n): rng.normal(size=7) for n in rng.permutation(50)} for clip in "ab"}
    rows = PackedRows(7)
    for number in rng.permutation(50).tolist():
        for clip in "ba":
            rows.add(clip, number, np.zeros(7))
    for clip, held in wanted.items():
        for number, row in held.items():
            rows.add(clip, number, row)  # what comes last counts
    assert rows.clips == ["a", "b"] and "a" in rows and "c" not in rows
    for clip, held in wanted.items():
        np.testing.assert_array_equal(rows.numbers(clip), np.arange(50))
        expected = np.stack([held[number] for number in range(50)]).astype(np.float32)
        np.testing.assert_array_equal(rows.of(clip), expected)
        np.testing.assert_array_equal(rows.of(clip, np.array([3, 41])), expected[[3, 41]])


def test_what_is_wrong_with_a_clip_is_said_of_it_alone() -> None:
    rows = PackedRows(2)
    rows.add("good", 1, np.ones(2))
    rows.add("bad", 1, np.ones(2))
    rows.refuse("bad", AnnotationError("the first"))
    rows.refuse("bad", AnnotationError("the second"))
    assert rows.clips == ["bad", "good"] and len(rows.numbers("bad")) == 0 and rows.of("good").tolist() == [[1, 1]]
    with pytest.raises(AnnotationError, match="the first"):
        rows.of("bad")


def test_forked_processes_read_the_same_rows() -> None:
    rows = PackedRows(1000)
    for number in range(200):
        rows.add("a", number, np.full(1000, number))
    children = []
    for _ in range(4):
        if (child := os.fork()) == 0:
            fine = all(np.array_equal(rows.of("a")[:, 0], np.arange(200)) for _ in range(20))
            os._exit(0 if fine else 1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


def test_a_folder_without_room_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="cannot be unpacked here: No such file") as caught:
        PackedRows(2)
    assert caught.value.where == str(tmp_path / "nowhere") and "TMPDIR" in (caught.value.hint or "")
