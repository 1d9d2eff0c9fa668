"""The SMPL body in NumPy, for adapters, verification and pictures.

Source: docs/reference/assets.md#linear-blend-skinning, docs/reference/joints.md#the-44-joints.

Translation follows SMPL's convention: it is added to the posed vertices, so the pelvis is at J0 + translation; there is
no alignment to the hips. All results are float64 metres in the frame of the root rotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_data.schema.keypoints import L_HIP, R_HIP

Array = npt.NDArray[np.float64]
AnyArray = npt.NDArray[np.floating[Any]]

FRAMES_AT_ONCE = 64
FACE_FOOT = 11


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Skin:
    """The part of the model that poses K chosen vertices."""

    template: Array
    """(K, 3)."""
    shape: Array
    """(K, 3, S)."""
    pose: npt.NDArray[np.float32]
    """(207, 3K)."""
    weights: Array
    """(K, 24)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Points:
    """Points that are linear combinations of posed vertices, with just the vertices they need."""

    skin: _Skin
    mix: Array
    """(P, K) weights of the vertices."""


class BodyModel:
    """One body model: `pose` (N, 24, 3) axis-angle, `betas` (N, 10), `translation` (N, 3) metres or None.

    A model made from an `SMPLA_*.pth` also takes `betas` (N, 11); the last is 0 for the adult and 1 for the kid.
    """

    def __init__(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        shape = arrays.get("smpla_shapedirs", arrays["shapedirs"]).astype(np.float64)
        template = arrays["v_template"].astype(np.float64)
        regressor = arrays["J_regressor"].astype(np.float64)
        self.faces: npt.NDArray[np.int64] = arrays["f"].astype(np.int64)
        self.parents: tuple[int, ...] = tuple(int(parent) for parent in arrays["kintree_table"])
        self.template_joints: Array = regressor @ template
        self.shape_joints: Array = np.einsum("jv,vcs->jcs", regressor, shape)
        self._skin = _Skin(
            template=template,
            shape=shape,
            # float32: the largest array, and its products are millimetres
            pose=np.ascontiguousarray(arrays["posedirs"], dtype=np.float32),
            weights=arrays["weights"].astype(np.float64),
        )
        picked = np.zeros((FACE_FOOT, len(template)))
        picked[np.arange(FACE_FOOT), arrays["extra_joints_index"][:FACE_FOOT]] = 1
        self._extra20 = self._points(np.concatenate([picked, arrays["J_regressor_extra9"]]))
        self._h36m17 = self._points(arrays["J_regressor_h36m17"].astype(np.float64))

    @classmethod
    def load(cls, path: Path) -> BodyModel:
        """The model of a pack file. Raises AssetError as `load_pack` does."""
        from trace_data.assets.pack_files import load_pack

        return cls(load_pack(path))

    @property
    def weights(self) -> Array:
        """(6890, 24) skin weights."""
        return self._skin.weights

    @property
    def pose_directions(self) -> npt.NDArray[np.float32]:
        """(207, 6890, 3) m per unit of R - I of joints 1 to 23, row by row."""
        return self._skin.pose.reshape(len(self._skin.pose), -1, 3)

    def vertices(self, pose: AnyArray, betas: AnyArray, translation: AnyArray | None = None) -> Array:
        """(N, 6890, 3) posed vertices."""
        joint_from_rest, _, features, betas = self._posed(pose, betas)
        return _moved(_skinned(self._skin, joint_from_rest, features, betas), translation)

    def joints44(self, pose: AnyArray, betas: AnyArray, translation: AnyArray | None = None) -> Array:
        """(N, 44, 3) joints in the order of `ALL_44`; only the vertices they need are posed."""
        joint_from_rest, joints, features, betas = self._posed(pose, betas)
        extra = self._extra20.mix @ _skinned(self._extra20.skin, joint_from_rest, features, betas)
        return _moved(np.concatenate([joints, extra], axis=1), translation)

    def joints_h36m17(self, pose: AnyArray, betas: AnyArray, translation: AnyArray | None = None) -> Array:
        """(N, 17, 3) joints of the Human3.6M regressor: the 14 of `LSP_14`, then pelvis, spine, jaw."""
        joint_from_rest, _, features, betas = self._posed(pose, betas)
        return _moved(self._h36m17.mix @ _skinned(self._h36m17.skin, joint_from_rest, features, betas), translation)

    def rest_vertices(self, betas: AnyArray) -> Array:
        """(N, 6890, 3) shaped vertices in the T-pose."""
        return _shaped(self._skin.template, self._skin.shape, betas)

    def rest_joints(self, betas: AnyArray) -> Array:
        """(N, 24, 3) kinematic joints in the T-pose."""
        return _shaped(self.template_joints, self.shape_joints, betas)

    def _posed(self, pose: AnyArray, betas: AnyArray) -> tuple[Array, Array, Array, Array]:
        """(N, 24, 3, 4) joint from rest pose, (N, 24, 3) joints, (N, 207) pose features, (N, S) betas."""
        rotation = matrix_from_axis_angle(np.asarray(pose, np.float64).reshape(-1, len(self.parents), 3))
        rest = self.rest_joints(betas)
        if len(rest) != len(rotation):
            raise ValueError(f"{len(rotation)} poses but {len(rest)} shapes")
        world, joints = rotation.copy(), rest.copy()
        for joint, parent in enumerate(self.parents[1:], start=1):
            world[:, joint] = world[:, parent] @ rotation[:, joint]
            bone = rest[:, joint] - rest[:, parent]
            joints[:, joint] = joints[:, parent] + np.einsum("nij,nj->ni", world[:, parent], bone)
        shift = joints - np.einsum("njab,njb->nja", world, rest)
        features = (rotation[:, 1:] - np.eye(3)).reshape(len(rotation), -1)
        return np.concatenate([world, shift[..., None]], axis=3), joints, features, np.asarray(betas, np.float64)

    def _points(self, mix: npt.NDArray[Any]) -> _Points:
        needed = np.flatnonzero((mix != 0).any(axis=0))
        columns = (3 * needed[:, None] + np.arange(3)).reshape(-1)
        skin = _Skin(
            template=self._skin.template[needed],
            shape=self._skin.shape[needed],
            pose=np.ascontiguousarray(self._skin.pose[:, columns]),
            weights=self._skin.weights[needed],
        )
        return _Points(skin=skin, mix=mix[:, needed].astype(np.float64))


def neutral_betas(gendered: BodyModel, neutral: BodyModel, betas: AnyArray) -> Array:
    """Betas (N, 10) of the neutral model whose T-pose is nearest to that of `gendered` with `betas`, up to an offset.

    Linear least squares over the betas and one translation of all vertices
    (docs/reference/datasets.md#3dpw-neutral-shape).
    """
    targets = gendered.rest_vertices(betas) - neutral.rest_vertices(np.zeros((1, 10)))
    directions = neutral._skin.shape[:, :, :10]
    # for any betas the best offset aligns the centroids; centring both sides eliminates it
    centred = (directions - directions.mean(axis=0)).reshape(-1, 10)
    wanted = (targets - targets.mean(axis=1, keepdims=True)).reshape(len(targets), -1)
    solution: Array = np.linalg.lstsq(centred, wanted.T, rcond=None)[0].T
    return solution


def hip_midpoint(joints44: AnyArray) -> Array:
    """(..., 3) midpoint of the regressed hips, the root of everything in camera space, from (..., 44, 3)."""
    return 0.5 * (np.asarray(joints44, np.float64)[..., R_HIP, :] + joints44[..., L_HIP, :])


def _shaped(template: Array, directions: Array, betas: AnyArray) -> Array:
    """(N, K, 3) points of a template (K, 3) moved along directions (K, 3, S)."""
    used = directions[:, :, : betas.shape[-1]].reshape(-1, betas.shape[-1])
    moved: Array = np.asarray(betas, np.float64) @ used.T
    return template + moved.reshape(len(moved), *template.shape)


def _skinned(skin: _Skin, joint_from_rest: Array, features: Array, betas: Array) -> Array:
    """(N, K, 3), computed in blocks of frames, because the blended matrices need the most memory."""
    frames, points = len(features), len(skin.template)
    out = np.empty((frames, points, 3))
    for start in range(0, frames, FRAMES_AT_ONCE):
        part = slice(start, start + FRAMES_AT_ONCE)
        rest = _shaped(skin.template, skin.shape, betas[part])
        bodies = len(rest)
        rest += (features[part].astype(np.float32) @ skin.pose).reshape(bodies, points, 3)
        rows = joint_from_rest[part].reshape(bodies, joint_from_rest.shape[1], 12)
        blend = (skin.weights @ rows).reshape(bodies, points, 3, 4)
        out[part] = np.einsum("nkij,nkj->nki", blend[..., :3], rest) + blend[..., 3]
    return out


def _moved(points: Array, translation: AnyArray | None) -> Array:
    return points if translation is None else points + np.asarray(translation, np.float64)[:, None]
