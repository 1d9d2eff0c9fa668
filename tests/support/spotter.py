"""A network that needs no training to find people, and videos of such people: squares in plain colours."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from small_network import SMALL
from torch import Tensor

from trace_train.config import Config, load_config
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, People
from trace_train.network.sizes import NetworkSizes

COLORS = ((250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 20))
"""Of four people."""
SCALE = 0.45
"""Everybody's s, except that each colour is a little nearer than the one before."""
LEVEL = 5
SPOTTER = [*SMALL, "network.gru_layers=1", "network.world_blocks=2"]


class Spotter(TraceNetwork):
    """Puts a peak in the middle of each colour. Places are exact, the camera stands still, and the rest (pose, shape,
    motion in the camera) is what the untrained network says, so that it depends on its memory."""

    def __init__(self, sizes: NetworkSizes | None = None) -> None:
        torch.manual_seed(0)
        super().__init__(sizes or config().network)
        self.eval()

    def forward(self, images: Tensor, *arguments: Any, **named: Any) -> Maps:
        maps = super().forward(images, *arguments, **named)
        center, camera = torch.full_like(maps.center_3d, -9.0), maps.camera.clone()
        pixels = images.reshape(-1, *images.shape[-3:]).float()
        size = pixels.shape[1]
        line = (2 * torch.arange(size) + 1) / size - 1
        for number, color in enumerate(COLORS):
            near = ((pixels - torch.tensor(color)).abs().amax(-1) < 60).float()
            for frame in (near.sum((1, 2)) > 3).nonzero()[:, 0].tolist():
                share = near[frame] / near[frame].sum()
                y, x = float((share.sum(1) * line).sum()), float((share.sum(0) * line).sum())
                row, column = (min(int((at + 1) / 2 * self.map_size), self.map_size - 1) for at in (y, x))
                center[frame, LEVEL + number, row, column] = 4.0 - 0.5 * number
                triple = torch.tensor([SCALE + 0.1 * number, y, x])
                camera[frame, :, LEVEL + number, row, column] = triple
        return replace(maps, center_3d=center, camera=camera)

    def regress(self, maps: Maps, frame: Tensor, zyx: Tensor) -> People:
        people = super().regress(maps, frame, zyx)
        still = torch.tensor([1.0, 0, 0, 1, 0, 0]).expand(*frame.shape, 6)
        if people.motion is None:
            return replace(people, camera=people.camera_coarse)
        return replace(
            people,
            camera=people.camera_coarse,
            world_motion=torch.zeros_like(people.camera),
            world_rotation_6d=still,
        )


def config(*changes: str) -> Config:
    """The configuration that `Spotter` has by default, with optical flow by DIS."""
    return load_config("debug", [*SPOTTER, "network.flow=dis", *changes])


def frames(
    count: int, people: int = 2, width: int = 96, height: int = 72, seed: int = 0, hidden: range = range(0)
) -> list[npt.NDArray[np.uint8]]:
    """Squares that walk over noise, to and fro; the last person is away in the frames `hidden`."""
    generator = np.random.default_rng(seed)
    ground = generator.integers(90, 140, (height, width, 3), dtype=np.uint8)
    pictures = []
    for number in range(count):
        picture = ground.copy()
        for person in range(people):
            if person == people - 1 and number in hidden:
                continue
            walk = 0.5 + 0.35 * np.sin(0.06 * number + 1.7 * person)
            x, y = round(walk * (width - 12)), round((person + 0.3) * height / (people + 0.6))
            picture[y : y + 12, x : x + 10] = COLORS[person]
        pictures.append(picture)
    return pictures
