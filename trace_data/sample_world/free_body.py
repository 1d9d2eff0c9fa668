"""The free body of the sample world: a person with SMPL's array shapes and none of SMPL's data.

`free_body.npz` was made once by `tools/make_free_body.py` from the CC0 MakeHuman/MPFB2 mesh (see
`LICENSE-free-body.txt`). Frame: metres, Y up, facing +Z in a T-pose, the body's left at +X; the pelvis joint
is 0.12 of the height below the origin, so that it cannot be mistaken for the origin
(docs/reference/assets.md#contents-of-the-smpl-pickle).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_data.schema.keypoints import SMPL_PARENTS

Kind = Literal["male", "female", "neutral", "infant"]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DATA = Path(__file__).with_name("free_body.npz")
STEP = 4e-5  # metres in one unit of the stored integers
COMPONENTS = 300
PARTS = (
    "skin", "hair", "left_top", "right_top", "left_leg", "right_leg", "left_foot", "right_foot", "left_hand",
    "right_hand",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class FreeBody:
    """One body model: V = 6890 vertices, 24 joints.

    The arrays are those of an SMPL file (docs/reference/assets.md#contents-of-the-smpl-pickle).
    """

    kind: Kind
    v_template: Floats  # (V, 3)
    shapedirs: Floats  # (V, 3, 300); betas of N(0, 1) give plausible people
    posedirs: Floats  # (V, 3, 207)
    weights: Floats  # (V, 24)
    J_regressor: Floats  # (24, V)
    regressor_extra: Floats  # (9, V), docs/reference/assets.md#rows-of-the-joint-regressors
    regressor_h36m: Floats  # (17, V), raw Human3.6M row order
    faces: Ints  # (13776, 3), counter-clockwise seen from outside
    lod_faces: Ints  # (2000, 3), closed, over a subset of the same vertices: for fast drawing
    parts: npt.NDArray[np.uint8]  # (V,), index into PARTS
    face_parts: npt.NDArray[np.uint8]  # (13776,), the same of the faces: exact along the middle of the body
    lod_face_parts: npt.NDArray[np.uint8]  # (2000,)
    mirror: Ints  # (V,), the vertex on the other side of the body
    kid_template: Floats  # (V, 3)
    parents: tuple[int, ...] = SMPL_PARENTS

    @cached_property
    def _joint_template(self) -> Floats:
        return self.J_regressor @ self.v_template

    @cached_property
    def _joint_dirs(self) -> Floats:
        moved: Floats = np.einsum("jv,vcs->jcs", self.J_regressor, self.shapedirs, optimize=True)
        return moved

    def pose(
        self, pose: Floats, betas: Floats, translation: Floats, vertices: Ints | None = None
    ) -> tuple[Floats, Floats]:
        """Linear blend skinning of T frames (docs/reference/assets.md#linear-blend-skinning).

        `pose` (T, 24, 3) axis-angle in radians, the root first; `betas` (T or 1, up to 300); `translation` (T, 3)
        metres, added last. `vertices` restricts the work to those vertex ids. Returns vertices (T, n, 3) and joints
        (T, 24, 3) in metres.
        """
        chosen = slice(None) if vertices is None else vertices
        count = betas.shape[-1]
        shaped = self.v_template[chosen] + np.einsum("vcs,ts->tvc", self.shapedirs[chosen, :, :count], betas)
        rest = self._joint_template + np.einsum("jcs,ts->tjc", self._joint_dirs[..., :count], betas)
        rotations = matrix_from_axis_angle(pose)
        feature = (rotations[:, 1:] - np.eye(3)).reshape(len(pose), -1)
        directions = self.posedirs[chosen].reshape(-1, feature.shape[1])
        shaped = shaped + (feature @ directions.T).reshape(len(pose), -1, 3)

        turned, joints = _chain(rotations, np.broadcast_to(rest, (len(pose), *rest.shape[1:])))
        offsets = joints - np.einsum("tjab,tjb->tja", turned, rest)
        blend = np.einsum("vj,tjab->tvab", self.weights[chosen], turned, optimize=True)
        shift = np.einsum("vj,tja->tva", self.weights[chosen], offsets, optimize=True)
        posed: Floats = np.einsum("tvab,tvb->tva", blend, shaped) + shift
        return posed + translation[:, None], joints + translation[:, None]


def _chain(rotations: Floats, rest: Floats) -> tuple[Floats, Floats]:
    """World rotations (T, 24, 3, 3) and positions (T, 24, 3) of the joints, along the kinematic tree."""
    turned, joints = rotations.copy(), rest.copy()
    for joint, parent in enumerate(SMPL_PARENTS[1:], start=1):
        turned[:, joint] = turned[:, parent] @ rotations[:, joint]
        bone = rest[:, joint] - rest[:, parent]
        joints[:, joint] = joints[:, parent] + np.einsum("tab,tb->ta", turned[:, parent], bone)
    return turned, joints


def _fillers(template: Floats, first: int) -> Floats:
    """Shape components `first`..299 (V, 3, n): smooth waves of at most half a millimetre. Deterministic.

    The real files have 300 components, of which ten are used; these stand in for the others.
    """
    draw = np.random.default_rng(300)
    count = COMPONENTS - first
    waves, phases = draw.normal(0, 6, (3, count)), draw.uniform(0, 2 * np.pi, count)  # radians a metre
    directions = draw.normal(0, 1, (3, count))
    sizes = 5e-4 * (first / np.arange(first, COMPONENTS)) / np.linalg.norm(directions, axis=0)
    angles = np.einsum("va,as->vs", template, waves) + phases  # not `@`: its last bits depend on the threads
    fields: Floats = np.sin(angles)[:, None, :] * (directions * sizes)
    return fields


@lru_cache(maxsize=4)
def load_free_body(kind: Kind) -> FreeBody:
    """The body of one kind; all kinds share faces, vertex order, skinning weights and shape space."""
    with np.load(DATA) as data:
        template = data[f"template_{kind}"] * STEP
        # an infant's offsets are the adult's, scaled
        scale = np.ptp(template[:, 1]) / np.ptp(data["template_neutral"][:, 1] * STEP) if kind == "infant" else 1.0
        shapes = np.moveaxis(data["shapedirs"], 0, -1) * (STEP * scale)
        weights = data["weights"].astype(np.float64)
        return FreeBody(
            kind=kind,
            v_template=template,
            shapedirs=np.concatenate([shapes, _fillers(template, shapes.shape[-1])], axis=-1),
            posedirs=np.ascontiguousarray(np.moveaxis(data["posedirs"], 0, -1)) * (STEP * scale),
            weights=weights / weights.sum(axis=1, keepdims=True),
            J_regressor=_rows(data["J_regressor_infant" if kind == "infant" else "J_regressor"]),
            regressor_extra=_rows(data["regressor_extra"]),
            regressor_h36m=_rows(data["regressor_h36m"]),
            faces=data["faces"].astype(np.int64),
            lod_faces=data["lod_faces"].astype(np.int64),
            parts=data["parts"],
            face_parts=data["face_parts"],
            lod_face_parts=data["lod_face_parts"],
            mirror=data["mirror"].astype(np.int64),
            kid_template=data["template_kid"] * STEP,
        )


def _rows(stored: npt.NDArray[np.floating]) -> Floats:
    """Regressor rows that sum to exactly one again after storage in half precision."""
    values = stored.astype(np.float64)
    total: Floats = values.sum(axis=1, keepdims=True)
    return values / total
