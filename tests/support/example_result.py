"""A result as a perfect prediction would give it: people of the free body before a moving camera."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.geometry import matrix_from_axis_angle
from trace_data.results.result import ASSUMED_UP, INHERITED, PREDICTED, SEEN, Result
from trace_data.results.world_placement import in_frame, placed, rigid_inverse
from trace_data.sample_world.free_body import load_free_body
from trace_data.sample_world.motion import draw_motion
from trace_data.sample_world.scene import PICKED_VERTICES, skeleton_of
from trace_data.schema.keypoints import L_HIP, R_HIP

Floats = npt.NDArray[np.float64]
SIZE = (640, 360)
"""Width and height of the picture, px."""
FOCAL = 520.0
KINDS = ("walk", "turn", "stand")
ABOUT = {
    "video": {"name": "zwei Wege.mp4", "rate": 30.0, "rate_source": "time stamps"},
    "intrinsics_source": "known", "camera_source": "known", "scale": "metric: true", "up_source": "known",
    "body_model": {"name": "free body (CC0), not SMPL", "version": "1", "gender": "neutral"},
    "weights": "none", "options": {}, "warnings": [], "licence": "CC0",
}  # fmt: skip


def free_joints(pose: npt.NDArray[Any], betas: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Joints (N, 44, 3) relative to the hip midpoint, and the pelvis at rest (N, 3), of the neutral free body."""
    body, (needed, picked, extra) = load_free_body("neutral"), _needed_vertices()
    zero = np.zeros((len(pose), 3))
    pose, betas = np.asarray(pose, np.float64), np.asarray(betas, np.float64)
    vertices, kinematic = body.pose(pose, betas, zero, vertices=needed)
    rest = body.pose(np.zeros_like(pose), betas, zero, vertices=needed[:1])[1][:, 0]
    regressed = np.einsum("jv,nvc->njc", extra, vertices, optimize=True)
    joints = np.concatenate([kinematic, vertices[:, picked], regressed], axis=1)
    return joints - joints[:, [R_HIP, L_HIP]].mean(1, keepdims=True), rest


@lru_cache(maxsize=1)
def _needed_vertices() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Floats]:
    body = load_free_body("neutral")
    used = np.abs(body.regressor_extra).sum(0) > 0
    used[list(PICKED_VERTICES)] = True
    needed = np.flatnonzero(used)
    return needed, np.searchsorted(needed, PICKED_VERTICES), body.regressor_extra[:, needed]


def example_betas(people: int) -> Floats:
    """(P, 10) very different people: tall and short, and their pelvises at rest are millimetres apart."""
    draw = np.random.default_rng(7)
    betas = draw.normal(0, 0.5, (people, 10))
    spread = np.linspace(-2, 2, people) if people > 1 else 2.0
    betas[:, 0], betas[:, 1], betas[:, 4] = spread, -spread, spread
    return betas


