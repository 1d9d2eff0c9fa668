"""From MakeHuman's A-pose to the T-pose of the free body: arms level, palms down, legs nearly upright."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Floats = npt.NDArray[np.float64]

PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
LEG_SLOPE = 0.035  # how far the ankle stands outside the hip, per metre of leg


def t_pose(points: Floats, joints: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """A-posed points (n, 3) and joints (24, 3) turned into the T-pose; the blend keeps volumes (dual quaternions)."""
    rotations = _world_rotations(joints)
    moved = joints.copy()
    for joint, parent in enumerate(PARENTS[1:], start=1):
        moved[joint] = moved[parent] + rotations[parent].apply(joints[joint] - joints[parent])
    shifts = moved - np.array([turn.apply(place) for turn, place in zip(rotations, joints)])
    return _dual_quaternion_blend(rotations, shifts, weights, points), moved


def _world_rotations(joints: Floats) -> list[Rotation]:
    turns = [Rotation.identity()] * 24
    for side, (hip, knee, ankle) in ((1, (1, 4, 7)), (-1, (2, 5, 8))):
        leg = joints[ankle] - joints[hip]
        angle = np.arctan2(leg[0], -leg[1]) - side * np.arctan(LEG_SLOPE)
        turns[hip] = turns[knee] = Rotation.from_rotvec([0, 0, -angle])
    for side, (shoulder, elbow, wrist, hand) in ((1, (16, 18, 20, 22)), (-1, (17, 19, 21, 23))):
        level = np.array([side, 0.0, 0.0])
        turns[shoulder] = _turn(joints[elbow] - joints[shoulder], level)
        turns[elbow] = _turn(turns[shoulder].apply(joints[wrist] - joints[elbow]), level) * turns[shoulder]
        straight = _turn(turns[elbow].apply(joints[hand] - joints[wrist]), level) * turns[elbow]
        turns[wrist] = turns[hand] = straight
    return turns


def _turn(start: Floats, end: Floats) -> Rotation:
    """The smallest rotation from one direction to another."""
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis)
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, start @ end)) if sine else Rotation.identity()


def _dual_quaternion_blend(rotations: list[Rotation], shifts: Floats, weights: Floats, points: Floats) -> Floats:
    real = np.array([turn.as_quat(canonical=True) for turn in rotations])
    dual = 0.5 * _product(np.concatenate([shifts, np.zeros((24, 1))], axis=1), real)
    real, dual = weights @ real, weights @ dual
    size = np.linalg.norm(real, axis=1, keepdims=True)
    real, dual = real / size, dual / size
    shift = 2 * _product(dual, real * [-1, -1, -1, 1])[:, :3]
    return Rotation.from_quat(real).apply(points) + shift


def _product(p: Floats, q: Floats) -> Floats:
    """Quaternion product of (n, 4) with the scalar last."""
    vector = p[:, 3:] * q[:, :3] + q[:, 3:] * p[:, :3] + np.cross(p[:, :3], q[:, :3])
    scalar = p[:, 3:] * q[:, 3:] - np.sum(p[:, :3] * q[:, :3], axis=1, keepdims=True)
    return np.concatenate([vector, scalar], axis=1)
