"""Deformable convolution, version 1: a 3x3 convolution with learnt tap offsets.

Source: docs/reference/network.md#deformable-convolution.

On a GPU `torchvision.ops.deform_conv2d` is used if torchvision's operators load, which depends on the torch version.
Otherwise, and always on the CPU, an implementation in plain torch is used. On a CPU its forward pass is as fast, and
its backward pass takes a fifth of the time.
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
    """torchvision's operator, called like `deform_conv2d` below; None if missing or incompatible with this torch."""
    try:
        from torchvision.ops import deform_conv2d

        # a torchvision built for another torch may import but lack its operators
        torch.ops.torchvision.deform_conv2d  # noqa: B018
    except (ImportError, RuntimeError, OSError, AttributeError):
        return None
    return partial(deform_conv2d, padding=1)


def implementation(device: torch.device) -> str:
    """The implementation used on a device: `torchvision` or `grid_sample`."""
    return TORCHVISION if device.type == "cuda" and torchvision_operator() is not None else GRID_SAMPLE


def deform_conv2d(x: Tensor, offsets: Tensor, weight: Tensor) -> Tensor:
    """Maps (N, C, H, W) convolved at displaced taps; padding 1, stride 1, no bias.

    offsets (N, 18 G, H, W) in cells: for each of G groups of C / G channels and each of the nine taps, row by row, dy
    and dx. weight (O, C, 3, 3). Returns (N, O, H, W). Sampling is bilinear with zeros outside the map, so that values
    fade out within one cell beyond the border.
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
    """Warps features along predicted offsets, in float32 even under autocast."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, channels, 3, 3))
        bound = 1 / math.sqrt(channels * TAPS)
        nn.init.uniform_(self.weight, -bound, bound)
        # looked up here: an import in the forward pass would cause a graph break under torch.compile
        self.on_gpu = torchvision_operator() or deform_conv2d

    def forward(self, x: Tensor, offsets: Tensor) -> Tensor:
        """(N, C, H, W) and offsets (N, 18 G, H, W) to (N, C, H, W)."""
        with torch.autocast(x.device.type, enabled=False):
            convolve = self.on_gpu if x.is_cuda else deform_conv2d
            return convolve(x.to(self.weight), offsets.to(self.weight), self.weight)
