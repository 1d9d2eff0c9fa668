"""SMPLify's pose prior: a mixture of Gaussians over axis-angle poses (docs/reference/training.md#pose-prior)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_train.geometry.rotations import axis_angle_from_matrix
from trace_train.losses.reduce import Term, filled, masked

LIKELY = 8.0
"""Hundredths of the energy that cost nothing: only poses far from anything that was measured are pushed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosePrior:
    """K Gaussians over D numbers."""

    means: Tensor
    """(K, D)."""
    precisions: Tensor
    """(K, D, D) inverse covariances."""
    constants: Tensor
    """(K,) what each energy adds to half the squared Mahalanobis distance: minus the logarithm of its weight."""

    def to(self, device: torch.device) -> PosePrior:
        """The same on a device."""
        return PosePrior(
            means=self.means.to(device), precisions=self.precisions.to(device), constants=self.constants.to(device)
        )

    def energy(self, pose: Tensor) -> Tensor:
        """(...) of poses (..., D): that of the Gaussian which explains it best."""
        off = pose[..., None, :] - self.means
        distance = torch.einsum("...ki,kij,...kj->...k", off, self.precisions, off)
        return (0.5 * distance + self.constants).amin(-1)


def pose_prior(rotations: Tensor, prior: PosePrior, mask: Tensor) -> Term:
    """Hundredths of the energy above `LIKELY` of body poses (..., 21, 3, 3), each person for itself."""
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    pose = axis_angle_from_matrix(filled(rotations, mask, identity)).flatten(-2)
    return masked((prior.energy(pose) / 100 - LIKELY).clamp_min(0), mask)
