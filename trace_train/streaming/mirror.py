"""A clip as if its frames had been mirrored: every number changes so that all of them still agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trace_data.schema.clip import ClipAnnotations
from trace_data.schema.keypoints import FLIP_24, FLIP_44

MIRROR = np.array([-1.0, 1.0, 1.0])
"""What happens to the axes of the world and of the camera alike: x changes its sign."""


def mirrored(annotations: ClipAnnotations) -> ClipAnnotations:
    """The annotations of the mirrored frames; mirroring twice gives the original.

    A pixel centre x goes to W - 1 - x, and left joints become right ones. The world is mirrored in its plane x = 0 and
    the camera in its own, so that camera_from_world stays a rotation: projecting mirrored joints with the mirrored
    camera meets the mirrored pixels exactly. A mirrored body takes the rotations of the other side with their axes
    mirrored, axis-angle (x, -y, -z), and keeps its betas. Posed again, it meets the mirrored joints as far as the body
    model is symmetric itself: the kinematic joints exactly when template and shapes are; where the pelvis at rest lies
    off the plane x = 0, everything is off by twice that. Pose corrections may differ between the sides by more.
    """
    # points that are missing have confidence 0 and stay at the origin
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
    turned = annotations.pose[:, :, FLIP_24] * -MIRROR  # a mirror maps an axis v to -M v, for it reverses rotations
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
