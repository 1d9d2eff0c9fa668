"""Every loss term by the name of its weight. What each means, in what unit and whom it trains: docs/losses.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trace_train.losses import body, keypoints, maps, prior, tracks
from trace_train.losses.loss_inputs import LossInputs
from trace_train.losses.reduce import Term, distance
from trace_train.metrics.world import STANDING


def _center_map(c: LossInputs) -> Term:
    return maps.focal(c.maps.center, c.targets.center_map, c.targets.frame_mask.flatten(), logits=c.center_logits)


def _center_map_3d(c: LossInputs) -> Term:
    mask = c.targets.frame_mask.flatten() & c.targets.center_map_3d_mask
    return maps.focal(c.maps.center_3d, c.targets.center_map_3d, mask, logits=c.center_logits)


def _joints2d(c: LossInputs) -> Term:
    return keypoints.joints2d(c.joints2d, c.of(c.targets.joints2d), c.mask(c.targets.joints2d_mask))


def _joints3d(c: LossInputs) -> Term:
    return keypoints.joints3d(c.joints, c.of(c.targets.joints3d), c.mask(c.targets.joints3d_mask))


def _pa_joints3d(c: LossInputs) -> Term:
    return keypoints.pa_joints3d(c.joints, c.of(c.targets.joints3d), c.mask(c.targets.joints3d_mask))


def _root_rotation(c: LossInputs) -> Term:
    mask = c.mask(c.targets.root_rotation_mask)
    return body.rotation(c.rotations[..., 0, :, :], c.of(c.targets.root_rotation), mask)


def _body_pose(c: LossInputs) -> Term:
    mask = c.mask(c.targets.body_pose_mask)
    return body.rotation(c.rotations[..., 1:22, :, :], c.of(c.targets.body_pose), mask)


def _shape(c: LossInputs) -> Term:
    return body.shape(c.betas, c.of(c.targets.shape), c.seen, c.mask(c.targets.shape_mask))


def _camera(c: LossInputs) -> Term:
    return distance(c.people.camera, c.of(c.targets.camera), c.mask(c.targets.camera_mask))


def _motion(c: LossInputs) -> Term:
    assert c.people.motion is not None
    return distance(c.people.motion, c.of(c.world.motion), c.mask(c.world.motion_mask))


def _shape_consistency(c: LossInputs) -> Term:
    return tracks.steady_shape(c.betas, c.seen)


def _world_rotation(c: LossInputs) -> Term:
    mask = c.mask(c.world.root_rotation_mask)
    return tracks.rotation_pairs(c.trajectory.world_root, c.of(c.world.root_rotation), mask)


def _world_root(c: LossInputs) -> Term:
    mask = c.mask(c.world.root_rotation_mask)
    return body.rotation(c.trajectory.world_root, c.of(c.world.root_rotation), mask)


def _world_translation(c: LossInputs) -> Term:
    return tracks.translation_pairs(*c.places, c.places_mask)


def _world_scale(c: LossInputs) -> Term:
    return tracks.log_scale(*c.places, c.places_mask)


def _world_joints2d(c: LossInputs) -> Term:
    return keypoints.joints2d(c.world_joints2d, c.of(c.world.joints2d), c.mask(c.world.joints2d_mask))


def _world_velocity(c: LossInputs) -> Term:
    return tracks.velocity(*c.places, c.places_mask, c.seconds)


def _foot_velocity(c: LossInputs) -> Term:
    return tracks.velocity(*c.feet, c.feet_mask, c.seconds)


def _foot_contact(c: LossInputs) -> Term:
    return tracks.standing(c.feet[0], c.feet_mask, c.mask(c.world.stands), c.seconds, STANDING)


def _camera_consistency(c: LossInputs) -> Term:
    return tracks.differences(c.people.camera, c.of(c.targets.camera), c.mask(c.targets.camera_mask))


def _root_consistency(c: LossInputs) -> Term:
    found, wanted = c.rotations[..., 0, :, :].flatten(-2), c.of(c.targets.root_rotation).flatten(-2)
    return tracks.differences(found, wanted, c.mask(c.targets.root_rotation_mask))


def _pose_prior(c: LossInputs) -> Term:
    assert c.prior is not None
    return prior.pose_prior(c.rotations[..., 1:22, :, :], c.prior, c.seen)


FRAME_TERMS: Mapping[str, Callable[[LossInputs], Term]] = {
    "center_map": _center_map,
    "center_map_3d": _center_map_3d,
    "joints2d": _joints2d,
    "joints3d": _joints3d,
    "pa_joints3d": _pa_joints3d,
    "root_rotation": _root_rotation,
    "body_pose": _body_pose,
    "shape": _shape,
    "camera": _camera,
    "pose_prior": _pose_prior,
}
"""Terms of single frames."""
TRACK_TERMS: Mapping[str, Callable[[LossInputs], Term]] = {
    "shape_consistency": _shape_consistency,
    "camera_consistency": _camera_consistency,
    "root_consistency": _root_consistency,
}
"""Terms of clips: there is nothing to compare in one frame."""
WORLD_TERMS: Mapping[str, Callable[[LossInputs], Term]] = {
    "motion_offsets": _motion,
    "world_rotation": _world_rotation,
    "world_root": _world_root,
    "world_translation": _world_translation,
    "world_scale": _world_scale,
    "world_joints2d": _world_joints2d,
    "world_velocity": _world_velocity,
    "foot_velocity": _foot_velocity,
    "foot_contact": _foot_contact,
}
"""Terms of clips that need a network with temporal parts."""
TERMS = {**FRAME_TERMS, **TRACK_TERMS, **WORLD_TERMS}


def terms_of(frames: int, temporal: bool) -> dict[str, Callable[[LossInputs], Term]]:
    """The terms that clips of so many frames have; `temporal`: whether the network has the parts that move people."""
    return {**FRAME_TERMS, **(TRACK_TERMS if frames > 1 else {}), **(WORLD_TERMS if frames > 1 and temporal else {})}
