"""Clips of the sample world for Human3.6M: a few subjects, each with the same cameras in all clips.

No code is shared with the adapter that reads them. World: z up, as in the release.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.sample_world.cameras import PinholeCamera, draw_camera
from trace_data.sample_world.people import Role, Split
from trace_data.sample_world.scene import Performance, Scene, all_joints, before_camera, draw_scene, render_scene

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

TURN = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
"""From the sample world's axes (y up) to the release's (z up)."""
PLAYERS: dict[Split, dict[int, int]] = {
    "train": {1: 0, 5: 1, 6: 2, 7: 3, 8: 4},
    "validation": {9: 60},
    "test": {11: 74},
}
"""Subjects of each split of the sample world, and the person who plays each. There is no test split."""
TITLES = {
    3: "Discussion", 4: "Eating", 6: "Phoning", 7: "Posing", 8: "Purchases", 9: "Sitting", 11: "Smoking", 12: "Photo",
    14: "Walking", 15: "WalkDog", 16: "WalkTogether",
}  # fmt: skip
"""Actions by number, without those that have broken clips in the release, since readers would correct these."""
LENS = (-0.02, 0.01, -0.003, 0.002, -0.001)
"""k1, k2, k3, p1, p2: a tenth of the release's distortion."""
CLIPS = 2 * len(TITLES)
"""Number of clip titles of a subject."""
VIEWS = 2
"""Number of cameras, of four, that film a clip."""
_RIG = 5


