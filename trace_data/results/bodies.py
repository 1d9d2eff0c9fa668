"""The bodies of a result in the camera, as rotations and places that can be changed and written back.

No body model is needed: the result's joints say where the pelvis is at rest and how long the bones are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, project, transform
from trace_data.results.result import Result
from trace_data.results.world_placement import KINEMATIC, in_frame, rigid_inverse
from trace_data.schema.keypoints import ALL_44, SMPL_24, SMPL_PARENTS

Array = npt.NDArray[np.float64]

_HOLDERS = {
    "Nose": "SMPL_Head", "R_Eye": "SMPL_Head", "L_Eye": "SMPL_Head", "R_Ear": "SMPL_Head", "L_Ear": "SMPL_Head",
    "L_BigToe": "L_Toe_SMPL", "L_SmallToe": "L_Toe_SMPL", "L_Heel": "L_Ankle",
    "R_BigToe": "R_Toe_SMPL", "R_SmallToe": "R_Toe_SMPL", "R_Heel": "R_Ankle",
    "R_Hip": "Pelvis_SMPL", "L_Hip": "Pelvis_SMPL", "Pelvis": "Pelvis_SMPL", "Neck_LSP": "Neck", "Thorax_MPII": "Neck",
    "Head_top": "SMPL_Head", "Spine_H36M": "Thorax_SMPL", "Jaw_H36M": "SMPL_Head", "Head": "SMPL_Head",
}  # fmt: skip
HOLDERS = np.array([SMPL_24.index(_HOLDERS[name]) for name in ALL_44[KINEMATIC:]])
"""(20,) the kinematic joint with which each of the other joints moves."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bodies:
    """The bodies of N rows, in the cameras of their frames. They are rigid pieces between joints."""

    rotation: Array
    """(N, 24, 3, 3) the root in the camera, then relative to the parent."""
    pelvis: Array
    """(N, 3) m, in the camera."""
    rest_pelvis: Array
    """(N, 3) m: the pelvis of the unposed body."""
    bones: Array
    """(N, 24, 3) m: each joint from its parent, in the axes of the parent."""
    hips: Array
    """(N, 3) m: the hip midpoint from the pelvis, in the axes of the root."""
    points: Array
    """(N, 20, 3) m: the joints beyond the 24 from those of `HOLDERS`, in their axes. Their depth is that of the
    holder, as a result has them in the picture only; so they come back there, and turn approximately."""
    box: Array
    """(N, 4) px: left and top from the pelvis in the picture, width, height."""

    @classmethod
    def of(cls, result: Result) -> Bodies:
        """The bodies of all rows."""
        camera = result.camera_from_world[result.row_frame]
        rotation = matrix_from_axis_angle(result.pose)
        rotation[:, 0] = matrix_from_axis_angle(result.root_in_camera)
        rest = result.joints[:, 0].astype(np.float64) - result.translation
        joints = transform(camera, result.joints)
        pelvis = result.translation_in_camera + rest
        joints += (pelvis - joints[:, 0])[:, None]
        turned = _turned(rotation)
        parents = np.array(SMPL_PARENTS[1:])
        bones = np.zeros_like(joints)
        bones[:, 1:] = _into(turned[:, parents], joints[:, 1:] - joints[:, parents])
        held = joints[:, HOLDERS]
        rays = np.concatenate([result.joints_2d[:, KINEMATIC:], np.ones((len(held), len(HOLDERS), 1))], axis=-1)
        seen = np.einsum("nij,nkj->nki", np.linalg.inv(_lenses(result)), rays) * held[..., 2:]
        in_picture = project(_lenses(result), pelvis[:, None])[:, 0]
        return cls(
            rotation=rotation,
            pelvis=pelvis,
            rest_pelvis=rest,
            bones=bones,
            hips=_into(rotation[:, 0], result.hips_in_camera - pelvis),
            points=_into(turned[:, HOLDERS], seen - held),
            box=result.box - np.concatenate([in_picture, np.zeros_like(in_picture)], axis=1),
        )

    def joints(self) -> Array:
        """(N, 44, 3) m, in the camera."""
        turned = _turned(self.rotation)
        joints = np.empty_like(self.bones)
        joints[:, 0] = self.pelvis
        for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
            joints[:, joint] = joints[:, parent] + _out_of(turned[:, parent], self.bones[:, joint])
        return np.concatenate([joints, joints[:, HOLDERS] + _out_of(turned[:, HOLDERS], self.points)], axis=1)

    def written(self, result: Result) -> Result:
        """`result`, whose rows are these bodies: in the camera, in the picture, and by its camera path in the world."""
        camera = result.camera_from_world[result.row_frame]
        joints, root = self.joints(), axis_angle_from_matrix(self.rotation[:, 0])
        translation = self.pelvis - self.rest_pelvis
        world = rigid_inverse(camera)
        pose = axis_angle_from_matrix(self.rotation)
        pose[:, 0], in_world = in_frame(world, root, translation, self.rest_pelvis)
        pixels = project(_lenses(result), joints)
        single = np.float32
        return replace(
            result,
            pose=pose.astype(single),
            translation=in_world.astype(single),
            root_in_camera=root.astype(single),
            translation_in_camera=translation.astype(single),
            hips_in_camera=(self.pelvis + _out_of(self.rotation[:, 0], self.hips)).astype(single),
            joints=transform(world, joints[:, :KINEMATIC]).astype(single),
            joints_2d=pixels.astype(single),
            box=(self.box + np.concatenate([pixels[:, 0], np.zeros((len(pixels), 2))], axis=1)).astype(single),
        )


def _turned(rotation: Array) -> Array:
    """(N, 24, 3, 3) rotations relative to the parent to those in the camera."""
    turned = np.empty_like(rotation)
    turned[:, 0] = rotation[:, 0]
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        turned[:, joint] = turned[:, parent] @ rotation[:, joint]
    return turned


def _into(rotation: Array, vector: Array) -> Array:
    """Vectors (..., 3) in the axes that `rotation` (..., 3, 3) turns into the present ones."""
    turned: Array = np.einsum("...ji,...j->...i", rotation, vector)
    return turned


def _out_of(rotation: Array, vector: Array) -> Array:
    turned: Array = np.einsum("...ij,...j->...i", rotation, vector)
    return turned


def _lenses(result: Result) -> Array:
    """(N, 3, 3) the intrinsics of each row."""
    return result.intrinsics[result.row_frame if len(result.intrinsics) > 1 else np.zeros_like(result.row_frame)]
