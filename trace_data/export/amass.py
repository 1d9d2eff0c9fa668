"""AMASS-style npz: one person's SMPL parameters. Z up, right-handed, metres, radians, a constant rate.

Source: docs/reference/export.md#amass-layout. The result must have its Z axis up. Arrays are plain, without objects.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trace_data.export.rate import Clock
from trace_data.export.track import axis_angles, presence_at, track
from trace_data.results.result import Result

Layout = Literal["smpl", "smplh", "smplx"]

HONESTY: dict[Layout, str] = {
    "smpl": "all 24 joints and the shape, as predicted",
    "smplh": "flat hands; betas padded from 10 to 16 with zeros",
    "smplx": "poses carry over approximately; betas are zero, because SMPL-X has another shape space; flat hands",
}
"""What a layout keeps and what it does not."""
BODY_JOINTS = 22
"""Joints that SMPL shares with SMPL+H and SMPL-X; the hands of SMPL have no counterpart there."""


def amass_arrays(
    result: Result, person: int, clock: Clock, *, layout: Layout, gender: str, up: str = "z"
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of the person with index `person`, who has at least one row, by key.

    They cover the whole result; `present` (M,) says in which frames the person is there, elsewhere the motion between
    the rows around is interpolated.
    """
    rotation, translation = track(result, person).at(clock.time)
    pose = axis_angles(rotation).astype(np.float32).reshape(clock.frames, 72)
    body = pose[:, : 3 * BODY_JOINTS]
    common = {
        "trans": translation.astype(np.float32),
        "gender": np.array(gender),
        "mocap_framerate": np.array(clock.fps),
        "mocap_frame_rate": np.array(clock.fps),
        "mocap_time_length": np.array(clock.time[-1]),
        "surface_model_type": np.array(layout),
        "up_axis": np.array(up),
        "present": presence_at(result, person, clock.time),
    }
    betas = result.betas[person].astype(np.float32)
    if layout == "smpl":
        return {"poses": pose, "betas": betas, **common}
    hands = np.zeros((clock.frames, 90), np.float32)
    parts = {"root_orient": body[:, :3], "pose_body": body[:, 3:], "pose_hand": hands}
    if layout == "smplh":
        padded = np.concatenate([betas, np.zeros(6, np.float32)])
        dmpls = np.zeros((clock.frames, 8), np.float32)
        return {"poses": np.concatenate([body, hands], axis=1), "betas": padded, "dmpls": dmpls, **parts, **common}
    face = np.zeros((clock.frames, 9), np.float32)
    return {
        "poses": np.concatenate([body, face, hands], axis=1),
        "betas": np.zeros(16, np.float32),
        "num_betas": np.array(16),
        "pose_jaw": face[:, :3],
        "pose_eye": face[:, 3:],
        **parts,
        **common,
    }


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """An uncompressed npz of plain arrays; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()
