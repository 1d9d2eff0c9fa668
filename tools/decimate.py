"""Thin out one half of a mirror-symmetric mesh, keeping a subset of its vertices.

Edges are collapsed onto one of their ends in the order of the quadric error (Garland and Heckbert 1997). The open
border of the half is the seam in the mirror plane: it is only ever thinned along itself, so that the thinned half
and its mirror image fit together again to a closed surface.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class HalfMesh:
    """`points` (n, 3) with the mirror plane x = 0, `faces` (m, 3) of one side, `keep`: vertices never removed."""

    def __init__(self, points: Floats, faces: Ints, keep: set[int]) -> None:
        self.points, self.keep = points, keep
        self.faces = {i: tuple(int(v) for v in face) for i, face in enumerate(faces)}
        self.around: dict[int, set[int]] = {}
        for i, face in self.faces.items():
            for vertex in face:
                self.around.setdefault(vertex, set()).add(i)
        sides = np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        edges, counts = np.unique(sides, axis=0, return_counts=True)
        self.seam = set(edges[counts == 1].ravel().tolist())
        self.version = dict.fromkeys(self.around, 0)
        self.quadrics = self._quadrics(faces)
        self.heap: list[tuple[float, int, int, int, int]] = []
        for a, b in edges.tolist():
            self._offer(a, b)
            self._offer(b, a)

    def thin(self, face_count: int) -> Ints:
        """Collapse edges until `face_count` faces are left; returns them (face_count, 3)."""
        while len(self.faces) > face_count:
            _, gone, stays, version_gone, version_stays = heapq.heappop(self.heap)
            fresh = self.version.get(gone) == version_gone and self.version.get(stays) == version_stays
            spare = len(self.faces) - face_count
            if fresh and self._allowed(gone, stays) and len(self.around[gone] & self.around[stays]) <= spare:
                self._collapse(gone, stays)
        return np.array(list(self.faces.values()))

    def _quadrics(self, faces: Ints) -> Floats:
        corners = self.points[faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        double_area = np.linalg.norm(normal, axis=1)
        normal = normal / double_area[:, None]
        plane = np.concatenate([normal, -np.einsum("fa,fa->f", normal, corners[:, 0])[:, None]], axis=1)
        squares = double_area[:, None, None] * plane[:, :, None] * plane[:, None, :]
        quadrics = np.zeros((len(self.points), 4, 4))
        for corner in range(3):
            np.add.at(quadrics, faces[:, corner], squares)
        seam = sorted(self.seam)
        flip = np.diag([-1.0, 1, 1, 1])
        quadrics[seam] += flip @ quadrics[seam] @ flip  # the faces of the other side
        return quadrics

    def _neighbours(self, vertex: int) -> set[int]:
        return {v for face in self.around[vertex] for v in self.faces[face]} - {vertex}

    def _offer(self, gone: int, stays: int) -> None:
        if gone in self.keep or (gone in self.seam and stays not in self.seam):
            return
        place = np.append(self.points[stays], 1.0)
        error = place @ (self.quadrics[gone] + self.quadrics[stays]) @ place
        length = np.sum((self.points[gone] - self.points[stays]) ** 2)
        cost = float(error + 1e-5 * length**2)  # the second term spreads the vertices evenly where all is flat
        heapq.heappush(self.heap, (cost, gone, stays, self.version[gone], self.version[stays]))

    def _allowed(self, gone: int, stays: int) -> bool:
        """Neither the surface's topology nor the direction of any face may turn over."""
        shared = self.around[gone] & self.around[stays]
        if len(shared) != (1 if gone in self.seam else 2):
            return False
        near_gone, near_stays = self._neighbours(gone), self._neighbours(stays)
        if len(near_gone & near_stays) != len(shared):
            return False
        if stays in self.seam and gone not in self.seam and (near_gone & self.seam) - near_stays - {stays}:
            return False  # it would join two seam vertices across the surface, and its mirror image would too
        for face in self.around[gone] - shared:
            before = self.points[list(self.faces[face])]
            after = self.points[[stays if v == gone else v for v in self.faces[face]]]
            old = np.cross(before[1] - before[0], before[2] - before[0])
            new = np.cross(after[1] - after[0], after[2] - after[0])
            if old @ new < 0.3 * np.linalg.norm(old) * np.linalg.norm(new) or np.linalg.norm(new) < 1e-9:
                return False
        return True

    def _collapse(self, gone: int, stays: int) -> None:
        for face in list(self.around[gone]):
            if stays in self.faces[face]:
                for vertex in self.faces.pop(face):
                    self.around[vertex].discard(face)
            else:
                a, b, c = (stays if v == gone else v for v in self.faces[face])
                self.faces[face] = (a, b, c)
                self.around[stays].add(face)
        del self.around[gone], self.version[gone]
        self.quadrics[stays] += self.quadrics[gone]
        self.version[stays] += 1
        for vertex in self._neighbours(stays):
            self._offer(vertex, stays)
            self._offer(stays, vertex)
