"""Body errors in the camera frame, on tensors of fixed layout, in float64.

Protocols: docs/reference/evaluation.md#3dpw and docs/reference/evaluation.md#mupots-3d-and-mpi-inf-3dhp.

The joint axis is never guessed from the shape: the published evaluation did so, and misaligned frames with two or three
people.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trace_train.geometry.constants import constant
from trace_train.geometry.procrustes import aligned

LSP_HIPS = (2, 3)
"""Right and left hip in the 14 LSP joints; their midpoint is the root."""
SMPL_HIPS = (1, 2)
"""Left and right hip in the 24 joints of SMPL."""
H36M_PELVIS = (14,)
"""The pelvis in the 17 joints of the Human3.6M regressor, of which the first 14 are those of LSP."""
PCK_METRES = 0.15
AUC_METRES = tuple(0.005 * k for k in range(31))
"""0 to 150 mm in steps of 5 mm."""


def rooted(joints: Tensor, root: tuple[int, ...] = LSP_HIPS) -> Tensor:
    """Joints (..., J, 3) relative to the mean of those in `root`: by default the hips of joints in LSP order."""
    result: Tensor = joints - joints[..., list(root), :].mean(-2, keepdim=True)
    return result


def mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean per-joint position error (N,) in the unit of the input, after removing the root. (N, 14, 3) LSP joints."""
    return mean_distance(rooted(predicted.double()), rooted(target.double()))


def pa_mpjpe(predicted: Tensor, target: Tensor) -> Tensor:
    """The same (N,) after the best similarity per person instead of root alignment. (N, J, 3)."""
    p, t = predicted.double(), target.double()
    error: Tensor = (aligned(p, t) - t).norm(dim=-1).mean(-1)
    return error


def mean_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance (N,) of points (N, J, 3) relative to the same root: MPJPE of joints, PVE of vertices."""
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


def with_bones_of(predicted: Tensor, target: Tensor, bones: Sequence[tuple[int, int]]) -> Tensor:
    """Predicted joints (N, J, 3) with bones of the target's lengths and their own directions.

    `bones`: (parent, child) from the root outwards; joints that are no child stay where they are.
    """
    ours, theirs = predicted.double(), target.double()
    out = ours.clone()
    for parent, child in bones:
        bone = ours[:, child] - ours[:, parent]
        length = (theirs[:, child] - theirs[:, parent]).norm(dim=-1, keepdim=True)
        out[:, child] = out[:, parent] + bone * length / bone.norm(dim=-1, keepdim=True).clamp_min(1e-9)
    return out


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
