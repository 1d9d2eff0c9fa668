"""The skinned mesh of each person of a result: from the packs, or the free body that anyone may share.

Metres, T-pose, Y up, facing +Z (docs/reference/export.md#body-placement).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trace_data.assets.bodies import PACK_FILES
from trace_data.assets.body_model import BodyModel
from trace_data.errors import AssetError
from trace_data.export.skeleton import rest_joints
from trace_data.results.result import Result
from trace_data.schema.body import Gender

Array = npt.NDArray[np.float64]

INFLUENCES = 4
"""Joints that move a vertex, at most: what readers of glTF and USD expect."""
ANOTHER_MODEL = 0.005
"""Metres between rest joints that belong to different body models, or to different bodies."""


_NO_BETAS = np.zeros((1, 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SkinnedSurface:
    """What people with the same model share. V vertices, F faces."""

    faces: npt.NDArray[np.uint16]
    """(F, 3), counter-clockwise seen from outside."""
    joints: npt.NDArray[np.uint8]
    """(V, 4) joints that move each vertex, the strongest first; 0 where the weight is 0."""
    weights: npt.NDArray[np.float32]
    """(V, 4), summing to one."""
    pose_directions: npt.NDArray[np.float32]
    """(207, V, 3) m per unit of R - I of joints 1 to 23, row by row."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyMesh:
    """One person's mesh in the T-pose."""

    surface: SkinnedSurface
    vertices: npt.NDArray[np.float32]
    """(V, 3) m."""
    rest: Array
    """(24, 3) m, the mesh's own joints."""
    pelvis: Array
    """(3,) m, from the translation of a result's row to the pelvis in the world."""

    def normals(self) -> npt.NDArray[np.float32]:
        """(V, 3) unit normals of the vertices, pointing outside."""
        corners = self.vertices[self.surface.faces].astype(np.float64)
        of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        at = self.surface.faces.reshape(-1)
        summed = np.stack(
            [np.bincount(at, np.repeat(of_faces[:, axis], 3), len(self.vertices)) for axis in range(3)], axis=1
        )
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        # a vertex without a face has no normal: any unit vector will do
        unit = np.where(length > 0, summed / np.where(length > 0, length, 1), (0.0, 1.0, 0.0))
        return unit.astype(np.float32)


class Meshes(Protocol):
    """Gives the mesh of each person of a result."""

    model: str
    """Name of the body model."""
    free: bool
    """Whether anyone may share the mesh."""

    def of(self, result: Result, person: int) -> BodyMesh:
        """The mesh of the person with index `person`. Raises AssetError."""
        ...

    def posed(self, result: Result, row: int) -> Array:
        """(V, 3) vertices of a row, m, world, with pose correctives."""
        ...


class PackMeshes:
    """The body model that the result was made with, from a folder of packs."""

    free = False

    def __init__(self, packs: Path, gender: Gender = "neutral") -> None:
        """Raises AssetError when the pack is missing or damaged."""
        self.model = f"SMPL {gender}"
        self._pack = packs / PACK_FILES[gender]
        self.body = BodyModel.load(self._pack)
        self._surface = surface(self.body.faces, self.body.weights, self.body.pose_directions)

    def of(self, result: Result, person: int) -> BodyMesh:
        """The shaped mesh. Raises AssetError when the result's joints are those of another model."""
        betas = result.betas[person : person + 1]
        rest = self.body.rest_joints(betas)[0]
        far = float(np.linalg.norm(rest - rest_joints(result, person), axis=1).max())
        if far > ANOTHER_MODEL:
            raise AssetError(
                f"is another body model than the result's: with its shape, joints are up to {1000 * far:.0f} mm away",
                where=self._pack,
                hint="name the packs that the prediction used with  --packs DIR, or export with  --body free",
            )
        vertices = self.body.rest_vertices(betas)[0].astype(np.float32)
        return BodyMesh(surface=self._surface, vertices=vertices, rest=rest, pelvis=rest[0])

    def posed(self, result: Result, row: int) -> Array:
        """(V, 3) vertices of a row, m, world."""
        person = result.row_person[row]
        vertices: Array = self.body.vertices(
            result.pose[row : row + 1], result.betas[person : person + 1], result.translation[row : row + 1]
        )[0]
        return vertices


class FreeMeshes:
    """The CC0 body of the sample world, as large as the person's legs say."""

    model = "free body (CC0)"
    free = True

    def __init__(self, gender: Gender = "neutral") -> None:
        from trace_data.sample_world.free_body import load_free_body

        self._body = load_free_body(gender)
        self._rest = self._body.J_regressor @ self._body.v_template
        self._surface = surface(self._body.faces, self._body.weights, np.moveaxis(self._body.posedirs, 2, 0))

    def of(self, result: Result, person: int) -> BodyMesh:
        """The mesh of its mean shape, scaled so that its hips are as high above the toes as the person's."""
        theirs = rest_joints(result, person)
        scale = _hip_height(theirs) / _hip_height(self._rest)
        vertices = (scale * self._body.v_template).astype(np.float32)
        return BodyMesh(surface=self._surface, vertices=vertices, rest=scale * self._rest, pelvis=theirs[0])

    def posed(self, result: Result, row: int) -> Array:
        """(V, 3) vertices of a row, m, world."""
        mesh = self.of(result, int(result.row_person[row]))
        scale = float(mesh.rest[0, 1] / self._rest[0, 1])
        vertices, joints = self._body.pose(result.pose[row : row + 1].astype(np.float64), _NO_BETAS, np.zeros((1, 3)))
        placed: Array = scale * (vertices[0] - joints[0, 0]) + result.translation[row] + mesh.pelvis
        return placed


def surface(
    faces: npt.NDArray[np.integer], weights: Array, pose_directions: npt.NDArray[np.floating]
) -> SkinnedSurface:
    """A surface from faces (F, 3), weights (V, 24) and pose directions (207, V, 3): the best four weights, renormed."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    best = np.take_along_axis(weights, order, axis=1)
    best = best / best.sum(axis=1, keepdims=True)
    return SkinnedSurface(
        faces=faces.astype(np.uint16),
        joints=np.where(best > 0, order, 0).astype(np.uint8),
        weights=best.astype(np.float32),
        pose_directions=np.ascontiguousarray(pose_directions, dtype=np.float32),
    )


def _hip_height(rest: Array) -> float:
    """Metres from the toes to the hips of joints (24, 3) in the T-pose."""
    return float(rest[[1, 2], 1].mean() - rest[[10, 11], 1].mean())
