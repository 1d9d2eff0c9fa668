"""Coarse clothed meshes for drawing people, with sharp seams between clothes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from trace_data.sample_world.free_body import PARTS, FreeBody, load_free_body
from trace_data.schema.body import Gender

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LIMBS = ("upper_arm", "forearm", "hand", "thigh", "shin", "foot")
CLOTHES = ("skin", "hair", "top", "mark", "shorts", *(f"left_{n}" for n in LIMBS), *(f"right_{n}" for n in LIMBS))
"""Materials of faces. The mark is on the chest only, so that front and back differ."""
OF_JOINT = (
    "shorts", "left_thigh", "right_thigh", "top", "left_shin", "right_shin", "top", "left_foot", "right_foot", "top",
    "left_foot", "right_foot", "skin", "top", "top", "skin", "left_upper_arm", "right_upper_arm", "left_forearm",
    "right_forearm", "left_hand", "right_hand", "left_hand", "right_hand",
)  # fmt: skip
"""Material of the body part that each of the 24 joints moves."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Mesh:
    """What is drawn: F faces over N points that are given for each frame."""

    faces: Ints
    """(F, 3) into the points, counter-clockwise from outside."""
    clothes: Ints
    """(F,) into `CLOTHES`."""
    bone: Ints
    """(N,) the joint that moves each point most."""
    smooth: csr_matrix
    """(F, F) sums values over the faces that share a point with a face."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Figure(Mesh):
    """Mesh for drawing one kind of body: N points, F faces."""

    body: FreeBody
    vertices: Ints
    """(n,) ids of the posed vertices."""
    seam: tuple[Ints, Ints, Array]
    """The other N - n points are on edges between posed vertices: two index arrays (N - n) and the weights."""

    def points(self, posed: Array) -> Array:
        """All points (T, N, 3) from the posed vertices (T, n, 3)."""
        start, end, way = self.seam
        return np.concatenate([posed, posed[:, start] + way[:, None] * (posed[:, end] - posed[:, start])], axis=1)


@lru_cache(maxsize=4)
def load_figure(gender: Gender) -> Figure:
    """The figure of a body."""
    body = load_free_body(gender)
    vertices, faces = np.unique(body.lod_faces, return_inverse=True)
    worn, field = _wear(body, vertices)
    faces, clothes, seam = _cut(faces.reshape(-1, 3), worn, field)
    bone = body.weights[vertices].argmax(1)
    bone = np.concatenate([bone, bone[seam[0]]])
    rows = np.repeat(np.arange(len(faces)), 3)
    touch = csr_matrix((np.ones(faces.size), (rows, faces.ravel())), (len(faces), len(bone)))
    return Figure(
        body=body,
        vertices=vertices,
        seam=seam,
        faces=faces,
        clothes=clothes,
        bone=bone,
        smooth=csr_matrix(touch @ touch.T),
    )


def _wear(body: FreeBody, vertices: Ints) -> tuple[Ints, Array]:
    """Material of each vertex (n,), and scores (n, len(CLOTHES)); seams are where the two highest scores are equal."""
    field = np.zeros((len(vertices), len(CLOTHES)))
    for joint, name in enumerate(OF_JOINT):
        field[:, CLOTHES.index(name)] += body.weights[vertices, joint]
    skin, hair, top, mark, shorts = (CLOTHES.index(name) for name in ("skin", "hair", "top", "mark", "shorts"))
    field[:, hair] = np.where(body.parts[vertices] == PARTS.index("hair"), 2 * field[:, skin], 0)
    rest, joints = body.v_template[vertices], body.J_regressor @ body.v_template
    tall = joints[12, 1] - joints[0, 1]
    trunk = field[:, top] + field[:, shorts]
    field[:, top] = trunk * np.clip(0.25 + 2.5 * (rest[:, 1] - joints[0, 1]) / tall, 0, 1)  # a level hem
    field[:, shorts] = trunk - field[:, top]
    away = np.hypot(rest[:, 0] / 0.1, (rest[:, 1] - joints[0, 1] - 0.62 * tall) / (0.26 * tall))
    front = rest[:, 2] > joints[12, 2]
    field[:, mark] = np.where(front, field[:, top] * (2 - away), 0)
    return field.argmax(1), field


def _cut(faces: Ints, worn: Ints, field: Array) -> tuple[Ints, Ints, tuple[Ints, Ints, Array]]:
    """Split faces with several materials along the seams. Returns faces, materials, and the points on the seams."""
    made: list[tuple[int, int, int, int]] = []
    points: dict[tuple[int, int], tuple[int, float]] = {}

    def between(i: int, j: int) -> int:
        start, end = min(i, j), max(i, j)
        if (start, end) not in points:
            lead = field[[start, end], worn[start]] - field[[start, end], worn[end]]
            way = float(np.clip(lead[0] / (lead[0] - lead[1]), 0.05, 0.95))
            points[start, end] = (len(worn) + len(points), way)
        return points[start, end][0]

    for face in faces.tolist():
        pieces = [int(worn[v]) for v in face]
        kinds = len(set(pieces))
        if kinds == 1:
            made.append((*face, pieces[0]))
            continue
        if kinds == 3:  # a corner of three materials
            a, b, c = face
            p, q, r = between(a, b), between(b, c), between(c, a)
            made += [(a, p, r, pieces[0]), (b, q, p, pieces[1]), (c, r, q, pieces[2]), (p, q, r, pieces[0])]
            continue
        alone = next(k for k in range(3) if pieces.count(pieces[k]) == 1)
        a, b, c = face[alone], face[alone - 2], face[alone - 1]
        p, q = between(a, b), between(a, c)
        made += [(a, p, q, pieces[alone]), (p, b, c, pieces[alone - 1]), (p, c, q, pieces[alone - 1])]
    table = np.array(made, np.int64)
    start, end = np.array(list(points), np.int64).T
    return table[:, :3], table[:, 3], (start, end, np.array([way for _, way in points.values()]))
