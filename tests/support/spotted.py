"""Runs whose network is `Spotter`, and videos for them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from spotter import Spotter, config, frames

from trace_train.inference import source as opened
from trace_train.inference.source import TrainedNetwork
from trace_train.network.flow import DisFlow
from trace_train.weights.folder import InferenceSwitches


def open_spotter(monkeypatch: pytest.MonkeyPatch, switches: InferenceSwitches | None = None) -> None:
    """Whatever weights are opened are those of a spotter."""

    def open_source(path: Path, device: torch.device | None = None) -> TrainedNetwork:
        return TrainedNetwork(
            network=Spotter(),
            flow=DisFlow(),
            config=config(),
            where=path,
            folder=path,
            name=path.name,
            step=0,
            sha256="of a spotter",
            switches=switches or InferenceSwitches(),
        )

    monkeypatch.setattr(opened, "open_source", open_source)
    monkeypatch.setattr("trace_train.inference.model.open_source", open_source)


def folder_of(folder: Path, pictures: list[np.ndarray]) -> Path:
    """Write pictures (H, W, 3) RGB as a folder of images."""
    folder.mkdir()
    for number, picture in enumerate(pictures):
        # not imwrite, which crashes on names that are no UTF-8
        (folder / f"{number:05d}.png").write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
    return folder


def video_of(folder: Path, count: int, **settings: object) -> Path:
    """A folder of `spotter.frames`."""
    return folder_of(folder, frames(count, **settings))  # type: ignore[arg-type]