def example_result(
    *,
    people: int = 3,
    frames: int = 90,
    irregular: bool = False,
    moving: bool = True,
    keep_betas: bool = True,
    known_up: bool = True,
) -> Result:
    """People who walk, turn and reach, from time 0.4 s on, each seen in all frames but these: the second one is away in
    the third quarter of the video, the third one enters after a fifth, and the last frames of the first are predicted.

    `irregular`: times with 10 % jitter and one dropped frame, else 30 frames a second. `known_up`: up is the true one.
    """
    draw = np.random.default_rng(3)
    even = np.arange(frames) / 30
    times = 0.4 + even
    frame_id = np.arange(frames)
    if irregular:
        times = times + draw.uniform(-0.003, 0.003, frames)
        times[frames // 2 :] += 1 / 30
        frame_id[frames // 2 :] += 1
    betas = example_betas(people)
    body = load_free_body("neutral")
    place = [np.array([1.1 * (k - (people - 1) / 2), 0.4 * (k % 2)]) for k in range(people)]
    motions = [
        draw_motion(draw, even, KINDS[k % len(KINDS)], skeleton_of(body, betas[k]), 2.5 + 0.9 * k, place[k])
        for k in range(people)
    ]
    camera_from_ground = _camera(even, moving)
    camera_from_world = camera_from_ground @ rigid_inverse(camera_from_ground[0])
    person, frame = (array.ravel() for array in np.meshgrid(np.arange(people), np.arange(frames), indexing="ij"))
    there = np.ones((people, frames), bool)
    if people > 1:
        there[1, frames // 2 : frames * 3 // 4] = False
    if people > 2:
        there[2, : frames // 5] = False
    person, frame = person[there.ravel()], frame[there.ravel()]

    pose = np.concatenate([motion.pose for motion in motions])[there.ravel()]
    translation = np.concatenate([motion.translation for motion in motions])[there.ravel()]
    rest = free_joints(np.zeros((people, 24, 3)), betas)[1][person]
    camera = camera_from_ground[frame]
    root, translation = in_frame(camera, pose[:, 0], translation, rest)
    pose = np.concatenate([root[:, None], pose[:, 1:]], axis=1)
    joints, _ = free_joints(pose, betas[person])
    hips = translation + rest - joints[:, 0]
    lens = np.array([[FOCAL, 0, (SIZE[0] - 1) / 2], [0, FOCAL, (SIZE[1] - 1) / 2], [0, 0, 1.0]])
    made = placed(
        pose_in_camera=pose, hips_in_camera=hips, joints=joints, rest_pelvis=rest,
        camera_from_world=camera_from_world[frame], intrinsics=np.broadcast_to(lens, (len(frame), 3, 3)),
    )  # fmt: skip
    low, high = made.joints_2d.min(1), made.joints_2d.max(1)
    state = np.full(len(frame), SEEN, np.uint8)
    state[(person == 0) & (frame >= frames - frames // 15)] = PREDICTED
    state[(person == 1) & (frame == frames // 2 - 1)] = INHERITED
    up = camera_from_ground[0, :3, :3] @ (0, 1, 0) if known_up else np.array(ASSUMED_UP)
    single = np.float32
    return Result(
        about=ABOUT | {"up_source": "known" if known_up else "assumed"},
        time=times,
        frame_id=frame_id.astype(np.int64),
        image_size=np.array(SIZE, np.int32),
        intrinsics=lens[None],
        camera_from_world=camera_from_world,
        camera_observed=np.bincount(frame, minlength=frames) > 0,
        up=up,
        person=np.arange(1, people + 1, dtype=np.int32),
        person_name=np.array([f"Größe {k}" if k else "" for k in range(people)], dtype="<U8"),
        row_person=person.astype(np.int32),
        row_frame=frame.astype(np.int32),
        state=state,
        score=np.where(state == PREDICTED, 0, draw.uniform(0.4, 0.95, len(frame))).astype(single),
        pose=made.pose.astype(single),
        translation=made.translation.astype(single),
        root_in_camera=made.root_in_camera.astype(single),
        translation_in_camera=made.translation_in_camera.astype(single),
        hips_in_camera=hips.astype(single),
        betas=betas.astype(single),
        betas_row=(betas[person] + draw.normal(0, 0.05, (len(frame), 10))).astype(single) if keep_betas else None,
        joints=made.joints.astype(single),
        joints_2d=made.joints_2d.astype(single),
        box=np.concatenate([low, high - low], axis=1).astype(single),
        world_residual=np.where(frame == 0, np.nan, draw.uniform(0, 0.1, len(frame))).astype(single),
    )


def _camera(times: Floats, moving: bool) -> Floats:
    """(T, 4, 4) camera_from_ground: 6 m before the people, 1.4 m above the ground, looking slightly down.

    The ground's y points up. A moving camera walks sideways, sways, and turns towards the people.
    """
    swing = (times if moving else np.zeros_like(times)) * 0.9
    position = np.stack([1.5 * np.sin(swing), 1.4 + 0.1 * np.sin(3 * swing), -6 - 0.5 * np.sin(2 * swing)], axis=-1)
    zero = np.zeros_like(swing)
    yaw = matrix_from_axis_angle(np.stack([zero, np.arctan2(position[:, 0], -position[:, 2]), zero], axis=-1))
    pitch = matrix_from_axis_angle(np.stack([0.1 + 0.05 * np.sin(2 * swing), zero, 0.1 * np.sin(swing)], axis=-1))
    out = np.tile(np.eye(4), (len(times), 1, 1))
    out[:, :3, :3] = pitch @ np.diag([-1.0, -1.0, 1.0]) @ yaw
    out[:, :3, 3] = -np.einsum("tij,tj->ti", out[:, :3, :3], position)
    return out
