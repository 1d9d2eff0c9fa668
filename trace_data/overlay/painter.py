"""Draws a result onto the pictures of its video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.drawing import MeshPainter, Painted, Picture, Surface, colour_of, draw_skeleton, laid_over, pale
from trace_data.drawing.raster import Rasteriser
from trace_data.overlay.marks import draw_box, draw_label, label_width
from trace_data.overlay.world_view import WorldView
from trace_data.results.result import SEEN, Result

LARGEST = 1920
"""px of the longer side of the picture; larger videos are drawn smaller."""
OPACITY = 0.85
PALE_OPACITY = 0.55
HATCH = 0.008
"""Width of the stripes on bodies that were not seen, of the picture's height."""
SHARE_OF_NAME = 0.12
"""Of the picture's width, that a name may always take."""
MISSING = (58, 60, 66)


class MeshModel(Protocol):
    """What poses bodies: `trace_data.assets.body_model.BodyModel`."""

    faces: npt.NDArray[np.int64]

    def vertices(
        self, pose: npt.NDArray[np.floating], betas: npt.NDArray[np.floating], translation: npt.NDArray[np.floating]
    ) -> npt.NDArray[np.float64]:
        """(N, V, 3) m of poses (N, 24, 3), betas (N, 10), translations (N, 3)."""


class ResultPainter:
    """Draws any frame of a result; nothing is kept from frame to frame, so memory does not grow."""

    def __init__(
        self,
        result: Result,
        items: Sequence[str],
        body: MeshModel | None = None,
        *,
        rasterise: Rasteriser | None = None,
    ) -> None:
        """`items`: of `ITEMS`; `body` is needed for `overlay`."""
        assert body is not None or "overlay" not in items
        self._result, self._items, self._body = result, items, body
        self._painter = MeshPainter(rasterise)
        width, height = result.image_size.tolist()
        self._shrunk = min(1.0, LARGEST / max(width, height))
        self._width, self._height = max(1, round(width * self._shrunk)), max(1, round(height * self._shrunk))
        sides = [item for item in items if item in ("bird", "side")]
        column = (max(200, self._height // 2), max(1, self._height // max(1, len(sides))))
        self._views = [WorldView(result, "bird" if side == "bird" else "side", column) for side in sides]
        self.size = (self._width + (column[0] if sides else 0), self._height)
        """Width and height of what is drawn, px."""

    def draw(self, frame: int, pixels: Picture | None) -> Picture:
        """The picture of the frame with this index; `pixels` (H, W, 3) RGB, None where it could not be read."""
        image = self._picture(pixels)
        rows = self._result.rows_in(frame)
        rows = rows[np.argsort(-self._result.translation_in_camera[rows, 2])].tolist()  # marks of the near on top
        if "overlay" in self._items and rows:
            image = self._with_bodies(image, frame, rows)
        for row in rows:
            if "skeleton" in self._items:
                self._skeleton(image, row)
            if "ids" in self._items:
                self._name(image, row)
        if pixels is None:
            draw_label(image, "this frame could not be read", np.array([0.0, 0.0]), MISSING)
        return self._beside(image, frame)

    def _picture(self, pixels: Picture | None) -> Picture:
        if pixels is None:
            return np.full((self._height, self._width, 3), MISSING, np.uint8)
        if pixels.shape[:2] == (self._height, self._width):
            return pixels.copy()
        resized = cv2.resize(pixels, (self._width, self._height), interpolation=cv2.INTER_AREA)
        return np.asarray(resized, np.uint8)

    def _with_bodies(self, image: Picture, frame: int, rows: list[int]) -> Picture:
        result, body = self._result, self._body
        assert body is not None
        pose = result.pose[rows].copy()
        pose[:, 0] = result.root_in_camera[rows]
        vertices = body.vertices(pose, result.betas[result.row_person[rows]], result.translation_in_camera[rows])
        surfaces = [
            Surface(vertices=mesh, faces=body.faces, colour=self._colour(row)) for mesh, row in zip(vertices, rows)
        ]
        lens = result.intrinsics[frame if len(result.intrinsics) > 1 else 0]
        painted = self._painter.paint(surfaces, self._fitted(lens), (self._height, self._width))
        return laid_over(image, painted.rgba, self._opacity(painted, rows))

    def _opacity(self, painted: Painted, rows: list[int]) -> npt.NDArray[np.float32]:
        """(H, W) how much each pixel covers the picture: bodies that were not seen are thin, in stripes."""
        unseen = np.array([*(self._result.state[rows] != SEEN), False])  # the last stands for -1, where nobody is
        if not unseen.any():
            return np.full(painted.surface.shape, OPACITY, np.float32)
        width = max(2, round(HATCH * self._height))
        row, column = np.ogrid[: self._height, : self._width]
        gap = (row + column) // width % 2 == 0
        return np.where(unseen[painted.surface], np.where(gap, 0.15, PALE_OPACITY), OPACITY).astype(np.float32)

    def _fitted(self, lens: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The lens for the drawn picture, whose pixel centres are whole numbers, too."""
        change = np.diag([self._shrunk, self._shrunk, 1.0])
        change[:2, 2] = 0.5 * self._shrunk - 0.5
        return np.asarray(change @ lens)

    def _colour(self, row: int) -> tuple[int, int, int]:
        colour = colour_of(int(self._result.person[self._result.row_person[row]]))
        return colour if self._result.state[row] == SEEN else pale(colour)

    def _skeleton(self, image: Picture, row: int) -> None:
        joints = (self._result.joints_2d[row] + 0.5) * self._shrunk - 0.5
        draw_skeleton(image, joints, colour=self._colour(row), dashed=self._result.state[row] != SEEN)

    def _name(self, image: Picture, row: int) -> None:
        result = self._result
        person = result.row_person[row]
        box = result.box[row].astype(np.float64) * self._shrunk
        draw_box(image, box, self._colour(row), dashed=result.state[row] != SEEN)
        name = f"{result.person[person]} {result.person_name[person]}".strip()
        if label_width(image, name) > max(box[2], SHARE_OF_NAME * self._width):  # it would hide who is beside
            name = str(result.person[person])
        draw_label(image, name, box[:2], self._colour(row))

    def _beside(self, image: Picture, frame: int) -> Picture:
        if not self._views:
            return image
        whole = np.zeros((self.size[1], self.size[0], 3), np.uint8)
        whole[:, : self._width] = image
        top = 0
        for view in self._views:
            picture = view.draw(frame)
            whole[top : top + len(picture), self._width :] = picture
            top += len(picture)
        return whole
