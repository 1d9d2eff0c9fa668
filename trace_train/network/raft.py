"""RAFT: optical flow between two frames by iterative refinement (docs/reference/network.md#optical-flow).

Module names are those of the published `raft-things.pth`, so its tensors load by name. Expensive parts are computed
once: each frame is encoded once although it is part of two pairs; the context's contribution to the recurrent
convolutions is computed before the first iteration; flow is upsampled only after the last, if requested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS, RADIUS = 4, 4
"""Levels of the correlation pyramid, each at half the resolution of the previous; lookup radius in cells."""
STRIDE = 8
"""Pixels of the frame per cell of the refined flow."""
SMALLEST = STRIDE * 2 ** (LEVELS - 1)
"""Minimum side of a frame, px, for one cell at the coarsest correlation level."""
FEATURES, HIDDEN, CONTEXT = 256, 128, 128
WINDOW = LEVELS * (2 * RADIUS + 1) ** 2
Folded = tuple[tuple[Tensor, Tensor, Tensor, Tensor, tuple[int, int]], ...]
"""For each direction of the GRU: weights of both gates and of the candidate without the context channels, the context's
contributions to them, and the padding."""


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions with a shortcut, projected if the resolution changes."""

    def __init__(self, inputs: int, outputs: int, norm: Callable[[int], nn.Module], stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1), norm(outputs)
        self.conv2, self.norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1), norm(outputs)
        self.downsample = None if stride == 1 else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride), norm(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = F.relu(self.norm1(self.conv1(x)))
        y = F.relu(self.norm2(self.conv2(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Encoder(nn.Module):
    """Frames (N, 3, H, W) in -1..1 to features (N, 256, H / 8, W / 8)."""

    def __init__(self, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 7, 2, 3), norm(64)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, norm, 1), ResidualBlock(64, 64, norm, 1))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, norm, 2), ResidualBlock(96, 96, norm, 1))
        self.layer3 = nn.Sequential(ResidualBlock(96, 128, norm, 2), ResidualBlock(128, 128, norm, 1))
        self.conv2 = nn.Conv2d(128, FEATURES, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """See the class."""
        x = F.relu(self.norm1(self.conv1(frames)))
        features: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(x))))
        return features


class MotionEncoder(nn.Module):
    """126 features from the correlation around the current flow, concatenated with that flow."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1, self.convc2 = nn.Conv2d(WINDOW, 256, 1), nn.Conv2d(256, 192, 3, 1, 1)
        self.convf1, self.convf2 = nn.Conv2d(2, 128, 7, 1, 3), nn.Conv2d(128, 64, 3, 1, 1)
        self.conv = nn.Conv2d(192 + 64, 126, 3, 1, 1)

    def forward(self, flow: Tensor, window: Tensor) -> Tensor:
        """Flow (N, 2, h, w) and its correlation window (N, 324, h, w) to (N, 128, h, w)."""
        seen = F.relu(self.convc2(F.relu(self.convc1(window))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        motion = F.relu(self.conv(torch.cat([seen, moved], dim=1)))
        return torch.cat([motion, flow.to(motion.dtype)], dim=1)


class SeparableGru(nn.Module):
    """A separable convolutional GRU, along x and then along y.

    Its input is [context, motion]. Convolutions are linear, so the context's contribution is computed once (`fold`).
    """

    def __init__(self) -> None:
        super().__init__()
        inputs = HIDDEN + CONTEXT + HIDDEN
        for direction, kernel in ((1, (1, 5)), (2, (5, 1))):
            padding = (kernel[0] // 2, kernel[1] // 2)
            for gate in "zrq":
                self.add_module(f"conv{gate}{direction}", nn.Conv2d(inputs, HIDDEN, kernel, padding=padding))

    def fold(self, context: Tensor) -> Folded:
        """Precompute the part shared by all iterations from context (N, 128, h, w)."""
        folded = []
        for direction, padding in ((1, (0, 2)), (2, (2, 0))):
            z, r, q = (getattr(self, f"conv{gate}{direction}") for gate in "zrq")
            weight = torch.cat([z.weight, r.weight, q.weight])
            bias = torch.cat([z.bias, r.bias, q.bias])
            share = F.conv2d(context, weight[:, HIDDEN : HIDDEN + CONTEXT], bias, padding=padding)
            rest = torch.cat([weight[:, :HIDDEN], weight[:, HIDDEN + CONTEXT :]], dim=1)
            gates, candidate = rest.split([2 * HIDDEN, HIDDEN])
            folded.append((gates, candidate, *share.split([2 * HIDDEN, HIDDEN], dim=1), padding))
        return tuple(folded)

    def forward(self, hidden: Tensor, motion: Tensor, folded: Folded) -> Tensor:
        """The next hidden state (N, 128, h, w)."""
        for gates, candidate, gates_share, candidate_share, padding in folded:
            both = F.conv2d(torch.cat([hidden, motion], dim=1), gates, padding=padding) + gates_share
            z, r = torch.sigmoid(both).chunk(2, dim=1)
            q = F.conv2d(torch.cat([r * hidden, motion], dim=1), candidate, padding=padding) + candidate_share
            hidden = (1 - z) * hidden + z * torch.tanh(q)
        return hidden


class FlowHead(nn.Module):
    """Predicts the flow update."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(HIDDEN, 256, 3, 1, 1), nn.Conv2d(256, 2, 3, 1, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(N, 128, h, w) to (N, 2, h, w), cells."""
        change: Tensor = self.conv2(F.relu(self.conv1(hidden)))
        return change


