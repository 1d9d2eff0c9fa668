"""What a tracker compares of the people detected in a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.keypoints import ALL_44, LSP_14
from trace_train.geometry.camera import FOCAL, SMALLEST_SCALE
from trace_train.inference.frame_detections import FrameDetections

Floats = npt.NDArray[np.float64]
LSP = [ALL_44.index(name) for name in LSP_14]
KEYPOINT_DEVIATIONS = (
    np.array([0.089, 0.087, 0.107, 0.107, 0.087, 0.089, 0.062, 0.072, 0.079, 0.079, 0.072, 0.062, 0.079, 0.079])
)  # fmt: skip
"""Standard deviations of the 14 joints as shares of the body's size: COCO's, and PoseTrack's for neck and head."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observation:
    """K people, as a tracker compares them."""

    position: Floats
    """(K, 3) hip midpoint, m, camera."""
    joints: Floats
    """(K, 14, 2) LSP joints, px."""
    size: Floats
    """(K,) size in the picture, px: half the diagonal of the box around the joints."""
    px_per_m: Floats
    """(K,) px of the picture in a metre across the line of sight, at the person."""
    feature: Floats
    """(K, C) of length 1."""
    betas: Floats
    """(K, 10)."""

    def at(self, rows: npt.NDArray[np.int64]) -> Observation:
        """The people `rows`."""
        return Observation(
            position=self.position[rows],
            joints=self.joints[rows],
            size=self.size[rows],
            px_per_m=self.px_per_m[rows],
            feature=self.feature[rows],
            betas=self.betas[rows],
        )


def observe(people: FrameDetections) -> Observation:
    """What is compared of the people in a frame."""
    joints = people.joints_2d[:, LSP]
    body = people.joints[:, LSP, :2]
    box = joints.max(1) - joints.min(1)
    return Observation(
        position=people.hips,
        joints=joints,
        size=np.hypot(box[:, 0], box[:, 1]) / 2,
        px_per_m=_spread(joints) / np.maximum(_spread(body), 1e-6),
        feature=unit(people.feature),
        betas=people.betas,
    )


def _spread(points: Floats) -> Floats:
    """(K,) root of the sum of squares of points (K, J, 2) about their mean."""
    about = points - points.mean(1, keepdims=True)
    spread: Floats = np.sqrt(np.einsum("kjc,kjc->k", about, about))
    return spread


def unit(vectors: Floats) -> Floats:
    """Vectors (..., C) scaled to length 1; zero stays zero."""
    length: Floats = np.sqrt(np.einsum("...c,...c->...", vectors, vectors))
    return vectors / np.maximum(length, 1e-12)[..., None]


def picture_motion(position: Floats, motion: Floats, px_per_m: Floats) -> Floats:
    """(..., 2) px by which people at `position` (..., 3) move in the picture when they move by `motion` (..., 3) m."""
    away = position[..., :2] / np.maximum(position[..., 2:], 1e-3)
    return px_per_m[..., None] * (motion[..., :2] - away * motion[..., 2:])


def network_motion(people: FrameDetections) -> Floats | None:
    """(K, 3) m by which each person moved since the previous frame, in the camera, as the network says; None if it does
    not.

    The lens follows from the people themselves: the same triple seen by the 50-degree camera and by the true one.
    """
    if people.triple_motion is None:
        return None
    now = _metres(people.triple)
    lens = people.hips / now[:, 2:]  # shear in x and y, scale in z
    lens[:, :2] -= now[:, :2] / now[:, 2:]
    before = _metres(people.triple - people.triple_motion)
    previous = lens * before[:, 2:]
    previous[:, :2] += before[:, :2]
    return people.hips - previous


def _metres(triple: Floats) -> Floats:
    """(K, 3) camera triples to metres in the 50-degree camera."""
    scale = np.maximum(triple[:, :1], SMALLEST_SCALE)
    return np.concatenate([triple[:, 2:], triple[:, 1:2], np.full_like(scale, FOCAL)], axis=1) / scale
