"""Something to hide behind: a pillar on the floor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, identity

from trace_data.sample_world.backdrop import SIDES, muted
from trace_data.sample_world.figure import CLOTHES, Mesh

Array = npt.NDArray[np.float64]

WIDTH, DEPTH, HEIGHT = 0.9, 0.35, 2.3
"""Metres."""
CELL = 0.16
"""Longest edge of a face, metres: people and pillar are painted by the distance of their faces, which have to be
small."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Pillar:
    """A pillar that stands still."""

    mesh: Mesh
    points: Array
    """(N, 3) world metres."""
    colours: Array
    """(len(CLOTHES), 3) BGR, 0 to 255."""


def draw_pillar(rng: np.random.Generator, place: tuple[float, float], azimuth: float) -> Pillar:
    """A pillar in the middle of `place` (x, z), its broad side towards a camera that looks along `azimuth`."""
    ahead, right = np.array([np.sin(azimuth), np.cos(azimuth)]), np.array([-np.cos(azimuth), np.sin(azimuth)])
    # counter-clockwise seen from above, where x points right and z down the page
    around = np.array([[-1, 1], [-1, -1], [1, -1], [1, 1]]) * [WIDTH / 2, DEPTH / 2]
    flat = np.array(place) + around[:, :1] * right + around[:, 1:] * ahead
    corners = np.stack([flat[:, 0], np.zeros(4), flat[:, 1]], axis=1)
    corners = np.concatenate([corners, corners + np.array([0, HEIGHT, 0])])
    points: list[Array] = []
    faces: list[npt.NDArray[np.int64]] = []
    for side in SIDES:
        grid, cells = _grid(corners[list(side)])
        faces.append(cells + sum(map(len, points)))
        points.append(grid)
    everything, triangles = np.concatenate(points), np.concatenate(faces)
    mesh = Mesh(
        faces=triangles,
        clothes=np.full(len(triangles), CLOTHES.index("top")),
        bone=np.zeros(len(everything), np.int64),
        smooth=csr_matrix(identity(len(triangles))),  # edges stay sharp
    )
    return Pillar(mesh=mesh, points=everything, colours=np.tile(muted(rng), (len(CLOTHES), 1)))


def _grid(quad: Array) -> tuple[Array, npt.NDArray[np.int64]]:
    """A rectangle with corners (4, 3) as points and small triangles of the same orientation."""
    across, up = (int(np.ceil(np.linalg.norm(quad[k] - quad[0]) / CELL)) for k in (1, 3))
    u, v = (part.ravel() for part in np.meshgrid(np.arange(across + 1), np.arange(up + 1), indexing="ij"))
    points = quad[0] + u[:, None] / across * (quad[1] - quad[0]) + v[:, None] / up * (quad[3] - quad[0])
    first = (np.arange(across)[:, None] * (up + 1) + np.arange(up)).ravel()
    right, above = first + up + 1, first + 1
    triangles = [np.stack(corners, axis=1) for corners in ((first, right, right + 1), (first, right + 1, above))]
    return points, np.concatenate(triangles)