class UpdateBlock(nn.Module):
    """One refinement iteration, used 20 times, so this is what is compiled (`raft.update_block.compile()`)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.gru, self.flow_head = MotionEncoder(), SeparableGru(), FlowHead()
        # upsampling weights of the nine coarse neighbours of each fine pixel
        self.mask = nn.Sequential(nn.Conv2d(HIDDEN, 256, 3, 1, 1), nn.ReLU(), nn.Conv2d(256, 9 * STRIDE * STRIDE, 1))

    def forward(self, hidden: Tensor, flow: Tensor, levels: list[Tensor], folded: Folded) -> tuple[Tensor, Tensor]:
        """Hidden state and flow (N, 2, h, w), float32 cells, after one more iteration."""
        hidden = self.gru(hidden, self.encoder(flow, look_up(levels, flow)), folded)
        return hidden, flow + self.flow_head(hidden).float()

    def enlarge(self, hidden: Tensor, flow: Tensor) -> Tensor:
        """Convex upsampling of flow in cells (N, 2, h, w) to flow in pixels (N, 2, 8 h, 8 w), weights from `mask`."""
        n, _, h, w = flow.shape
        weights = 0.25 * self.mask(hidden).float().view(n, 1, 9, STRIDE, STRIDE, h, w)
        near = F.unfold(STRIDE * flow, (3, 3), padding=1).view(n, 2, 9, 1, 1, h, w)
        fine = (weights.softmax(dim=2) * near).sum(dim=2)  # (N, 2, 8, 8, h, w)
        pixels: Tensor = fine.permute(0, 1, 4, 2, 5, 3).reshape(n, 2, STRIDE * h, STRIDE * w)
        return pixels


class Raft(nn.Module):
    """Optical flow of clips, from each frame's predecessor to the frame.

    `pairs_at_once` bounds memory: the all-pairs correlation pyramid of this many pairs is held in float32, 85 MiB per
    pair at 512 px, 1 GiB by default.
    """

    def __init__(self, *, iterations: int = 20, pairs_at_once: int = 12) -> None:
        super().__init__()
        if iterations < 1 or pairs_at_once < 1:
            raise ValueError(f"{iterations} iterations of {pairs_at_once} pairs at once, expected one or more of both")
        self.iterations, self.pairs_at_once = iterations, pairs_at_once
        self.fnet, self.cnet = Encoder(nn.InstanceNorm2d), Encoder(nn.BatchNorm2d)
        self.update_block = UpdateBlock()

    def forward(self, frames: Tensor, *, first_with_itself: bool = False, upsample: bool = False) -> Tensor:
        """Flow between consecutive frames of clips (B, L, H, W, 3), RGB in 0..255. With `first_with_itself` preceded by
        the flow from the first frame to itself: P = L - 1 or L pairs per clip.

        Returns (B, P, 2, H / 8, W / 8) in cells of 8 px, or with `upsample` (B, P, 2, H, W) in px; channels x, y;
        float32, on the grid of the earlier frame. Sides must be multiples of 8, at least 64 px.
        """
        b, length, height, width = frames.shape[:4]
        if height % STRIDE or width % STRIDE or min(height, width) < SMALLEST:
            raise ValueError(f"frames of {width} x {height} px, expected multiples of {STRIDE}, at least {SMALLEST}")
        earlier = frames[:, : max(length - 1, int(first_with_itself))]
        features, context = self._encoded(self.fnet, frames), self._encoded(self.cnet, earlier)
        before, after = features[:, :-1], features[:, 1:]
        if first_with_itself:
            before, after = torch.cat([features[:, :1], before], dim=1), features
            context = torch.cat([context[:, :1], context[:, : length - 1]], dim=1)
        pairs = before.shape[1]
        flow = self._refined(before.flatten(0, 1), after.flatten(0, 1), context.flatten(0, 1), upsample=upsample)
        by_clip: Tensor = flow.unflatten(0, (b, pairs))
        return by_clip

    def strided(self, frames: Tensor, strides: Sequence[int], begin: int) -> Iterator[Tensor]:
        """For each stride s the flow in px from frame t - s to t of one clip (L, H, W, 3), for t from max(begin, s) on:
        (n, 2, H, W) float32. Each frame is encoded once for all strides."""
        features, context = (self._encoded(encoder, frames[None])[0] for encoder in (self.fnet, self.cnet))
        for stride in strides:
            after = slice(max(begin, stride), len(frames))
            before = slice(after.start - stride, max(len(frames) - stride, 0))
            yield self._refined(features[before], features[after], context[before], upsample=True)

    def _refined(self, before: Tensor, after: Tensor, context: Tensor, *, upsample: bool) -> Tensor:
        """As `refine`, a few pairs at a time."""
        scale = STRIDE if upsample else 1
        flow = before.new_zeros(len(before), 2, scale * before.shape[2], scale * before.shape[3], dtype=torch.float32)
        for at in range(0, len(before), self.pairs_at_once):
            some = slice(at, at + self.pairs_at_once)
            flow[some] = self.refine(before[some], after[some], context[some], upsample=upsample)
        return flow

    def refine(self, before: Tensor, after: Tensor, context: Tensor, *, upsample: bool = False) -> Tensor:
        """Flow of pairs from features of both frames and context features of the earlier one, each (P, 256, h, w)."""
        levels = pyramid(before, after)
        hidden, steady = context.split([HIDDEN, CONTEXT], dim=1)
        hidden, folded = torch.tanh(hidden), self.update_block.gru.fold(F.relu(steady))
        flow = torch.zeros_like(before[:, :2], dtype=torch.float32)
        for _ in range(self.iterations):
            hidden, flow = self.update_block(hidden, flow, levels, folded)
        return self.update_block.enlarge(hidden, flow) if upsample else flow

    def _encoded(self, encoder: Encoder, frames: Tensor) -> Tensor:
        """Features (B, L, 256, h, w), computed for a few frames at a time to save memory: an encoder's inner maps are
        four times the size of its input."""
        b, length, height, width = frames.shape[:4]
        if not b * length:
            return frames.new_zeros(b, length, FEATURES, height // STRIDE, width // STRIDE, dtype=torch.float32)
        parts = [
            encoder((some.permute(0, 3, 1, 2) / 127.5 - 1.0).contiguous(memory_format=torch.channels_last))
            for some in frames.flatten(0, 1).split(self.pairs_at_once)
        ]
        features: Tensor = torch.cat(parts).unflatten(0, (b, length))
        return features


def pyramid(before: Tensor, after: Tensor) -> list[Tensor]:
    """Correlation pyramid of features (P, C, h, w): levels (P h w, 1, h / 2^l, w / 2^l), a map of `after` for each cell
    of `before`."""
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
    """Sample the correlation around the position each cell's flow (P, 2, h, w), in cells, points to: (P, 324, h, w).

    Bilinear, zero outside. Channels: level, then offset along x, then offset along y: the published order, which
    transposes the window.
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
            # edges at -1 and 1: the other convention divides by zero if a level is one cell wide
            grid_x = ((x * 0.5**number + offset[:, None]) * 2 + 1) / columns - 1
            grid_y = ((y * 0.5**number + offset) * 2 + 1) / rows - 1
            grid = torch.stack([grid_x.expand(shape), grid_y.expand(shape)], dim=-1)
            sampled = F.grid_sample(level, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            windows.append(sampled.view(p, h, w, -1))
        return torch.cat(windows, dim=-1).permute(0, 3, 1, 2)
