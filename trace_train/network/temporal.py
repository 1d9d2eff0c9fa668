"""Temporal features: the sum of image features, their recurrent memory, and warped features.

Source: docs/reference/network.md#temporal-features.

F' = G + W + F      F   image features of the frame
                    G   their memory, a convolutional GRU over the clip (`temp_model`)
                    W   F warped along offsets predicted from F(t) - F(t - 1) (`deform_warper`)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trace_train.network.blocks import BasicBlock, conv3x3
from trace_train.network.deform import TAPS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamState:
    """State carried from a chunk of B videos to the next chunk of the same videos."""

    hidden: tuple[Tensor, ...]
    """(B, C, M, M) of each GRU layer, after the last frame."""
    features: Tensor
    """(B, C, M, M) image features of the last frame."""

    def detach(self) -> StreamState:
        """The state detached from the graph."""
        return StreamState(hidden=tuple(h.detach() for h in self.hidden), features=self.features.detach())

    def of(self, videos: Sequence[int]) -> StreamState:
        """The state of some of the videos, by index."""
        rows = list(videos)
        return StreamState(hidden=tuple(h[rows] for h in self.hidden), features=self.features[rows])


class ConvGRUCell(nn.Module):
    """A GRU with 3x3 convolutions. The weights' input channels are ordered [memory, frame]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.convz = nn.Conv2d(2 * channels, channels, 3, 1, 1)
        self.convr = nn.Conv2d(2 * channels, channels, 3, 1, 1)
        self.convq = nn.Conv2d(2 * channels, channels, 3, 1, 1)

    def forward(self, frames: list[Tensor], hidden: Tensor) -> list[Tensor]:
        """T frames and the initial memory, each (B, C, H, W), to the memory (B, C, H, W) after each frame.

        The convolution of [memory, frame] is split into a sum, so that the frames' part is computed for all frames at
        once.
        """
        c, gates = self.channels, (self.convz, self.convr, self.convq)
        of_frame = torch.cat([g.weight[:, c:] for g in gates])
        biases = [g.bias for g in gates if g.bias is not None]
        seen = F.conv2d(torch.cat(frames), of_frame, torch.cat(biases), padding=1)
        of_memory = torch.cat([self.convz.weight[:, :c], self.convr.weight[:, :c]])
        memories = []
        for z_seen, r_seen, q_seen in (frame.split(c, 1) for frame in seen.chunk(len(frames))):
            z_kept, r_kept = F.conv2d(hidden, of_memory, padding=1).split(c, 1)
            update, reset = torch.sigmoid((z_seen + z_kept).to(hidden)), torch.sigmoid((r_seen + r_kept).to(hidden))
            q_kept = F.conv2d(reset * hidden, self.convq.weight[:, :c], padding=1)
            hidden = torch.lerp(hidden, torch.tanh((q_seen + q_kept).to(hidden)), update)
            memories.append(hidden)
        return memories


class ConvGRU(nn.Module):
    """Stacked cells; each receives the memory of the previous one at all frames."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        self.cell_list = nn.ModuleList(ConvGRUCell(channels) for _ in range(layers))

    def forward(self, frames: Tensor, hidden: tuple[Tensor, ...] | None = None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Frames (B, T, C, H, W) to memory (B, T, C, H, W) and each layer's last state (B, C, H, W), in float32.

        Without a state the memory starts empty and is warmed up with the first frame, without returning that step.
        """
        sequence = list(frames.unbind(1))
        if hidden is None:
            precise = torch.promote_types(frames.dtype, torch.float32)
            hidden = (torch.zeros_like(sequence[0], dtype=precise),) * len(self.cell_list)
            sequence = [sequence[0], *sequence]
        last = []
        for cell, before in zip(self.cell_list, hidden):
            sequence = cell(sequence, before)
            last.append(sequence[-1])
        return torch.stack(sequence[-frames.shape[1] :], dim=1), tuple(last)


def offset_features(channels: int, blocks: int) -> nn.Sequential:
    """The residual blocks on feature differences, keys `k.*` as published."""
    return nn.Sequential(*(BasicBlock(channels) for _ in range(blocks)))


def offset_predictor(channels: int, groups: int) -> nn.Conv2d:
    """(N, C, H, W) to tap offsets (N, 18 groups, H, W), in cells."""
    return conv3x3(channels, 2 * TAPS * groups)


def feature_differences(frames: Tensor, before: Tensor | None = None) -> Tensor:
    """F(t) - F(t - 1) of (B, T, C, H, W); `before` (B, C, H, W) precedes the first frame; default: the first itself."""
    first = frames[:, 0] if before is None else before.to(frames)
    return frames - torch.cat([first[:, None], frames[:, :-1]], dim=1)
