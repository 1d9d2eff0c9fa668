"""The result file: what is written comes back, NumPy alone reads it, and every damage is named."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_result import example_result, free_joints
from repository import ROOT

from trace_data.errors import OutputError, ResultError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, project, transform
from trace_data.results.check import LAYOUTS, check_result
from trace_data.results.file import START, is_result, partial_of, read_result, write_result
from trace_data.results.result import Result
from trace_data.results.world_placement import in_frame

example = cache(example_result)
FAULTS: dict[str, tuple[Callable[[Result], dict[str, Any]], str]] = {}


def assert_same(found: Result, expected: Result) -> None:
    assert found.about == expected.about
    for name in LAYOUTS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        if getattr(expected, name) is not None and name != "person_name":
            assert getattr(found, name).dtype == getattr(expected, name).dtype


def no_people(result: Result) -> Result:
    changes = {name: getattr(result, name)[:0] for name, layout in LAYOUTS.items() if {"N", "P"} & set(layout.shape)}
    return replace(result, **changes, camera_observed=np.zeros_like(result.camera_observed))


def one_frame(result: Result) -> Result:
    row = result.rows_in(0)
    changes = {name: getattr(result, name)[row] for name, layout in LAYOUTS.items() if "N" in layout.shape}
    changes |= {name: getattr(result, name)[:1] for name, layout in LAYOUTS.items() if "T" in layout.shape}
    return replace(result, **changes)


@pytest.mark.parametrize(
    "result",
    [
        example(),
        example(irregular=True, keep_betas=False, known_up=False, moving=False),
        example(people=1),
        no_people(example()),
        one_frame(example()),
        one_frame(no_people(example())),
    ],
    ids=["three people", "irregular", "one person", "nobody", "one frame", "nobody in one frame"],
)
def test_what_is_written_comes_back(result: Result, tmp_path: Path) -> None:
    file = tmp_path / "zwei Wege.trace.npz"
    write_result(file, result)
    assert is_result(file) and [f.name for f in tmp_path.iterdir()] == [file.name]
    assert_same(read_result(file), result)
    first = file.read_bytes()
    write_result(file, read_result(file))
    assert file.read_bytes() == first


def test_numpy_alone_reads_it(tmp_path: Path) -> None:
    write_result(tmp_path / "a.trace.npz", example())
    with np.load(tmp_path / "a.trace.npz", allow_pickle=False) as data:
        assert data["format"] == "trace-result" and data["version"] == 1
        assert json.loads(str(data["about"])) == example().about
        page = (ROOT / "docs/reference/export.md").read_text().split("### Result keys")[1].split("About 1.1 KB")[0]
        shown = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
        assert data.files == [name.strip(" `") for line in shown for name in line.split(",")]
    assert data.files[3:] == [field.name for field in fields(Result)][1:] == list(LAYOUTS)


def test_the_example_is_what_it_says() -> None:
    """Camera, world, picture and body model agree, with people whose rest pelvises differ."""
    result = example()
    joints, rest = free_joints(result.pose, result.betas[result.row_person])
    assert np.ptp(rest, axis=0).max() > 0.003
    pelvis = rest + result.translation
    np.testing.assert_allclose(result.joints, joints[:, :24] - joints[:, :1] + pelvis[:, None], atol=2e-6)
    camera = result.camera_from_world[result.row_frame]
    assert np.linalg.norm(np.diff(camera[:, :3, 3], axis=0), axis=1).max() > 0.01
    pelvis_in_camera = rest + result.translation_in_camera
    np.testing.assert_allclose(transform(camera, pelvis[:, None])[:, 0], pelvis_in_camera, atol=2e-6)
    in_camera = transform(camera, joints - joints[:, :1] + pelvis[:, None])
    seen = project(result.intrinsics, in_camera)
    assert np.abs(seen - result.joints_2d).max() < 0.01
    counts = [len(result.rows_of(k)) for k in range(3)]
    assert counts[0] == 90 and counts[1] < 90 and counts[2] < 90, "one leaves and returns, one enters late"
    assert (np.diff(result.row_frame[result.rows_of(1)]) > 1).sum() == 1


def test_a_change_of_frame_turns_the_body_about_its_pelvis() -> None:
    draw = np.random.default_rng(1)
    pose, translation, betas = draw.normal(0, 0.4, (4, 24, 3)), draw.normal(0, 2, (4, 3)), draw.normal(0, 2, (4, 10))
    joints, rest = free_joints(pose, betas)
    change = np.eye(4)
    change[:3, :3], change[:3, 3] = matrix_from_axis_angle(np.array([0.3, 1.9, -0.5])), (1, -2, 3)
    root, moved = in_frame(change, pose[:, 0], translation, rest)
    turned = np.concatenate([root[:, None], pose[:, 1:]], axis=1)
    again, _ = free_joints(turned, betas)
    expected = transform(change, joints - joints[:, :1] + (rest + translation)[:, None])
    np.testing.assert_allclose(again - again[:, :1] + (rest + moved)[:, None], expected, atol=1e-9)
    naive = transform(change, translation[None])[0]
    assert np.linalg.norm(naive - moved, axis=1).min() > 0.05, "the pelvis is far from the origin"


def broken(name: str, word: str) -> Callable[[Callable[[Result], Any]], None]:
    def keep(change: Callable[[Result], Any]) -> None:
        FAULTS[name] = (change, word)

    return keep


def put(array: np.ndarray, index: Any, value: Any) -> np.ndarray:
    changed = array.copy()
    changed[index] = value
    return changed


for key in ("time", "camera_from_world", "intrinsics", "up", "pose", "translation", "translation_in_camera", "betas",
            "hips_in_camera", "root_in_camera", "joints", "score", "betas_row"):  # fmt: skip
    for value in (np.nan, np.inf):
        at = (-1,) * len(LAYOUTS[key].shape)
        FAULTS[f"{key} {value}"] = (lambda r, k=key, a=at, v=value: {k: put(getattr(r, k), a, v)}, key)
FAULTS |= {
    "joints_2d infinite": (lambda r: {"joints_2d": put(r.joints_2d, (3, 3), np.inf)}, "joints_2d"),
    "time repeats": (lambda r: {"time": put(r.time, 4, r.time[3])}, "time"),
    "frame ids fall": (lambda r: {"frame_id": put(r.frame_id, 4, 2)}, "frame_id"),
    "no size": (lambda r: {"image_size": put(r.image_size, 0, 0)}, "image_size"),
    "mirror": (lambda r: {"camera_from_world": r.camera_from_world @ np.diag([-1.0, 1, 1, 1])}, "rigid"),
    "scale": (lambda r: {"camera_from_world": r.camera_from_world * [[[1.01]], *[[[1.01]]] * 89]}, "rigid"),
    "last row": (lambda r: {"camera_from_world": put(r.camera_from_world, (9, 3, 0), 0.1)}, "rigid"),
    "no focal length": (lambda r: {"intrinsics": put(r.intrinsics, (0, 1, 1), 0)}, "intrinsics"),
    "long up": (lambda r: {"up": 2 * r.up}, "up"),
    "person 0": (lambda r: {"person": r.person - 1}, "person"),
    "same person twice": (lambda r: {"person": put(r.person, 1, 1)}, "person"),
    "nobody's row": (lambda r: {"row_person": put(r.row_person, -1, 3)}, "row_person"),
    "negative frame": (lambda r: {"row_frame": put(r.row_frame, 0, -1)}, "row_frame"),
    "late frame": (lambda r: {"row_frame": put(r.row_frame, -1, 90)}, "row_frame"),
    "unsorted": (lambda r: {"row_frame": put(r.row_frame, [4, 5], [5, 4])}, "sorted"),
    "twice in a frame": (lambda r: {"row_frame": put(r.row_frame, 5, 4)}, "sorted"),
    "state": (lambda r: {"state": put(r.state, 5, 3)}, "state"),
    "negative box": (lambda r: {"box": put(r.box, (5, 3), -1)}, "box"),
    "place": (lambda r: {"translation": r.translation + np.float32(0.001)}, "camera_from_world"),
    "turn": (lambda r: {"pose": put(r.pose, (2, 0), r.pose[2, 0] + np.float32(0.01))}, "camera_from_world"),
    "other camera": (lambda r: {"camera_from_world": r.camera_from_world[::-1]}, "camera_from_world"),
    "naive world": (lambda r: {"translation": naive_world(r)}, "camera_from_world"),
    "double": (lambda r: {"pose": r.pose.astype(float)}, "type"),
    "short": (lambda r: {"score": r.score[:-1]}, "score"),
    "flat": (lambda r: {"joints": r.joints.reshape(-1, 72)}, "joints"),
    "two lenses": (lambda r: {"intrinsics": r.intrinsics.repeat(2, 0)}, "intrinsics"),
    "no frames": (lambda r: {n: getattr(no_people(r), n)[:0] for n, s in LAYOUTS.items() if set("TN") & set(s.shape)},
                  "frames"),
    "nothing": (lambda r: {"box": None}, "box"),
}  # fmt: skip


def naive_world(result: Result) -> np.ndarray:
    """The translation with the pelvis forgotten, as several other programs write it."""
    camera = result.camera_from_world[result.row_frame]
    return transform(np.linalg.inv(camera), result.translation_in_camera[:, None])[:, 0].astype(np.float32)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_result_that_contradicts_itself_is_refused(fault: str, tmp_path: Path) -> None:
    change, word = FAULTS[fault]
    file = tmp_path / "a.trace.npz"
    wrong = replace(example(), **change(example()))
    with pytest.raises(ResultError, match=word) as caught:
        check_result(wrong, file)
    assert caught.value.where == str(file)
    with pytest.raises(ResultError, match=word):
        write_result(file, wrong)
    assert not list(tmp_path.iterdir())
    rewrite(file, **change(example()))
    with pytest.raises(ResultError, match=word) as caught:
        read_result(file)
    assert str(caught.value.where).startswith(str(file))


def rewrite(file: Path, *, compressed: bool = False, **changes: Any) -> None:
    """A file of the example with changes, without any check; None leaves an array out."""
    members: dict[str, Any] = {"format": "trace-result", "version": 1, "about": json.dumps(dict(example().about))}
    members |= {name: getattr(example(), name) for name in LAYOUTS} | changes
    save = np.savez_compressed if compressed else np.savez
    with file.open("wb") as stream:
        save(stream, allow_pickle=True, **{name: value for name, value in members.items() if value is not None})


def test_compressed_again_is_read(tmp_path: Path) -> None:
    rewrite(tmp_path / "a.npz", compressed=True)
    assert_same(read_result(tmp_path / "a.npz"), example())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": 2}, "version 2"),
        ({"version": "one"}, "version"),
        ({"version": None}, "readable"),
        ({"format": "trace-shards"}, "no result"),
        ({"format": None}, "no result"),
        ({"about": "{"}, "about"),
        ({"about": "[1]"}, "about"),
        ({"about": np.array(["{}", "{}"])}, "about"),
        ({"person": None}, "person"),
        ({"box": np.array([{}] * len(example().box))}, "objects"),
        ({"about": np.array({"a": 1}, dtype=object)}, "objects"),
    ],
)
def test_another_content_is_named(changes: dict[str, Any], word: str, tmp_path: Path) -> None:
    rewrite(tmp_path / "a.trace.npz", **changes)
    with pytest.raises(ResultError, match=word) as caught:
        read_result(tmp_path / "a.trace.npz")
    assert str(caught.value.where).startswith(str(tmp_path / "a.trace.npz")) and caught.value.hint


def test_other_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.trace.npz"
    with pytest.raises(ResultError, match="missing"):
        read_result(file)
    with pytest.raises(ResultError, match="folder"):
        read_result(tmp_path)
    partial_of(file).mkdir()
    (partial_of(file) / START).touch()
    with pytest.raises(ResultError, match="interrupted") as caught:
        read_result(file)
    assert "trace predict" in str(caught.value.hint)
    with pytest.raises(OutputError, match="unfinished"):
        write_result(file, example())
    shutil.rmtree(partial_of(file))
    rewrite(partial_of(file))
    with pytest.raises(ResultError, match="unfinished"):
        read_result(partial_of(file))
    for content in (b"", b"hello", b"\x89HDF\r\n"):
        file.write_bytes(content)
        with pytest.raises(ResultError, match="no result"):
            read_result(file)
        assert not is_result(file)
    with file.open("wb") as stream:
        np.savez(stream, outputs=np.array({"smpl_thetas": 1}), imgpaths=np.array(["a.jpg"]), allow_pickle=True)
    with pytest.raises(ResultError, match="published"):
        read_result(file)


@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9, 0.99999])
def test_a_file_cut_short_is_named(share: float, tmp_path: Path) -> None:
    file = tmp_path / "a.trace.npz"
    write_result(file, example())
    data = file.read_bytes()
    file.write_bytes(data[: max(6, int(share * len(data)))])
    with pytest.raises(ResultError, match="cut short"):
        read_result(file)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    file = tmp_path / "a.trace.npz"
    write_result(file, example())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ResultError, match="CRC"):
        read_result(file)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "a.trace.npz"
    rewrite(file, compressed=True, joints=np.zeros((300_000, 24, 3), np.float32))
    with pytest.raises(ResultError, match="announces"):
        read_result(file)


def test_an_announced_size_is_compared_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.trace.npz"
    rewrite(file)
    changed = tmp_path / "b.trace.npz"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "score.npy":
                count = str(len(example().score)).encode()
                content = content.replace(b"(" + count + b",)", b"(" + b"9" * len(count) + b",)")
            new.writestr(name, content)
    with pytest.raises(ResultError, match="score"):
        read_result(changed)


def test_rotations_near_half_a_turn_agree() -> None:
    """Axis and angle of such rotations may flip their sign between camera and world."""
    result = example()
    turn = np.eye(4)
    turn[:3, :3] = matrix_from_axis_angle(np.array([0, np.pi, 0]))
    rest = (result.joints[:, 0] - result.translation).astype(np.float64)
    root, translation = in_frame(turn, result.pose[:, 0], result.translation, rest)
    pose = np.concatenate([root[:, None], result.pose[:, 1:]], axis=1).astype(np.float32)
    moved = replace(
        result,
        pose=pose,
        translation=translation.astype(np.float32),
        joints=transform(turn, result.joints).astype(np.float32),
        camera_from_world=result.camera_from_world @ turn.T,
    )
    check_result(moved)
    again = axis_angle_from_matrix(matrix_from_axis_angle(pose[:, 0]))
    check_result(replace(moved, pose=np.concatenate([again[:, None], pose[:, 1:]], axis=1).astype(np.float32)))
