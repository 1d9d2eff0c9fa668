"""The lens: which source wins, what formats say, and where pixels begin to count."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from example_result import example_result

from trace_data.errors import ConfigError
from trace_data.export.colmap import colmap_texts
from trace_data.export.nerfstudio import nerfstudio_text
from trace_data.frames.lens import PHONE, choose_lens, lens_of_35mm, read_intrinsics
from trace_data.results.camera_files import CameraFileError, read_camera_file

SIZE = (640, 480)
MATRIX = np.array([[500.0, 0, 310], [0, 510, 250], [0, 0, 1]])
LENS = lens_of_35mm(26, SIZE, PHONE)
NERF = {"fl_x": 500, "fl_y": 510, "cx": 310, "cy": 250, "w": 640, "h": 480}


def saved(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def test_the_order_of_sources(tmp_path: Path) -> None:
    camera = (MATRIX, "the camera file")
    file = saved(tmp_path / "k.txt", "500 510 310 250")
    for option, focal in (
        ({"focal": 700.0}, 700.0),
        ({"focal_mm": 43.0}, 43 * 800 / math.hypot(36, 24)),
        ({"fov": 90.0}, 320.0),
        ({"intrinsics": file}, 500.0),
        ({}, 500.0),
    ):
        found = choose_lens(SIZE, camera=camera, lens=LENS, **option)  # type: ignore[arg-type]
        assert found.matrix[0, 0] == pytest.approx(focal)
        assert ("--" + next(iter(option), "").replace("_", "-") if option else "camera file") in found.source
    by_phone = choose_lens(SIZE, lens=LENS)
    assert by_phone.matrix[0, 0] == pytest.approx(LENS.focal_px) and "phone" in by_phone.source
    assumed = choose_lens(SIZE)
    assert assumed.matrix[0, 0] == pytest.approx(320 / math.tan(math.radians(25))) and "assumed" in assumed.source
    assert choose_lens(SIZE[::-1]).matrix[0, 0] == pytest.approx(assumed.matrix[0, 0])  # the longer side, either way


def test_the_centre_of_the_first_pixel_is_at_zero() -> None:
    matrix = choose_lens(SIZE, fov=60).matrix
    left, right = ((edge - matrix[0, 2]) / matrix[0, 0] for edge in (-0.5, 639.5))
    assert math.degrees(math.atan(right) - math.atan(left)) == pytest.approx(60) and left == pytest.approx(-right)
    assert (matrix[0, 2], matrix[1, 2]) == (319.5, 239.5)


@pytest.mark.parametrize(
    "given",
    [
        {"focal": 0}, {"focal": -5}, {"focal": math.nan}, {"focal_mm": math.inf}, {"fov": 180}, {"fov": 0},
        {"focal": 500, "fov": 50}, {"fov": 50, "intrinsics": Path("a")},
    ],
)  # fmt: skip
def test_impossible_options(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        choose_lens(SIZE, **given)
    assert "--" in str(caught.value)


FORMS = {
    "four numbers": "500 510 310 250\n",
    "four numbers with a remark": "# fx fy cx cy\n500, 510, 310, 250",
    "a matrix": "500 0 310\n0 510 250\n0 0 1\n",
    "a matrix in brackets": "[[500, 0, 310],\n [0, 510, 250],\n [0, 0, 1]]",
    "COLMAP": "# CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]\n1 OPENCV 640 480 500 510 310.5 250.5 0.1 0 0 0\n",
    "COLMAP without distortion": "7 PINHOLE 640 480 500 510 310.5 250.5\n",
    "COLMAP at half the size": "1 PINHOLE 320 240 250 255 155.25 125.25\n",
    "nerfstudio": json.dumps({**NERF, "camera_model": "OPENCV", "frames": []}),
    "nerfstudio by frame": json.dumps({"frames": [NERF, NERF]}),
    "YAML": "camera_matrix:\n  rows: 3\n  cols: 3\n  data: [500., 0., 310., 0., 510., 250., 0., 0., 1.]\n",
    "ROS": "image_width: 640\nimage_height: 480\ncamera_matrix: {rows: 3, cols: 3, data: [500,0,310,0,510,250,0,0,1]}",
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_intrinsics_is_the_same_matrix(form: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "lens", FORMS[form])
    assert read_intrinsics(file, SIZE) == pytest.approx(MATRIX)
    assert str(file) in choose_lens(SIZE, intrinsics=file).source


def test_opencv_s_own_file(tmp_path: Path) -> None:
    file = tmp_path / "camera.yml"
    storage = cv2.FileStorage(str(file), cv2.FILE_STORAGE_WRITE)
    storage.write("image_width", 640)
    storage.write("image_height", 480)
    storage.write("camera_matrix", MATRIX)
    storage.write("distortion_coefficients", np.zeros(5))
    storage.release()
    assert read_intrinsics(file, SIZE) == pytest.approx(MATRIX)


def test_simple_models_and_views(tmp_path: Path) -> None:
    simple = saved(tmp_path / "cameras.txt", "1 SIMPLE_RADIAL 640 480 500 320 240 0.01")
    assert read_intrinsics(simple, SIZE) == pytest.approx(choose_lens(SIZE, focal=500).matrix)
    angle = saved(tmp_path / "transforms.json", json.dumps({"camera_angle_x": math.radians(60), "frames": []}))
    assert read_intrinsics(angle, SIZE) == pytest.approx(choose_lens(SIZE, fov=60).matrix)


BAD = {
    "nothing": "",
    "words": "wide angle",
    "three numbers": "1 2 3",
    "no last row": "500 0 310 0 510 250 0 1 0",
    "negative": "-500 510 310 250",
    "NaN": "nan 510 310 250",
    "outside": "500 510 3100 250",
    "two cameras": "1 PINHOLE 640 480 500 510 310 250\n2 PINHOLE 640 480 500 510 310 250\n",
    "a fisheye": "1 OPENCV_FISHEYE 640 480 500 510 310 250 0 0 0 0",
    "too few": "1 PINHOLE 640 480 500 510",
    "no numbers": "1 PINHOLE 640 480 500 510 x 250",
    "another shape": "1 PINHOLE 480 640 500 510 240 320",
    "zero size": "1 PINHOLE 0 480 500 510 240 320",
    "two lenses": json.dumps({"frames": [NERF, {**NERF, "fl_x": 600}]}),
    "no lens": json.dumps({"frames": []}),
    "a text for a number": json.dumps({**NERF, "fl_x": "wide"}),
    "fisheye of nerfstudio": json.dumps({**NERF, "camera_model": "OPENCV_FISHEYE"}),
    "half of JSON": '{"fl_x": 500,',
    "a list": "camera_matrix: [1, 2]",
    "no YAML": "%YAML:1.0\n---\ncamera_matrix: [",
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_lens_is_one_error(case: str, tmp_path: Path) -> None:
    file = saved(tmp_path / "lens", BAD[case])
    with pytest.raises(ConfigError) as caught:
        read_intrinsics(file, SIZE)
    assert str(caught.value.where).startswith(str(file))


def test_missing_files_and_bad_matrices_of_cameras(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError) as caught:
            read_intrinsics(path, SIZE)
        assert caught.value.where == str(path)
    with pytest.raises(ConfigError):
        choose_lens(SIZE, camera=(np.zeros((3, 3)), "its camera"))


@pytest.mark.parametrize("form", ["nerfstudio", "colmap"])
def test_intrinsics_alone_and_with_a_camera_path_are_the_same(form: str, tmp_path: Path) -> None:
    """`--intrinsics` and `--camera` may be given one file."""
    result = example_result(people=1, frames=5)
    if form == "nerfstudio":
        path = file = saved(tmp_path / "transforms.json", nerfstudio_text(result))
    else:
        for name, text in colmap_texts(result).items():
            saved(tmp_path / name, text)
        path, file = tmp_path, tmp_path / "cameras.txt"
    camera = read_camera_file(path)
    assert camera.intrinsics is not None
    width, height = result.image_size.tolist()
    assert read_intrinsics(file, (width, height)) == pytest.approx(camera.intrinsics[0], abs=1e-6)
    assert camera.intrinsics[0] == pytest.approx(result.intrinsics[0], abs=1e-6)


@pytest.mark.parametrize(
    ("lens", "focal"),
    [
        ({"fl_x": 500}, 500),  # in the middle of the picture
        ({"camera_angle_x": math.radians(60)}, 320 / math.tan(math.radians(30))),
        ({"fl_x": 500, "camera_model": "OPENCV_FISHEYE"}, None),
        ({"fl_x": "wide"}, None),
        ({"fl_x": -500}, None),
    ],
)
def test_nerfstudio_is_read_by_the_same_rules_with_and_without_a_path(
    lens: dict[str, object], focal: float | None, tmp_path: Path
) -> None:
    frames = [{"file_path": f"{k}.png", "transform_matrix": np.eye(4).tolist()} for k in range(3)]
    file = saved(tmp_path / "transforms.json", json.dumps({"w": 640, "h": 480, **lens, "frames": frames}))
    if focal is None:
        with pytest.raises(ConfigError):
            read_intrinsics(file, SIZE)
        with pytest.raises(CameraFileError):
            read_camera_file(file)
        return
    camera = read_camera_file(file)
    assert camera.intrinsics is not None and camera.image_size == SIZE
    expected = choose_lens(SIZE, focal=focal).matrix
    assert camera.intrinsics[0] == pytest.approx(expected) and read_intrinsics(file, SIZE) == pytest.approx(expected)
