"""Scenes of the sample world: moving people and camera, rendered with exact annotations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.sample_world.backdrop import Backdrop, draw_backdrop
from trace_data.sample_world.cameras import PinholeCamera, Shot, draw_camera
from trace_data.sample_world.figure import Figure, load_figure
from trace_data.sample_world.free_body import FreeBody
from trace_data.sample_world.gestures import ACTIVITIES
from trace_data.sample_world.motion import Motion, Skeleton, draw_motion
from trace_data.sample_world.people import CastMember, Role, draw_person
from trace_data.sample_world.recorded import MotionClip, recorded_motion
from trace_data.sample_world.render import Actor, VisibleFaces, draw_frame

Array = npt.NDArray[np.float64]
Image = npt.NDArray[np.uint8]

FPS = 30.0
ASPECT = 1.0
"""Width over height of a frame: square, so that people are as large as possible in a small network's input."""
SYNTHETIC = "trace sample world"
"""Value of a key or comment in every file of the sample world, which no real file has: readers take it as the origin of
the data."""
_SCENE, _VIEW = 3, 4

FACE_VERTICES = {0: 332, 14: 6260, 15: 2800, 16: 4071, 17: 583}
"""COCO_18 index to vertex id: nose, eyes, ears, right first (docs/reference/joints.md#source-joints-of-the-44)."""
BODY_JOINTS = {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 9: 5, 10: 8, 12: 4, 13: 7}
"""COCO_18 index to kinematic joint: neck, right arm, left arm, right knee and ankle, left knee and ankle."""
PICKED_VERTICES = (332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787)
"""Vertex ids of face and feet: joints 24 to 34 of the 44 (docs/reference/assets.md#extra-vertex-joints)."""
HIP_ROWS = {8: 0, 11: 1}
"""COCO_18 index to row of the extra regressor: right hip, left hip."""


