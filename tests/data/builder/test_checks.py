"""What verification calls an error at a depth does not enter the shards of a build that checks as deeply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_3dpw
import tiny_3dpw_packed
import tiny_mpi

from trace_cli.main import run
from trace_data.adapters import find_sequences, read_record
from trace_data.builder.build import build_shards
from trace_data.errors import ConfigError
from trace_data.schema.check import check_record
from trace_data.shards.index import load_index
from trace_data.verify.datasets import verify_datasets

COUNTS = {"train": 2, "val": 1, "test": 1}


def stale(content: dict[str, Any]) -> None:
    content["cam_intrinsics"][:2, :2] *= 1.6


def millimetres(content: dict[str, Any]) -> None:
    content["jointPositions"] = [1000 * joints for joints in content["jointPositions"]]


def threedpw(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    folder = tiny_3dpw.write(root, COUNTS, frames=6)
    content = tiny_3dpw.load(folder, "train", "train_walk_00")
    change(content)
    tiny_3dpw.rewrite(folder, "train", "train_walk_00", content)


def threedpw_packed(root: Path) -> None:
    changes = {"train_walk_00": stale}
    tiny_3dpw_packed.pack(root, COUNTS, "annots", change=lambda name, c: changes.get(name, tiny_mpi.unchanged)(c))


def mpi(root: Path) -> None:
    def elsewhere(content: dict[str, Any]) -> None:
        content["annot2"] = [points + 9.0 for points in content["annot2"]]

    tiny_mpi.official(root, cameras=(0,), change=elsewhere)


@pytest.mark.parametrize(
    ("dataset", "write"),
    [
        ("3dpw", lambda root: threedpw(root, stale)),
        ("3dpw", threedpw_packed),
        ("mpi-inf-3dhp", mpi),
    ],
    ids=["3dpw", "packed 3dpw", "mpi-inf-3dhp"],
)
@pytest.mark.parametrize("every", [1, 2])
def test_annotations_that_contradict_each_other_are_left_out_on_request(
    dataset: str, write: Callable[[Path], None], every: int, tmp_path: Path
) -> None:
    write(tmp_path)
    assert not verify_datasets([dataset], tmp_path, depth="geometry").ok
    found = {
        check: build_shards([dataset], tmp_path, tmp_path / check, splits=["train"], check=check, every=every)  # type: ignore[arg-type]
        for check in ("content", "geometry")
    }
    assert not found["content"].bad, "by default nothing is compared"
    (bad,) = found["geometry"].bad
    assert "reprojection" in bad.reason and len(found["geometry"].index.sequences) == 1
    assert {check: report.index.settings["check"] for check, report in found.items()} == {c: c for c in found}


def test_what_costs_little_is_always_checked(tmp_path: Path) -> None:
    threedpw(tmp_path, millimetres)
    (bad,) = build_shards(["3dpw"], tmp_path, tmp_path / "out", splits=["train"]).bad
    assert "joints3d" in bad.reason
    with pytest.raises(ConfigError, match="unknown check"):
        build_shards(["3dpw"], tmp_path, tmp_path / "other", check="pixels")  # type: ignore[arg-type]


def test_a_gender_that_is_none_is_an_error_in_any_record(tmp_path: Path) -> None:
    tiny_3dpw.write(tmp_path, COUNTS, frames=6)
    record = read_record(find_sequences("3dpw", tmp_path, "train")[0])
    person = record.people[0]
    assert person.body is not None
    for changed, key in (
        (replace(person, gender="nan"), "people[0].gender"),  # type: ignore[arg-type]
        (replace(person, body=replace(person.body, gender="n")), "people[0].body.gender"),  # type: ignore[arg-type]
    ):
        found = check_record(replace(record, people=(changed, *record.people[1:])))
        assert [finding.key for finding in found if finding.severity == "error"] == [key]


@pytest.mark.parametrize(
    ("stuck", "turns_only", "severity"),
    [(range(9), False, "error"), (range(4), False, "warning"), (range(9), True, "warning"), (range(2), False, None)],
    ids=["mostly", "partly", "only turns", "one pair"],
)
def test_a_moving_camera_does_not_keep_its_pose(
    stuck: range, turns_only: bool, severity: str | None, tmp_path: Path
) -> None:
    tiny_3dpw.write(tmp_path, {"train": 1}, frames=12)
    record = read_record(find_sequences("3dpw", tmp_path, "train")[0])
    poses = np.array(record.camera.camera_from_world)
    if turns_only:
        poses[:, :3] = [turn(0.01 * frame) @ poses[0, :3] for frame in range(12)]
    poses[list(stuck)] = poses[0]

    def severities(people: Any) -> list[str]:
        changed = replace(record, camera=replace(record.camera, camera_from_world=poses), people=people)
        return [found.severity for found in check_record(changed) if "frame before" in found.what]

    assert severities(record.people) == ([severity] if severity else [])
    lost = np.array([frame in stuck for frame in range(12)])  # a release repeats poses where the camera was lost
    assert severities(tuple(replace(p, body_valid=p.body_valid & ~lost) for p in record.people)) == []


def turn(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def test_sound_annotations_give_the_same_bytes_and_another_check_is_another_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_3dpw.write(tmp_path, COUNTS, frames=6)
    command = ["build-shards", "3dpw", "--root", str(tmp_path), "--jobs", "1", "--out"]
    assert run([*command, str(tmp_path / "geometry"), "--check", "geometry"]) == 0
    assert run([*command, str(tmp_path / "content")]) == 0
    indexes = [load_index(tmp_path / name) for name in ("geometry", "content")]
    hashes = [[shard.sha256 for shard in index.shards] for index in indexes]
    assert hashes[0] == hashes[1] and [index.settings["check"] for index in indexes] == ["geometry", "content"]
    capsys.readouterr()
    assert run([*command, str(tmp_path / "content"), "--check", "geometry"]) != 0
    assert "--check" in capsys.readouterr().err
    assert np.unique([entry.frames for entry in indexes[0].sequences]).tolist() == [6]
