"""Rotation conversions in torch. Shapes are (..., n); gradients are finite, even at zero rotation.

6D layout: six numbers viewed as a (3, 2) row-major matrix, so elements 0, 2, 4 are the first column of the rotation and
1, 3, 5 the second (docs/reference/assets.md#rotations-in-6d). Identity is (1, 0, 0, 1, 0, 0).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

IDENTITY_6D = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def matrix_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula: (..., 3) radians to (..., 3, 3)."""
    angle = axis_angle.square().sum(-1, keepdim=True).clamp_min(1e-16).sqrt()[..., None]
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    # (1 - cos a) / a^2 as a squared sinc: no cancellation near zero
    half = torch.sinc(angle / (2 * torch.pi))
    rotation: Tensor = eye + torch.sinc(angle / torch.pi) * skew + 0.5 * half.square() * (skew @ skew)
    return rotation


def axis_angle_from_matrix(matrix: Tensor) -> Tensor:
    """Rotation (..., 3, 3) to axis-angle (..., 3) with angles in [0, pi], via the best-conditioned quaternion."""
    m = matrix.flatten(-2)
    trace_terms = torch.stack(
        [
            1 + m[..., 0] + m[..., 4] + m[..., 8],
            1 + m[..., 0] - m[..., 4] - m[..., 8],
            1 - m[..., 0] + m[..., 4] - m[..., 8],
            1 - m[..., 0] - m[..., 4] + m[..., 8],
        ],
        dim=-1,
    )
    a, b, c = m[..., 7] - m[..., 5], m[..., 2] - m[..., 6], m[..., 3] - m[..., 1]
    d, e, f = m[..., 3] + m[..., 1], m[..., 2] + m[..., 6], m[..., 7] + m[..., 5]
    w, x, y, z = trace_terms.unbind(-1)
    candidates = torch.stack(
        [
            torch.stack([w, a, b, c], -1),
            torch.stack([a, x, d, e], -1),
            torch.stack([b, d, y, f], -1),
            torch.stack([c, e, f, z], -1),
        ],
        dim=-2,
    )
    best = trace_terms.argmax(-1)[..., None, None].expand(*trace_terms.shape[:-1], 1, 4)
    quaternion = candidates.gather(-2, best).squeeze(-2)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    vector = quaternion[..., 1:]
    length = vector.square().sum(-1, keepdim=True).clamp_min(1e-24).sqrt()
    angle = 2 * torch.atan2(length, quaternion[..., :1])
    # at the identity sin(a/2) vanishes; the limit is 2 * vector / w
    return torch.where(length > 1e-9, vector / length * angle, torch.zeros_like(vector))


def matrix_from_6d(six: Tensor) -> Tensor:
    """A rotation (..., 3, 3) by Gram-Schmidt on the two columns in (..., 6)."""
    columns = six.unflatten(-1, (3, 2))
    first = torch.nn.functional.normalize(columns[..., 0], dim=-1, eps=1e-6)
    second = columns[..., 1] - (first * columns[..., 1]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1, eps=1e-6)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=-1)


def sixd_from_matrix(matrix: Tensor) -> Tensor:
    """The first two columns of a rotation (..., 3, 3) in the interleaved layout, (..., 6)."""
    return matrix[..., :2].flatten(-2)


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Angle (...) in [0, pi] between rotations (..., 3, 3).

    Uses atan2 of sine and cosine: exact for small angles in float32, with a finite gradient everywhere (zero at 0 and
    pi, where acos of the trace has an infinite one).
    """
    apart = a.mT @ b
    skew = (apart - apart.mT).flatten(-2)
    # |R - R^T| is sqrt(8) |sin|, the trace 1 + 2 cos
    sine = skew.square().sum(-1).clamp_min(1e-14).sqrt() / math.sqrt(2)
    return torch.atan2(sine, apart.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)
