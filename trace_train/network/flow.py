"""Optical-flow providers with one interface: RAFT, DIS, or none.

    flow = provider(frames)               # (B, T, S, S, 3) RGB in 0..255 -> (B T, 2, S / 4, S / 4)
    flow = provider(frames, previous)     # in a stream: `previous` (B, S, S, 3) is the frame before

The flow of frame t is defined on the grid of frame t - 1 and points to positions in frame t; channels x, y. Its unit
is 8 px of the input, whatever the map's resolution: the published code divides by 8, not by 4
(docs/reference/network.md#pairs-and-scaling). The first frame of a clip without a predecessor is paired with itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trace_train.network.raft import Raft

MAP_STRIDE = 4
CELL = 8
"""Side of a cell of stored flow, px."""
UNIT = 8.0
"""Input pixels per unit of the returned flow."""
FirstFrame = Literal["self", "zero"]
"""Flow of a first frame: from the frame to itself, as published, or zero, which saves one pair per clip."""


class FlowProvider(Protocol):
    """Interface of the flow providers."""

    def __call__(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """Clips (B, T, S, S, 3) RGB in 0..255, and optionally the frames (B, S, S, 3) before them.

        Returns (B T, 2, S / 4, S / 4) float32 on the device of `frames`, without gradient. For single frames without a
        predecessor the caller may use zeros instead.
        """


class PairFlow(Protocol):
    """Interface of the providers that compute flow once, on whole frames, for `trace add-flow`."""

    def pairs(self, frames: Tensor, strides: Sequence[int], begin: int) -> list[Tensor]:
        """Frames (L, H, W, 3) uint8 RGB, sides multiples of 8 px, at least 64.

        For each stride s the flow from frame t - s to frame t for each t from max(begin, s) on: (n, 2, H / 8, W / 8)
        float32, px, means over cells of 8 x 8 px of frame t - s; on the device of the computation.
        """


class NoFlow:
    """Zero flow with `channels` channels."""

    def __init__(self, channels: int = 2) -> None:
        self.channels = channels

    def __call__(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """See FlowProvider."""
        b, t, height, width = frames.shape[:4]
        return torch.zeros(b * t, self.channels, height // MAP_STRIDE, width // MAP_STRIDE, device=frames.device)


class RaftFlow(nn.Module):
    """Frozen RAFT, always in evaluation mode, with the published batch statistics of the context encoder."""

    def __init__(self, raft: Raft, *, first_frame: FirstFrame = "self") -> None:
        super().__init__()
        self.raft, self.first_frame = raft.requires_grad_(False), first_frame
        self.eval()

    def train(self, mode: bool = True) -> RaftFlow:
        """Ignore the mode: this module is never trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """See FlowProvider. Under autocast a GPU uses fp16, as published, whatever the type of autocast: bf16 is too
        imprecise for correlations (error 0.071 px at a mean flow of 4.5 px; fp16: 0.011). A CPU uses float32.
        """
        device = frames.device.type
        in_fp16 = device == "cuda" and torch.is_autocast_enabled(device)
        with torch.autocast(device, dtype=torch.float16, enabled=in_fp16):
            return self._flow(frames, previous)

    @torch.no_grad()
    def pairs(self, frames: Tensor, strides: Sequence[int], begin: int) -> list[Tensor]:
        """See PairFlow; with autocast as for clips."""
        device = frames.device.type
        in_fp16 = device == "cuda" and torch.is_autocast_enabled(device)
        with torch.autocast(device, dtype=torch.float16, enabled=in_fp16):
            return [F.avg_pool2d(flow, CELL) for flow in self.raft.strided(frames, strides, begin)]

    def _flow(self, frames: Tensor, previous: Tensor | None) -> Tensor:
        if previous is not None:
            flow = self.raft(torch.cat([previous[:, None], frames], dim=1), upsample=True)
        elif self.first_frame == "zero" and frames.shape[1] == 1:
            return NoFlow()(frames)
        else:
            with_itself = self.first_frame == "self"
            flow = self.raft(frames, first_with_itself=with_itself, upsample=True)
            if not with_itself:
                flow = torch.cat([flow.new_zeros(len(flow), 1, *flow.shape[2:]), flow], dim=1)
        return to_map(flow.flatten(0, 1))


class DisFlow:
    """OpenCV's dense inverse search on the CPU, with clips in parallel on as many threads as torch uses.

    Needs no weights; takes 2 ms per pair at 128 px and 30 ms at 512 px on one core.
    """

    def __init__(self, threads: int | None = None) -> None:
        """`threads`: as many as torch uses, by default."""
        self._threads = threads
        # OpenCV's result depends on the number of threads per picture
        cv2.setNumThreads(1)

    def __call__(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """See FlowProvider. Frames on another device are copied to the CPU."""
        ahead = frames[:, :1] if previous is None else previous[:, None]
        pictures = torch.cat([ahead, frames], dim=1)
        if pictures.is_floating_point():
            pictures = pictures.nan_to_num().round().clamp(0, 255).to(torch.uint8)
        clips = pictures.cpu().numpy()
        with ThreadPoolExecutor(self._threads or torch.get_num_threads()) as threads:
            flow = np.concatenate([*threads.map(partial(_searched, still=previous is None), clips)])
        return to_map(torch.from_numpy(flow).permute(0, 3, 1, 2)).to(frames.device)

    def pairs(self, frames: Tensor, strides: Sequence[int], begin: int) -> list[Tensor]:
        """See PairFlow; on the CPU, with pairs in parallel."""
        pictures = frames.cpu().numpy()
        height, width = pictures.shape[1:3]
        cells = (width // CELL, height // CELL)

        def searched(pair: tuple[int, int]) -> npt.NDArray[np.float32]:
            flow = _searched(pictures[list(pair)], still=False)[0]
            return np.asarray(cv2.resize(flow, cells, interpolation=cv2.INTER_AREA)).transpose(2, 0, 1)

        flows = []
        with ThreadPoolExecutor(self._threads or torch.get_num_threads()) as threads:
            for stride in strides:
                wanted = [(t - stride, t) for t in range(max(begin, stride), len(pictures))]
                found = np.array([*threads.map(searched, wanted)], np.float32).reshape(-1, 2, *cells[::-1])
                flows.append(torch.from_numpy(found))
        return flows


def _searched(pictures: npt.NDArray[np.uint8], still: bool) -> npt.NDArray[np.float32]:
    """Flow (T, H, W, 2) between the T + 1 pictures (T + 1, H, W, 3) of a clip; `still`: the first flow is zero."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    flow = np.zeros((len(grey) - 1, *grey[0].shape, 2), np.float32)
    for at in range(int(still), len(flow)):
        search.calc(grey[at], grey[at + 1], flow[at])
    return flow


def to_map(flow: Tensor) -> Tensor:
    """Resize flow in pixels (N, 2, H, W) to the map's resolution and unit, as the published code does."""
    size = (flow.shape[2] // MAP_STRIDE, flow.shape[3] // MAP_STRIDE)
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=True) / UNIT
