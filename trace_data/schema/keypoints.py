"""Joint sets by name, and the mapping of each to the canonical 44 (docs/reference/joints.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SMPL_24 = (
    "Pelvis_SMPL", "L_Hip_SMPL", "R_Hip_SMPL", "Spine_SMPL", "L_Knee", "R_Knee", "Thorax_SMPL", "L_Ankle", "R_Ankle",
    "Thorax_up_SMPL", "L_Toe_SMPL", "R_Toe_SMPL", "Neck", "L_Collar", "R_Collar", "SMPL_Head", "L_Shoulder",
    "R_Shoulder", "L_Elbow", "R_Elbow", "L_Wrist", "R_Wrist", "L_Hand", "R_Hand",
)  # fmt: skip
FACE_FOOT_11 = (
    "Nose", "R_Eye", "L_Eye", "R_Ear", "L_Ear", "L_BigToe", "L_SmallToe", "L_Heel", "R_BigToe", "R_SmallToe", "R_Heel",
)  # fmt: skip
EXTRA_9 = (
    "R_Hip", "L_Hip", "Neck_LSP", "Head_top", "Pelvis", "Thorax_MPII", "Spine_H36M", "Jaw_H36M", "Head",
)  # fmt: skip
ALL_44 = SMPL_24 + FACE_FOOT_11 + EXTRA_9
"""The canonical set: 24 kinematic joints, 11 mesh vertices, 9 regressed points."""

LSP_14 = (
    "R_Ankle", "R_Knee", "R_Hip", "L_Hip", "L_Knee", "L_Ankle", "R_Wrist", "R_Elbow", "R_Shoulder", "L_Shoulder",
    "L_Elbow", "L_Wrist", "Neck_LSP", "Head_top",
)  # fmt: skip
COCO_18 = (
    "Nose", "Neck", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist", "R_Hip", "R_Knee",
    "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "R_Eye", "L_Eye", "R_Ear", "L_Ear",
)  # fmt: skip
COCO_17 = (
    "Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow", "L_Wrist", "R_Wrist",
    "L_Hip", "R_Hip", "L_Knee", "R_Knee", "L_Ankle", "R_Ankle",
)  # fmt: skip
OPENPOSE_25 = (
    "Nose", "Neck", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist", "Pelvis", "R_Hip", "R_Knee",
    "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "R_Eye", "L_Eye", "R_Ear", "L_Ear", "L_BigToe", "L_SmallToe", "L_Heel",
    "R_BigToe", "R_SmallToe", "R_Heel",
)  # fmt: skip
H36M_32 = (
    "0_H36M", "R_Hip", "R_Knee", "R_Ankle", "R_Toe_SMPL", "5_H36M", "L_Hip", "L_Knee", "L_Ankle", "L_Toe_SMPL",
    "10_H36M", "Pelvis", "Spine_H36M", "13_H36M", "Jaw_H36M", "Head", "16_H36M", "L_Shoulder", "L_Elbow", "L_Wrist",
    "20_H36M", "21_H36M", "22_H36M", "23_H36M", "Neck", "R_Shoulder", "R_Elbow", "R_Wrist", "28_H36M", "29_H36M",
    "30_H36M", "31_H36M",
)  # fmt: skip
"""The whole skeleton of Human3.6M; joints that repeat another one or have no counterpart are named by their number.

