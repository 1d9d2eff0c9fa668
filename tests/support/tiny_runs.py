"""Runs of a tiny network, of a few steps, that can be stopped at any of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import torch

from trace_data.progress import Progress
from trace_train.config import Config, load_config
from trace_train.weights.checkpoint import open_checkpoint

TINY = [
    "steps=7",
    "checkpoint_every=3",
    "log_every=7",
    "network.input_size=64",
    "network.width=8",
    "network.stage_blocks=1",
    "network.head_channels=16",
    "network.bird_eye_hidden=16",
    "stages=[{share: 0.6, clips: 4, frames: 1}, {share: 0.4, clips: 2, frames: 2}]",
]


def tiny(*more: str) -> Config:
    """Seven steps in two stages."""
    return load_config("debug", [*TINY, *more])


def same_weights(a: Path, b: Path) -> bool:
    """Whether the last checkpoints of two runs hold the same bits, the averaged weights too."""
    for averaged in (True, False):
        x, y = (open_checkpoint(run).weights(averaged=averaged) for run in (a, b))
        if x.keys() != y.keys() or not all(torch.equal(x[k], y[k]) for k in x):
            return False
    return True


class StopAt(Progress):
    """Sends this process the signal of an impatient user, or another, after so many steps."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.left, self.number = step, number

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.left -= amount
        if self.left == 0:
            os.kill(os.getpid(), self.number)
