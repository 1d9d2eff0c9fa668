"""Trajectory errors in the world for one person, float64 (docs/reference/evaluation.md#world-frame).

Joints are (T, J, 3), positions (T, 3), rotations (T, 3, 3), metres. Prediction and target may have different world
frames: every measure states the alignment it uses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.procrustes import similarity

FOOT_VERTICES = (3216, 3387, 6617, 6787)
"""Left and right heel and sole of the SMPL mesh."""
STANDING = 0.3
"""Maximum speed of a standing foot, m/s: 1 cm in 1/30 s (docs/reference/training.md#foot-contact)."""


def moved(points: Tensor, alignment: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Points (..., 3) after scale (), rotation (3, 3) and translation (3,)."""
    scale, turn, shift = alignment
    return scale * (points.double() @ turn.mT) + shift


def similar(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best Sim(3) between point sets (..., 3) of any layout: scale, rotation, translation."""
    return similarity(predicted.reshape(-1, 3), target.reshape(-1, 3))


def rigid(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best SE(3) in the same form: the rotation of the best Sim(3), with scale one."""
    p, t = predicted.double().reshape(-1, 3), target.double().reshape(-1, 3)
    _, turn, _ = similarity(p, t)
    return torch.ones_like(turn[0, 0]), turn, t.mean(0) - turn @ p.mean(0)


def first_two(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The Sim(3) from the joints (T, J, 3) of the first two frames."""
    return similar(predicted[:2], target[:2])


def joint_errors(predicted: Tensor, target: Tensor, alignment: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Mean joint distance (T,) of joints (T, J, 3) after an alignment.

    With `first_two` its mean is W-MPJPE, with `similar` WA-MPJPE.
    """
    error: Tensor = (moved(predicted, alignment) - target.double()).norm(dim=-1).mean(-1)
    return error


def path_length(positions: Tensor) -> Tensor:
    """Sum of the distances between consecutive positions (T, 3)."""
    length: Tensor = positions.double().diff(dim=0).norm(dim=-1).sum()
    return length


def root_translation_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Distance (T,) of positions (T, 3) after the best rigid alignment, as a share of the target's path."""
    error: Tensor = (moved(predicted, rigid(predicted, target)) - target.double()).norm(dim=-1)
    return error / path_length(target)


def trajectory_error(predicted: Tensor, target: Tensor, alignment: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """ATE: root of the mean square distance of positions (T, 3) after an alignment."""
    error: Tensor = (moved(predicted, alignment) - target.double()).square().sum(-1).mean().sqrt()
    return error


def pose_error(
    predicted: Tensor,
    target: Tensor,
    predicted_root: Tensor,
    target_root: Tensor,
    alignment: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """DynaCam's "APE": root of the mean square Frobenius norm of G⁻¹ P − I, of poses P and G after an alignment.

    Positions (T, 3), rotations (T, 3, 3). It adds metres to turns (docs/reference/evaluation.md#dynacam).
    """
    apart = (moved(predicted, alignment) - target.double()).square().sum(-1)
    turned = (alignment[1] @ predicted_root.double() - target_root.double()).square().sum((-1, -2))
    error: Tensor = (apart + turned).mean().sqrt()
    return error


def from_start(predicted: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The translation that aligns the first of positions (T, 3), without rotation or scale."""
    one = torch.ones((), dtype=torch.float64)
    return one, torch.eye(3, dtype=torch.float64), target[0].double() - predicted[0].double()


def jitter(joints: Tensor, fps: float) -> Tensor:
    """Mean norm of the third derivative (T - 3,) of joints (T, J, 3), in 10 m/s^3."""
    third: Tensor = joints.double().diff(n=3, dim=0).norm(dim=-1).mean(-1)
    return third * fps**3 / 10


def foot_sliding(predicted: Tensor, target: Tensor, fps: float) -> tuple[Tensor, Tensor]:
    """Distance (T - 1, V) each foot vertex moves per 1/30 s, and a mask where the target's foot stands.

    Vertices (T, V, 3) in the world.
    """
    ours, theirs = (x.double().diff(dim=0).norm(dim=-1) * fps for x in (predicted, target))
    return ours / 30, theirs < STANDING


def rotation_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...,) in degrees between rotations (..., 3, 3)."""
    # the chord, not the trace: exact near zero
    half = (a.double() - b.double()).square().sum((-1, -2)).sqrt() / 8**0.5
    angle: Tensor = torch.rad2deg(2 * half.clamp(max=1).asin())
    return angle
