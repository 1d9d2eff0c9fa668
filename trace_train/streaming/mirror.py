"""Mirrors a clip's annotations consistently with its frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trace_data.schema.clip import ClipAnnotations
from trace_data.schema.keypoints import FLIP_24, FLIP_44

MIRROR = np.array([-1.0, 1.0, 1.0])
"""Sign of the world and camera axes under mirroring: x is negated."""


def mirrored(annotations: ClipAnnotations) -> ClipAnnotations:
    """The annotations of the mirrored frames; mirroring twice gives the original.

    A pixel centre x maps to W - 1 - x, and left and right joints are swapped. World and camera are each mirrored in
    their plane x = 0, so the rotation of camera_from_world stays a rotation, and mirrored joints project exactly onto
    the mirrored pixels. A mirrored body takes the rotations of the opposite side with mirrored axes, axis-angle
    (x, -y, -z), and keeps its betas. Posing it reproduces the mirrored joints only as far as the body model is
    symmetric: exactly for kinematic joints if template and shape directions are symmetric; if the rest pelvis lies off
    the plane x = 0, all joints are off by twice that distance. Pose blend shapes may be more asymmetric.
    """
    # missing points have confidence 0 and stay at the origin
    kp2d, kp3d = annotations.kp2d[:, :, FLIP_44].copy(), annotations.kp3d[:, :, FLIP_44].copy()
    kp2d[..., 0] = np.where(kp2d[..., 2] > 0, annotations.width - 1 - kp2d[..., 0], kp2d[..., 0])
    kp3d[..., :3] *= MIRROR.astype(np.float32)
    there = annotations.masks["center"][..., None]
    center = np.where(there, annotations.center * (-1, 1) + (annotations.width - 1, 0), 0)
    left, top, right, bottom = np.moveaxis(annotations.box, -1, 0)
    box = np.stack([annotations.width - 1 - right, top, annotations.width - 1 - left, bottom], axis=-1)
    # frame' = F frame, camera' = M camera, world' = M world with F = [-1 0 W-1], so K' = F K M and E' = M E M
    frame = np.diag([-1.0, 1.0, 1.0])
    frame[0, 2] = annotations.width - 1
    both_sides = np.append(MIRROR, 1.0)
    extrinsics = both_sides[:, None] * annotations.camera_from_world * both_sides
    turned = annotations.pose[:, :, FLIP_24] * -MIRROR  # a mirror reverses rotations, so it maps an axis v to -M v
    return replace(
        annotations,
        intrinsics=(frame @ annotations.intrinsics * MIRROR).astype(np.float32),
        camera_from_world=extrinsics.astype(np.float32),
        pose=turned.astype(np.float32),
        translation=annotations.translation * MIRROR.astype(np.float32),
        kp2d=kp2d,
        kp3d=kp3d,
        center=center.astype(np.float32),
        box=np.where(there, box, 0),
    )
