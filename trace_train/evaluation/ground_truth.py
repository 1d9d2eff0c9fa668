"""Ground truth of an evaluation: the annotated people, posed with their gendered body models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trace_data.schema.body import GENDERS
from trace_data.schema.keypoints import ALL_44
from trace_train.body.layer import JOINTS, BodyLayer
from trace_train.geometry.camera import to_crop, to_pixels
from trace_train.geometry.rotations import matrix_from_axis_angle
from trace_train.streaming.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroundTruth:
    """K people of a batch of frames, in the order of the frames."""

    frame: Tensor
    """(K,) index of the frame in the flattened batch (clips, frames)."""
    person: Tensor
    """(K,) index of the person in its clip."""
    joints: Tensor
    """(K, 14, 3) LSP joints, metres, camera axes, relative to the hip midpoint."""
    upright: Tensor
    """(K, 14, 3) the same without the root rotation: body axes."""
    root: Tensor
    """(K, 3, 3) root rotation in the camera frame."""
    joints2d: Tensor
    """(K, 14, 2) projected with the true camera; x, y in the crop, edges at -1 and 1, unless said otherwise."""
    skeleton: Tensor
    """(K, 24, 3) kinematic joints, metres, world axes, relative to the hip midpoint."""
    hips: Tensor
    """(K, 3) hip midpoint, metres, world."""
    in_world: Tensor
    """(K,) bool: whether position and motion in the world can be compared (mask `world`)."""
    turn: Tensor
    """(K, 3, 3) rotation from world to camera axes."""
    gender: Tensor
    """(K,) codes of `GENDERS`."""
    rotations: Tensor
    """(K, 24, 3, 3) root in the world, then relative to the parent."""
    betas: Tensor
    """(K, 10) of the gendered body."""
    rest: Tensor
    """(K, 3) pelvis of the unposed body, metres: SMPL's translation is joint 0 minus this."""

    def rows(self, rows: Tensor) -> GroundTruth:
        """Select people by index or mask."""
        return GroundTruth(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def annotated(batch: Batch, layers: Mapping[str, BodyLayer]) -> GroundTruth:
    """Pose all people of a batch with a full body annotation and hips inside the crop.

    `layers` by gender name, as in `trace_data.schema.body.GENDERS`.
    """
    usable = batch.present & batch.masks["intrinsics"][:, None]
    for part in ("root_rotation", "body_pose", "translation"):
        usable = usable & batch.masks[part]
    clip, frame, person = usable.transpose(1, 2).nonzero(as_tuple=True)
    at = (clip, person, frame)
    everyone, depth, _ = pose_people(
        frame=clip * batch.images.shape[1] + frame,
        person=person,
        gender=batch.gender[clip, person],
        rotations=matrix_from_axis_angle(batch.pose[at]),
        betas=batch.betas[at],
        translation=batch.translation[at],
        in_world=batch.masks["world"][at],
        camera_from_world=batch.camera_from_world[clip, frame],
        to_2d=lambda points: in_crop(batch, clip, frame, to_pixels(points, batch.intrinsics[clip, frame])),
        layers=layers,
    )
    return everyone.rows((everyone.joints2d[:, 2:4].mean(1).abs() < 1).all(-1) & (depth > 0))


def pose_people(
    *,
    frame: Tensor,
    person: Tensor,
    gender: Tensor,
    rotations: Tensor,
    betas: Tensor,
    translation: Tensor,
    in_world: Tensor,
    camera_from_world: Tensor,
    to_2d: Callable[[Tensor], Tensor],
    layers: Mapping[str, BodyLayer],
) -> tuple[GroundTruth, Tensor, Tensor]:
    """Pose K people whose parameters are those of `GroundTruth`; also returns the depths (K,) of their hips, and all 44
    joints (K, 44, 3), m, in the camera.

    `translation` (K, 3) m, world; `camera_from_world` (K, 4, 4). `to_2d`: joints (K, 14, 3) in the camera to places in
    the picture (K, 14, 2), in coordinates of the caller's choice.
    """
    joints, whole = betas.new_zeros(len(betas), 14, 3), betas.new_zeros(len(betas), len(ALL_44), 3)
    hips, rest = translation.clone(), torch.zeros_like(translation)
    for code, name in enumerate(GENDERS):
        of = (gender == code).nonzero()[:, 0]
        if len(of):
            posed = layers[name](rotations[of], betas[of])
            joints[of], whole[of] = posed.joints_h36m[:, :14], posed.joints
            hips[of] += posed.root
            rest[of] = layers[name].rest_pelvis(betas[of])
    turn = camera_from_world[:, :3, :3]
    in_camera = joints @ turn.mT
    place = (turn @ hips[..., None]).squeeze(-1) + camera_from_world[:, :3, 3]
    people = GroundTruth(
        frame=frame,
        person=person,
        joints=in_camera,
        upright=joints @ rotations[:, 0],  # row vectors times R, i.e. R^T x: back to body axes
        root=turn @ rotations[:, 0],
        joints2d=to_2d(in_camera + place[:, None]),
        skeleton=whole[:, :JOINTS],
        hips=hips,
        in_world=in_world,
        turn=turn,
        gender=gender,
        rotations=rotations,
        betas=betas,
        rest=rest,
    )
    return people, place[:, 2], whole @ turn.mT + place[:, None]


def in_crop(batch: Batch, clip: Tensor, frame: Tensor, px: Tensor) -> Tensor:
    """Map points (K, J, 2), px of the frame, to x, y in the crop, edges at -1 and 1."""
    return to_crop(px, batch.crop_from_frame[clip, frame], batch.images.shape[2])