4 and 9 are the balls of the feet, as SMPL's joints of the toes are; 5 and 10 the ends of the toes, between big and
small (docs/reference/joints.md#toes-of-the-human36m-skeleton). The published loader calls them big and small toes.
"""
H36M_17_RIGHT_FIRST = (
    "Pelvis", "R_Hip", "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Spine_H36M", "Neck", "Jaw_H36M", "Head",
    "L_Shoulder", "L_Elbow", "L_Wrist", "R_Shoulder", "R_Elbow", "R_Wrist",
)  # fmt: skip
"""17 of them in the order of the JSON files: the right leg first, unlike the rows of `J_regressor_h36m.npy`."""
MPI_INF_28 = (
    "Spine3_MPI", "Spine4_MPI", "Spine2_MPI", "Spine_MPI", "Pelvis", "Neck", "Head", "Head_top", "L_Clavicle_MPI",
    "L_Shoulder", "L_Elbow", "L_Wrist", "L_Hand", "R_Clavicle_MPI", "R_Shoulder", "R_Elbow", "R_Wrist", "R_Hand",
    "L_Hip", "L_Knee", "L_Ankle", "L_SmallToe", "L_BigToe", "R_Hip", "R_Knee", "R_Ankle", "R_SmallToe", "R_BigToe",
)  # fmt: skip
MPI_INF_TEST_17 = (
    "Head_top_MPI", "Neck_LSP", "R_Shoulder", "R_Elbow", "R_Wrist", "L_Shoulder", "L_Elbow", "L_Wrist", "R_Hip",
    "R_Knee", "R_Ankle", "L_Hip", "L_Knee", "L_Ankle", "Pelvis", "Spine_MPI", "Head_MPI",
)  # fmt: skip
"""The test set's head top and head differ from those of the 44, so their names must not match."""
MUPOTS_17 = MPI_INF_TEST_17
"""The same markerless capture as MPI-INF-3DHP's test set."""
PENN_13 = (
    "Head_top", "R_Shoulder", "L_Shoulder", "R_Elbow", "L_Elbow", "R_Wrist", "L_Wrist", "R_Hip", "L_Hip", "R_Knee",
    "L_Knee", "R_Ankle", "L_Ankle",
)  # fmt: skip
"""Penn Action as its label files are: right before left (docs/reference/joints.md#left-and-right-in-penn-action)."""
PENN_13_OFFICIAL = ("Head_top", *(name for pair in zip(PENN_13[2::2], PENN_13[1::2]) for name in pair))
"""Penn Action by the list in its readme, left before right, which the files contradict; for comparison only."""

LAYOUTS: dict[str, tuple[str, ...]] = {
    "SMPL_24": SMPL_24,
    "ALL_44": ALL_44,
    "LSP_14": LSP_14,
    "COCO_17": COCO_17,
    "COCO_18": COCO_18,
    "H36M_17_RIGHT_FIRST": H36M_17_RIGHT_FIRST,
    "H36M_32": H36M_32,
    "MPI_INF_28": MPI_INF_28,
    "MPI_INF_TEST_17": MPI_INF_TEST_17,
    "MuPoTS_17": MUPOTS_17,
    "OpenPose_25": OPENPOSE_25,
    "PENN_13": PENN_13,
    "PENN_13_OFFICIAL": PENN_13_OFFICIAL,
}
"""Every joint set a record may use. Adapters add their own here, by name."""

FLIP_44 = tuple(
    ALL_44.index({"L": "R", "R": "L"}.get(name[0], name[0]) + name[1:] if name[1] == "_" else name) for name in ALL_44
)
"""Index of the mirrored joint for each of the 44; an involution."""
FLIP_24 = FLIP_44[: len(SMPL_24)]
"""The same for the 24 kinematic joints: the order of a mirrored body's rotations."""

SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
"""Parent of each of the 24 kinematic joints; -1 for the root."""

R_HIP, L_HIP = ALL_44.index("R_Hip"), ALL_44.index("L_Hip")
"""The regressed hips; their midpoint is the root of everything in camera space."""

TORSO = tuple(
    ALL_44.index(name)
    for name in (
        "Neck", "Neck_LSP", "R_Shoulder", "L_Shoulder", "Pelvis", "R_Hip", "L_Hip", "Pelvis_SMPL", "L_Hip_SMPL",
        "R_Hip_SMPL", "L_Collar", "R_Collar",
    )
)  # fmt: skip
"""Joints whose mean is a person's 2D centre when at least two of them are visible."""

LEAST_CONFIDENCE = 0.1
"""Of a 2D joint that counts as seen (docs/reference/joints.md#visibility-of-raw-2d-joints)."""

SKELETON = (
    (0, 1), (0, 2), (0, 3), (1, 4), (4, 7), (7, 10), (2, 5), (5, 8), (8, 11), (3, 6), (6, 9), (9, 12), (12, 15),
    (12, 13), (13, 16), (16, 18), (18, 20), (12, 14), (14, 17), (17, 19), (19, 21),
)  # fmt: skip
"""Edges of the 24-joint part, for drawing."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Keypoints:
    """Points of one joint set."""

    layout: str
    """Key into `LAYOUTS`."""
    points: npt.NDArray[np.float64]
    """(..., K, D) coordinates followed by a confidence in 0..1; confidence 0 means missing, its coordinates are 0."""
    projected: bool = False
    """Of 2D points: whether they are projections of the 3D joints through the camera, which meet them within a pixel or
    two, and not detections or hand-made labels."""
    compared_only: bool = False
    """Whether bodies and cameras are compared with them and nothing else: shards do not hold them. For projections
    of the body's own joints, which add nothing to it."""
    place_only: bool = False
    """Of 2D points: whether they only say about where in the picture the person is, to a hand's width: shards take
    centre and box from them and nothing else, and nothing is compared with them."""

    @property
    def built(self) -> bool:
        """Whether shards hold them."""
        return not (self.compared_only or self.place_only)

    def to_44(self) -> npt.NDArray[np.float64]:
        """(..., 44, D) the points, each at the joint of its name; joints without a point have confidence 0."""
        source = LAYOUTS[self.layout]
        if self.points.shape[-2] != len(source):
            raise ValueError(f"{self.layout} has {len(source)} joints, the array has {self.points.shape[-2]}")
        out = np.zeros((*self.points.shape[:-2], len(ALL_44), self.points.shape[-1]))
        for i, name in enumerate(source):
            if name in ALL_44:
                out[..., ALL_44.index(name), :] = self.points[..., i, :]
        return out