@dataclass(frozen=True, slots=True)
class Performance:
    """One person's motion in a scene of T frames."""

    person: CastMember
    figure: Figure
    motion: Motion
    """At 60 Hz, 2T steps; every second one is a frame."""
    points: Array
    """(T, N, 3) drawn points, world metres."""
    joints: Array
    """(T, 24, 3) world metres."""
    marks: Array
    """(T, 18, 3) the COCO_18 points, world metres."""

    def rest_pelvis(self) -> Array:
        """(3,) the pelvis of the person's body at rest."""
        pose, still = np.zeros((1, 24, 3)), np.zeros((1, 3))
        joints = self.figure.body.pose(pose, self.person.betas[None], still, vertices=np.zeros(1, np.int64))[1]
        pelvis: Array = joints[0, 0]
        return pelvis

    def rest_pelvis_of_another_model(self, middling: Array) -> Array:
        """(3,) the same of a model whose middling shape has its pelvis there: shapes move it by a few centimetres."""
        pelvis: Array = middling + 0.01 * self.person.betas[:3] * [0.1, 1, 0.3]
        return pelvis

    def moved(self, shift: Array) -> Performance:
        """The same performance, translated by `shift` (3,) metres."""
        motion = replace(self.motion, translation=self.motion.translation + shift)
        return replace(
            self, motion=motion, points=self.points + shift, joints=self.joints + shift, marks=self.marks + shift
        )


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything that determines the pictures of a sequence."""

    name: str
    role: Role
    performances: tuple[Performance, ...]
    camera: PinholeCamera
    backdrop: Backdrop
    light: Array
    """(3,) unit vector towards the light, world."""
    ambient: float
    grain: npt.NDArray[np.int16]
    """Sensor noise, larger than a picture; every frame uses another crop of it."""
    cuts: npt.NDArray[np.int64]
    """(T, 2) corners of these crops."""
    azimuth: float
    """Viewing direction of the camera mid-sequence, radians; 0 is +z."""
    fps: float
    """Frames per second."""


def draw_scene(
    seed: int,
    index: int,
    role: Role,
    frames: int,
    height: int,
    *,
    shot: Shot = "handheld",
    fps: float = FPS,
    neutral: bool = False,
    aspect: float = ASPECT,
) -> Scene:
    """Sequence `index` of the world of `seed`, with `frames` pictures at `fps`.

    `neutral`: use the neutral body for everyone. `aspect`: width of a picture over its height.
    """
    rng = np.random.default_rng([seed, _SCENE, index])
    times = np.arange(2 * frames) / (2 * fps)
    kinds, shares = list(ACTIVITIES), np.array(list(ACTIVITIES.values()))
    azimuth = rng.uniform(0, 2 * np.pi)
    performances: list[Performance] = []
    for order, place in enumerate(_places(rng, len(role.people), azimuth)):
        kind = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
        # the golden ratio distributes facing directions evenly over all sequences
        heading = azimuth + 2 * np.pi * ((index * 0.618034 + order * 0.381) % 1.0)
        person = draw_person(seed, role.people[order])
        person = replace(person, gender="neutral") if neutral else person
        if role.motions:
            performances.append(perform_clip(person, role.motions[order], times, heading, place, len(times) // 2))
        else:
            performances.append(_perform(rng, person, kind, times, heading, place))
    keep_apart(performances)
    size = (2 * round(height * aspect / 2), height)
    joints = np.stack([p.joints for p in performances])
    camera = draw_camera(rng, times[::2], joints, size, azimuth, shot)
    light = np.array([rng.normal(0, 0.5), rng.uniform(0.7, 1.2), rng.normal(0, 0.5)])
    # more often from the camera's side than from behind the people
    light[[0, 2]] -= 0.5 * np.array([np.sin(azimuth), np.cos(azimuth)])
    light /= np.linalg.norm(light)
    backdrop = _backdrop(rng, camera, joints, light)
    return Scene(
        name=f"{performances[0].motion.kind}_{index:04d}",
        role=role,
        performances=tuple(performances),
        camera=camera,
        backdrop=backdrop,
        light=light,
        ambient=rng.uniform(0.45, 0.6),
        grain=np.rint(rng.normal(0, rng.uniform(0.8, 2), (height + 32, size[0] + 32, 3))).astype(np.int16),
        cuts=rng.integers(0, 32, (frames, 2)),
        azimuth=azimuth,
        fps=fps,
    )


def another_view(scene: Scene, seed: int, number: int, turn: float) -> Scene:
    """View `number` of a scene: the same performances, filmed by a fixed camera rotated by `turn` radians."""
    rng = np.random.default_rng([seed, _VIEW, number])
    frames = len(scene.cuts)
    joints = np.stack([p.joints for p in scene.performances])
    azimuth = scene.azimuth + turn
    camera = draw_camera(rng, np.arange(frames) / scene.fps, joints, scene.camera.size, azimuth, "fixed")
    return _before(scene, rng, camera, azimuth)


def before_camera(scene: Scene, seed: int, number: int, camera: PinholeCamera, azimuth: float) -> Scene:
    """View `number` of a scene: the same performances, filmed by a camera shared with other scenes."""
    return _before(scene, np.random.default_rng([seed, _VIEW, number]), camera, azimuth)


def _before(scene: Scene, rng: np.random.Generator, camera: PinholeCamera, azimuth: float) -> Scene:
    joints = np.stack([p.joints for p in scene.performances])
    return replace(
        scene,
        camera=camera,
        backdrop=_backdrop(rng, camera, joints, scene.light),
        cuts=rng.integers(0, 32, (len(scene.cuts), 2)),
        azimuth=azimuth,
    )


def all_joints(performance: Performance) -> tuple[Array, Array]:
    """A person's joints in every frame, world, metres: the 44 (T, 44, 3) and Human3.6M's 17 (T, 17, 3).

    Orders: docs/reference/joints.md#the-44-joints, and the rows of `J_regressor_h36m.npy`.
    """
    body, motion = performance.figure.body, performance.motion
    vertices, joints = body.pose(motion.pose[::2], performance.person.betas[None], motion.translation[::2])
    extra = np.einsum("jv,tvc->tjc", body.regressor_extra, vertices, optimize=True)
    human = np.einsum("jv,tvc->tjc", body.regressor_h36m, vertices, optimize=True)
    return np.concatenate([joints, vertices[:, PICKED_VERTICES], extra], axis=1), human


def _backdrop(rng: np.random.Generator, camera: PinholeCamera, joints: Array, light: Array) -> Backdrop:
    stage = joints[..., [0, 2]].reshape(-1, 2)
    centre = stage.mean(0)
    radius = float(np.linalg.norm(stage - centre, axis=1).max())
    return draw_backdrop(rng, camera, np.array([centre[0], 0.0, centre[1]]), radius, light)


def render_scene(scene: Scene) -> Iterator[tuple[Image, VisibleFaces]]:
    """The pictures (H, W, 3) BGR in order, each with its visible faces."""
    views = [scene.camera.pixels(p.points) for p in scene.performances]
    width, height = scene.camera.size
    for frame, (top, left) in enumerate(scene.cuts):
        actors = [
            Actor(p.figure, p.points[frame], pixels[frame], depth[frame], p.person.colours)
            for p, (pixels, depth) in zip(scene.performances, views)
        ]
        image, seen = draw_frame(scene.backdrop, scene.camera, frame, actors, scene.light, scene.ambient)
        noise = scene.grain[top : top + height, left : left + width]
        yield np.asarray(cv2.add(image, noise, dtype=cv2.CV_8U), np.uint8), seen


def detections(scene: Scene, performance: int, frame: int, seen: VisibleFaces) -> Array:
    """(18, 3) COCO_18 points of a person: x and y in pixels and confidence 1, or zeros where hidden or outside."""
    width, height = scene.camera.size
    pixels, depth = scene.camera.pixels(scene.performances[performance].marks)
    made = np.zeros((18, 3))
    for mark, (pixel, far) in enumerate(zip(pixels[frame], depth[frame])):
        inside = (pixel >= 0).all() and pixel[0] <= width - 1 and pixel[1] <= height - 1
        slack = 0.06 if mark in FACE_VERTICES else 0.2
        if inside and not seen.hides(pixel, float(far), performance, slack):
            made[mark] = [*pixel, 1.0]
    return made


def _places(rng: np.random.Generator, number: int, azimuth: float) -> Array:
    """(number, 2) x and z of the people mid-sequence: two are side by side, or one is partly behind the other."""
    if number == 1:
        return np.zeros((1, 2))
    aside, behind = rng.choice([-1, 1]) * rng.uniform(0.2, 0.85), rng.choice([-1, 1]) * rng.uniform(0.1, 0.35)
    apart = np.array([aside, behind])
    apart *= max(1.0, 0.65 / np.linalg.norm(apart))
    ahead, right = np.array([np.sin(azimuth), np.cos(azimuth)]), np.array([-np.cos(azimuth), np.sin(azimuth)])
    other: Array = apart[0] * right + apart[1] * ahead
    return np.stack([-other / 2, other / 2])


def keep_apart(performances: list[Performance]) -> None:
    """Move everybody but the first away from those before them until they no longer touch."""
    for number in range(1, len(performances)):
        before, last = performances[:number], performances[number]
        away = (last.joints - np.mean([p.joints for p in before], axis=0)).mean((0, 1)) * [1, 0, 1]
        for _ in range(20):
            if min(_gap(other, last) for other in before) > 0.22:
                break
            last = last.moved(0.08 * away / np.linalg.norm(away))
        performances[number] = last


def _gap(one: Performance, other: Performance) -> float:
    """Least distance between two people's joints, metres."""
    return float(min(np.linalg.norm(a[:, None] - b, axis=-1).min() for a, b in zip(one.joints, other.joints)))


