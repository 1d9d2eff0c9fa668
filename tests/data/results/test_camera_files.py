"""Camera paths of other tools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result
from scipy.spatial.transform import Rotation

from trace_data.results.camera_files import CameraFileError, read_camera_file
from trace_data.results.file import write_result

TIME = np.array([0.0, 0.04, 0.1])
CENTRE = np.array([[0.0, 0, 0], [1, 2, 3], [-1, 0.5, 2]])
TURN = Rotation.from_rotvec([[0.0, 0, 0], [0, 0.5, 0], [0.3, -1, 2]])
"""Of the camera in the world."""
OPENCV_NAMES = ("frame_2.png", "frame_9.png", "frame_10.png")


def cameras() -> np.ndarray:
    """camera_from_world (3, 4, 4) of the path."""
    pose = np.tile(np.eye(4), (3, 1, 1))
    pose[:, :3, :3], pose[:, :3, 3] = TURN.as_matrix(), CENTRE
    return np.linalg.inv(pose)


def tum() -> str:
    rows = [[t, *c, *q] for t, c, q in zip(TIME, CENTRE, TURN.as_quat())]
    return "# t tx ty tz qx qy qz qw\n" + "\n".join(" ".join(f"{v:.9f}" for v in row) for row in rows) + "\n"


def colmap(folder: Path, points: str = "", order: tuple[int, ...] = (2, 0, 1)) -> Path:
    """A text model whose images are in another order than their names."""
    folder.mkdir()
    lines = ["# Image list with two lines of data per image:"]
    for k in order:
        camera = cameras()[k]
        x, y, z, w = Rotation.from_matrix(camera[:3, :3]).as_quat()
        t = camera[:3, 3]
        lines += [f"{k + 1} {w} {x} {y} {z} {t[0]} {t[1]} {t[2]} 1 {OPENCV_NAMES[k]}", points]
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    (folder / "cameras.txt").write_text("# Camera list\n1 PINHOLE 1280 720 1100 1110 640 360.5\n")
    return folder


def nerfstudio() -> dict[str, object]:
    pose = np.linalg.inv(cameras()) @ np.diag([1, -1, -1, 1])
    frames = [{"file_path": f"images/{OPENCV_NAMES[k]}", "transform_matrix": pose[k].tolist()} for k in (1, 2, 0)]
    return {"fl_x": 1100, "fl_y": 1110, "cx": 639.5, "cy": 360, "w": 1280, "h": 720, "frames": frames}


def test_tum(tmp_path: Path) -> None:
    (tmp_path / "path.txt").write_text(tum())
    found = read_camera_file(tmp_path / "path.txt")
    assert found.kind == "tum"
    assert found.time is not None
    assert np.allclose(found.time, TIME)
    assert np.allclose(found.camera_from_world, cameras(), atol=1e-8)
    assert found.intrinsics is None
    assert len(found) == 3


def test_tum_with_commas_and_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "path.csv").write_text("\ufeff" + tum().replace("# ", "#").replace(" ", ","), encoding="utf-8")
    assert np.allclose(read_camera_file(tmp_path / "path.csv").camera_from_world, cameras(), atol=1e-8)


@pytest.mark.parametrize("points", ["", "100.5 200 -1 300 400.25 7", "1 2 3 4 5 6 7 8 9"])
def test_colmap(tmp_path: Path, points: str) -> None:
    folder = colmap(tmp_path / "model", points)
    for path in (folder, folder / "images.txt", folder / "cameras.txt"):
        found = read_camera_file(path)
        assert found.kind == "colmap"
        assert found.time is None
        assert np.allclose(found.camera_from_world, cameras(), atol=1e-8)
        assert found.intrinsics is not None
        # half a pixel less: COLMAP counts from the corner
        assert np.allclose(found.intrinsics[0], [[1100, 0, 639.5], [0, 1110, 360], [0, 0, 1]])
        assert found.image_size == (1280, 720)
        assert not found.distorted


def test_colmap_whose_empty_lines_an_editor_removed(tmp_path: Path) -> None:
    folder = colmap(tmp_path / "model")
    text = (folder / "images.txt").read_text()
    (folder / "images.txt").write_text("\n".join(line for line in text.splitlines() if line))
    assert len(read_camera_file(folder)) == 3


@pytest.mark.parametrize(
    "model, lens, distorted",
    [
        ("SIMPLE_PINHOLE 1280 720 1000 640 360", (1000, 1000, 639.5, 359.5), False),
        ("SIMPLE_RADIAL 1280 720 1000 640 360 0.1", (1000, 1000, 639.5, 359.5), True),
        ("OPENCV 1280 720 1000 1010 640 360 0 0 0 0", (1000, 1010, 639.5, 359.5), False),
        ("OPENCV 1280 720 1000 1010 640 360 0 0 0.01 0", (1000, 1010, 639.5, 359.5), True),
    ],
)
def test_lenses_of_colmap(tmp_path: Path, model: str, lens: tuple[float, ...], distorted: bool) -> None:
    folder = colmap(tmp_path / "model")
    (folder / "cameras.txt").write_text(f"1 {model}\n")
    found = read_camera_file(folder)
    assert found.intrinsics is not None
    assert np.allclose(found.intrinsics[0][[0, 1, 0, 1], [0, 1, 2, 2]], lens)
    assert found.distorted == distorted


def test_nerfstudio(tmp_path: Path) -> None:
    (tmp_path / "transforms.json").write_text(json.dumps(nerfstudio()))
    found = read_camera_file(tmp_path / "transforms.json")
    assert found.kind == "nerfstudio"
    assert np.allclose(found.camera_from_world, cameras(), atol=1e-9)
    assert found.intrinsics is not None
    assert np.allclose(found.intrinsics, [[[1100, 0, 639.5], [0, 1110, 360], [0, 0, 1]]])
    assert found.image_size == (1280, 720)


def test_nerfstudio_with_a_lens_for_each_frame(tmp_path: Path) -> None:
    content = nerfstudio()
    for k, frame in enumerate(content["frames"]):  # type: ignore[attr-defined,arg-type,var-annotated]
        frame["fl_x"] = 1000 + k
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    found = read_camera_file(tmp_path / "transforms.json")
    assert found.intrinsics is not None
    assert found.intrinsics[:, 0, 0].tolist() == [1002, 1000, 1001]


def test_our_own_result(tmp_path: Path) -> None:
    result = example_result(frames=12)
    write_result(tmp_path / "a.trace.npz", result)
    found = read_camera_file(tmp_path / "a.trace.npz")
    assert found.kind == "result"
    assert found.time is not None and found.up is not None
    assert np.array_equal(found.time, result.time)
    assert np.array_equal(found.camera_from_world, result.camera_from_world)
    assert np.array_equal(found.up, result.up)
    assert found.image_size == tuple(result.image_size)


def mirrored() -> list[list[float]]:
    return np.diag([1.0, -1, 1, 1]).tolist()


@pytest.mark.parametrize(
    "text, word, where",
    [
        ("", "no camera", "path.txt"),
        ("# t tx ty tz qx qy qz qw\n", "no camera", "path.txt"),
        ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 0\n", "7 numbers", "path.txt:2"),
        ("0 0 0 0 0 0 0 1\n1 0 0 0 0 0 x 1\n", "numbers", "path.txt:2"),
        ("0 0 0 0 0 0 0 1\n1 nan 0 0 0 0 0 1\n", "finite", "path.txt:2"),
        ("0 0 0 0 0 0 0 1\n0 0 0 0 0 0 0 1\n", "later", "path.txt:2"),
        ("0 0 0 0 0 0 0 0\n", "length", "path.txt:1"),
        ("\x00\x01", "numbers", "path.txt:1"),
        ("{", "JSON", "path.txt"),
        ('{"frames": []}', "frames", "path.txt"),
        ('{"frames": 3}', "frames", "path.txt"),
        ('{"frames": [{"file_path": "a"}]}', "transform_matrix", "frames[0]"),
        ('{"frames": [7]}', "file_path", "frames[0]"),
        ('{"frames": [{"file_path": "a", "transform_matrix": [[1, 0], [0, 1]]}]}', "shape", "frames[0]"),
        ('{"frames": [{"file_path": "a", "transform_matrix": [[1, 0], [0]]}]}', "matrix", "frames[0]"),
        (json.dumps({"frames": [{"file_path": "a", "transform_matrix": mirrored()}]}), "rotation", "frames[0]"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, text: str, word: str, where: str) -> None:
    (tmp_path / "path.txt").write_text(text)
    with pytest.raises(CameraFileError, match=word) as caught:
        read_camera_file(tmp_path / "path.txt")
    assert caught.value.where is not None
    assert caught.value.where.endswith(where)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "path.txt").write_bytes(b"\xff\xfe\xfa\xfb")
    with pytest.raises(CameraFileError, match="text"):
        read_camera_file(tmp_path / "path.txt")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CameraFileError, match="does not exist"):
        read_camera_file(tmp_path / "path.txt")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(CameraFileError, match=r"images\.txt"):
        read_camera_file(tmp_path)


def test_a_binary_model_is_told_how_to_become_text(tmp_path: Path) -> None:
    (tmp_path / "images.bin").write_bytes(b"\0" * 8)
    with pytest.raises(CameraFileError, match="binary") as caught:
        read_camera_file(tmp_path)
    assert "model_converter" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "line, word",
    [
        ("1 FISHEYE 10 10 1 1 1 1", "FISHEYE"),
        ("1", "model"),
        ("1 PINHOLE 10 10 1 1", "few"),
        ("1 PINHOLE a b 1 1 1 1", "numbers"),
    ],
)
def test_a_bad_lens_of_colmap(tmp_path: Path, line: str, word: str) -> None:
    folder = colmap(tmp_path / "model")
    (folder / "cameras.txt").write_text(f"{line}\n")
    with pytest.raises(CameraFileError, match=word) as caught:
        read_camera_file(folder)
    assert caught.value.where == f"{folder / 'cameras.txt'}:1"


def test_a_bad_image_of_colmap(tmp_path: Path) -> None:
    folder = colmap(tmp_path / "model")
    (folder / "images.txt").write_text("1 1 0 0 0 0 0 0 1\n\n")
    with pytest.raises(CameraFileError, match="words"):
        read_camera_file(folder)
