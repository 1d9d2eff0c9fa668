"""Scenes of the sample world as packed forms of 3DPW: TRACE's `annots.npz`, and VIBE's databases.

Facts: docs/reference/datasets.md#3dpw-packed-annotations, docs/reference/datasets.md#vibe-databases-of-3dpw. Each form
omits what the original omits: frames without a detection, or with fewer than seven joints.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.sample_world.figure import load_figure
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import SYNTHETIC, Scene, all_joints, draw_scene
from trace_data.sample_world.threedpw import draw_pictures

Array = npt.NDArray[np.float64]
Form = Literal["annots", "vibe"]

LSP_OF_44 = (8, 5, 35, 36, 4, 7, 21, 19, 17, 16, 18, 20, 37, 38)
LSP_OF_COCO = (10, 9, 8, 11, 12, 13, 4, 3, 2, 5, 6, 7, 0, 0)
"""The last two, neck and head top, are copies of the nose without confidence."""
SPIN_OF_44 = (
    *(24, 12, 17, 19, 21, 16, 18, 20, 39, 35, 5, 8, 36, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34),
    *LSP_OF_44,
    *(39, 40, 41, 42, 43, 24, 26, 25, 28, 27),
)
"""The 49 joints that the training database has (docs/reference/joints.md#spin-and-vibe-joints)."""
VIBE_SPLITS = {"train": "train", "validation": "val", "test": "test"}
FEATURES = 2048


@dataclass(frozen=True, slots=True)
class _Sequence:
    scene: Scene
    points: list[Any]
    """(n, 3, 18) points of each person."""


def write_packed(
    folder: Path, seed: int, roles: Sequence[tuple[int, Role]], frames: int, height: int, form: Form
) -> None:
    """Draw the numbered sequences of the world into the 3DPW folder, with the annotations in one of the packed forms.

    The scenes are the same as in the release's own form with these numbers.
    """
    drawn = []
    for index, role in roles:
        scene = draw_scene(seed, index, role, frames, height)
        drawn.append(_Sequence(scene, draw_pictures(scene, folder / "imageFiles" / scene.name)))
    cameras = {"intrinsics": {}, "extrinsics": {}}  # type: dict[str, dict[str, Any]]
    betas = {}
    for sequence in drawn:
        scene = sequence.scene
        cameras["intrinsics"][scene.name] = scene.camera.intrinsics
        cameras["extrinsics"][scene.name] = scene.camera.camera_from_world
        betas[f"{scene.name}.pkl"] = [_neutral(p.person.gender, p.person.betas) for p in scene.performances]
    _save(folder / "camera_annots.npz", cameras)
    _save(folder / "smpl_neutral_betas.npz", {"neutral_betas": betas})
    if form == "annots":
        _write_annots(folder, drawn)
        return
    (folder / "vibe_db").mkdir(exist_ok=True)
    for split, word in VIBE_SPLITS.items():
        columns = [_vibe_rows(s, p) for s in drawn if s.scene.role.split == split for p in range(len(s.points))]
        if columns:
            database: dict[str, Any] = {key: np.concatenate([rows[key] for rows in columns]) for key in columns[0]}
            content = pickle.dumps({**database, "synthetic": SYNTHETIC}, protocol=4)
            (folder / "vibe_db" / f"3dpw_{word}_db.pt").write_bytes(content)


def _write_annots(folder: Path, drawn: Sequence[_Sequence]) -> None:
    params, kp3d, kp2d, rotations = {}, {}, {}, {}
    for sequence in drawn:
        scene, key = sequence.scene, f"{sequence.scene.name}.pkl"
        camera = scene.camera.camera_from_world
        valid = [np.flatnonzero(np.abs(points).mean((1, 2)) > 0) for points in sequence.points]
        turned = [_turned(scene, number) for number in range(len(valid))]
        parts = scene.performances
        params[key] = {
            "split": scene.role.split,
            "genders": [p.person.gender[0] for p in parts],
            "poses": [pose.reshape(-1, 72)[rows] for pose, rows in zip(turned, valid)],
            "betas": np.array([p.person.betas for p in parts]),
            "trans": [p.motion.translation[::2][rows] for p, rows in zip(parts, valid)],
            "valid_indices": valid,
        }
        kp3d[key] = [transform(camera, p.joints)[rows] for p, rows in zip(parts, valid)]
        kp2d[key] = [points[rows] for points, rows in zip(sequence.points, valid)]
        rotations[key] = [np.tile(np.eye(3), (len(rows), 24, 1, 1)) for rows in valid]
    _save(folder / "annots.npz", {"params": params, "kp3d": kp3d, "glob_rot": rotations, "kp2d": kp2d}, marked=True)


def _vibe_rows(sequence: _Sequence, number: int) -> dict[str, npt.NDArray[Any]]:
    """The rows of a person."""
    scene, points = sequence.scene, sequence.points[number].transpose(0, 2, 1)[:, LSP_OF_COCO].copy()
    part = scene.performances[number]
    points[:, 12:, 2] = 0
    rows = np.flatnonzero((points[..., 2] > 0.3).sum(1) > 6)
    joints, roots = all_joints(part)[0], part.joints[:, :1]
    # rotated to the camera's axes, but translated by their position in the world
    turned = (joints - roots) @ scene.camera.camera_from_world[:, :3, :3].transpose(0, 2, 1) + roots
    chosen = SPIN_OF_44 if scene.role.split == "train" else LSP_OF_44
    names = [f"imageFiles/{scene.name}/image_{row:05d}.jpg" for row in rows]
    return {
        "vid_name": np.array([f"{scene.name}_{number}"] * len(rows)),
        "frame_id": rows,
        "joints3D": turned[rows][:, chosen].astype(np.float32),
        "joints2D": points[rows],
        "shape": np.tile(part.person.betas, (len(rows), 1)).astype(np.float32),
        "pose": _turned(scene, number).reshape(-1, 72)[rows].astype(np.float32),
        "bbox": np.zeros((len(rows), 4)),
        "img_name": np.array(names),
        "features": np.zeros((len(rows), FEATURES), np.float32),
        "valid": np.ones(len(rows), np.uint8),
    }


def _turned(scene: Scene, number: int) -> Array:
    """(n, 24, 3) rotations with the root in the camera's frame."""
    pose = scene.performances[number].motion.pose[::2].copy()
    rotation = scene.camera.camera_from_world[:, :3, :3] @ matrix_from_axis_angle(pose[:, 0])
    pose[:, 0] = axis_angle_from_matrix(rotation)
    return pose


def _neutral(gender: str, betas: Array) -> Array:
    """Betas of the neutral body closest to a gendered one, up to a translation."""
    own, neutral = load_figure(gender).body, load_figure("neutral").body
    wanted = own.v_template + own.shapedirs[..., :10] @ betas - neutral.v_template
    directions = neutral.shapedirs[..., :10]
    moved = (directions - directions.mean(0)).reshape(-1, 10)
    solution: Array = np.linalg.lstsq(moved, (wanted - wanted.mean(0)).reshape(-1), rcond=None)[0]
    return solution


def _save(file: Path, arrays: Mapping[str, Any], *, marked: bool = False) -> None:
    """Write an .npz of dicts; `marked`: with the key that marks it as synthetic."""
    held: dict[str, Any] = {key: np.array(value, object) for key, value in arrays.items()}
    if marked:
        held["synthetic"] = np.array(SYNTHETIC)
    np.savez(file, **held)
