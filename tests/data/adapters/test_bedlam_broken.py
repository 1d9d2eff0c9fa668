"""BEDLAM folders that are broken, each in one way: found at the right depth and named.

What happens to frames is tested with all layouts in test_bad_input.py.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bedlam
from found_at_depth import assert_error_found, errors
from tiny_bedlam import CLOSEUP, ORBIT, STATIC, ZOOM, change_csv, change_npz, motions

from trace_data.adapters import canonical_names, find_sequences, read_record
from trace_data.adapters.bedlam import find, read
from trace_data.assets.bodies import load_bodies
from trace_data.errors import AnnotationError, ConfigError, DatasetLayoutError
from trace_data.schema.check import check_record
from trace_data.schema.record import SequenceRecord


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset as downloaded. Read only."""
    return tiny_bedlam.write(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(world, tmp_path / "BEDLAM")


def record_of(folder: Path) -> SequenceRecord:
    return read(next(ref for ref in find(folder.parent, "train") if ref.name == f"{ORBIT}/seq_000000"))


def cell(row: int, column: int, text: str) -> Callable[[list[list[str]]], Any]:
    return lambda rows: rows[row].__setitem__(column, text)


def column(number: int, change: Callable[[float], float]) -> Callable[[list[list[str]]], Any]:
    return lambda rows: [row.__setitem__(number, str(change(float(row[number])))) for row in rows[1:]]


def motion(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], Any]:
    return lambda folder: change_npz(motions(folder)[0], change)


def camera(change: Callable[[list[list[str]]], Any], scene: str = ORBIT) -> Callable[[Path], Any]:
    return lambda folder: change_csv(folder / scene / "ground_truth/camera/seq_000000_camera.csv", change)


def people(change: Callable[[list[list[str]]], Any]) -> Callable[[Path], Any]:
    return lambda folder: change_csv(folder / ORBIT / "be_seq.csv", change)


def flipped(held: dict[str, Any]) -> None:
    """Motions whose makers had y down."""
    roots = np.zeros((len(held["poses"]), 3))
    roots[:, 0] = np.pi
    held["poses"][:, :3] = roots


def jump(held: dict[str, Any]) -> None:
    held["trans"][5:] += [0, 0.9, 0]


BROKEN: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "no description": ("layout", lambda f: (f / STATIC / "be_seq.csv").unlink(), "be_seq.csv"),
    "no camera": (
        "layout", lambda f: (f / STATIC / "ground_truth/camera/seq_000000_camera.csv").unlink(), "ground_truth/camera",
    ),
    "no motions": ("layout", lambda f: shutil.rmtree(f / "smpl_ground_truth"), "smpl_ground_truth"),
    "no motion of a sequence": ("layout", lambda f: [file.unlink() for file in motions(f)], "2 of 2 bodies"),
    "a description that is cut": (
        "layout", lambda f: (f / ORBIT / "be_seq.csv").write_text("Index,Type"), "no column Body",
    ),
    "a row that is cut": ("layout", people(lambda rows: rows[2].pop()), "9 cells, expected 10"),
    "a body without a number": ("layout", people(cell(3, 3, "nan")), "X is 'nan'"),
    "a body that lies": ("layout", people(cell(3, 7, "90")), "Pitch is 90"),
    "a body that leads elsewhere": ("layout", people(cell(3, 2, "../../etc_1")), "<subject>_<animation>"),
    "no frames": ("layout", people(cell(2, 9, "sequence_name=seq_000000")), "frames is ''"),
    "a camera of other frames": ("content", camera(lambda rows: rows.pop(2)), "seq_000000_0002.png"),
    "a camera that is short": ("content", camera(lambda rows: rows.pop()), "3 rows, 4 frames"),
    "a camera without a number": ("content", camera(cell(2, 4, "")), "yaw is ''"),
    "a sensor of another camera": ("content", camera(column(9, lambda mm: 36.0)), "over the sensor's height"),
    "an angle of another lens": ("content", camera(column(10, lambda degrees: 2 * degrees)), "hfov"),
    "a camera of another world": ("content", camera(column(1, lambda cm: cm + 30_000)), "comes into the picture"),
    "a video on its side": (
        "content",
        lambda f: shutil.copy(f / STATIC / "mp4/seq_000000.mp4", f / CLOSEUP / "mp4/seq_000000.mp4"),
        "128x72 px, expected 72x128",
    ),
    "NaN": ("content", motion(lambda held: held["poses"].__setitem__((4, 7), np.nan)), "not finite"),
    "millimetres": ("content", motion(lambda held: held.update(trans=1000 * held["trans"])), "from where it begins"),
    "degrees": ("content", motion(lambda held: held.update(poses=np.degrees(held["poses"]))), "expected radians"),
    "motions of SMPL-X": (
        "content", motion(lambda held: held.update(poses=np.zeros((len(held["poses"]), 165)))), "165 columns",
    ),
    "betas of another body": ("content", motion(lambda held: held.update(betas=np.zeros(16))), "16 values"),
    "another rate": ("content", motion(lambda held: held.update(mocap_frame_rate=np.array(60))), "is 60, expected 30"),
    "no translation": ("content", motion(lambda held: held.pop("trans")), "has no trans"),
    "an unknown gender": ("content", motion(lambda held: held.update(gender=np.array("x"))), "gender is 'x'"),
    "a motion that is cut": ("content", lambda f: motions(f)[0].write_bytes(b"PK"), "motion_seq.npz"),
    "bodies upside down": (
        "content", lambda f: [change_npz(file, flipped) for file in motions(f)], "stand on their heads",
    ),
    "a body that jumps": ("geometry", motion(jump), "m/s through the world"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_it_is_found_at_its_depth(case: str, folder: Path) -> None:
    depth, damage, words = BROKEN[case]
    damage(folder)
    assert_error_found("bedlam", folder.parent, depth, words)


def test_frames_of_the_size_of_the_sample_world_are_not_the_releases(folder: Path) -> None:
    """Without the note of the sample world a scene is the release's, whose frames have one size."""
    for scene, size in ((ZOOM, "1280x720"), (CLOSEUP, "720x1280")):
        change_csv(folder / scene / "be_seq.csv", cell(1, 9, "width=128;height=72"))
        assert any(f"expected {size}" in what for what in errors("bedlam", folder.parent, "content"))


def test_a_lens_that_changes_is_said_where_the_scene_is_not_called_zoom(folder: Path) -> None:
    def longer(rows: list[list[str]]) -> None:
        for number, row in enumerate(rows[1:]):
            row[7] = str(float(row[7]) * (1 + 0.001 * number))

    camera(longer)(folder)
    record = record_of(folder)
    assert any("not called zoom" in remark for remark in record.remarks) and len(record.camera.intrinsics) == 4


def test_one_broken_scene_costs_no_other(folder: Path) -> None:
    (folder / ORBIT / "be_seq.csv").write_text("")
    refs = find_sequences("bedlam", folder.parent, "train")
    assert [ref.name for ref in refs if ref.broken is not None] == ["be_seq.csv"]
    assert len(refs) == 4 and all(read_record(ref) for ref in refs if ref.broken is None)


def test_the_folder_is_named_when_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetLayoutError) as caught:
        find(tmp_path, "train")
    assert caught.value.where == str(tmp_path) and "bedlam.is.tue.mpg.de" in (caught.value.hint or "")


