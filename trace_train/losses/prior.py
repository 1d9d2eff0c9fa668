"""The pose prior: a mixture of Gaussians over axis-angle poses (docs/reference/training.md#pose-prior)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_train.geometry.rotations import axis_angle_from_matrix
from trace_train.losses.reduce import Term, filled, masked

LIKELY = 8.0
"""Threshold, in hundredths of the energy, below which there is no loss: only implausible poses are penalised."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosePrior:
    """A mixture of K Gaussians in D dimensions."""

    means: Tensor
    """(K, D)."""
    precisions: Tensor
    """(K, D, D) inverse covariances."""
    constants: Tensor
    """(K,) negative log weights, added to half the squared Mahalanobis distance."""

    def to(self, device: torch.device) -> PosePrior:
        """Move the prior to a device."""
        return PosePrior(
            means=self.means.to(device), precisions=self.precisions.to(device), constants=self.constants.to(device)
        )

    def energy(self, pose: Tensor) -> Tensor:
        """Energy (...) of poses (..., D), the minimum over the Gaussians."""
        off = pose[..., None, :] - self.means
        distance = torch.einsum("...ki,kij,...kj->...k", off, self.precisions, off)
        return (0.5 * distance + self.constants).amin(-1)


def pose_prior(rotations: Tensor, prior: PosePrior, mask: Tensor) -> Term:
    """Energy above `LIKELY`, in hundredths, of each person's body pose (..., 21, 3, 3)."""
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    pose = axis_angle_from_matrix(filled(rotations, mask, identity)).flatten(-2)
    return masked((prior.energy(pose) / 100 - LIKELY).clamp_min(0), mask)