@dataclass(frozen=True, slots=True)
class Human36mClip:
    """One performance by one subject, seen by one camera."""

    subject: int
    action: int
    subaction: int
    title: str
    """The release's title, such as `Walking 1`."""
    view: int
    """Number of the camera, from 0."""
    scene: Scene
    lens: tuple[float, ...]
    """k1, k2, k3, p1, p2, as the release's own code applies them; empty for a pinhole."""

    @property
    def performance(self) -> Performance:
        """The performance of the clip."""
        return self.scene.performances[0]

    def joints(self) -> Array:
        """(T, 44, 3) the 44 joints (docs/reference/joints.md#the-44-joints), z-up world, metres."""
        joints: Array = all_joints(self.performance)[0] @ TURN.T
        return joints

    def extrinsics(self) -> tuple[Array, Array]:
        """Rotation (3, 3) from the z-up world to the camera, and the camera's position in that world."""
        pose = self.scene.camera.camera_from_world[0]
        rotation = pose[:3, :3] @ TURN.T
        return rotation, -rotation.T @ pose[:3, 3]

    def in_camera(self, points: Array) -> Array:
        """World points (..., 3) in camera axes."""
        rotation, place = self.extrinsics()
        seen: Array = (points - place) @ rotation.T
        return seen

    def pixels(self, points: Array) -> Array:
        """(..., 2) distorted pixels of world points (..., 3)."""
        seen = self.in_camera(points)
        intrinsics = self.scene.camera.intrinsics
        bent = bend(seen[..., :2] / seen[..., 2:], self.lens)
        pixels: Array = bent * np.diag(intrinsics)[:2] + intrinsics[:2, 2]
        return pixels

    def body(self) -> tuple[Array, Array, Array]:
        """Pose (T, 72), shape (10,) and translation (T, 3) of the SMPL format, z-up world."""
        part = self.performance
        pose = part.motion.pose[::2].copy()
        root = part.figure.body.pose(np.zeros((1, 24, 3)), part.person.betas[None], np.zeros((1, 3)))[1][0, 0]
        pose[:, 0] = axis_angle_from_matrix(TURN @ matrix_from_axis_angle(pose[:, 0]))
        return pose.reshape(len(pose), 72), part.person.betas, (root + part.motion.translation[::2]) @ TURN.T - root

    def pictures(self) -> Iterator[Image]:
        """The frames, through the lens."""
        intrinsics = self.scene.camera.intrinsics
        width, height = self.scene.camera.size
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        wanted = np.stack([(x - intrinsics[0, 2]) / intrinsics[0, 0], (y - intrinsics[1, 2]) / intrinsics[1, 1]], -1)
        plane = wanted
        for _ in range(12):  # fixed-point iteration that inverts the distortion
            plane = plane + wanted - bend(plane, self.lens)
        source_x, source_y = ((plane[..., i] * intrinsics[i, i] + intrinsics[i, 2]).astype(np.float32) for i in (0, 1))
        for image, _ in render_scene(self.scene):
            yield np.asarray(
                cv2.remap(image, source_x, source_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8
            )


def draw_clips(
    seed: int, roles: Sequence[tuple[int, Role]], frames: int, height: int, fps: float, lens: tuple[float, ...]
) -> Iterator[list[Human36mClip]]:
    """The clips of each subject that plays. `roles`: scenes by index, whose people are replaced by the subjects.

    Raises ConfigError when there are more scenes than the release has titles.
    """
    for subject, played in sorted(_parts(roles).items()):
        if len(played) > CLIPS:
            raise ConfigError(f"{len(played)} clips of subject {subject}, there are names for {CLIPS}")
        scenes = [
            draw_scene(seed, index, _cast(role, subject), frames, height, shot="fixed", fps=fps, neutral=True)
            for index, role in played
        ]
        scenes = [replace(scene, performances=(_centred(scene.performances[0]),)) for scene in scenes]
        cameras = _rig(seed, scenes)
        yield [
            _clip(subject, number, view, before_camera(scene, seed, 4 * number + view, camera, azimuth), lens)
            for number, scene in enumerate(scenes)
            for view, (camera, azimuth) in enumerate(cameras)
        ]


def players(roles: Sequence[tuple[int, Role]]) -> set[int]:
    """The people who play the scenes, in place of those who were cast."""
    return {PLAYERS[played[0][1].split][subject] for subject, played in _parts(roles).items()}


def _parts(roles: Sequence[tuple[int, Role]]) -> dict[int, list[tuple[int, Role]]]:
    """Subject to its scenes: those of a split are assigned to its subjects in turn."""
    parts: defaultdict[int, list[tuple[int, Role]]] = defaultdict(list)
    allocation: Counter[Split] = Counter()
    for index, role in roles:
        subjects = list(PLAYERS[role.split])
        parts[subjects[allocation[role.split] % len(subjects)]].append((index, role))
        allocation[role.split] += 1
    return parts


def _cast(role: Role, subject: int) -> Role:
    return replace(role, people=(PLAYERS[role.split][subject],))


def _centred(performance: Performance) -> Performance:
    """The performance moved to the middle of the room, so that the same cameras can film all clips."""
    low, high = performance.joints.min((0, 1)), performance.joints.max((0, 1))
    return performance.moved(-(low + high) / 2 * [1, 0, 1])


def _rig(seed: int, scenes: list[Scene]) -> list[tuple[PinholeCamera, float]]:
    """The cameras of a subject, each with its azimuth; far enough away for all its clips."""
    joints = np.stack([scene.performances[0].joints for scene in scenes])
    times = np.arange(joints.shape[1]) / scenes[0].fps
    rig = []
    for view in range(VIEWS):
        # independent of the subject: only the position of a camera may change
        rng = np.random.default_rng([seed, _RIG, view])
        azimuth = 0.4 + view * np.pi / 2 + rng.uniform(-0.2, 0.2)
        rig.append((draw_camera(rng, times, joints, scenes[0].camera.size, azimuth, "fixed"), azimuth))
    return rig


def _clip(subject: int, number: int, view: int, scene: Scene, lens: tuple[float, ...]) -> Human36mClip:
    action = list(TITLES)[number % len(TITLES)]
    subaction = 1 + number // len(TITLES)
    return Human36mClip(subject, action, subaction, clip_title(subject, action, subaction), view, scene, lens)


def clip_title(subject: int, action: int, subaction: int) -> str:
    """The title of a clip; which of its two subactions has a number differs between subjects."""
    return TITLES[action] + (" 1" if (subaction + subject) % 2 else "")


def bend(plane: Array, lens: tuple[float, ...]) -> Array:
    """Distort points (..., 2) of the plane at depth 1, by the formula of the release's code."""
    if not lens:
        return plane
    k1, k2, k3, p1, p2 = lens
    x, y = plane[..., 0], plane[..., 1]
    r2 = x**2 + y**2
    factor = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * y + p2 * x
    return np.stack([x * factor + p2 * r2, y * factor + p1 * r2], axis=-1)
