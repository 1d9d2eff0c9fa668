"""AMASS-style files: plain arrays, both rates, read by smplcodec, and the body where the result has it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from example_result import free_joints
from scipy.spatial.transform import Rotation
from turned_results import example, one_frame

from trace_data.export.amass import Layout, amass_arrays, npz_bytes
from trace_data.export.rate import clock
from trace_data.export.track import presence
from trace_data.results.result import Result

LAYOUTS: dict[Layout, int] = {"smpl": 72, "smplh": 156, "smplx": 165}


def arrays(result: Result, layout: Layout, person: int = 0) -> dict[str, Any]:
    """As a reader without pickle gets them."""
    content = npz_bytes(amass_arrays(result, person, clock(result), layout=layout, gender="neutral"))
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_poses_and_places_are_those_of_the_result(layout: Layout) -> None:
    result = example("z")
    for person in (0, 1):
        found, rows = arrays(result, layout, person), result.rows_of(person)
        assert found["poses"].shape == (len(result.time), LAYOUTS[layout])
        frames = result.row_frame[rows]
        turned = Rotation.from_rotvec(found["poses"][frames, :66].reshape(-1, 3))
        expected = Rotation.from_rotvec(result.pose[rows, :22].reshape(-1, 3))
        assert (turned.inv() * expected).magnitude().max() < 1e-5
        np.testing.assert_allclose(found["trans"][frames], result.translation[rows], atol=1e-6)
        np.testing.assert_array_equal(found["present"], presence(result, person))
        assert found["mocap_framerate"].item() == found["mocap_frame_rate"].item() == 30.0
        assert found["up_axis"].item() == "z"


def test_the_plain_layout_gives_back_the_joints_upright() -> None:
    result = example("z")
    found = arrays(result, "smpl")
    pose = found["poses"].reshape(-1, 24, 3)
    joints, rest = free_joints(pose, np.repeat(found["betas"][None], len(pose), axis=0))
    placed = joints[:, :24] - joints[:, :1] + (rest + found["trans"])[:, None]
    rows = result.rows_of(0)
    assert np.abs(placed[result.row_frame[rows]] - result.joints[rows]).max() < 1e-5
    assert (placed[:, 15, 2] - placed[:, 10, 2] > 0.9).all()  # the head is above the foot, along z


def test_betas_are_kept_only_where_they_mean_the_same() -> None:
    result = example("z")
    np.testing.assert_array_equal(arrays(result, "smpl")["betas"], result.betas[0])
    np.testing.assert_array_equal(arrays(result, "smplh")["betas"], [*result.betas[0], *[0] * 6])
    assert not arrays(result, "smplx")["betas"].any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_smplcodec_reads_it(layout: Layout, tmp_path: Any) -> None:
    smplcodec = pytest.importorskip("smplcodec")
    result = example("z")
    file = tmp_path / "größe 1.npz"
    file.write_bytes(npz_bytes(amass_arrays(result, 2, clock(result), layout=layout, gender="female")))
    found = smplcodec.SMPLCodec.from_amass_npz(str(file))
    assert (found.frame_count, found.frame_rate) == (len(result.time), 30.0)
    assert found.gender == smplcodec.SMPLGender.FEMALE
    assert found.smpl_version == smplcodec.SMPLVersion.from_string(layout)
    joints = 24 if layout == "smpl" else 22
    np.testing.assert_allclose(
        found.body_pose[result.row_frame[result.rows_of(2)], 1:joints],
        result.pose[result.rows_of(2), 1:joints],
        atol=1e-5,
    )


def test_uneven_times_become_a_constant_rate_of_the_same_length() -> None:
    result = example("z", irregular=True)
    found = arrays(result, "smplh")
    duration = (len(found["poses"]) - 1) / found["mocap_framerate"].item()
    assert abs(duration - (result.time[-1] - result.time[0])) < 1e-3
    row = result.rows_of(0)[-1]
    np.testing.assert_allclose(found["trans"][-1], result.translation[row], atol=1e-6)


def test_a_single_frame_is_a_file_too() -> None:
    assert len(arrays(one_frame(example("z")), "smplx")["poses"]) == 1
