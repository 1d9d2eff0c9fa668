"""Scenes of the sample world as files of Penn Action: the release's labels, and TRACE's packed ones.

Facts: docs/reference/datasets.md#penn-action. The first person of a scene is the annotated one, as in the release.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.people import Role
from trace_data.sample_world.render import VisibleFaces, jpeg
from trace_data.sample_world.scene import SYNTHETIC, Scene, all_joints, draw_scene, render_scene

Array = npt.NDArray[np.float64]
Layout = Literal["labels", "npz"]

POINTS = (38, 17, 16, 19, 18, 21, 20, 35, 36, 5, 4, 8, 7)
"""The 13 points as indices of the 44: head, then right before left, as in the release's label files
(docs/reference/joints.md#left-and-right-in-penn-action)."""
_HEADER_TEXT = 116
"""Length of the text at the start of a MATLAB file, where scipy writes the date."""


def write_penn_action(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    layout: Layout = "labels",
    progress: Progress = SILENT,
) -> None:
    """Draw the numbered sequences of the world into the Penn Action folder: sequence `index` is video `index` + 1.

    `labels`: the release's form; a video with a label file is complete and kept. `npz`: all labels packed into
    `annots_train.npz`. In both, body poses of every second frame go into `eft_annots.npz`, which is written last.
    """
    labels: dict[str, dict[str, Any]] = {}
    fits: dict[str, list[Any]] = {}
    for index, role in roles:
        name = f"{index + 1:04d}"
        scene = draw_scene(seed, index, role, frames, height, shot="fixed", neutral=True)
        fits |= _fits(scene, name)
        target = folder / "labels" / f"{name}.mat"
        if layout == "npz" or not target.exists():
            labels[name] = _labels(scene, _pictures(scene, folder / "frames" / name))
            if layout == "labels":
                _write_mat(labels[name], target)
        progress.advance()
    if layout == "npz":
        _write_npz(labels, folder / "annots_train.npz")
    with atomic_write(folder / "eft_annots.npz") as partial, partial.open("wb") as stream:
        np.savez(stream, annots=np.array(fits, object))


def _pictures(scene: Scene, folder: Path) -> Array:
    """Draw the frames. Returns (T, 13, 3): x and y in MATLAB's 1-based pixels, and 1 where visible."""
    folder.mkdir(parents=True, exist_ok=True)
    part = scene.performances[0]
    pixels, depth = scene.camera.pixels(all_joints(part)[0][:, POINTS])
    points = np.ones((*pixels.shape[:2], 3))
    for frame, (image, seen) in enumerate(render_scene(scene)):
        (folder / f"{frame + 1:06d}.jpg").write_bytes(jpeg(image))
        for joint, (pixel, far) in enumerate(zip(pixels[frame], depth[frame])):
            points[frame, joint] = _point(scene, seen, pixel, float(far))
    return points


def _point(scene: Scene, seen: VisibleFaces, pixel: Array, depth: float) -> Array:
    """A point in the release's convention: (1, 1, 0) outside the picture; flag 0 if occluded."""
    width, height = scene.camera.size
    if not ((pixel >= 0).all() and pixel[0] <= width - 1 and pixel[1] <= height - 1):
        return np.array([1.0, 1.0, 0.0])
    return np.array([*(pixel + 1), float(not seen.hides(pixel, depth, 0, 0.25))])


def _labels(scene: Scene, points: Array) -> dict[str, Any]:
    """The variables of a label file."""
    width, height = scene.camera.size
    frames = len(points)
    corners = points[..., :2]
    box = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    return {
        "action": scene.name.split("_")[0],
        "pose": _view(scene),
        "x": points[..., 0],
        "y": points[..., 1],
        "visibility": points[..., 2].astype(np.uint8),
        "train": np.int16(1 if scene.role.split == "train" else -1),
        "bbox": box[: frames - frames % 2],  # the release sometimes lacks rows
        "dimensions": np.array([[height, width, frames]], float),
        "nframes": np.uint16(frames),
        "synthetic": SYNTHETIC,
    }


def _view(scene: Scene) -> str:
    """The side from which the person is seen, as the release calls it."""
    roots = matrix_from_axis_angle(scene.performances[0].motion.pose[::2, 0])
    ahead = (scene.camera.camera_from_world[:, :3, :3] @ roots)[..., 2].mean(axis=0)  # where the chest points
    if abs(ahead[2]) > abs(ahead[0]):
        return "front" if ahead[2] < 0 else "back"
    return "left" if ahead[0] < 0 else "right"


def _write_mat(labels: dict[str, Any], target: Path) -> None:
    with atomic_write(target) as partial:
        savemat(partial, labels, appendmat=False)
        with partial.open("r+b") as stream:
            stream.write(b"MATLAB 5.0 MAT-file, trace sample world".ljust(_HEADER_TEXT))


def _write_npz(labels: dict[str, dict[str, Any]], target: Path) -> None:
    images = {name: [f"{frame + 1:06d}.jpg" for frame in range(len(held["x"]))] for name, held in labels.items()}
    annotated = {}
    for name, held in labels.items():
        points = np.stack([held["x"], held["y"], held["visibility"]], axis=2)
        for image, row in zip(images[name], points):
            annotated[f"{name}-{image}"] = [[row], [int(name) - 1]]
    numbers = {name: {0: int(name) - 1} for name in labels}
    facts = {name: [np.array([held["action"]]), held["nframes"], held["train"]] for name, held in labels.items()}
    np.savez(
        target,
        annot=np.array(annotated, object),
        sequence_dict=np.array({name: list(range(len(held))) for name, held in images.items()}, object),
        seq_frame_names=np.array(images, object),
        person_ids=np.array({"map_dict": numbers, "id_number": len(labels)}, object),
        seq_info=np.array(facts, object),
        synthetic=np.array(SYNTHETIC),
    )


def _fits(scene: Scene, name: str) -> dict[str, list[Any]]:
    """Poses of every second frame in the camera frame, with root rotations as imprecise as in the EFT fits."""
    part = scene.performances[0]
    poses, betas = part.motion.pose[::2].copy(), part.person.betas
    turned = scene.camera.camera_from_world[:, :3, :3] @ matrix_from_axis_angle(poses[:, 0])
    poses[:, 0] = axis_angle_from_matrix(turned @ matrix_from_axis_angle(np.array([0.0, 0.6, 0.0])))
    return {
        f"{name}-{frame + 1:06d}.jpg": [[poses[frame].reshape(72), betas.astype(np.float32)]]
        for frame in range(0, len(poses), 2)
    }
