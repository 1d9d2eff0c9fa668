"""Clips made here: people of 44 random joints before a camera of known place, consistent in 3D and 2D."""

from __future__ import annotations

import numpy as np

from trace_data.geometry import matrix_from_axis_angle, project, transform
from trace_data.schema.clip import FRAME_MASKS, PERSON_MASKS, ClipAnnotations
from trace_data.schema.keypoints import TORSO

WIDTH, HEIGHT = 640, 360


def make_clip(
    seed: int, *, frames: int = 10, people: int = 2, walk: float = 1.0, moving: bool = False, dataset: str = "h36m"
) -> ClipAnnotations:
    """`walk`: metres that people walk within the clip, sideways; 0 leaves them at rest in the world."""
    rng = np.random.default_rng(seed)
    turn = matrix_from_axis_angle(rng.normal(0, 0.4, 3))
    extrinsics = np.tile(np.eye(4), (frames, 1, 1))
    extrinsics[:, :3, :3], extrinsics[:, :3, 3] = turn, rng.normal(0, 1, 3)
    intrinsics = np.array([[520.0, 0.4, 318.3], [0, 516.0, 177.9], [0, 0, 1]])
    camera = rng.uniform(-0.35, 0.35, (people, 1, 44, 3)) * (1, 2, 0.5)
    camera = camera + np.concatenate([rng.uniform(-0.8, 0.8, (people, 1, 1, 2)), np.full((people, 1, 1, 1), 5.0)], -1)
    steps = np.linspace(-0.5, 0.5, frames)[:, None, None] * (walk, 0, 0)
    camera = camera + steps * rng.choice((-1, 1), (people, 1, 1, 1))
    world = transform(np.linalg.inv(extrinsics), camera)
    pixels = project(intrinsics, camera)
    inside = ((pixels >= -0.5) & (pixels <= (WIDTH - 0.5, HEIGHT - 0.5))).all(-1)
    torso = np.zeros(44, bool)
    torso[list(TORSO)] = True
    used = inside & torso
    there = np.ones((people, frames), bool)
    assert (used.sum(-1) >= 2).all(), "choose another seed: somebody has left the frame"
    center = np.where(used[..., None], pixels, 0).sum(2) / used.sum(2)[..., None]
    low = np.where(inside[..., None], pixels, np.inf).min(2)
    high = np.where(inside[..., None], pixels, -np.inf).max(2)

    def single(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float32)

    return ClipAnnotations(
        dataset=dataset,
        moving=moving,
        frame_ids=np.arange(frames),
        fps=25.0,
        width=WIDTH,
        height=HEIGHT,
        intrinsics=single(np.tile(intrinsics, (frames, 1, 1))),
        camera_from_world=single(extrinsics),
        identity=np.arange(people),
        gender=np.zeros(people, np.uint8),
        present=there,
        pose=single(rng.normal(0, 0.4, (people, frames, 24, 3))),
        betas=single(rng.normal(0, 1, (people, frames, 10))),
        betas_neutral=single(rng.normal(0, 1, (people, frames, 10))),
        translation=single(rng.normal(0, 1, (people, frames, 3))),
        kp2d=single(np.concatenate([pixels, np.ones((people, frames, 44, 1))], -1)),
        kp3d=single(np.concatenate([world, np.ones((people, frames, 44, 1))], -1)),
        center=single(center),
        box=single(np.concatenate([low, high], -1)),
        masks=dict.fromkeys(PERSON_MASKS, there) | dict.fromkeys(FRAME_MASKS, np.ones(frames, bool)),
    )
