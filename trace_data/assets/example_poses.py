"""Ten poses that exercise every joint, for checks and pictures of body models."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from trace_data.schema.keypoints import SMPL_24

Turn = tuple[float, float, float]

_HANGING: dict[str, Turn] = {"L_Shoulder": (0, 0, -72), "R_Shoulder": (0, 0, 72)}
_FORWARD: dict[str, Turn] = {"L_Shoulder": (0, -80, 0), "R_Shoulder": (0, 80, 0)}
_DEGREES: dict[str, dict[str, Turn]] = {
    "arms down": _HANGING,
    "arms up": {"L_Shoulder": (0, 0, 75), "R_Shoulder": (0, 0, -75)},
    "guard": {
        "L_Shoulder": (0, -20, -50),
        "R_Shoulder": (0, 20, 50),
        "L_Elbow": (0, -115, 0),
        "R_Elbow": (0, 115, 0),
    },
    "from behind": {"Pelvis_SMPL": (0, 180, 0), **_HANGING},
    "twist": {
        "Spine_SMPL": (0, 22, 0),
        "Thorax_SMPL": (0, 22, 0),
        "Thorax_up_SMPL": (0, 22, 0),
        "Neck": (0, 20, 0),
        "SMPL_Head": (0, 20, 0),
    },
    "bow": {
        "Pelvis_SMPL": (0, 65, 0),
        "Spine_SMPL": (30, 0, 0),
        "Thorax_SMPL": (25, 0, 0),
        "Thorax_up_SMPL": (20, 0, 0),
        **_HANGING,
    },
    "stride": {
        "Pelvis_SMPL": (0, 60, 0),
        "L_Hip_SMPL": (-38, 0, 0),
        "R_Hip_SMPL": (25, 0, 0),
        "R_Knee": (40, 0, 0),
        "L_Ankle": (8, 0, 0),
        "L_Shoulder": (35, 0, -72),
        "R_Shoulder": (-35, 0, 72),
    },
    "kick": {"L_Hip_SMPL": (0, 0, 70), "R_Hip_SMPL": (0, 0, -8), "L_Shoulder": (0, 0, -30), "R_Shoulder": (0, 0, -20)},
    "sit": {
        "Pelvis_SMPL": (0, 55, 0),
        "L_Hip_SMPL": (-90, 0, 0),
        "R_Hip_SMPL": (-90, 0, 0),
        "L_Knee": (90, 0, 0),
        "R_Knee": (90, 0, 0),
        **_HANGING,
    },
    "squat": {
        "Pelvis_SMPL": (0, 45, 0),
        "L_Hip_SMPL": (-110, 0, 0),
        "R_Hip_SMPL": (-110, 0, 0),
        "L_Knee": (120, 0, 0),
        "R_Knee": (120, 0, 0),
        "L_Ankle": (-25, 0, 0),
        "R_Ankle": (-25, 0, 0),
        **_FORWARD,
    },
}
"""Rotations, degrees, about x (left), y (up) and z (forward) of the T-pose; mostly one axis per joint, so that their
order does not matter."""


def _axis_angles(turns: Mapping[str, Turn]) -> npt.NDArray[np.float64]:
    pose = np.zeros((len(SMPL_24), 3))
    for joint, degrees in turns.items():
        pose[SMPL_24.index(joint)] = np.radians(degrees)
    return pose


EXAMPLE_POSES: Mapping[str, npt.NDArray[np.float64]] = {name: _axis_angles(turns) for name, turns in _DEGREES.items()}
"""Name to (24, 3) axis-angle."""
