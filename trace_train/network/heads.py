"""Heads on the feature map: centres, cameras and motion in 3D, mesh features, per-person regressors.

Source: docs/reference/network.md#map-heads, docs/reference/network.md#detection-and-motion-heads and
docs/reference/network.md#per-person-regressors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trace_train.network.blocks import HeadBlock, RowBlock, VolumeBlock

CAMERA, LOCAL = 3, 3
"""Channels of the camera offset (s, y, x) and of the local residual features of the detection head."""


DEPTH_GAIN = 4.0
"""Logits per unit of bird's-eye heat, whose normalised values are between 0 and about 3: initially the logits of depth
levels can differ by 12, and a level without heat loses 4."""


def map_head(inputs: int, channels: int, blocks: int, outputs: int | None) -> nn.Sequential:
    """`blocks` head blocks and, when `outputs` is given, a 1x1 convolution; keys `k.0.*` and `K.*` as published."""
    layers: list[nn.Module] = [
        nn.Sequential(HeadBlock(inputs if k == 0 else channels, channels)) for k in range(blocks)
    ]
    if outputs is not None:
        layers.append(nn.Conv2d(channels, outputs, 1))
    return nn.Sequential(*layers)


def bird_eye_features(inputs: int, channels: int) -> nn.Sequential:
    """(N, inputs, H, W) to (N, channels, H, W): features to be folded along y for the bird's-eye view."""
    return nn.Sequential(
        *(nn.Conv2d(inputs, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Conv2d(channels, channels, 3, 1, 1), nn.BatchNorm2d(channels), nn.ReLU()),
        *(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU()),
    )


class BirdEye(nn.Sequential):
    """Bird's-eye view: folds the rows of a map into channels and convolves along x."""

    def __init__(self, inputs: int, rows: int, hidden: int, outputs: int) -> None:
        super().__init__(RowBlock(inputs * rows, hidden), RowBlock(hidden, hidden), RowBlock(hidden, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, rows, W) to (N, outputs, W), never negative."""
        folded: Tensor = super().forward(x.flatten(1, 2))  # type: ignore[no-untyped-call]
        return folded


class CenterHeads(nn.Module):
    """Composes the front view and the bird's-eye view into the 3D centre map and the camera volume."""

    def __init__(self, *, depth: int, size: int) -> None:
        super().__init__()
        self.depth = depth
        grid = torch.arange(size) / size * 2 - 1
        self.register_buffer("grid", grid, persistent=False)

    grid: Tensor

    def forward(
        self, front: Tensor, above: Tensor, center_refiner: nn.Module, camera_refiner: nn.Module, *, logits: bool
    ) -> tuple[Tensor, Tensor]:
        """Head (N, 7, H, W) and bird's-eye view (N, 3 D, W) to centre map (N, D, H, W), cameras (N, 3, D, H, W).

        The front heat is detached, so the 3D loss does not train the 2D head. Released weights need the raw product of
        front and depth heat. With `logits` (training from scratch) the product of probabilities becomes a sum of
        logits, whose gradient does not vanish while the front heat is small.
        """
        heat = front[:, :1].detach()
        seen, shift = above[:, : self.depth], above[:, self.depth : 2 * self.depth]
        product = heat + DEPTH_GAIN * (seen[:, :, None] - 1) if logits else heat * seen[:, :, None]
        center = center_refiner(product[:, None]).squeeze(1)
        s = front[:, 1, None] + shift[:, :, None]
        y = (self.grid[:, None] + front[:, 2])[:, None].expand_as(s)
        x = (self.grid + front[:, 3])[:, None].expand_as(s)
        return center, camera_refiner(torch.stack([s, y, x], dim=1))

    def coordinates(self) -> Tensor:
        """(1, D, M, M, 3) base coordinates y and x of the volume, and zero for s, as stored in the released weights."""
        y, x = torch.meshgrid(self.grid, self.grid, indexing="ij")
        return torch.stack([torch.zeros_like(y), y, x], dim=-1).expand(1, self.depth, -1, -1, -1).clone()


def motion_volume(front: Tensor, above: Tensor, refiner: nn.Module) -> Tensor:
    """Front motion (N, 3, M, M) and bird's-eye motion (N, D, M) to (N, 3, D, M, M) of s, y, x.

    The bird's-eye view is the same for all three channels, as published.
    """
    refined: Tensor = refiner(front[:, :, None] + above[:, None, :, None])
    return refined


class TemporalEncoder(nn.Module):
    """The MLP from sampled features to parameters. The name is the published one; it processes frames independently."""

    def __init__(self, inputs: int, hidden: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.regressor = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        self.out_layers = nn.ModuleList(nn.Linear(hidden, n) for n in outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., sum of outputs)."""
        y = self.regressor(x)
        return torch.cat([layer(y) for layer in self.out_layers], dim=-1)


def refiner(channels: int) -> nn.Sequential:
    """A volume refiner with the published key layout `0.*`."""
    return nn.Sequential(VolumeBlock(channels))
