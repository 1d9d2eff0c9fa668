"""HRNet, the image backbone: four resolutions in parallel, fused repeatedly (docs/reference/network.md#image-backbone).

`HRNet()` is the published W32; all widths and counts come from `NetworkSizes`, so the small network for the CPU uses
the same code.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from trace_train.network.blocks import BasicBlock, Bottleneck, conv3x3
from trace_train.network.sizes import PUBLISHED, NetworkSizes
from trace_train.network.trace_tensors import TensorRecorder


class FuseModule(nn.Module):
    """Residual blocks in each branch, then every branch receives the resampled sum of all others."""

    def __init__(self, channels: Sequence[int], blocks: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(c) for _ in range(blocks))) for c in channels)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_resample(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One (N, C_i, H / 2^i, W / 2^i) per branch, and the same for the first `outputs` branches."""
        maps = [branch(x) for branch, x in zip(self.branches, maps)]
        fused = []
        for target, row in enumerate(self.fuse_layers):
            total = maps[target]
            assert isinstance(row, nn.ModuleList)
            for source, layer in enumerate(row):
                if source == target:
                    continue
                moved = layer(maps[source])
                if source > target:
                    moved = F.interpolate(moved, scale_factor=float(2 ** (source - target)), mode="nearest")
                total = total + moved
            fused.append(F.relu(total))
        return fused


def _resample(channels: Sequence[int], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:  # to a finer map: 1x1 convolution, then nearest up-sampling in forward
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False), nn.BatchNorm2d(channels[target])
        )
    steps: list[nn.Module] = []
    for k in range(source, target):
        last = k == target - 1
        out = channels[target] if last else channels[source]
        parts = [conv3x3(channels[source], out, 2), nn.BatchNorm2d(out)]
        steps.append(nn.Sequential(*parts) if last else nn.Sequential(*parts, nn.ReLU()))
    return nn.Sequential(*steps)


def _conv_bn_relu(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs), nn.ReLU())


class HRNet(nn.Module):
    """Images (N, 3, S, S) in 0..255 RGB to features (N, width, S / 4, S / 4), never negative."""

    def __init__(self, sizes: NetworkSizes = PUBLISHED) -> None:
        super().__init__()
        width, stem, wide = sizes.width, sizes.stem, 4 * sizes.bottleneck
        self.out_channels = width
        self.conv1, self.bn1 = conv3x3(3, stem, 2), nn.BatchNorm2d(stem)
        self.conv2, self.bn2 = conv3x3(stem, stem, 2), nn.BatchNorm2d(stem)
        self.layer1 = nn.Sequential(
            *(Bottleneck(stem if i == 0 else wide, sizes.bottleneck) for i in range(sizes.bottleneck_blocks))
        )
        c = [width * 2**i for i in range(4)]
        self.transition1 = nn.ModuleList([_conv_bn_relu(wide, c[0], 1), nn.Sequential(_conv_bn_relu(wide, c[1], 2))])
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Sequential(_conv_bn_relu(c[1], c[2], 2))])
        self.transition3 = nn.ModuleList(
            [nn.Identity(), nn.Identity(), nn.Identity(), nn.Sequential(_conv_bn_relu(c[2], c[3], 2))]
        )
        self.stage2 = self._stage(c[:2], sizes.stage_modules[0], sizes.stage_blocks, 2)
        self.stage3 = self._stage(c[:3], sizes.stage_modules[1], sizes.stage_blocks, 3)
        self.stage4 = self._stage(c, sizes.stage_modules[2], sizes.stage_blocks, 1)

    @staticmethod
    def _stage(channels: Sequence[int], modules: int, blocks: int, last_outputs: int) -> nn.ModuleList:
        return nn.ModuleList(
            FuseModule(channels, blocks, last_outputs if i == modules - 1 else len(channels)) for i in range(modules)
        )

    def forward(self, images: Tensor, stages: TensorRecorder | None = None) -> Tensor:
        """See the class. Images are normalised to [-1, 1] here only. `stages` records the intermediate maps."""
        record = (stages or TensorRecorder(False)).record
        x = images / 127.5 - 1.0
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        record(backbone_stem=x)
        x = self.layer1(x)
        record(backbone_layer1=x)
        maps = [layer(x) for layer in self.transition1]
        for number, stage, transition in (
            (2, self.stage2, self.transition2),
            (3, self.stage3, self.transition3),
            (4, self.stage4, None),
        ):
            for module in stage:
                maps = module(maps)
            if transition is not None:
                record(**{f"backbone_stage{number}_{branch}": part for branch, part in enumerate(maps)})
                maps = [*maps, transition[-1](maps[-1])]
        features: Tensor = maps[0]
        return features
