"""Scenes of the sample world as files of 3DPW's official release (docs/reference/datasets.md#3dpw-official-release)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from trace_data.files import atomic_write
from trace_data.sample_world.people import Role
from trace_data.sample_world.python2_pickle import write_python2_pickle
from trace_data.sample_world.render import jpeg
from trace_data.sample_world.scene import SYNTHETIC, Scene, detections, draw_scene, render_scene


def write_sequence(folder: Path, seed: int, index: int, role: Role, frames: int, height: int) -> str:
    """Draw sequence `index` of the world into the 3DPW folder and return its name.

    The annotation is written last, atomically, and marks the sequence complete.
    """
    scene = draw_scene(seed, index, role, frames, height)
    points = draw_pictures(scene, folder / "imageFiles" / scene.name)
    target = folder / "sequenceFiles" / role.split / f"{scene.name}.pkl"
    with atomic_write(target) as partial:
        write_python2_pickle(annotation(scene, points), partial)
    return scene.name


def draw_pictures(scene: Scene, pictures: Path) -> list[Any]:
    """Write the images of a sequence. Returns (n, 3, 18) pixels and confidences for each person."""
    pictures.mkdir(parents=True, exist_ok=True)
    points = [np.zeros((len(scene.cuts), 3, 18)) for _ in scene.performances]
    for frame, (image, seen) in enumerate(render_scene(scene)):
        (pictures / f"image_{frame:05d}.jpg").write_bytes(jpeg(image))
        for person in range(len(points)):
            points[person][frame] = detections(scene, person, frame, seen).T
    return points


def annotation(scene: Scene, points: list[Any]) -> dict[str, Any]:
    """The dictionary of a sequence file; `points` holds (n, 3, 18) pixels and confidences per person."""
    parts = scene.performances
    frames = len(scene.cuts)
    return {
        "sequence": np.array(scene.name),
        "poses": [p.motion.pose[::2].reshape(frames, 72) for p in parts],
        "trans": [p.motion.translation[::2].copy() for p in parts],
        "poses_60Hz": [p.motion.pose.reshape(2 * frames, 72) for p in parts],
        "trans_60Hz": [p.motion.translation for p in parts],
        "betas": [p.person.betas for p in parts],
        "betas_clothed": [p.person.betas.copy() for p in parts],
        "genders": [p.person.gender[0] for p in parts],
        "poses2d": points,
        "jointPositions": [p.joints.reshape(frames, 72) for p in parts],
        "img_frame_ids": np.arange(0, 2 * frames, 2, dtype=np.uint16),
        "cam_poses": scene.camera.camera_from_world,
        "cam_intrinsics": scene.camera.intrinsics,
        "campose_valid": [np.ones(frames, np.uint8) for _ in parts],
        "texture_maps": [],
        "synthetic": SYNTHETIC,
    }
