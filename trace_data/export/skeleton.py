"""The 24 joints of a result: names, depth-first order, and the rest pose without a body model.

Rest pose: SMPL's T-pose, Y up, facing +Z, the body's left at +X, metres (docs/reference/export.md#body-placement).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_data.results.result import Result
from trace_data.schema.keypoints import SMPL_PARENTS

Array = npt.NDArray[np.float64]

NAMES: dict[str, tuple[str, ...]] = {
    "smpl": (
        "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
        "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
        "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
    ),
    "mixamo": tuple(
        f"mixamorig:{name}"
        for name in (
            "Hips", "LeftUpLeg", "RightUpLeg", "Spine", "LeftLeg", "RightLeg", "Spine1", "LeftFoot", "RightFoot",
            "Spine2", "LeftToeBase", "RightToeBase", "Neck", "LeftShoulder", "RightShoulder", "Head", "LeftArm",
            "RightArm", "LeftForeArm", "RightForeArm", "LeftHand", "RightHand", "LeftHandMiddle1", "RightHandMiddle1",
        )
    ),
    "unreal": (
        "pelvis", "thigh_l", "thigh_r", "spine_01", "calf_l", "calf_r", "spine_02", "foot_l", "foot_r", "spine_03",
        "ball_l", "ball_r", "neck_01", "clavicle_l", "clavicle_r", "head", "upperarm_l", "upperarm_r", "lowerarm_l",
        "lowerarm_r", "hand_l", "hand_r", "middle_01_l", "middle_01_r",
    ),
}  # fmt: skip
"""Names of the joints, in SMPL's order. Names alone do not retarget: rest orientations differ between rigs."""
CHILDREN = tuple(tuple(c for c, p in enumerate(SMPL_PARENTS) if p == joint) for joint in range(len(SMPL_PARENTS)))
"""Children of each joint."""


def depth_first(joint: int = 0) -> list[int]:
    """A joint and everything below it, each joint before its children."""
    return [joint, *(below for child in CHILDREN[joint] for below in depth_first(child))]


def global_rotations(local: Array) -> Array:
    """(N, 24, 3, 3) rotations in the world from those relative to the parents."""
    world = np.array(local)
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        world[:, joint] = world[:, parent] @ local[:, joint]
    return world


def person_label(result: Result, person: int) -> str:
    """The person's name, else `person_3`."""
    return str(result.person_name[person]) or f"person_{result.person[person]}"


def rest_joints(result: Result, person: int) -> Array:
    """(24, 3) joints of a person's T-pose, m, from the posed joints of the person's rows (one at least).

    Bones keep their length, so a joint seen from its parent does not move: the median over the rows is the rest
    pose to rounding, and no body model is needed.
    """
    rows = result.rows_of(person)
    joints = result.joints[rows].astype(np.float64)
    turned = global_rotations(matrix_from_axis_angle(result.pose[rows]))
    rest = np.empty((len(SMPL_PARENTS), 3))
    rest[0] = np.median(joints[:, 0] - result.translation[rows], axis=0)
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        bones = np.einsum("nji,nj->ni", turned[:, parent], joints[:, joint] - joints[:, parent])
        rest[joint] = rest[parent] + np.median(bones, axis=0)
    return rest
