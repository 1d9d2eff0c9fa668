"""The annotated people of single frames, posed with their own gendered body: what evaluation compares with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from trace_data.schema.clip import GENDERS
from trace_train.body_layer import BodyLayer
from trace_train.rotations import matrix_from_axis_angle
from trace_train.streaming.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotated:
    """K people of a batch of frames."""

    frame: Tensor
    """(K,) frame of the batch, counted over clips and their frames."""
    person: Tensor
    """(K,) row of the clip's people."""
    joints: Tensor
    """(K, 14, 3) LSP joints, metres, camera axes, relative to the hip midpoint."""
    upright: Tensor
    """(K, 14, 3) the same without the root rotation: body axes."""
    root: Tensor
    """(K, 3, 3) root rotation in the camera frame."""
    vertices: Tensor | None
    """(K, 6890, 3) mesh, camera axes, relative to the hip midpoint; only when asked for."""
    joints2d: Tensor
    """(K, 14, 2) x, y in the crop, edges at -1 and 1, by the true camera."""


def annotated(batch: Batch, layers: Mapping[str, BodyLayer], *, vertices: bool = False) -> Annotated:
    """Pose everyone of a batch whose body is annotated as a whole and whose hips are inside the crop.

    `layers` by gender name, as in `trace_data.schema.clip.GENDERS`.
    """
    usable = batch.present & batch.masks["intrinsics"][:, None]
    for part in ("root_rotation", "body_pose", "translation"):
        usable = usable & batch.masks[part]
    clip, person, frame = usable.nonzero(as_tuple=True)
    gender = batch.gender[clip, person]
    rotations = matrix_from_axis_angle(batch.pose[clip, person, frame])
    betas = batch.betas[clip, person, frame]
    joints = betas.new_zeros(len(clip), 14, 3)
    mesh = betas.new_zeros(len(clip), 6890, 3) if vertices else None
    hips = batch.translation[clip, person, frame].clone()
    for code, name in enumerate(GENDERS):
        rows = gender == code
        if bool(rows.any()):
            posed = layers[name](rotations[rows], betas[rows], vertices=vertices)
            joints[rows] = posed.joints_h36m[:, :14]
            if mesh is not None:
                mesh[rows] = posed.vertices
            hips[rows] += posed.root
    camera = batch.camera_from_world[clip, frame]
    turn = camera[:, :3, :3]
    hips = (turn @ hips[..., None]).squeeze(-1) + camera[:, :3, 3]
    upright = joints @ rotations[:, 0]  # row vectors times R = R^T x: back into the body's own axes
    joints = joints @ turn.transpose(1, 2)
    image = (joints + hips[:, None]) @ batch.intrinsics[clip, frame].transpose(1, 2)
    px = image[..., :2] / image[..., 2:].clamp_min(0.05)
    crop = batch.crop_from_frame[clip, frame]
    in_crop = px @ crop[:, :2, :2].transpose(1, 2) + crop[:, None, :2, 2]
    joints2d = (2 * in_crop + 1) / batch.images.shape[2] - 1
    seen = (joints2d[:, 2:4].mean(1).abs() < 1).all(-1) & (hips[:, 2] > 0)
    return Annotated(
        frame=(clip * batch.images.shape[1] + frame)[seen],
        person=person[seen],
        joints=joints[seen],
        upright=upright[seen],
        root=(turn @ rotations[:, 0])[seen],
        vertices=None if mesh is None else (mesh @ turn.transpose(1, 2))[seen],
        joints2d=joints2d[seen],
    )
