"""BVH: bvhio poses it to the result's joints, whatever the order of channels."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from turned_results import example, one_frame

from trace_data.export.bvh import bvh_text, euler_angles
from trace_data.export.rate import clock
from trace_data.export.skeleton import NAMES, rest_joints
from trace_data.export.track import matrices, presence

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about its imports
    bvhio = pytest.importorskip("bvhio")


@pytest.mark.parametrize("order", ["ZXY", "XYZ", "ZYX"])
def test_bvhio_poses_the_joints(order: str, tmp_path: Path) -> None:
    result = example()
    for person in range(len(result.person)):
        file = tmp_path / f"größe {person}.bvh"
        file.write_text(bvh_text(result, person, clock(result), order=order))
        hierarchy = bvhio.readAsHierarchy(str(file))
        rows = result.rows_of(person)
        for row in rows[[0, 31, -1]]:
            hierarchy.loadPose(int(result.row_frame[row]))
            places = {joint.Name: np.array(joint.PositionWorld) for joint, _, _ in hierarchy.layout()}
            found = np.stack([places[name] for name in NAMES["smpl"]]) / 100
            assert np.abs(found - result.joints[row]).max() < 1e-5


def test_at_rest_it_is_the_t_pose(tmp_path: Path) -> None:
    result = example()
    file = tmp_path / "a.bvh"
    file.write_text(bvh_text(result, 0, clock(result)))
    root = bvhio.readAsBvh(str(file)).Root
    offsets = {joint.Name: np.array(joint.Offset) / 100 for joint, _, _ in root.layout()}
    arm = offsets["left_elbow"]
    assert arm[0] > 0.1 and abs(arm[1]) < 0.3 * arm[0]
    assert not offsets["pelvis"].any()
    rest = rest_joints(result, 0)
    assert np.abs(offsets["left_knee"] - (rest[4] - rest[1])).max() < 1e-6


@pytest.mark.parametrize("irregular", [False, True])
def test_it_lasts_as_long_as_the_video(irregular: bool) -> None:
    result = example(irregular=irregular)
    text = bvh_text(result, 1, clock(result))
    frames = int(text.split("Frames: ")[1].split()[0])
    spacing = float(text.split("Frame Time: ")[1].split()[0])
    assert abs((frames - 1) * spacing - (result.time[-1] - result.time[0])) < 1e-3
    assert len(text.split("Frame Time: ")[1].splitlines()[1:]) == frames


def test_where_a_person_is_absent_the_motion_is_interpolated() -> None:
    result = example()
    lines = bvh_text(result, 1, clock(result)).splitlines()[-len(result.time) :]
    places = np.array([line.split()[:3] for line in lines], float) / 100
    away = np.flatnonzero(~presence(result, 1))
    before, after = (
        result.joints[result.rows_of(1)[result.row_frame[result.rows_of(1)] == away[0] - 1], 0],
        places[away[-1] + 1],
    )
    share = np.arange(1, len(away) + 1)[:, None] / (len(away) + 1)
    assert np.abs(places[away] - ((1 - share) * before + share * after)).max() < 1e-4


def test_a_single_frame_is_a_file_too() -> None:
    text = bvh_text(one_frame(example()), 0, clock(one_frame(example())))
    assert "Frames: 1\n" in text


@pytest.mark.parametrize("order", ["ZXY", "XYZ", "YXZ", "ZYX"])
def test_angles_are_exact_at_the_singularity(order: str) -> None:
    draw = np.random.default_rng(0)
    angles = draw.uniform(-np.pi, np.pi, (200, 3, 3))
    angles[::3, :, 1] = np.pi / 2
    angles[1::3, :, 1] = -np.pi / 2 + 1e-9
    expected = Rotation.from_euler(order, angles.reshape(-1, 3))
    found = Rotation.from_euler(order, euler_angles(expected.as_quat().reshape(200, 3, 4), order).reshape(-1, 3))
    assert (found.inv() * expected).magnitude().max() < 1e-7


def test_angles_do_not_jump_where_the_motion_does_not() -> None:
    # a knee that bends through the singularity of the middle axis, while the hip turns on and on
    time = np.linspace(0, 4 * np.pi, 400)
    true = np.stack([0.8 * time, 1.9 * np.sin(time), 0.1 * time], axis=-1)[:, None]
    quaternion = Rotation.from_euler("ZXY", true.reshape(-1, 3)).as_quat().reshape(400, 1, 4)
    found = euler_angles(quaternion, "ZXY")
    assert np.abs(np.diff(found, axis=0)).max() < 0.2
    np.testing.assert_allclose(
        matrices(quaternion)[:, 0], Rotation.from_euler("ZXY", found[:, 0]).as_matrix(), atol=1e-12
    )
