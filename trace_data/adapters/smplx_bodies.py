"""Bodies of SMPL-X, read without its model: the rotations of root and 21 joints stand for SMPL's, nothing else does.

Shapes and translations of SMPL-X mean nothing to SMPL (docs/reference/further-datasets.md#smpl-x-to-smpl). Where the
person is in the picture, a typical adult in this pose says, whose pelvis is where the release puts it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.schema.body import BodyParams, BodyPart, Gender
from trace_data.schema.camera import Camera
from trace_data.schema.keypoints import SMPL_24, SMPL_PARENTS, Keypoints
from trace_data.schema.record import Person

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

JOINTS = 22
"""The root and the 21 joints of the body; those of face and hands follow in SMPL-X, and are not read."""
KNOWN: frozenset[BodyPart] = frozenset({"root_rotation", "body_pose"})
APPROXIMATE = {"approximate_pose": "smplx"}
"""Of a record's provenance: rotations are those of another skeleton."""
PELVIS = (0.0, -0.35, 0.01)
"""Metres: about where the pelvis of SMPL-X bodies is at rest. A body turns about it: it is at PELVIS + translation."""
NEAREST = 0.3
"""Metres in front of the camera from which on a joint counts."""
LEAST_INSIDE = 3
"""Joints that have to be in the picture, from which a centre is made."""
BESIDE = 1.0
"""Frame sizes beside the frame up to which joints are kept: beyond, lens coefficients say nothing."""
_REST = np.array(
    [
        (0, 0, 0), (11, -1, -1), (-11, -1, -1), (0, 8, -3), (12, -40, 2), (-12, -40, 2), (0, 23, -2), (14, -83, -1),
        (-14, -83, -1), (0, 36, -4), (15, -88, 13), (-15, -88, 13), (0, 55, -1), (2, 47, 1), (-2, 47, 1), (0, 65, 3),
        (18, 45, 0), (-18, 45, 0), (44, 45, 0), (-44, 45, 0), (68, 45, 0), (-68, 45, 0),
    ]
) / 100  # fmt: skip
"""(22, 3) metres from the pelvis: joints of a typical adult at rest, arms spread, that of the free body."""


def rotations_only(gender: Gender, pose: Array) -> BodyParams:
    """A body of which `pose` (T, 22, 3), axis-angle in the world, is known."""
    frames = len(pose)
    return BodyParams(
        gender=gender,
        pose=np.concatenate([pose, np.zeros((frames, 24 - JOINTS, 3))], axis=1),
        betas=np.zeros((frames, 10)),
        translation=None,
        known=KNOWN,
    )


def typical_joints(pose: Array, pelvis: Array) -> Array:
    """(T, 22, 3) about where the joints are, metres, world, of somebody in a pose (T, 22, 3) with the pelvis (T, 3)."""
    rotations = matrix_from_axis_angle(pose)
    turned, places = [rotations[:, 0]], [pelvis]
    for joint in range(1, JOINTS):
        parent = SMPL_PARENTS[joint]
        places.append(places[parent] + turned[parent] @ (_REST[joint] - _REST[parent]))
        turned.append(turned[parent] @ rotations[:, joint])
    return np.stack(places, axis=1)


def person_of(name: str, gender: Gender, pose: Array, pelvis: Array, there: Flags, camera: Camera) -> Person:
    """A person with rotations (T, 22, 3) and pelvis (T, 3) in the world, in the frames `there` (T,) in which the camera
    sees about three joints or more."""
    joints = typical_joints(pose, pelvis)
    intrinsics, extrinsics = camera.per_frame(len(joints))
    seen = transform(extrinsics, joints)
    size = np.array([camera.width, camera.height])
    ahead = (seen[..., 2] >= NEAREST) & there[:, None]
    pixels = np.where(
        ahead[..., None], project(intrinsics, np.where(ahead[..., None], seen, 1.0), camera.distortion), 0
    )
    inside = ahead & ((pixels >= -0.5) & (pixels < size - 0.5)).all(axis=-1)
    near = ahead & ((pixels >= -BESIDE * size) & (pixels < (1 + BESIDE) * size)).all(axis=-1)
    present = inside.sum(axis=1) >= LEAST_INSIDE
    shown = near & present[:, None]
    points = np.zeros((len(joints), len(SMPL_24), 3))
    points[:, :JOINTS] = np.where(shown[..., None], np.concatenate([pixels, shown[..., None]], axis=-1), 0.0)
    return Person(
        name=name,
        gender=gender,
        present=present,
        keypoints2d=Keypoints(layout="SMPL_24", points=points, projected=True, place_only=True),
        joints3d=None,
        body=rotations_only(gender, pose),
        body_valid=present.copy(),
    )
