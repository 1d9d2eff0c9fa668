"""People who walk in front of a moving camera, and what a perfect network would say of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle, transform
from trace_data.results.world_placement import rigid_inverse
from trace_train.inference.camera.frame_people import FramePeople
from trace_train.inference.lens_change import PaddedSquare

Array = npt.NDArray[np.float64]

SQUARE = PaddedSquare(1280, 720)
LENS = np.array([[1100.0, 0, 639.5], [0, 1100.0, 359.5], [0, 0, 1]])


def path(rotation: Array, centre: Array) -> Array:
    """Cameras (T, 4, 4) from rotation vectors of the camera in the world (T, 3) and its centres (T, 3); the first one
    becomes the world."""
    world_from_camera = np.tile(np.eye(4), (len(rotation), 1, 1))
    world_from_camera[:, :3, :3] = matrix_from_axis_angle(rotation)
    world_from_camera[:, :3, 3] = centre
    return rigid_inverse(world_from_camera) @ world_from_camera[0]


def handheld(time: Array, *, speed: float = 0.5) -> Array:
    """A camera that walks sideways, sways and looks around."""
    sway = np.stack([0.04 * np.sin(3 * time), 0.3 * np.sin(time), 0.02 * np.cos(2 * time)], axis=1)
    centre = np.stack([speed * time, 0.05 * np.sin(5 * time), 0.3 * np.sin(1.3 * time)], axis=1)
    return path(sway, centre)


@dataclass(frozen=True, kw_only=True)
class Walkers:
    """P people over T frames."""

    camera_from_world: Array
    """(T, 4, 4)."""
    hips: Array
    """(T, P, 3) in the world, m."""

    @classmethod
    def before(cls, camera_from_world: Array, time: Array, people: int = 3, seed: int = 0) -> Walkers:
        """They start 4 to 8 m before the first camera and walk where they want, swaying."""
        rng = np.random.default_rng((seed, people))
        start = np.stack(
            [rng.uniform(-2, 2, people), rng.uniform(-0.2, 0.5, people), rng.uniform(4, 8, people)], axis=1
        )
        speed = rng.uniform(-0.6, 0.6, (people, 3)) * [1, 0, 1]
        sway = 0.03 * np.sin(7 * time[:, None, None] + rng.uniform(0, 6, (people, 3)))
        return cls(camera_from_world=camera_from_world, hips=start + speed * time[:, None, None] + sway)

    def said(
        self, frame: int, *, since: npt.NDArray[np.int64] | None = None, error: Array | None = None
    ) -> FramePeople:
        """What the network says of everybody in a frame. Their worlds are the cameras of the frames `since` (P,), by
        default the first; `error` (P, 3, 3): rotation by which each person is wrong between any two frames."""
        camera = self.camera_from_world
        hips = transform(camera[frame], self.hips[frame])
        begun = np.zeros(len(hips), int) if since is None else since
        view = [
            SQUARE.triple(transform(camera[begun], self.hips[t][:, None])[:, 0], LENS)
            for t in (max(frame - 1, 0), frame)
        ]
        rotation = (camera[begun] @ rigid_inverse(camera[frame]))[:, :3, :3]
        if error is not None:
            rotation = np.tile(np.eye(3), (len(hips), 1, 1))
            for t in range(1, frame + 1):
                turn = (camera[t] @ rigid_inverse(camera[t - 1]))[:3, :3]
                rotation = rotation @ np.swapaxes(error @ turn, -1, -2)
        everybody = np.arange(1, len(hips) + 1)
        return FramePeople(
            identity=everybody,
            score=np.full(len(hips), 0.8),
            hips=hips,
            triple=SQUARE.triple(hips, LENS),
            world_motion=view[1] - view[0],
            world_rotation=rotation,
            boxes=np.zeros((0, 4)),
        )


def only(people: FramePeople, kept: npt.NDArray[np.bool_]) -> FramePeople:
    """Some of the people of a frame."""
    return FramePeople(
        identity=people.identity[kept],
        score=people.score[kept],
        hips=people.hips[kept],
        triple=people.triple[kept],
        world_motion=None if people.world_motion is None else people.world_motion[kept],
        world_rotation=None if people.world_rotation is None else people.world_rotation[kept],
        boxes=people.boxes,
    )
