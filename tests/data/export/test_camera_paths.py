"""Camera paths: a joint projected by the exported camera is at its pixel, as the tools' own formulas say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.spatial.transform import Rotation
from turned_results import example, nobody

from trace_data.errors import TraceError
from trace_data.export.colmap import colmap_texts
from trace_data.export.nerfstudio import nerfstudio_text
from trace_data.export.tum import tum_text
from trace_data.geometry import project, transform
from trace_data.results.camera_files import read_camera_file
from trace_data.results.result import Result
from trace_data.results.world_placement import rigid_inverse
from trace_data.text_files import parse_json

Array = npt.NDArray[np.float64]


def pixels(result: Result, frame: int) -> tuple[Array, Array]:
    """Joints (K, 3) of a frame in the world, and where they are in the picture (K, 2), first pixel at (0, 0)."""
    joints = result.joints[result.rows_in(frame)].reshape(-1, 3).astype(float)
    return joints, project(result.intrinsics[0], transform(result.camera_from_world[frame], joints))


def test_colmap_projects_to_the_same_pixels() -> None:
    result = example("camera")
    texts = colmap_texts(result)
    _, model, width, height, *lens = texts["cameras.txt"].splitlines()[1].split()
    fx, fy, cx, cy = map(float, lens)
    assert (model, int(width), int(height)) == ("PINHOLE", 640, 360)
    lines = texts["images.txt"].splitlines()[1:]
    assert not any(lines[1::2])
    for frame in (0, 40, 89):
        _, qw, qx, qy, qz, *place, camera, name = lines[2 * frame].split()
        assert (camera, name) == ("1", f"frame_{result.frame_id[frame]:06d}.jpg")
        joints, expected = pixels(result, frame)
        seen = Rotation.from_quat([float(q) for q in (qx, qy, qz, qw)]).apply(joints) + np.array(place, float)
        found = seen[:, :2] / seen[:, 2:] * (fx, fy) + (cx, cy)
        assert np.abs(found - 0.5 - expected).max() < 0.01


def test_nerfstudio_projects_to_the_same_pixels() -> None:
    result = example("z")
    content: Any = parse_json(nerfstudio_text(result).encode(), where="transforms.json", error=TraceError)
    assert (content["camera_model"], content["w"], content["h"]) == ("OPENCV", 640, 360)
    for frame in (0, 40, 89):
        world_from_camera = np.array(content["frames"][frame]["transform_matrix"])
        joints, expected = pixels(result, frame)
        seen = (joints - world_from_camera[:3, 3]) @ world_from_camera[:3, :3]
        x, y, depth = seen[:, 0], -seen[:, 1], -seen[:, 2]  # y up, looking along -z
        found = np.stack([content["fl_x"] * x / depth + content["cx"], content["fl_y"] * y / depth + content["cy"]], 1)
        assert np.abs(found - expected).max() < 0.01


def test_tum_is_the_camera_in_the_world_at_the_video_s_times() -> None:
    result = example("camera", irregular=True)
    rows = np.array([line.split() for line in tum_text(result).splitlines()], float)
    np.testing.assert_allclose(rows[:, 0], result.time, atol=1e-8)
    for frame in (0, 40, 89):
        joints, expected = pixels(result, frame)
        seen = Rotation.from_quat(rows[frame, 4:]).inv().apply(joints - rows[frame, 1:4])
        assert np.abs(project(result.intrinsics[0], seen) - expected).max() < 0.01


def test_the_camera_needs_no_people() -> None:
    assert tum_text(nobody(example("camera"))) == tum_text(example("camera"))


def test_evo_reads_the_path(tmp_path: Path) -> None:
    pytest.importorskip("evo", reason="no evo: pip install evo")
    from evo.tools import file_interface

    result = example("camera", irregular=True)
    (tmp_path / "a.tum.txt").write_text(tum_text(result))
    found = file_interface.read_tum_trajectory_file(str(tmp_path / "a.tum.txt"))
    assert found.check()[0]
    assert np.abs(np.stack(found.poses_se3) - rigid_inverse(result.camera_from_world)).max() < 1e-6


def test_this_program_reads_them_back(tmp_path: Path) -> None:
    result = example("camera")
    (tmp_path / "transforms.json").write_text(nerfstudio_text(result))
    (tmp_path / "a.tum.txt").write_text(tum_text(result))
    model = tmp_path / "colmap"
    model.mkdir()
    for name, text in colmap_texts(result).items():
        (model / name).write_text(text)
    for path in (tmp_path / "transforms.json", tmp_path / "a.tum.txt", model):
        found = read_camera_file(path)
        assert np.abs(found.camera_from_world - result.camera_from_world).max() < 1e-6
        if found.intrinsics is not None:
            assert np.abs(found.intrinsics - result.intrinsics).max() < 1e-6
