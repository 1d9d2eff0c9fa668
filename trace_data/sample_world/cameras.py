"""Cameras of the sample world that keep people large in the picture: handheld, turning on a stand, or static."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.sample_world.gestures import wobble

Array = npt.NDArray[np.float64]
Shot = Literal["handheld", "turning", "fixed"]
"""Moves and turns with the people; only turns with them; static."""
SIZE_RANGE = (0.74, 0.92)
"""Share of the image height of the smallest person, joints plus a margin for the head, mid-sequence."""

FACING = 0.6
"""Cosine of the angle to which a camera turns from where it looks mid-sequence: there is no backdrop at its sides."""


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """A pinhole camera over T frames; pixel (0, 0) is the centre of the top-left pixel."""

    size: tuple[int, int]
    """Width and height, pixels."""
    intrinsics: Array
    """(3, 3)."""
    camera_from_world: Array
    """(T, 4, 4), x right, y down, z forward."""

    def pixels(self, points: Array) -> tuple[Array, Array]:
        """World points (T, N, 3) as pixels (T, N, 2) and depths (T, N) in metres."""
        seen = transform(self.camera_from_world, points)
        return project(self.intrinsics, seen), seen[..., 2]


def draw_camera(
    rng: np.random.Generator,
    times: Array,
    joints: Array,
    size: tuple[int, int],
    azimuth: float,
    shot: Shot = "handheld",
) -> PinholeCamera:
    """A camera for people with `joints` (P, T, 24, 3), looking along `azimuth` radians (0 is +z) mid-sequence."""
    width, height = size
    focal = width / 2 / np.tan(np.radians(rng.uniform(50, 60)) / 2)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])

    middle = len(times) // 2
    centre = (joints.min((0, 2)) + joints.max((0, 2))) / 2
    ahead = np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    rise = rng.uniform(-0.25, 0.75)
    follow, aim = rng.uniform(0.7, 1.0), rng.uniform(0.85, 1.0)
    drift = wobble(rng, times, 0.3, 3) * [1, 0.3, 1] + wobble(rng, times * 4, 0.012, 3)
    gaze = wobble(rng, times, 0.12, 3) * [1, 0.5, 0] + rng.uniform(-0.06, 0.06, 3)
    shake = wobble(rng, times * 4, 0.008, 3) + rng.normal(0, [0, 0, 0.02])
    if shot != "handheld":
        follow, drift, shake = 0.0, np.zeros_like(drift), np.broadcast_to(shake[middle], shake.shape)
    if shot == "fixed":
        aim, gaze = 0.0, np.broadcast_to(gaze[middle], gaze.shape)
    target = centre[middle] + aim * (centre - centre[middle]) + gaze

    def at(distance: float) -> PinholeCamera:
        start = centre[middle] - distance * ahead + [0, rise, 0]
        position = start + follow * (centre - centre[middle]) * [1, 0, 1] + drift - drift[middle]
        rotation = matrix_from_axis_angle(shake) @ look_along(target - position)
        pose = np.tile(np.eye(4), (len(times), 1, 1))
        pose[:, :3, :3] = rotation
        pose[:, :3, 3] = -np.einsum("tij,tj->ti", rotation, position)
        return PinholeCamera(size, intrinsics, pose)

    share = rng.uniform(*SIZE_RANGE)
    reach = np.linalg.norm((joints - centre[middle])[..., [0, 2]], axis=-1).max()
    near, far = 1.3, max(9.0, 2.5 * reach)  # who runs far is neither lost nor behind the camera
    for _ in range(12):
        distance = (near + far) / 2
        if _too_large(at(distance), joints, share):
            near = distance
        else:
            far = distance
    return at(far)


def stage_camera(
    rng: np.random.Generator, times: Array, size: tuple[int, int], azimuth: float, distance: float, shot: Shot
) -> PinholeCamera:
    """A camera that looks along `azimuth` radians at a stage around the world's origin, `distance` metres away.

    People enter and leave its picture; a moving one does not follow them.
    """
    width, height = size
    focal = width / 2 / np.tan(np.radians(rng.uniform(54, 60)) / 2)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    ahead = np.array([np.sin(azimuth), 0.0, np.cos(azimuth)])
    drift = wobble(rng, times / 4, 0.45, 3) * [1, 0.3, 1] + wobble(rng, times * 2, 0.01, 3)
    gaze = wobble(rng, times / 3, 0.4, 3) * [1, 0.3, 1]
    shake = wobble(rng, times * 2, 0.006, 3)
    start = np.array([0, rng.uniform(1.1, 1.5), 0]) - distance * ahead
    if shot != "handheld":
        drift, shake = np.zeros_like(drift), np.zeros_like(shake)
    if shot == "fixed":
        gaze = np.zeros_like(gaze)
    position = start + drift - drift[len(times) // 2]
    target = np.array([0.0, 0.95, 0.0]) + gaze - gaze[len(times) // 2]
    pose = np.tile(np.eye(4), (len(times), 1, 1))
    pose[:, :3, :3] = matrix_from_axis_angle(shake) @ look_along(target - position)
    pose[:, :3, 3] = -np.einsum("tij,tj->ti", pose[:, :3, :3], position)
    return PinholeCamera(size, intrinsics, pose)


def look_along(forward: Array) -> npt.NDArray[np.float64]:
    """(T, 3, 3) camera_from_world rotations that look along `forward` (T, 3) with the image upright."""
    z = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    x = np.cross(z, [0.0, 1.0, 0.0])
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=-2)


def _too_large(camera: PinholeCamera, joints: Array, share: float) -> bool:
    """Whether all exceed `share` of the height, a joint leaves the picture, or the camera turns from its stage."""
    ahead = camera.camera_from_world[:, 2, :3]
    if (ahead @ ahead[len(ahead) // 2]).min() < FACING:
        return True
    width, height = camera.size
    spans, out = [], False
    for person in joints:
        uv, depth = camera.pixels(person)
        if (depth < 0.5).any() or np.isnan(uv).any():
            return True
        metre = camera.intrinsics[0, 0] / depth.min()
        # margins from the outermost joints to the skin: fingers at the sides, crown above, soles below
        low, high = uv.min((0, 1)) - metre * np.array([0.06, 0.18]), uv.max((0, 1)) + metre * 0.06
        out = out or bool((low < 0).any() or (high > [width, 1.04 * height]).any())
        middle = uv[len(uv) // 2, :, 1]
        spans.append((np.ptp(middle) + 0.24 * metre) / height)
    return min(spans) > share or out
