"""A small network with temporal parts, and clips for it."""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.build import build_network
from trace_train.config import load_config
from trace_train.network.model import TraceNetwork

SMALL = [
    "network.input_size=64",
    "network.width=8",
    "network.stem=32",
    "network.bottleneck=16",
    "network.depth_levels=16",
    "network.gru_layers=2",
    "network.deform_groups=8",
    "network.stage_blocks=1",
    "network.bottleneck_blocks=1",
    "network.head_channels=16",
    "network.bird_eye_hidden=16",
    "network.motion_channels=2",
    "network.world_blocks=3",
    "network.temporal=true",
]


def small(*changes: str) -> TraceNetwork:
    """A small network in evaluation mode, whose normalisation has seen something."""
    torch.manual_seed(0)
    network = build_network(load_config("debug", [*SMALL, *changes]).network)
    images, flow = clips(2, 3)
    with torch.no_grad():
        network(images, flow if network.motion_channels else None)
    return network.eval()


def clips(count: int, frames: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random clips and random flow."""
    g = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, frames, 64, 64, 3), generator=g, dtype=torch.uint8)
    return images, torch.randn(count * frames, 2, 16, 16, generator=g)
