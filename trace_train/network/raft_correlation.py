"""How alike every cell of one frame is to every cell of the other, and looking it up around a flow. Always float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS, RADIUS = 4, 4
"""Resolutions of the correlation, each half of the one before; cells that are looked at to each side."""


def pyramid(before: Tensor, after: Tensor) -> list[Tensor]:
    """Correlation of features (P, C, h, w), as (P h w, 1, h / 2^l, w / 2^l): cell of `before`, then map of `after`."""
    p, channels, h, w = before.shape
    with torch.autocast(before.device.type, enabled=False):
        one = before.float().flatten(2).transpose(1, 2)
        other = after.float().flatten(2)
        volume = (torch.bmm(one, other) * channels**-0.5).view(p * h * w, 1, h, w)
        levels = [volume]
        for _ in range(LEVELS - 1):
            levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def look_up(levels: list[Tensor], flow: Tensor) -> Tensor:
    """Correlation around where flow (P, 2, h, w), in cells, points from each cell: (P, 324, h, w).

    Bilinear, zero outside. Channels: level, then offset along x, then offset along y: the published order, in which
    the window lies transposed.
    """
    p, _, h, w = flow.shape
    offset = torch.arange(-RADIUS, RADIUS + 1, device=flow.device, dtype=torch.float32)
    x = (torch.arange(w, device=flow.device) + flow[:, 0]).reshape(-1, 1, 1)
    y = (torch.arange(h, device=flow.device)[:, None] + flow[:, 1]).reshape(-1, 1, 1)
    windows = []
    with torch.autocast(flow.device.type, enabled=False):
        for number, level in enumerate(levels):
            rows, columns = level.shape[-2:]
            shape = (p * h * w, len(offset), len(offset))
            # edges at -1 and 1: the other convention divides by zero where a level is one cell wide
            grid_x = ((x * 0.5**number + offset[:, None]) * 2 + 1) / columns - 1
            grid_y = ((y * 0.5**number + offset) * 2 + 1) / rows - 1
            grid = torch.stack([grid_x.expand(shape), grid_y.expand(shape)], dim=-1)
            found = F.grid_sample(level, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            windows.append(found.view(p, h, w, -1))
        return torch.cat(windows, dim=-1).permute(0, 3, 1, 2)
