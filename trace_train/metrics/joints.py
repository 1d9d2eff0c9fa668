"""Body errors in the camera frame, on tensors of fixed layout, in float64.

Protocols: docs/reference/evaluation.md#3dpw and docs/reference/evaluation.md#mupots-3d-and-mpi-inf-3dhp.

The joint axis is never guessed from the shape: the published evaluation did so, and misaligned frames with two or three
people.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.constants import constant
from trace_train.geometry.procrustes import aligned

LSP_HIPS = (2, 3)
"""Right and left hip in the 14 LSP joints; their midpoint is the root."""
PCK_METRES = 0.15
AUC_METRES = tuple(0.005 * k for k in range(31))
"""0 to 150 mm in steps of 5 mm."""


def rooted(joints: Tensor) -> Tensor:
    """Joints (..., J >= 14, 3) in LSP order relative to the midpoint of their hips."""
    root = joints[..., LSP_HIPS, :].mean(-2, keepdim=True)
    result: Tensor = joints - root
    return result


def mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean per-joint position error (N,) in the unit of the input, after removing the root. (N, 14, 3) LSP joints."""
    error: Tensor = (rooted(predicted.double()) - rooted(target.double())).norm(dim=-1).mean(-1)
    return error


def pa_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """The same (N,) after the best similarity per person instead of root alignment. (N, J, 3)."""
    p, t = predicted.double(), target.double()
    error: Tensor = (aligned(p, t) - t).norm(dim=-1).mean(-1)
    return error


def pve(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean per-vertex error (N,) of meshes (N, V, 3) that are both relative to their hip midpoint."""
    error: Tensor = (predicted.double() - target.double()).norm(dim=-1).mean(-1)
    return error


def labelled_errors(predicted: Tensor, target: Tensor, labelled: Tensor, *, align: bool = False) -> Tensor:
    """Distance of each labelled joint (N, J), zero elsewhere, of joints (N, J, 3) relative to the same root.

    `labelled` (N, J) bool. `align`: after the similarity that best fits the labelled joints.
    """
    p, t, known = predicted.double(), target.double(), labelled.double()
    t = torch.where(labelled[..., None], t, torch.zeros_like(t))
    p = torch.where(labelled[..., None], p, torch.zeros_like(p))
    if align:
        p = aligned(p, t, known)
    error: Tensor = (p - t).norm(dim=-1) * known
    return error


def per_person(errors: Tensor, labelled: Tensor) -> Tensor:
    """Mean (N,) over the labelled joints of errors (N, J); people without any get zero."""
    mean: Tensor = (errors * labelled).sum(-1) / labelled.sum(-1).clamp_min(1)
    return mean


def correct(errors: Tensor, labelled: Tensor, threshold: float = PCK_METRES) -> Tensor:
    """Number (N,) of labelled joints whose error (N, J) is below a threshold, both in metres."""
    count: Tensor = ((errors < threshold) & labelled).sum(-1).double()
    return count


def area_under_curve(errors: Tensor, labelled: Tensor) -> Tensor:
    """Number (N,) of labelled joints below a threshold, averaged over the thresholds `AUC_METRES`."""
    thresholds = constant(AUC_METRES, like=errors)
    count: Tensor = ((errors[..., None] < thresholds) & labelled[..., None]).double().mean(-1).sum(-1)
    return count


def acceleration_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over joints of the difference of second differences (T - 2,), per frame squared; joints (T, J, 3).

    Divided by the square of the time between frames it is an acceleration.
    """
    difference = predicted.double() - target.double()
    error: Tensor = difference.diff(n=2, dim=0).norm(dim=-1).mean(-1)
    return error
