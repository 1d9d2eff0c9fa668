"""A few 2D points that can be nowhere cost themselves and no sequence, in every dataset whose points are detected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_3dpw
import tiny_3dpw_packed
import tiny_dynacam
import tiny_penn_action

from trace_data.adapters import find_sequences, read_record
from trace_data.builder.build import build_shards
from trace_data.schema.check import check_record
from trace_data.schema.record import SequenceRecord

COUNTS, NAME = {"train": 2, "val": 1, "test": 1}, "train_walk_00"
Spoil = Callable[[np.ndarray], Any]
"""What is done to the 2D points (T, 3, 18) of the first person: px, px, confidence."""


def far(points: np.ndarray) -> None:
    points[2, :, 4] = 1e6, 1e6, 0.3


def unseen(points: np.ndarray) -> None:
    points[2, :, 4] = np.nan, np.nan, 0.0


def confidence(points: np.ndarray) -> None:
    points[2, 2, 4] = np.nan


def most(points: np.ndarray) -> None:
    points[:, 0, 4:] = 1e6


def threedpw(root: Path, form: str, spoil: Spoil) -> None:
    if form == "release":
        folder = tiny_3dpw.write(root, COUNTS, frames=6)
        content = tiny_3dpw.load(folder, "train", NAME)
        spoil(content["poses2d"][0])
        tiny_3dpw.rewrite(folder, "train", NAME, content)
    else:
        change = {NAME: lambda content: spoil(content["poses2d"][0])}
        tiny_3dpw_packed.pack(root, COUNTS, form, change=lambda name, c: change.get(name, lambda _: None)(c))


def first(root: Path, dataset: str = "3dpw") -> SequenceRecord:
    return read_record(find_sequences(dataset, root, "train")[0], defects=False)


def errors(record: SequenceRecord) -> list[str]:
    return [finding.key for finding in check_record(record) if finding.severity == "error"]


@pytest.mark.parametrize("form", ["release", "annots", "vibe"])
@pytest.mark.parametrize("spoil", [far, unseen, confidence])
def test_one_wild_point_of_3dpw_is_masked(form: str, spoil: Spoil, tmp_path: Path) -> None:
    threedpw(tmp_path, form, spoil)
    record = first(tmp_path)
    assert errors(record) == []
    (points,) = [p.keypoints2d.points for p in record.people if p.name == "0" and p.keypoints2d]
    assert np.isfinite(points).all() and np.abs(points).max() < 1e4
    assert any("masked" in remark for remark in record.remarks) == (spoil is far)
    if form != "annots" or spoil is far:  # else who packed it left the frame out
        assert (points[2, :, 2] > 0).any()


@pytest.mark.parametrize("form", ["release", "annots", "vibe"])
def test_many_wild_points_are_an_error(form: str, tmp_path: Path) -> None:
    threedpw(tmp_path, form, most)
    assert "people[0].keypoints2d" in errors(first(tmp_path))


def test_points_without_a_camera_pose_mean_nothing_and_the_sequence_is_built(tmp_path: Path) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 1, "val": 1, "test": 1}, frames=6)
    content = tiny_3dpw.load(folder, "train", NAME)
    content["campose_valid"][1][3:] = 0
    content["poses2d"][1][3:] = np.nan
    tiny_3dpw.rewrite(folder, "train", NAME, content)
    record = first(tmp_path)
    assert errors(record) == [] and not record.people[1].present[3:].any()
    assert record.everyone_annotated.tolist() == [True] * 3 + [False] * 3, "who has no row may stand there all the same"
    assert not build_shards(["3dpw"], tmp_path, tmp_path / "out").bad


def test_dynacam_and_penn_action(tmp_path: Path) -> None:
    folder = tiny_dynacam.write(tmp_path)

    def spoil(arrays: dict[str, Any]) -> None:
        arrays["kp2ds"] = np.array(arrays["kp2ds"], np.float64)
        arrays["kp2ds"][0, 1, 3] = 1e6, 1e6, 0.9
        arrays["kp2ds"][0, 2, 3] = np.nan, np.nan, 0.0

    tiny_dynacam.change(folder, tiny_dynacam.PANORAMA, spoil)
    record = first(tmp_path, "dynacam")
    assert errors(record) == [] and any("1 of" in remark for remark in record.remarks)

    def hide(content: dict[str, Any]) -> None:
        content["x"][:, 5] = content["y"][:, 5] = np.nan  # a joint that is never visible

    folder = tiny_penn_action.write(tmp_path)
    tiny_penn_action.change_mat(folder, "0001", hide)
    assert errors(first(tmp_path, "penn-action")) == []