def test_it_is_meant_only_by_its_name() -> None:
    assert "bedlam" not in canonical_names(()) and canonical_names(["BEDLAM"]) == ["bedlam"]
    with pytest.raises(ConfigError, match="bedlam"):
        canonical_names(["bedlm"])


def test_the_gender_of_a_missing_motion_is_the_error_of_its_sequence(folder: Path) -> None:
    ref = next(ref for ref in find(folder.parent, "train") if ref.name == f"{ORBIT}/seq_000000")
    for file in motions(folder):
        file.unlink()
    with pytest.raises(AnnotationError) as caught:
        read(ref)
    assert str(caught.value.where).endswith("be_seq.csv") and "smpl_ground_truth" in (caught.value.hint or "")


def test_an_origin_and_its_rotation_belong_together(folder: Path) -> None:
    record = record_of(folder)
    body = record.people[0].body
    assert body is not None and check_record(record) == []
    for change, words in (
        ({"turned": None}, "belong together"),
        ({"origin": "model"}, "belong together"),
        ({"turned": np.eye(3)[:2]}, "shape"),
        ({"turned": np.diag([1.0, 1.0, -1.0])}, "rotations"),
    ):
        person = dataclasses.replace(record.people[0], body=dataclasses.replace(body, **change))  # type: ignore[arg-type]
        findings = check_record(dataclasses.replace(record, people=(person,)))
        assert any(finding.severity == "error" and words in finding.what for finding in findings)
    findings = check_record(dataclasses.replace(record, world_up=(0.0, -2.0, 0.0)))
    assert [finding.key for finding in findings] == ["world_up"]


def test_a_turned_body_needs_its_pelvis(folder: Path, packs: Path) -> None:
    """Whatever the rotation: turning the joints of a body is turning its parameters, and then the pelvis is added."""
    body, bodies = record_of(folder).people[0].body, load_bodies(packs)
    assert body is not None and body.turned is not None and body.translation is not None
    here = dataclasses.replace(body, origin="model", turned=None)
    joints, _ = bodies.place(here)  # type: ignore[misc]
    placed, translation = bodies.place(body)  # type: ignore[misc]
    np.testing.assert_allclose(placed - joints, (translation - body.translation)[:, None].repeat(44, 1), atol=1e-12)
    rest = bodies.posed(body)[:, 0]
    np.testing.assert_allclose(translation - body.translation, rest @ (body.turned - np.eye(3)).T, atol=1e-12)
