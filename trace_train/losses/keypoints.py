"""Losses on 2D and 3D joints (docs/reference/training.md#active-terms). Shapes are (..., J, D) with masks (..., J)."""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.procrustes import similarity
from trace_train.losses.reduce import Term, distance, filled, huber, masked, norm

FARTHEST = 3.0
"""Limit of projected joints, in half widths of the crop: a person who lands behind the camera early in training must
not dominate the batch."""


def joints2d(predicted: Tensor, target: Tensor, mask: Tensor) -> Term:
    """Distance of projected joints in normalised crop coordinates, over all visible joints."""
    return distance(predicted.clamp(-FARTHEST, FARTHEST), target, mask)


def joints3d(predicted: Tensor, target: Tensor, mask: Tensor, delta: float = 0.0) -> Term:
    """Mean distance per person, metres; both sets are relative to the hip midpoint. (..., J, 3).

    `delta`, here and below: see `reduce.huber`.
    """
    return _per_person(huber(norm(filled(predicted - target, mask)), delta), mask)


def pa_joints3d(predicted: Tensor, target: Tensor, mask: Tensor, delta: float = 0.0) -> Term:
    """The same after aligning the prediction to the target by rotation, scale and translation, per person.

    The alignment is treated as constant in the backward pass: the gradient with respect to an optimal alignment
    vanishes, and the derivative of an SVD is unstable near symmetric poses.
    """
    enough = mask & (mask.sum(-1, keepdim=True) >= 4)
    predicted, target = filled(predicted, enough), filled(target, enough)
    with torch.no_grad():
        scale, turn, shift = (part.to(predicted.dtype) for part in similarity(predicted, target, enough))
    aligned = scale[..., None, None] * (predicted @ turn.transpose(-1, -2)) + shift[..., None, :]
    return _per_person(huber(norm(aligned - target), delta), enough)


def _per_person(apart: Tensor, mask: Tensor) -> Term:
    count = mask.sum(-1)
    mean = filled(apart, mask).sum(-1) / count.clamp_min(1)
    return masked(mean, count > 0)
