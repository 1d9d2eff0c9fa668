"""Where optical flow comes from: RAFT, DIS or nowhere, all behind one call.

    flow = provider(frames)               # (B, T, S, S, 3) RGB in 0..255 -> (B T, 2, S / 4, S / 4)
    flow = provider(frames, previous)     # in a stream: `previous` (B, S, S, 3) came just before

The flow of frame t lies on the grid of frame t - 1 and points to where things are in frame t; channels x, y. Its unit
is 8 px of the input whatever the map's resolution: the published code divides by 8, not by 4
(docs/reference/network.md#pairs-and-scaling). The first frame of a clip without a predecessor is paired with itself.
"""

from __future__ import annotations

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
UNIT = 8.0
"""Input pixels to one unit of the flow that is handed on."""
FirstFrame = Literal["self", "zero"]
"""Flow of a first frame: computed from itself to itself, as published, or zero, which spares a pair of each clip."""


class FlowProvider(Protocol):
    """What the network's caller needs to know of it."""

    def __call__(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """Clips (B, T, S, S, 3) RGB in 0..255, and optionally the frames (B, S, S, 3) before them.

        Returns (B T, 2, S / 4, S / 4) float32 on the device of `frames`, without gradient. A clip of one frame without
        a predecessor shows no motion: a caller may spare itself the call and take zeros.
        """


class NoFlow:
    """Zeros: the network's flow channels, `channels` of them, stay empty."""

    def __init__(self, channels: int = 2) -> None:
        self.channels = channels

    def __call__(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """See FlowProvider."""
        b, t, height, width = frames.shape[:4]
        return torch.zeros(b * t, self.channels, height // MAP_STRIDE, width // MAP_STRIDE, device=frames.device)


class RaftFlow(nn.Module):
    """Frozen RAFT. It stays in evaluation mode: the context encoder's batch statistics are the published ones."""

    def __init__(self, raft: Raft, *, first_frame: FirstFrame = "self") -> None:
        super().__init__()
        self.raft, self.first_frame = raft.requires_grad_(False), first_frame
        self.eval()

    def train(self, mode: bool = True) -> RaftFlow:
        """Nothing here is ever trained."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """See FlowProvider. Inside autocast a GPU computes it in fp16, as it was published, whatever the network has:
        bf16 has too few digits for correlations (at 4.5 px mean flow 0.071 px of error, fp16 0.011); a CPU in float32.
        """
        device = frames.device.type
        half = device == "cuda" and torch.is_autocast_enabled(device)
        with torch.autocast(device, dtype=torch.float16, enabled=half):
            return self._flow(frames, previous)

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
    """Dense inverse search of OpenCV, on the CPU, clips side by side in as many threads as torch computes with.

    No weights; 2 ms a pair at 128 px and 30 ms at 512, of one core.
    """

    def __init__(self) -> None:
        # its result depends on how many threads share a picture
        cv2.setNumThreads(1)

    def __call__(self, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        """See FlowProvider. Frames on another device come to the CPU for it."""
        ahead = frames[:, :1] if previous is None else previous[:, None]
        pictures = torch.cat([ahead, frames], dim=1)
        if pictures.is_floating_point():
            pictures = pictures.nan_to_num().round().clamp(0, 255).to(torch.uint8)
        clips = pictures.cpu().numpy()
        with ThreadPoolExecutor(torch.get_num_threads()) as threads:
            flow = np.concatenate([*threads.map(partial(_searched, still=previous is None), clips)])
        return to_map(torch.from_numpy(flow).permute(0, 3, 1, 2)).to(frames.device)


def _searched(pictures: npt.NDArray[np.uint8], still: bool) -> npt.NDArray[np.float32]:
    """Flow (T, H, W, 2) between the T + 1 pictures (T + 1, H, W, 3) of a clip; zero to the first when it is `still`."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]
    flow = np.zeros((len(grey) - 1, *grey[0].shape, 2), np.float32)
    for at in range(int(still), len(flow)):
        search.calc(grey[at], grey[at + 1], flow[at])
    return flow


def to_map(flow: Tensor) -> Tensor:
    """Flow in pixels (N, 2, H, W) at the map's resolution and in its unit, as the published code does it."""
    size = (flow.shape[2] // MAP_STRIDE, flow.shape[3] // MAP_STRIDE)
    return F.interpolate(flow, size=size, mode="bilinear", align_corners=True) / UNIT
