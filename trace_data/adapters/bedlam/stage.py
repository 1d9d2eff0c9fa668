"""The geometry of a scene: camera and bodies from the renderer's numbers in one world.

The world has the renderer's origin, metres, and axes x right, y down, z forward of a camera that was not turned, so up
is (0, -1, 0) (docs/reference/further-datasets.md#bedlam-geometry).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.bedlam.motions import MotionRows
from trace_data.adapters.bedlam.tables import AGAIN, BodyRow, CameraTable
from trace_data.errors import AnnotationError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

UP = (0.0, -1.0, 0.0)
NEAREST = 0.5
"""Metres in front of the camera from which on a body counts as seen; one that is nearer fills the picture or stands
beside it."""
REACH = 1.2
"""Metres from the pelvis within which a body lies."""
PELVIS = (0.0, -0.23, 0.03)
"""Metres: about where the pelvis of SMPL bodies is at rest. It only decides who is in the picture."""
FLIP = np.diag([1.0, -1.0, -1.0])
SAME_FOCAL = 0.005
"""Relative difference between focal lengths over the sensor's width and height that rounded numbers make."""
SAME_ANGLE = 0.015
"""The same between the focal length and the angle of view, which may be rounded to whole degrees."""
STILL = 1e-3
"""Centimetres or degrees by which a camera that stands still may change."""


def world_from_stage(position: Array) -> Array:
    """(..., 3) metres of the world from centimetres of the renderer (X forward, Y right, Z up)."""
    found: Array = np.stack([position[..., 1], -position[..., 2], position[..., 0]], axis=-1) / 100
    return found


def about(axis: int, degrees: Array) -> Array:
    """(..., 3, 3) right-handed rotations about an axis of the world: 0 for x, 1 for y, 2 for z."""
    vectors = np.zeros((*np.shape(degrees), 3))
    vectors[..., axis] = np.radians(degrees)
    return matrix_from_axis_angle(vectors)


def camera_of(table: CameraTable, size: tuple[int, int], portrait: bool, where: Path) -> Camera:
    """The camera of upright frames; `size`: of the frames as rendered. Raises AnnotationError on a lens that
    contradicts itself."""
    focal = table.focal[:, None] / table.sensor * size  # along the sensor's width and height
    by_angle = size[0] / 2 / np.tan(np.radians(table.hfov) / 2)
    ways = (("over the sensor's height", focal[:, 1], SAME_FOCAL), ("by hfov", by_angle, SAME_ANGLE))
    for name, other, limit in ways:
        odd = np.abs(other / focal[:, 0] - 1) > limit
        if odd.any():
            frame = int(odd.argmax())
            what = f"frame {frame}: the focal length is {focal[frame, 0]:.1f} px, and {other[frame]:.1f} px {name}"
            raise AnnotationError(what, where=where, hint=f"numbers of another camera, or a cropped sensor: {AGAIN}")
    if portrait:
        size, focal = size[::-1], focal[:, ::-1]
    rotation = about(2, (90.0 if portrait else 0.0) - table.roll) @ about(0, -table.pitch) @ about(1, -table.yaw)
    extrinsics = np.tile(np.eye(4), (len(rotation), 1, 1))
    extrinsics[:, :3, :3] = rotation
    extrinsics[:, :3, 3] = -np.einsum("tij,tj->ti", rotation, world_from_stage(table.position))
    intrinsics = np.tile(np.eye(3), (len(rotation), 1, 1))
    intrinsics[:, (0, 1), (0, 1)] = focal
    intrinsics[:, :2, 2] = np.array(size) / 2 - 0.5  # the renderer's pixels begin at their corners
    path = np.column_stack([table.position, table.yaw, table.pitch, table.roll])
    moving = bool(np.ptp(path, axis=0).max() > STILL)
    return Camera(
        width=size[0],
        height=size[1],
        intrinsics=intrinsics if zooms(table) else intrinsics[:1],
        camera_from_world=extrinsics if moving else extrinsics[:1],
        moving=moving,
    )


def zooms(table: CameraTable) -> bool:
    """Whether the focal length changes."""
    lens = table.focal[:, None] / table.sensor
    return bool((np.ptp(lens, axis=0) > 1e-6 * lens[0]).any())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Staged:
    """A motion where it is shown, over T frames."""

    turned: Array
    """(3, 3) rotation A from the axes of the motion to the world."""
    there: Flags
    """(T,) whether the motion has a row for the frame; zero elsewhere."""
    pose: Array
    """(T, J, 3) axis-angle, the root in the world."""
    translation: Array
    """(T, 3) metres, A t + c: without what the pelvis at rest adds."""


def staged(row: BodyRow, pose: Array, translation: Array, frames: int) -> Staged:
    """The rows of a motion, `pose` (N, J, 3) and `translation` (N, 3), in the world over so many frames."""
    turned = about(1, np.array(row.yaw - 90.0)) @ FLIP
    there = np.arange(frames) + row.start < len(pose)
    rows = np.flatnonzero(there) + row.start
    poses, places = np.zeros((frames, *pose.shape[1:])), np.zeros((frames, 3))
    poses[there] = pose[rows]
    poses[there, 0] = axis_angle_from_matrix(turned @ matrix_from_axis_angle(pose[rows, 0]))
    places[there] = translation[rows] @ turned.T + world_from_stage(np.array(row.position))
    return Staged(turned=turned, there=there, pose=poses, translation=places)


def body_of(row: BodyRow, motion: MotionRows, frames: int) -> tuple[BodyParams, Flags]:
    """A person's parameters in the world over so many frames, and in which of them the motion has a row (T,)."""
    found = staged(row, motion.pose, motion.translation, frames)
    body = BodyParams(
        gender=motion.gender,
        pose=found.pose,
        betas=np.tile(motion.betas, (frames, 1)),
        translation=found.translation,
        origin="turned",
        turned=found.turned,
    )
    return body, found.there


def seen_by(camera: Camera, body: BodyParams) -> tuple[Flags, Flags]:
    """`reaching` of a body of SMPL."""
    assert body.translation is not None and body.turned is not None
    return reaching(camera, body.translation + body.turned @ np.array(PELVIS))


def reaching(camera: Camera, pelvis: Array) -> tuple[Flags, Flags]:
    """(T,) in which frames a body with the pelvis (T, 3), world, is in front of the camera and may reach into the
    picture; and in which it may reach into it without being in front."""
    intrinsics, extrinsics = camera.per_frame(len(pelvis))
    place = np.einsum("tij,tj->ti", extrinsics[:, :3, :3], pelvis) + extrinsics[:, :3, 3]
    inside = []
    for axis, length in enumerate((camera.width, camera.height)):
        focal, centre = intrinsics[:, axis, axis], intrinsics[:, axis, 2] + 0.5
        for sign, edge in ((1, centre), (-1, length - centre)):  # planes through the frame's edges
            inside.append((sign * focal * place[:, axis] + edge * place[:, 2]) / np.hypot(focal, edge))
    reaches: Flags = np.min(inside, axis=0) > -REACH
    front = place[:, 2] >= NEAREST
    return reaches & front, reaches & ~front
