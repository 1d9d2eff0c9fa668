"""Meshcapade's files: smplcodec reads them, and each stretch of presence is a body of its own."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from turned_results import example, one_frame

from trace_data.errors import TraceError
from trace_data.export.meshcapade import mcs_text, smpl_bytes, stretches
from trace_data.export.rate import clock
from trace_data.export.track import presence
from trace_data.results.world_placement import rigid_inverse
from trace_data.text_files import parse_json


def test_smplcodec_reads_what_the_result_says(tmp_path: Path) -> None:
    smplcodec = pytest.importorskip("smplcodec")
    result = example()
    file = tmp_path / "größe.smpl"
    file.write_bytes(smpl_bytes(result, 1, clock(result), gender="male"))
    found = smplcodec.SMPLCodec.from_file(str(file))
    assert (found.codec_version, found.frame_count, found.frame_rate) == (2, len(result.time), 30.0)
    assert (found.smpl_version, found.gender) == (smplcodec.SMPLVersion.SMPL, smplcodec.SMPLGender.MALE)
    rows = result.rows_of(1)
    np.testing.assert_array_equal(found.shape_parameters, result.betas[1])
    np.testing.assert_allclose(found.body_translation[result.row_frame[rows]], result.translation[rows], atol=1e-6)
    np.testing.assert_allclose(found.body_pose[result.row_frame[rows], 1:], result.pose[rows, 1:], atol=1e-5)


def test_a_single_frame_is_read_too(tmp_path: Path) -> None:
    smplcodec = pytest.importorskip("smplcodec")
    result = one_frame(example())
    (tmp_path / "a.smpl").write_bytes(smpl_bytes(result, 0, clock(result), gender="neutral"))
    assert smplcodec.SMPLCodec.from_file(str(tmp_path / "a.smpl")).frame_count == 1


@pytest.mark.parametrize("irregular", [False, True])
def test_who_leaves_and_returns_is_two_bodies(irregular: bool) -> None:
    result = example(irregular=irregular)
    ticks = clock(result)
    there = np.zeros(ticks.frames, bool)
    for first, end in stretches(result, 1, ticks):
        there[first:end] = True
    assert len(stretches(result, 1, ticks)) == 2
    if not irregular:
        np.testing.assert_array_equal(there, presence(result, 1))
    content: Any = parse_json(mcs_text(result, (0, 1, 2), ticks, gender="neutral").encode(), where="", error=TraceError)
    bodies = content["scenes"][0]["extensions"]["MC_scene_description"]["smpl_bodies"]
    spans = [tuple(body["frame_presence"]) for body in bodies]
    assert spans == [span for person in range(3) for span in stretches(result, person, ticks)]
    for body, (first, end) in zip(bodies, spans):
        data = base64.b64decode(content["buffers"][body["bufferView"]]["uri"].split(",")[1])
        assert data[:2] == b"PK" and end - first > 0


def test_the_camera_is_the_result_s() -> None:
    result = example()
    content: Any = parse_json(
        mcs_text(result, (0,), clock(result), gender="neutral").encode(), where="", error=TraceError
    )
    arrays = [
        np.frombuffer(base64.b64decode(content["buffers"][item["bufferView"]]["uri"].split(",")[1]), np.float32)
        for item in content["accessors"]
    ]
    expected = rigid_inverse(result.camera_from_world)
    np.testing.assert_allclose(arrays[1].reshape(-1, 3), expected[:, :3, 3], atol=1e-6)
    turned = Rotation.from_quat(arrays[2].reshape(-1, 4)).as_matrix() @ np.diag([1, -1, -1])
    np.testing.assert_allclose(turned, expected[:, :3, :3], atol=1e-6)
    assert abs(arrays[0][-1] - (result.time[-1] - result.time[0])) < 1e-3
