"""Residual blocks of the network. Attribute names are those of the published checkpoints."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution without bias, padding 1."""
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with an identity shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(channels, channels), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = conv3x3(channels, channels), nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + x)


class HeadBlock(nn.Module):
    """Two 3x3 convolutions; the shortcut is always a biased 1x1 convolution without normalisation.

    Source: docs/reference/network.md#head-blocks.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv3x3(inputs, outputs), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv3x3(outputs, outputs), nn.BatchNorm2d(outputs)
        self.downsample = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with expansion 4; the first block of a stage has a projected shortcut."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv3x3(width, width), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.downsample = (
            None
            if inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4 width, H, W)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(y)) + shortcut)


class RowBlock(nn.Module):
    """Two convolutions along x, without a shortcut, so its outputs are never negative (the bird's-eye layers)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm1d(outputs)
        self.conv2, self.bn2 = nn.Conv1d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, W) to (N, outputs, W)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)))


class VolumeConv(nn.Conv3d):
    """A 3x3x3 convolution of few channels.

    CPU kernels are slow at it, and their backward pass is ten times slower still. With few depth levels a 2D
    convolution with the levels as channels gives the same result faster: five to ten times at 16 levels.
    """

    DENSE = 64
    """Largest product of channels and levels for which the 2D form, which also multiplies zeros, is faster."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, 1, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same."""
        _, channels, depth, *size = x.shape
        if x.device.type != "cpu" or channels * depth > self.DENSE:
            return super().forward(x)
        # band[o, d, c, e] is the kernel from level e to level d, zero unless they touch
        band = self.weight.new_zeros(channels, depth, channels, depth + 2, 3, 3)
        level = torch.arange(depth)
        for k in range(3):
            band[:, level, :, level + k] = self.weight[:, :, k].expand(depth, -1, -1, -1, -1)
        kernel = band[:, :, :, 1:-1].reshape(channels * depth, channels * depth, 3, 3)
        return F.conv2d(x.flatten(1, 2), kernel, padding=1).view(-1, channels, depth, *size)


class VolumeBlock(nn.Module):
    """A residual 3D block without a final activation: refines the centre, camera and motion volumes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = VolumeConv(channels), nn.BatchNorm3d(channels)
        self.conv2, self.bn2 = VolumeConv(channels), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, D, H, W) to the same."""
        y = F.relu(self.bn1(self.conv1(x)))
        refined: Tensor = self.bn2(self.conv2(y)) + x
        return refined
