"""A body layer for adults, children and infants: SMPL with the kid direction, and SMIL above a threshold.

Source: docs/reference/assets.md#choice-between-smpla-and-smil. The published TRACE model does not use it: its shape
outputs beyond ten betas never reach a mesh (docs/reference/assets.md#model-wrappers).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trace_train.body.layer import BodyLayer, BodyOutput

INFANT_FROM = 0.8
"""Bodies with a kid parameter above this use SMIL."""
KID = 10
"""Index of the kid parameter among the betas."""


class AgedBodyLayer(nn.Module):
    """Two body layers, from an `SMPLA_*.pth` and the SMIL pack; each body uses the one for its age."""

    def __init__(self, grown: BodyLayer, infant: BodyLayer, *, threshold: float = INFANT_FROM) -> None:
        super().__init__()
        if not torch.equal(grown.faces, infant.faces):
            raise ValueError("the two models have different faces")
        self.grown, self.infant, self.threshold = grown, infant, threshold

    @property
    def faces(self) -> Tensor:
        """(13776, 3) vertex ids, the same for both."""
        return self.grown.faces

    def forward(self, rotations: Tensor, betas: Tensor, *, vertices: bool = False) -> BodyOutput:
        """Pose bodies as `BodyLayer` does: rotations (N, 24, 3, 3), betas (N, 11) or (N, 21).

        Ten betas, the kid parameter, and optionally ten SMIL betas. Without the latter SMIL uses the first ten, though
        the two shape spaces are unrelated (docs/reference/assets.md#shape-space-of-smil).
        """
        if betas.shape[1] not in (KID + 1, 2 * KID + 1):
            raise ValueError(f"{betas.shape[1]} betas, expected {KID + 1} or {2 * KID + 1}")
        is_infant = betas[:, KID] > self.threshold
        grown, small = (~is_infant).nonzero()[:, 0], is_infant.nonzero()[:, 0]
        own = betas[:, KID + 1 :] if betas.shape[1] > KID + 1 else betas[:, :KID]
        parts = (
            self.grown(rotations[grown], betas[grown, : KID + 1], vertices=vertices),
            self.infant(rotations[small], own[small], vertices=vertices),
        )
        back = torch.cat([grown, small]).argsort()
        return BodyOutput(
            joints=torch.cat([part.joints for part in parts])[back],
            joints_h36m=torch.cat([part.joints_h36m for part in parts])[back],
            root=torch.cat([part.root for part in parts])[back],
            vertices=torch.cat([part.vertices for part in parts])[back] if vertices else None,
        )
