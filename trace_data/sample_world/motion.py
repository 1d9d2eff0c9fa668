"""Convert joint angles to SMPL poses and a root trajectory with feet on the ground.

World frame: metres, y up, the ground at y = 0. A body at rest faces +z and has its left at +x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.sample_world.gestures import Controls, draw_arms, draw_controls
from trace_data.schema.keypoints import SMPL_PARENTS

Array = npt.NDArray[np.float64]

HIP, KNEE, ANKLE = (1, 2), (4, 5), (7, 8)
COLLAR, SHOULDER, ELBOW, WRIST, HAND = (13, 14), (16, 17), (18, 19), (20, 21), (22, 23)
MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Skeleton:
    """Measures of the body that a motion depends on."""

    joints: Array
    """(24, 3) joints of the shaped body at rest."""
    soles: Array
    """(4, 3) points under left heel, left toes, right heel, right toes at rest."""


@dataclass(frozen=True, slots=True)
class Motion:
    """A body's motion over T time steps."""

    pose: Array
    """(T, 24, 3) axis-angle, radians; the root is the orientation in the world."""
    translation: Array
    """(T, 3) metres, added to the posed body."""
    kind: str
    """One of `gestures.ACTIVITIES`, or `recorded.RECORDED`."""


def draw_motion(
    rng: np.random.Generator, times: Array, kind: str, skeleton: Skeleton, heading: float, place: Array
) -> Motion:
    """A motion of `kind` at `times` (T) seconds, facing `heading` radians (0 is +z) at `place` (x, z) mid-sequence.

    Arm gestures that intersect trunk, head or thighs are drawn again.
    """
    controls = draw_controls(rng, times, kind)
    rotations = body_rotations(controls, heading)
    for attempt in range(30):
        if not arms_collide(skeleton, rotations):
            break
        controls.arms = draw_arms(rng, times)
        if attempt >= 25:
            controls.arms = np.tile([0.0, 0.0, 0.45, 0.0, 0.15], (len(times), 2, 1))
        rotations = body_rotations(controls, heading)
    path = walk_on_ground(skeleton, rotations)
    middle = path[len(path) // 2]
    shift = np.array([place[0] - middle[0], 0.0, place[1] - middle[2]])
    return Motion(axis_angle_from_matrix(rotations), path + shift, kind)


def body_rotations(controls: Controls, heading: float | Array) -> npt.NDArray[np.float64]:
    """(T, 24, 3, 3) joint rotations relative to the parent; the root relative to the world.

    `heading`: radians, one or (T,); 0 is +z.
    """
    count = len(controls.trunk)
    made = np.tile(np.eye(3), (count, 24, 1, 1))
    pitch, yaw, roll = controls.pelvis.T
    made[:, 0] = _about("y", heading + yaw) @ _about("x", pitch) @ _about("z", roll)
    bend, turn, lean = controls.trunk.T / 3
    made[:, 3] = made[:, 6] = made[:, 9] = _about("y", turn) @ _about("x", bend) @ _about("z", lean)
    nod, look, tilt = controls.head.T / 2
    made[:, 12] = made[:, 15] = _about("y", look) @ _about("x", nod) @ _about("z", tilt)
    for side in (0, 1):
        thigh, out, toes, knee, foot = controls.legs[:, side].T
        leg = {
            HIP: _about("y", toes) @ _about("z", out) @ _about("x", -thigh - pitch),
            KNEE: _about("x", knee),
            ANKLE: _about("x", np.clip(foot + thigh - knee, -0.65, 0.9)) @ _about("z", -out),
        }
        swing, azimuth, elevation, twist, elbow = controls.arms[:, side].T
        shrug = 0.3 * np.maximum(elevation - 1.4, 0)
        arm = {
            COLLAR: _about("z", shrug),
            SHOULDER: _about("x", -swing)
            @ _about("y", -azimuth)
            @ _about("z", elevation - np.pi / 2 - shrug)
            @ _about("x", twist),
            ELBOW: _about("y", -elbow),
        }
        for joints, rotation in (leg | arm).items():
            made[:, joints[side]] = MIRROR @ rotation @ MIRROR if side else rotation
    return made


def _about(axis: str, angle: Array | float) -> npt.NDArray[np.float64]:
    values = np.asarray(angle, np.float64)
    return matrix_from_axis_angle(values[..., None] * np.eye(3)["xyz".index(axis)])


def forward(skeleton: Skeleton, rotations: Array) -> tuple[Array, Array]:
    """Joints (T, 24, 3) and soles (T, 4, 3) of a posed skeleton with no translation."""
    turned = rotations.copy()
    joints = np.zeros((len(rotations), 24, 3))
    joints[:, 0] = skeleton.joints[0]
    for child in range(1, 24):
        parent = SMPL_PARENTS[child]
        joints[:, child] = joints[:, parent] + turned[:, parent] @ (skeleton.joints[child] - skeleton.joints[parent])
        turned[:, child] = turned[:, parent] @ rotations[:, child]
    feet = np.repeat(ANKLE, 2)
    soles = joints[:, feet] + np.einsum("tpij,pj->tpi", turned[:, feet], skeleton.soles - skeleton.joints[feet])
    return joints, soles


def walk_on_ground(skeleton: Skeleton, rotations: Array) -> Array:
    """(T, 3) translation that keeps the lowest sole at y = 0 and supporting feet from sliding."""
    _, soles = forward(skeleton, rotations)
    height = soles[..., 1]
    load = np.exp(-(height - height.min(1, keepdims=True)) / 0.015)
    load /= load.sum(1, keepdims=True)
    step = -np.einsum("tp,tpi->ti", (load[1:] + load[:-1]) / 2, np.diff(soles, axis=0))
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(step, axis=0)])
    path[:, 1] = -height.min(1)
    return path


def arms_collide(skeleton: Skeleton, rotations: Array) -> bool:
    """Whether an elbow, forearm or hand intersects the trunk, head or a thigh, modelled as capsules."""
    joints, _ = forward(skeleton, rotations)
    turn = np.swapaxes(rotations[:, :1], -1, -2)
    j = np.einsum("tnij,tnj->tni", np.broadcast_to(turn, (len(joints), 24, 3, 3)), joints)
    elbow, wrist, hand = j[:, ELBOW], j[:, WRIST], j[:, HAND]
    probes = np.concatenate([elbow, (elbow + wrist) / 2, wrist, hand + 0.6 * (hand - wrist)], axis=1)
    crown = j[:, 15] + 0.5 * (j[:, 15] - j[:, 12])
    for start, end, radius in (
        (j[:, 0], j[:, 12], 0.185),
        (j[:, 12], crown, 0.14),
        (j[:, 1], j[:, 4], 0.1),
        (j[:, 2], j[:, 5], 0.1),
        ((j[:, 1] + j[:, 0]) / 2, (j[:, 2] + j[:, 0]) / 2, 0.14),
    ):
        if (_distance(probes, start[:, None], (end - start)[:, None]) < radius).any():
            return True
    # the forearms must not cross each other either
    between = np.linalg.norm(probes[:, 2::2, None] - probes[:, None, 3::2], axis=-1)
    return bool((between < 0.08).any())


def _distance(points: Array, start: Array, along: Array) -> Array:
    """Distance of points (T, P, 3) from the segments start + s * along, 0 <= s <= 1, with (T, 1, 3) each."""
    share = ((points - start) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-9)
    nearest = start + np.clip(share, 0, 1)[..., None] * along
    distance: Array = np.linalg.norm(points - nearest, axis=-1)
    return distance
