"""World translation and rotation of people along tracks, and the heads whose maps they are made of.

Source: docs/reference/network.md#world-heads.

World motion and rotation are 2D maps. Added up along a track, motion gives its trajectory in the first frame's camera.
The world of a predicted video is that of its camera path instead: see `trace_data/results/world_placement.py`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trace_train.geometry.rotations import matrix_from_6d
from trace_train.network.blocks import HeadBlock
from trace_train.network.heads import map_head
from trace_train.network.outputs import WorldStart
from trace_train.network.sizes import RotationRule


class WorldMotionHead(nn.Sequential):
    """World motion (N, 3, M, M), and the input features of its last block, which are shared with the rotation head."""

    def __init__(self, inputs: int, channels: int, blocks: int) -> None:
        super().__init__(*map_head(inputs, channels, blocks, 3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, inputs, M, M) to motion s, y, x (N, 3, M, M) and shared features (N, channels, M, M)."""
        *trunk, block, final = self
        for layer in trunk:
            x = layer(x)
        return final(block(x)), x


def world_rotation_head(channels: int, blocks: int) -> nn.Sequential:
    """Shared features to (N, 6, M, M). One block in the released weights, three in the published training."""
    return nn.Sequential(*(HeadBlock(channels, channels) for _ in range(blocks)), nn.Conv2d(channels, 6, 1))


def compose_world_camera(
    camera: Tensor,
    motion: Tensor,
    mask: Tensor,
    start: WorldStart | None = None,
    *,
    gain: float = 1.0,
    count_first: bool = False,
) -> Tensor:
    """Triples in the fixed view (S, T, 3): the start of each track plus its accumulated motion.

    camera (S, T, 3), motion (S, T, 3), mask (S, T). A track starts at the camera triple of its first frame, detached
    from the gradient, or at `start` where known. Frames without the person add no motion, nor does a track's first
    frame unless `count_first`. `gain` multiplies the motion of y and x.
    """
    first = mask.int().argmax(1)[:, None, None].expand(-1, 1, 3)
    begin, moves = camera.detach().gather(1, first), mask
    if not count_first:
        moves = mask & (mask.cumsum(1) > 1)
    if start is not None:
        begin = torch.where(start.known[:, None, None], start.camera.detach()[:, None], begin)
        moves = torch.where(start.known[:, None], mask, moves)
    step = torch.where(moves[..., None], motion, torch.zeros_like(motion))
    return begin + torch.cat([step[..., :1], gain * step[..., 1:]], dim=-1).cumsum(1)


def compose_world_rotation(root_6d: Tensor, offset_6d: Tensor, rule: RotationRule) -> Tensor:
    """Root rotation in the world (..., 3, 3) from the detached one in the camera (..., 6) and the offset."""
    root = root_6d.detach()
    if rule == "additive":
        return matrix_from_6d(root + offset_6d)
    return matrix_from_6d(offset_6d) @ matrix_from_6d(root)
