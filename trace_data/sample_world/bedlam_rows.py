"""Scenes of the sample world as images and label rows of BEDLAM's release
(docs/reference/further-datasets.md#bedlam-label-file).

The rows are written from where people and camera stand in the sample world, without the renderer's angles: a reader
that takes one of their frames for another finds people elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, project, transform
from trace_data.sample_world.bedlam import STAGE_FROM_WORLD, BedlamTake, Stand, subject_of
from trace_data.sample_world.scene import SYNTHETIC, Performance

Array = npt.NDArray[np.float64]

EVERY = 5
"""Of the 30 frames a second the labelled ones."""
LEAST_JOINTS, COUNTED = 8, 22
"""A person has a row where so many of the first joints are inside the frame."""
MORE_POINTS = 3
"""Points behind the body's joints in `gtkps`; the release has a hundred."""


def write_labels(folder: Path, takes: Iterable[BedlamTake], *, suffix: str = "_6fps", subjects: bool = True) -> None:
    """Label files of the scenes, body by body. `subjects`: whether rows say whose they are, as in later releases."""
    held: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for take in takes:
        for performance, stand in zip(take.scene.performances, take.stands):
            held[take.scene_name] += _rows(take, performance, stand)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in held.items():
        content: dict[str, Any] = {key: [row[key] for row in rows] for key in rows[0] if subjects or key != "sub"}
        np.savez(folder / f"{name}{suffix}.npz", **content, synthetic=np.array(SYNTHETIC))


def _rows(take: BedlamTake, performance: Performance, stand: Stand) -> Iterator[dict[str, Any]]:
    size, pose = np.array(take.scene.camera.size), performance.motion.pose[::2]
    rest, start = performance.rest_pelvis(), STAGE_FROM_WORLD.T @ stand.place / 100
    pixels = project(take.intrinsics, transform(take.scene.camera.camera_from_world, performance.joints)) + 0.5
    for frame in range(0, len(pose), EVERY):
        inside = ((pixels[frame] >= 0) & (pixels[frame] <= size)).all(axis=-1)
        if inside[:COUNTED].sum() < LEAST_JOINTS:
            continue
        camera, level = take.scene.camera.camera_from_world[frame], _level(take, frame)
        pelvis, root = performance.joints[frame, 0], matrix_from_axis_angle(pose[frame, 0])
        extrinsics = np.eye(4)
        extrinsics[:3, :3] = camera[:3, :3] @ level.T
        extrinsics[:3, 3] = camera[:3, :3] @ start + camera[:3, 3]
        seen = camera[:3, :3] @ pelvis + camera[:3, 3]
        intrinsics = take.intrinsics[frame].copy()
        intrinsics[:2, 2] += 0.5
        points = np.concatenate([pixels[frame], np.full((MORE_POINTS, 2), -1.0)])
        yield {
            "imgname": f"{take.sequence}/{take.sequence}_{frame:04d}.png",
            "center": pixels[frame][inside].mean(axis=0),
            "scale": 1.2 * float(np.ptp(pixels[frame][inside], axis=0).max()) / 200,
            "pose_cam": np.concatenate([axis_angle_from_matrix(camera[:3, :3] @ root), pose[frame, 1:].reshape(-1)]),
            "pose_world": np.concatenate([axis_angle_from_matrix(level @ root), pose[frame, 1:].reshape(-1)]),
            "trans_cam": seen - rest - extrinsics[:3, 3],
            "trans_world": level @ (pelvis - start) - rest,
            "shape": np.append(performance.person.betas, 0.5),
            "gtkps": np.concatenate([points, np.ones((len(points), 1))], axis=1),
            "cam_int": intrinsics,
            "cam_ext": extrinsics,
            "gender": "male" if performance.person.index % 2 == 0 else "female",
            "motion_info": SYNTHETIC,
            "sub": subject_of(performance),
        }


def _level(take: BedlamTake, frame: int) -> Array:
    """(3, 3) from the world to axes x right, y down, z ahead of a camera that neither looks up nor leans."""
    down, ahead = np.array([0.0, -1.0, 0.0]), take.scene.camera.camera_from_world[frame, 2, :3] * [1, 0, 1]
    ahead = ahead / np.linalg.norm(ahead)
    return np.stack([np.cross(down, ahead), down, ahead])


def write_images(folder: Path, takes: Iterable[BedlamTake], *, suffix: str = "_6fps", every: int = EVERY) -> None:
    """The images of the scenes, those of portrait cameras lying on their left side."""
    for take in takes:
        place = folder / f"{take.scene_name}{suffix}" / "png" / take.sequence
        place.mkdir(parents=True, exist_ok=True)
        for frame, image in enumerate(take.pictures()):
            if frame % every == 0:
                lying = cv2.rotate(image, cv2.ROTATE_90_COUNTERCLOCKWISE) if take.kind == "closeup" else image
                cv2.imwrite(str(place / f"{take.sequence}_{frame:04d}.png"), lying)
