"""Files in the form of AMASS: somebody who walks straight on, swinging arms and legs, in a world with z up."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.float64]
Body = Literal["smplh", "smplx"]

COLUMNS: dict[Body, int] = {"smplh": 156, "smplx": 165}
ENDING: dict[Body, str] = {"smplh": "_poses.npz", "smplx": "_stageii.npz"}
SPEED = 1.2
"""Metres a second."""
CADENCE = 0.93
"""Double steps a second."""
L_HIP, R_HIP, L_KNEE, R_KNEE, L_SHOULDER, R_SHOULDER = 1, 2, 4, 5, 16, 17


def walking(seconds: float, rate: float, yaw: float = 0.0) -> tuple[Array, Array]:
    """Poses (N, 66) and translations (N, 3) of somebody walking the way they look: along -y, turned by `yaw` radians
    about z. A body at rest has y up and looks along z, so it is first raised about x."""
    times = np.arange(round(seconds * rate) + 1) / rate
    phase = 2 * np.pi * CADENCE * times
    pose = np.zeros((len(times), 22, 3))
    pose[:, 0] = (Rotation.from_euler("z", yaw) * Rotation.from_euler("x", np.pi / 2)).as_rotvec()
    pose[:, L_HIP, 0], pose[:, R_HIP, 0] = -0.4 * np.sin(phase), 0.4 * np.sin(phase)
    pose[:, L_KNEE, 0] = 0.4 + 0.4 * np.cos(phase)
    pose[:, R_KNEE, 0] = 0.4 - 0.4 * np.cos(phase)
    pose[:, L_SHOULDER] = Rotation.from_euler("zx", np.stack([0 * phase - 1.3, 0.3 * np.sin(phase)], 1)).as_rotvec()
    pose[:, R_SHOULDER] = Rotation.from_euler("zx", np.stack([0 * phase + 1.3, -0.3 * np.sin(phase)], 1)).as_rotvec()
    ahead = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
    way = SPEED * times[:, None] * ahead + np.array([3.0, -2.0, 0.9])
    way[:, 2] += 0.02 * np.cos(2 * phase)
    return pose.reshape(len(times), 66), way


def content(
    pose: Array, trans: Array, rate: float, body: Body = "smplh", gender: Any = "male"
) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file."""
    count = len(pose)
    hands = 0.1 * np.ones((count, COLUMNS[body] - 66))
    common = {"trans": trans, "gender": np.array(gender), "betas": np.zeros(16)}
    poses = {"poses": np.concatenate([pose, hands], axis=1)}
    if body == "smplh":
        return {**poses, **common, "dmpls": np.zeros((count, 8)), "mocap_framerate": np.array(rate)}
    parts = {"root_orient": pose[:, :3], "pose_body": pose[:, 3:], "surface_model_type": np.array("smplx")}
    return {**poses, **common, **parts, "mocap_frame_rate": np.array(rate)}


def write(folder: Path, name: str, arrays: dict[str, npt.NDArray[Any]], body: Body = "smplh") -> Path:
    """Write the arrays of motion `name`, which may have folders in it."""
    file = folder / f"{name}{ENDING[body]}"
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return file


def write_collection(folder: Path, *, seconds: float = 6.0) -> list[Path]:
    """Some walks at all rates, in both forms, and what stands beside them; returns the files with motions."""
    made = []
    for number, (rate, body) in enumerate(((120.0, "smplh"), (100.0, "smplx"), (59.94, "smplh"), (60.0, "smplx"))):
        pose, trans = walking(seconds, rate, yaw=number)
        gender = (b"MALE", "Female", np.array(b"female"), "neutral")[number]
        form: Body = "smplh" if body == "smplh" else "smplx"
        made.append(write(folder, f"CMU/0{number}/0{number}_01", content(pose, trans, rate, form, gender), form))
    np.savez(folder / "CMU/00/shape.npz", betas=np.zeros(16))
    np.savez(folder / "CMU/01/01_01_stagei.npz", betas=np.zeros(16))
    np.savez(folder / "CMU/01/neutral_stagei.npz", betas=np.zeros(16))
    return made
