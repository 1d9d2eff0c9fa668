"""One function per loss, named after its weight, that selects what it compares; the rest is declared in `table.py`."""

from __future__ import annotations

from trace_train.losses import body, center_maps, keypoints, prior, tracks
from trace_train.losses.loss_inputs import LossInputs
from trace_train.losses.reduce import Term, distance
from trace_train.metrics.world import STANDING


def center_map(c: LossInputs) -> Term:
    return center_maps.focal(
        c.maps.center, c.targets.center_map, c.targets.frame_mask.flatten(), logits=c.center_logits
    )


def center_map_3d(c: LossInputs) -> Term:
    mask = c.targets.frame_mask.flatten() & c.targets.center_map_3d_mask
    return center_maps.focal(c.maps.center_3d, c.targets.center_map_3d, mask, logits=c.center_logits)


def joints2d(c: LossInputs) -> Term:
    return keypoints.joints2d(c.joints2d, c.of(c.targets.joints2d), c.mask(c.targets.joints2d_mask))


def joints3d(c: LossInputs) -> Term:
    return keypoints.joints3d(c.joints, c.of(c.targets.joints3d), c.mask(c.targets.joints3d_mask), c.joints_huber)


def pa_joints3d(c: LossInputs) -> Term:
    return keypoints.pa_joints3d(c.joints, c.of(c.targets.joints3d), c.mask(c.targets.joints3d_mask), c.joints_huber)


def root_rotation(c: LossInputs) -> Term:
    mask = c.mask(c.targets.root_rotation_mask)
    return body.rotation(c.rotations[..., 0, :, :], c.of(c.targets.root_rotation), mask)


def body_pose(c: LossInputs) -> Term:
    mask = c.mask(c.targets.body_pose_mask)
    return body.rotation(c.rotations[..., 1:22, :, :], c.of(c.targets.body_pose), mask, c.pose_huber)


def shape(c: LossInputs) -> Term:
    return body.shape(c.betas, c.of(c.targets.shape), c.seen, c.mask(c.targets.shape_mask))


def camera(c: LossInputs) -> Term:
    return distance(c.people.camera, c.of(c.targets.camera), c.mask(c.targets.camera_mask))


def motion_offsets(c: LossInputs) -> Term:
    assert c.people.motion is not None
    return distance(c.people.motion, c.of(c.world.motion), c.mask(c.world.motion_mask))


def shape_consistency(c: LossInputs) -> Term:
    return tracks.steady_shape(c.betas, c.seen)


def world_rotation(c: LossInputs) -> Term:
    mask = c.mask(c.world.root_rotation_mask)
    return tracks.rotation_pairs(c.trajectory.world_root, c.of(c.world.root_rotation), mask)


def world_root(c: LossInputs) -> Term:
    mask = c.mask(c.world.root_rotation_mask)
    return body.rotation(c.trajectory.world_root, c.of(c.world.root_rotation), mask)


def world_translation(c: LossInputs) -> Term:
    return tracks.translation_pairs(*c.places, c.places_mask)


def world_scale(c: LossInputs) -> Term:
    return tracks.log_scale(*c.places, c.places_mask)


def world_joints2d(c: LossInputs) -> Term:
    return keypoints.joints2d(c.world_joints2d, c.of(c.world.joints2d), c.mask(c.world.joints2d_mask))


def world_velocity(c: LossInputs) -> Term:
    return tracks.velocity(*c.places, c.places_mask, c.seconds)


def foot_velocity(c: LossInputs) -> Term:
    return tracks.velocity(*c.feet, c.feet_mask, c.seconds)


def foot_contact(c: LossInputs) -> Term:
    return tracks.standing(c.feet[0], c.feet_mask, c.mask(c.world.stands), c.seconds, STANDING)


def camera_consistency(c: LossInputs) -> Term:
    return tracks.differences(c.people.camera, c.of(c.targets.camera), c.mask(c.targets.camera_mask))


def root_consistency(c: LossInputs) -> Term:
    found, wanted = c.rotations[..., 0, :, :].flatten(-2), c.of(c.targets.root_rotation).flatten(-2)
    return tracks.differences(found, wanted, c.mask(c.targets.root_rotation_mask))


def pose_prior(c: LossInputs) -> Term:
    assert c.prior is not None
    return prior.pose_prior(c.rotations[..., 1:22, :, :], c.prior, c.seen)
