"""Scenes of the sample world as files of DynaCam's release (docs/reference/datasets.md#dynacam).

Turning cameras make the panorama half, moving cameras the translation half.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.files import atomic_write
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.progress import SILENT, Progress
from trace_data.sample_world.people import Role
from trace_data.sample_world.render import jpeg
from trace_data.sample_world.scene import SYNTHETIC, Performance, Scene, all_joints, draw_scene, render_scene

Array = npt.NDArray[np.float64]
Half = Literal["panorama", "translation"]

OF_44 = {
    25: [24, 12, 17, 19, 21, 16, 18, 20, 39, 35, 5, 8, 36, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34],
    44: list(range(44)),
    17: [24, 26, 25, 28, 27, 16, 17, 18, 19, 20, 21, 36, 35, 4, 5, 7, 8],
}
"""OpenPose's 25 joints and COCO's 17 as indices of the 44 (docs/reference/joints.md#selections-from-the-44)."""
HIPS = [35, 36]
ON_THE_SKIN = range(24, 35)
"""Joints of the 44 on the skin, for which less self-occlusion is tolerated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The form in which the release is written."""

    joints: Literal[25, 44, 17] = 25
    """Number of 2D joints."""
    cut: Literal["different", "same", "no"] = "different"
    """Whether frames of the translation half are cropped to the people, at a fixed or variable size."""
    aligned: bool = True
    """Whether the panorama half has the aligned world."""
    hips: bool = False
    """Whether the world translation is the hip midpoint instead of the body model's own."""
    inverted: bool = False
    """Whether the extrinsics are stored as world from camera."""


RELEASED = Variant()


def write_dynacam(
    folder: Path,
    seed: int,
    roles: Sequence[tuple[int, Role]],
    frames: int,
    height: int,
    variant: Variant = RELEASED,
    progress: Progress = SILENT,
) -> None:
    """Draw the sequences `roles` of the world into the DynaCam folder; each split alternates between the halves.

    An annotation file covers a whole half and split, so these files are written last, atomically; the very last is that
    of the first sequence.
    """
    parts: defaultdict[tuple[Half, str], dict[str, Any]] = defaultdict(dict)
    drawn: defaultdict[str, int] = defaultdict(int)
    for index, role in roles:
        half: Half = "translation" if drawn[role.split] % 2 else "panorama"
        drawn[role.split] += 1
        scene = draw_dynacam_scene(seed, index, role, frames, height, half)
        split = {"validation": "val"}.get(role.split, role.split)
        name = f"{'pano-' if half == 'panorama' else ''}{scene.name}"
        pictures = folder / "video_frames" / f"{half}_{split}" / name
        parts[half, split][name] = write_sequence(pictures, scene, half, index, variant)
        progress.advance()
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    for (half, split), sequences in reversed(parts.items()):
        people = {identity for entry in sequences.values() for identity in entry["person_id"].tolist()}
        content = {
            "ID_num": len(people),
            "sequence_dict": {name: entry["frame_ids"].tolist() for name, entry in sequences.items()},
            "synthetic": SYNTHETIC,
            **sequences,
        }
        target = folder / "annotations" / f"{half}_{split}.npz"
        with atomic_write(target) as partial, partial.open("wb") as stream:
            np.savez(stream, annots=np.array(content, dtype=object))


def draw_dynacam_scene(seed: int, index: int, role: Role, frames: int, height: int, half: Half) -> Scene:
    """Sequence `index` with neutral bodies and the camera of its half."""
    return draw_scene(
        seed, index, role, frames, height, shot="turning" if half == "panorama" else "handheld", neutral=True
    )


def write_sequence(pictures: Path, scene: Scene, half: Half, index: int, variant: Variant) -> dict[str, Any]:
    """Write the frames of a scene into `pictures` and return its annotation."""
    pictures.mkdir(parents=True, exist_ok=True)
    count, (width, height) = len(scene.cuts), scene.camera.size
    ids = np.arange(count) + index % 7
    joints = [all_joints(performance)[0] for performance in scene.performances]
    cut = half == "translation" and variant.cut != "no"
    boxes = _boxes(scene, variant.cut == "same") if cut else np.tile([[0, 0], [width, height]], (count, 1, 1))
    views = [scene.camera.pixels(world) for world in joints]
    points = np.zeros((len(joints), count, 44, 3))
    for frame, (image, seen) in enumerate(render_scene(scene)):
        for person, (pixels, depth) in enumerate(views):
            for joint, (pixel, far) in enumerate(zip(pixels[frame], depth[frame])):
                inside = (pixel >= 0).all() and pixel[0] <= width - 1 and pixel[1] <= height - 1
                slack = 0.06 if joint in ON_THE_SKIN else 0.2
                if inside and not seen.hides(pixel, float(far), person, slack):
                    points[person, frame, joint] = [*pixel, 1.0]
        (left, top), (right, bottom) = boxes[frame]
        picture = image[top:bottom, left:right]
        png = half == "translation"
        encoded = cv2.imencode(".png", picture)[1].tobytes() if png else jpeg(picture)
        (pictures / f"{ids[frame]:06d}{'.png' if png else '.jpg'}").write_bytes(encoded)
    points = points[:, :, OF_44[variant.joints]]
    made = _annotation(scene, joints, points, ids, half, variant)
    if cut:
        corner = np.concatenate([boxes[:, 0], np.zeros((count, 1))], axis=1)
        inside_box = np.where(points[..., 2:] > 0, points - corner[:, None], 0.0)
        made |= {"seq_bboxes": boxes, "kp2ds_crop": inside_box.astype(np.float32)}
    return made


def _annotation(
    scene: Scene, joints: list[Array], points: Array, ids: npt.NDArray[np.int64], half: Half, variant: Variant
) -> dict[str, Any]:
    count, camera = len(scene.cuts), scene.camera.camera_from_world
    from_first = camera @ np.linalg.inv(camera[0])
    roots = {
        "": _placed(scene, joints, np.eye(4), variant.hips),
        "_aligned": _placed(scene, joints, camera[0], variant.hips),
    }
    poses = np.stack([p.motion.pose[::2] for p in scene.performances])
    poses[:, :, 0] = axis_angle_from_matrix(camera[:, :3, :3] @ matrix_from_axis_angle(poses[:, :, 0]))
    made: dict[str, Any] = {
        "person_id": np.array([p.person.index for p in scene.performances]),
        "frame_ids": ids,
        "poses": poses.astype(np.float32),
        "betas": np.stack([np.tile(p.person.betas, (count, 1)) for p in scene.performances]).astype(np.float32),
        "kp2ds": points.astype(np.float32),
        "kp3ds": np.stack([transform(camera, world) for world in joints]).astype(np.float32),
        "camera_intrinsics": np.tile(scene.camera.intrinsics, (count, 1, 1)),
    }
    # the translation half stores three rows, the panorama half four
    rows = 4 if half == "panorama" else 3
    for ending, extrinsics in (("", camera), ("_aligned", from_first)):
        if ending and not (half == "panorama" and variant.aligned):
            continue
        stored = np.linalg.inv(extrinsics) if variant.inverted else extrinsics
        made[f"camera_extrinsics{ending}"] = stored[:, :rows]
        made[f"world_grots{ending}"], made[f"world_trans{ending}"] = roots[ending]
    return made


def _placed(scene: Scene, joints: list[Array], move: Array, hips: bool) -> tuple[Array, Array]:
    """Root rotations and translations (S, T, 3) of all people in the scene's world transformed by `move` (4, 4)."""
    rotations, translations = [], []
    for performance, world in zip(scene.performances, joints):
        motion = performance.motion
        root = matrix_from_axis_angle(motion.pose[::2, 0])
        rotations.append(axis_angle_from_matrix(move[:3, :3] @ root))
        if hips:
            translations.append(transform(move, world[:, HIPS].mean(axis=1)))
        else:  # a body rotates about its pelvis, which is not at the model's origin
            pelvis = _pelvis(performance)
            translations.append(transform(move, motion.translation[::2] + pelvis) - pelvis)
    return np.stack(rotations), np.stack(translations)


def _pelvis(performance: Performance) -> Array:
    """(3,) the pelvis of the shaped body at rest."""
    nothing = np.zeros((1, 24, 3))
    _, joints = performance.figure.body.pose(
        nothing, performance.person.betas[None], np.zeros((1, 3)), vertices=np.zeros(1, np.int64)
    )
    pelvis: Array = joints[0, 0]
    return pelvis


def _boxes(scene: Scene, same: bool) -> npt.NDArray[np.int64]:
    """(T, 2, 2) left top and right bottom px around everybody in each frame, `same`: of one size in all frames."""
    size = np.array(scene.camera.size)
    pixels = np.concatenate([scene.camera.pixels(p.points)[0] for p in scene.performances], axis=1)
    margin = 0.04 * size[1]
    low = np.clip(np.floor(pixels.min(axis=1) - margin), 0, size - 1).astype(np.int64)
    high = np.clip(np.ceil(pixels.max(axis=1) + margin), low + 1, size).astype(np.int64)
    if same:
        low = np.minimum(low, size - (high - low).max(axis=0))
        high = low + (high - low).max(axis=0)
    return np.stack([low, high], axis=1)
