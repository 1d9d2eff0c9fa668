"""Centre maps, the targets of the detection heads (docs/reference/training.md#2d-centre-heatmap and the 3D one)."""

from __future__ import annotations

import torch
from torch import Tensor


def _by_frame(values: Tensor) -> Tensor:
    """(B, P, T, ...) to (B T, P, ...)."""
    return values.transpose(1, 2).flatten(0, 1)


def center_heat(cell: Tensor, valid: Tensor, extent: Tensor, size: int) -> Tensor:
    """Front-view heat (B T, M, M): the maximum over one Gaussian per person, 1 at each centre cell.

    `cell` (B, P, T, 2) y, x; `extent` (B, P, T) diagonal of the person's box, normalised. Radius and width follow
    docs/reference/training.md#2d-centre-heatmap, scaled with the map: r = int(8 e / 2 + 4) on the published 128 cells.
    """
    radius = torch.floor((8 * extent / 2 + 4) * size / 128).clamp(1, size)
    sigma = (2 * radius + 1) / 6
    at = torch.arange(size, device=cell.device)
    offset = at - cell[..., None]  # (B, P, T, 2, M)
    fall = torch.exp(-offset.square() / (2 * sigma[..., None, None].square()))
    fall = fall * (offset.abs() <= radius[..., None, None])
    heat = fall[..., 0, :, None] * fall[..., 1, None, :] * valid[..., None, None]
    return _by_frame(heat).amax(1)


def center_heat_3d(cell: Tensor, level: Tensor, valid: Tensor, size: int, levels: int) -> Tensor:
    """Heat over depth level, y, x (B T, D, M, M), computed person by person to keep one volume in memory.

    Source: docs/reference/training.md#3d-centre-heatmap.
    """
    share = level / levels
    deep = 2 * torch.div((4 + 4 * share).floor() * levels / 64, 2, rounding_mode="floor") + 1
    radius = torch.floor((8 * (1 - share) / 2 + 4) * size / 128).clamp_min(1)
    side = 2 * radius + 1
    sigma2 = (2 * torch.sqrt(2 * (side / 2).square() + (deep / 2).square()) / 6).square()
    depth_at, at = torch.arange(levels, device=cell.device), torch.arange(size, device=cell.device)
    dz, dyx = depth_at - level[..., None], at - cell[..., None]
    along = torch.exp(-dz.square() / sigma2[..., None]) * (dz.abs() <= (deep / 2)[..., None])
    fall = torch.exp(-dyx.square() / sigma2[..., None, None]) * (dyx.abs() <= radius[..., None, None])
    along, fall = _by_frame(along * valid[..., None]), _by_frame(fall)
    volume = along.new_zeros(len(along), levels, size, size)
    for person in range(along.shape[1]):
        heat = along[:, person, :, None, None] * fall[:, person, None, 0, :, None] * fall[:, person, None, 1, None, :]
        volume = torch.maximum(volume, heat)
    return volume
