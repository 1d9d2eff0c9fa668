"""The world of a result from above or from the side, in a window that stays the same for the whole video."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.drawing import Colour, Picture, colour_of, draw_line, pale
from trace_data.geometry import transform
from trace_data.overlay.marks import draw_label
from trace_data.results.result import SEEN, Result
from trace_data.results.scene import SceneOptions, arrange
from trace_data.results.world_placement import rigid_inverse
from trace_data.schema.keypoints import SKELETON, SMPL_24

Array = npt.NDArray[np.float64]
Side = Literal["bird", "side"]

GROUND, GRID, WORDS, CAMERA = (24, 26, 30), (52, 56, 63), (150, 156, 166), (235, 238, 242)
MARGIN = 0.8
"""m around everything that is shown."""
SMALLEST = 3.0
"""m that the window is wide and high at least."""
WEDGE = 0.1
"""Length of the camera's wedge, of the window."""
_AXES = {"bird": np.array([[1.0, 0, 0], [0, 0, 1.0]]), "side": np.array([[0, 0, -1.0], [0, -1.0, 0]])}
"""Right and down in the picture, in a world in which y is up and the first camera looks along -z: from above the camera
looks up the picture, from the side it looks to the right."""
_BONES = [(a, b) for a, b in SKELETON if max(a, b) < len(SMPL_24)]


class WorldView:
    """Draws people, their trails and the camera, in metres.

    The window holds everything of the whole result. Up is the result's, or a guess from how people stand.
    """

    def __init__(self, result: Result, side: Side, size: tuple[int, int]) -> None:
        """`size`: width and height, px."""
        self._side: Side = side
        arranged = arrange(result, SceneOptions(up="y", origin="world"))
        self._result, axes = arranged, _AXES[side]
        self._joints = arranged.joints.astype(np.float64) @ axes.T
        world_from_camera = rigid_inverse(arranged.camera_from_world)
        self._cameras = world_from_camera[:, :3, 3] @ axes.T
        self._wedges = _wedges(arranged) @ axes.T
        self._scale, self._low = self._window(size)
        self._joints, self._cameras = self._pixels(self._joints), self._pixels(self._cameras)
        self._wedges = self._wedges * (WEDGE * min(size)) + self._cameras[:, None]
        self._plain = self._grid(size)

    def draw(self, frame: int) -> Picture:
        """The view at the frame of this index."""
        image, result = self._plain.copy(), self._result
        self._trail(image, self._cameras[: frame + 1], WORDS)
        for person in range(len(result.person)):
            rows = result.rows_of(person)
            rows = rows[result.row_frame[rows] <= frame]
            colour = colour_of(int(result.person[person]))
            self._trails(image, rows, colour)
        self._camera(image, frame)
        for row in result.rows_in(frame).tolist():
            self._person(image, row)
        draw_label(image, self._title, np.array([0.0, 0.0]), GROUND)
        return image

    def _window(self, size: tuple[int, int]) -> tuple[float, Array]:
        """Pixels a metre, and the place of the top left corner."""
        points = np.concatenate([self._joints.reshape(-1, 2), self._cameras])
        points = points[np.isfinite(points).all(1)]
        low, high = points.min(0) - MARGIN, points.max(0) + MARGIN
        room = np.maximum(high - low, SMALLEST)
        scale = float((np.array(size) / room).min())
        return scale, (low + high) / 2 - np.array(size) / scale / 2

    def _pixels(self, points: Array) -> Array:
        return (points - self._low) * self._scale

    def _grid(self, size: tuple[int, int]) -> Picture:
        image = np.full((size[1], size[0], 3), GROUND, np.uint8)
        step = _step(min(size) / self._scale / 4)
        for axis in (0, 1):
            first = int(np.ceil(self._low[axis] / step))
            last = int(np.floor((self._low[axis] + size[axis] / self._scale) / step))
            for number in range(first, last + 1):
                at = (number * step - self._low[axis]) * self._scale
                ends = [[at, 0], [at, size[1]]] if axis == 0 else [[0, at], [size[0], at]]
                floor = self._side == "side" and axis == 1 and number == 0
                colour = WORDS if floor else GRID
                draw_line(image, np.array(ends[0], np.float64), np.array(ends[1], np.float64), colour)
        self._title = f"from {'above' if self._side == 'bird' else 'the side'}, grid {step:g} m"
        return image

    def _trails(self, image: Picture, rows: npt.NDArray[np.int64], colour: Colour) -> None:
        """The way of a pelvis, apart where the person was away."""
        breaks = np.flatnonzero(np.diff(self._result.row_frame[rows]) > 1) + 1
        faint = tuple(int(0.55 * value + 0.45 * below) for value, below in zip(colour, GROUND))
        for part in np.split(rows, breaks):
            self._trail(image, self._joints[part, 0], (faint[0], faint[1], faint[2]))

    def _trail(self, image: Picture, points: Array, colour: Colour) -> None:
        fixed = np.round(points[np.isfinite(points).all(1)] * 16).astype(np.int32)
        if len(fixed) > 1:
            cv2.polylines(image, [fixed], False, colour, 1, cv2.LINE_AA, 4)

    def _camera(self, image: Picture, frame: int) -> None:
        place, (left, right) = self._cameras[frame], self._wedges[frame]
        observed = bool(self._result.camera_observed[frame])
        for start, end in ((place, left), (place, right), (left, right)):
            draw_line(image, start, end, CAMERA, 1, dashed=not observed)

    def _person(self, image: Picture, row: int) -> None:
        result = self._result
        person = int(result.person[result.row_person[row]])
        seen = result.state[row] == SEEN
        colour = colour_of(person) if seen else pale(colour_of(person))
        joints = self._joints[row]
        if not np.isfinite(joints).all():
            return
        width = max(2, round(0.05 * self._scale))
        for a, b in _BONES:
            draw_line(image, joints[a], joints[b], colour, width, dashed=not seen)
        draw_label(image, str(person), joints.min(0) - (0, 2), colour)


def _wedges(result: Result) -> Array:
    """(T, 2, 3) directions in the world of the left and right edge of the picture, 1 long on the optical axis."""
    lens = result.intrinsics
    width, height = result.image_size.tolist()
    edges = np.array([[-0.5, (height - 1) / 2, 1], [width - 0.5, (height - 1) / 2, 1]])
    rays = np.einsum("tij,kj->tki", np.linalg.inv(lens), edges)
    world_from_camera = rigid_inverse(result.camera_from_world)
    world_from_camera[:, :3, 3] = 0
    return transform(world_from_camera, np.broadcast_to(rays, (len(world_from_camera), 2, 3)))


def _step(most: float) -> float:
    """The largest of 0.5, 1, 2, 5, 10 … m that is not above `most`."""
    steps = [factor * 10.0**power for power in range(-1, 5) for factor in (1, 2, 5)]
    return max((step for step in steps if step <= most), default=steps[0])