def _perform(
    rng: np.random.Generator, person: CastMember, kind: str, times: Array, heading: float, place: Array
) -> Performance:
    skeleton = skeleton_of(load_figure(person.gender).body, person.betas)
    return perform(person, draw_motion(rng, times, kind, skeleton, heading, place))


def perform_clip(
    person: CastMember, clip: MotionClip, times: Array, heading: float, place: Array, middle: int
) -> Performance:
    """A recorded motion as this person performs it, the lowest point of all frames on the ground.

    Only one height for the whole clip keeps jumps and stairs; `middle`: see `recorded_motion`.
    """
    performed = perform(person, recorded_motion(clip, times, heading, place, middle))
    return performed.moved(np.array([0.0, -performed.points[..., 1].min(), 0.0]))


def perform(person: CastMember, motion: Motion) -> Performance:
    """A motion as this person performs it."""
    figure = load_figure(person.gender)
    body = figure.body
    hips, regressor = _hip_support(person.gender)
    extra = np.concatenate([list(FACE_VERTICES.values()), hips]).astype(np.int64)
    chosen = np.concatenate([figure.vertices, extra])
    vertices, joints = body.pose(motion.pose[::2], person.betas[None], motion.translation[::2], vertices=chosen)
    drawn = len(figure.vertices)
    marks = np.zeros((len(joints), 18, 3))
    marks[:, list(BODY_JOINTS)] = joints[:, list(BODY_JOINTS.values())]
    marks[:, list(FACE_VERTICES)] = vertices[:, drawn : drawn + len(FACE_VERTICES)]
    marks[:, list(HIP_ROWS)] = regressor[list(HIP_ROWS.values())] @ vertices[:, drawn + len(FACE_VERTICES) :]
    return Performance(person, figure, motion, figure.points(vertices[:, :drawn]), joints, marks)


@lru_cache(maxsize=4)
def _hip_support(gender: str) -> tuple[npt.NDArray[np.int64], Array]:
    """The vertices that the two hip rows of the extra regressor use, and the rows restricted to them."""
    rows = load_figure(gender).body.regressor_extra[:2]
    used = np.flatnonzero(np.abs(rows).sum(0))
    return used, rows[:, used]


def skeleton_of(body: FreeBody, betas: Array) -> Skeleton:
    """Joints of the shaped body and the points under its feet."""
    feet = _feet(body.kind)
    shaped = body.v_template[feet] + body.shapedirs[feet, :, :10] @ betas
    joints = body.pose(np.zeros((1, 24, 3)), betas[None], np.zeros((1, 3)), vertices=feet[:1])[1][0]
    soles = np.zeros((4, 3))
    for foot, side in enumerate((shaped[:, 0] > 0, shaped[:, 0] < 0)):
        points = shaped[side]
        ground = points[:, 1].min()
        for end, z in enumerate((points[:, 2].min() + 0.02, points[:, 2].max() - 0.02)):
            soles[2 * foot + end] = [np.median(points[:, 0]), ground, z]
    return Skeleton(joints, soles)


@lru_cache(maxsize=4)
def _feet(gender: str) -> npt.NDArray[np.int64]:
    body = load_figure(gender).body
    return np.flatnonzero(np.isin(body.weights.argmax(1), (7, 8, 10, 11)))
