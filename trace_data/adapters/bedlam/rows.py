"""Bodies in the rows of a label file: SMPL parameters in the axes of the image's camera.

What the file calls a world has its origin where each person stands and turns with the camera in every frame, so it is
not read. In the camera's axes nothing is missing: translation = trans_cam + cam_ext[:3, 3]
(docs/reference/further-datasets.md#bedlam-geometry, docs/reference/further-datasets.md#world-of-the-label-file).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.bedlam.labels import AGAIN, Array, Numbers, images_of, load, numbers_in, points_in
from trace_data.adapters.bedlam.motions import BETAS, SMPLX
from trace_data.adapters.files import Stamp, stamp
from trace_data.errors import AnnotationError

SMPL_LABELS = "get all_npz_12_smpl_training.zip"
LARGEST_ANGLE = 4 * np.pi
"""Radians; a rotation vector of a fit is shorter."""
_KEYS = ("imgname", "pose_cam", "trans_cam", "cam_ext", "cam_int", "shape", "gtkps")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyRows:
    """One person of a sequence, in n of its frames. The release's `gender` is the subject's; the model is neutral."""

    name: str
    """The subject, or what stands for it."""
    numbers: Numbers
    """(n,) of the frames, ascending."""
    pose: Array
    """(n, 24, 3) axis-angle, radians; the root in the camera's axes."""
    translation: Array
    """(n, 3) metres, camera axes, as SMPL defines it."""
    betas: Array
    """(n, 10)."""
    points: Array
    """(n, 24, 2) projected joints, px of which the first is 0.5."""
    intrinsics: Array
    """(n, 3, 3) px of which the first is 0.5."""
    stands: Array
    """(n, 3, 4) a rotation, and where the person's stage is in the camera's axes; constant if the camera is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SceneRows:
    """A label file."""

    sequences: Mapping[str, Sequence[BodyRows]]
    synthetic: bool


def scene_rows(file: Path) -> SceneRows:
    """The people of a scene, read once per process while the file stays as it is. Raises AnnotationError."""
    return _scene_rows(file, stamp(file))


@lru_cache(maxsize=2)
def _scene_rows(file: Path, _: Stamp) -> SceneRows:
    held = load(file, _KEYS, ("sub", "synthetic"))
    images = images_of(file, held)
    pose, betas = _parameters(file, held)
    extrinsics = numbers_in(file, held, "cam_ext", 4, 4)
    translation = numbers_in(file, held, "trans_cam", 3) + extrinsics[:, :3, 3]
    intrinsics, points = numbers_in(file, held, "cam_int", 3, 3), points_in(file, held)
    sequences: dict[str, list[BodyRows]] = {}
    for (sequence, name), rows in _bodies(images, _names(file, held, betas)):
        sequences.setdefault(sequence, []).append(
            BodyRows(
                name=name,
                numbers=np.array([images[row][1] for row in rows], np.int64),
                pose=pose[rows],
                translation=translation[rows],
                betas=betas[rows],
                points=points[rows],
                intrinsics=intrinsics[rows],
                stands=extrinsics[rows, :3],
            )
        )
    return SceneRows(sequences=sequences, synthetic="synthetic" in held)


def _parameters(file: Path, held: Mapping[str, npt.NDArray[Any]]) -> tuple[Array, Array]:
    """Poses (M, 24, 3) and betas (M, 10)."""
    pose, betas = numbers_in(file, held, "pose_cam", None), numbers_in(file, held, "shape", None)
    if pose.shape[1] != 72:
        what = f"pose_cam has {pose.shape[1]} columns, expected SMPL's 72"
        hint = f"these are labels of SMPL-X: {SMPL_LABELS}" if pose.shape[1] == SMPLX else AGAIN
        raise AnnotationError(what, where=file, hint=hint)
    if betas.shape[1] not in BETAS:
        what = f"shape has {betas.shape[1]} columns, expected 10 or 11"
        raise AnnotationError(what, where=file, hint=f"of another body model: {SMPL_LABELS}")
    pose = pose.reshape(-1, 24, 3)
    if (most := float(np.linalg.norm(pose, axis=-1).max())) > LARGEST_ANGLE:
        what = f"pose_cam turns a joint by {most:.0f}, expected radians, {LARGEST_ANGLE:.0f} at most"
        raise AnnotationError(what, where=file, hint=f"degrees taken for radians: {AGAIN}")
    return pose, betas[:, :10]


def _names(file: Path, held: Mapping[str, npt.NDArray[Any]], betas: Array) -> list[str]:
    """Who each row is about: the subject or, in older files, whoever has the same betas, which are a subject's own."""
    if (subjects := held.get("sub")) is not None:
        if subjects.shape != (len(betas),):
            what = f"sub has shape {subjects.shape}, expected ({len(betas)},)"
            raise AnnotationError(what, where=file, hint=AGAIN)
        return [str(subject) for subject in subjects.tolist()]
    return [f"betas_{sha256(row.astype('<f4').tobytes()).hexdigest()[:8]}" for row in betas]


def _bodies(images: Sequence[tuple[str, int]], names: Sequence[str]) -> list[tuple[tuple[str, str], list[int]]]:
    """Sequence and name of each body, and its rows. Rows are in order body by body: where the number of a subject's
    frame does not grow, a second body of that subject begins."""
    bodies: dict[tuple[str, str], list[list[int]]] = {}
    for row, ((sequence, number), name) in enumerate(zip(images, names)):
        held = bodies.setdefault((sequence, name), [[]])
        if held[-1] and number <= images[held[-1][-1]][1]:
            held.append([])
        held[-1].append(row)
    return [
        ((sequence, name if not place else f"{name}#{place + 1}"), rows)
        for (sequence, name), held in bodies.items()
        for place, rows in enumerate(held)
    ]
