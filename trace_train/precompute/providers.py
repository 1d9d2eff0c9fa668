"""Opens the provider that computes stored flow, with everything that its result depends on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import torch

from trace_data.errors import ConfigError
from trace_data.shards.flow.index import FlowSettings, Provider
from trace_train.network.flow import CELL, DisFlow, PairFlow, RaftFlow
from trace_train.weights.folder import open_weights

STRIDES = (1, 2, 3, 4)
"""Those of `data.strides`. Each is stored for itself: flow of stride 4 composed from stride 1 is two to three times as
far from its provider's (docs/stored-flow.md#how-near-it-is)."""
HEIGHT = 512
"""Short side of the pictures that flow is computed on, px: what the network sees of a whole frame or more."""
SMALLEST = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlowSource:
    """A provider on its device."""

    provider: PairFlow
    settings: FlowSettings
    device: torch.device


def open_provider(
    provider: Provider,
    *,
    weights: Path | None = None,
    iterations: int = 20,
    strides: Sequence[int] = STRIDES,
    height: int = HEIGHT,
    device: torch.device | None = None,
    threads: int | None = None,
) -> FlowSource:
    """DIS, or RAFT with the imported weights in a folder. `device`: CUDA by default where there is a GPU.

    Raises ConfigError for settings that cannot be, CheckpointError when the weights are missing or hold no RAFT.
    """
    if height < SMALLEST or height % CELL or not strides or min(strides) < 1:
        raise ConfigError(
            f"flow at {height} px with strides {list(strides)}, expected a multiple of {CELL} px of {SMALLEST} or more,"
            " and strides from 1 on"
        )
    kept = tuple(sorted(set(strides)))
    if provider == "dis":
        made_with = {"opencv": str(cv2.__version__)}
        settings = FlowSettings(provider="dis", height=height, strides=kept, made_with=made_with)
        return FlowSource(provider=DisFlow(threads), settings=settings, device=torch.device("cpu"))
    if weights is None:
        raise ConfigError(
            "RAFT needs its weights", hint="trace import-weights --flow raft-things.pth --out weights; or --flow dis"
        )
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    opened = open_weights(weights)
    raft = RaftFlow(opened.raft(iterations=iterations)).to(device)
    settings = FlowSettings(
        provider="raft",
        height=height,
        strides=kept,
        iterations=iterations,
        weights_sha256=str(opened.facts["parts"]["flow"]["sha256"]),
        made_with={"torch": str(torch.__version__), "device": device.type, "opencv": str(cv2.__version__)},
    )
    return FlowSource(provider=raft, settings=settings, device=device)
