"""Deformable convolution, version 1: a 3x3 convolution with learnt offsets of its taps.

Source: docs/reference/network.md#deformable-convolution.

On a GPU `torchvision.ops.deform_conv2d` computes it where that library's operators load. They do not beside every
torch, so the same function is here in plain torch as well; nothing has to be compiled. On a CPU ours is always taken:
forward both are equally fast, backward ours takes a fifth of the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = 9
GRID_SAMPLE, TORCHVISION = "grid_sample", "torchvision"


@lru_cache(maxsize=1)
def torchvision_operator() -> Callable[..., Tensor] | None:
    """torchvision's operator, called as `deform_conv2d` below; None where it is absent or does not fit this torch."""
    try:
        from torchvision.ops import deform_conv2d

        # a torchvision that was built for another torch may import and still lack its operators
        torch.ops.torchvision.deform_conv2d  # noqa: B018
    except (ImportError, RuntimeError, OSError, AttributeError):
        return None
    return partial(deform_conv2d, padding=1)


def implementation(device: torch.device) -> str:
    """What computes deformable convolutions there: `torchvision` or `grid_sample`."""
    return TORCHVISION if device.type == "cuda" and torchvision_operator() is not None else GRID_SAMPLE


def deform_conv2d(x: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Maps (N, C, H, W) convolved at displaced taps; padding 1, stride 1, no bias.

    offsets (N, 18 G, H, W) in cells: for each of G groups of C / G channels and each of the nine taps, row by row, dy
    and dx. weight (O, C, 3, 3). Returns (N, O, H, W). Values are bilinear; whatever lies outside the map is zero, so
    that within one cell of the border they fade.
    """
    n, channels, height, width = x.shape
    groups = offsets.shape[1] // (2 * TAPS)
    moved = offsets.reshape(n * groups, TAPS, 2, height, width)
    rows, columns = (torch.arange(size, device=x.device, dtype=x.dtype) for size in (height, width))
    tap = torch.arange(TAPS, device=x.device)
    y = moved[:, :, 0] + rows[:, None] + (tap // 3 - 1)[:, None, None]
    x_at = moved[:, :, 1] + columns + (tap % 3 - 1)[:, None, None]
    # cell k of n has its centre at (2 k + 1) / n - 1 in the sampler's coordinates
    places = torch.stack([(2 * x_at + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1).flatten(1, 2)
    grouped = x.reshape(n * groups, channels // groups, height, width)
    seen = F.grid_sample(grouped, places, mode="bilinear", padding_mode="zeros", align_corners=False)
    unfolded = seen.reshape(n, channels * TAPS, height * width)
    out: Tensor = weight.flatten(1) @ unfolded
    return out.view(n, -1, height, width)


class DeformWarper(nn.Module):
    """Moves features along the offsets that were predicted from how they changed, in float32 also under autocast."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        bound = 1 / math.sqrt(channels * TAPS)
        nn.init.uniform_(self.weight, -bound, bound)
        # found out now: an import inside the forward pass would interrupt a compiled one
        self.on_gpu = torchvision_operator() or deform_conv2d

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """(N, C, H, W) and offsets (N, 18 G, H, W) to (N, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            convolve = self.on_gpu if x.is_cuda else deform_conv2d
            return convolve(x.to(self.weight), offsets.to(self.weight), self.weight)
