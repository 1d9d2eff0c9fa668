"""A step on a GPU: nothing is mixed between devices, and the CPU does not wait before the step's numbers are read."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
import torch._dynamo  # keeps a table of torch's functions, made when it is imported: before one is replaced
from device_waits import DEVICE, Waits
from tiny_runs import tiny

from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers, build_network
from trace_train.network.flow import FlowProvider, NoFlow, RaftFlow
from trace_train.network.raft import Raft
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream
from trace_train.training.loss_module import LossModule


@pytest.fixture(autouse=True)
def no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta device has none."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        ["stages=[{clips: 2, frames: 3}]", "network.temporal=true", "network.motion_channels=2"],
        ["stages=[{clips: 2, frames: 2}]", "loss.camera_consistency=1", "loss.root_consistency=1"],
        ["stages=[{clips: 2, frames: 1}]"],
    ],
    ids=["temporal", "clips", "frames"],
)
def test_a_step_does_not_wait(changes: list[str], shards: Path, packs: Path) -> None:
    config = tiny("precision=fp32", *changes)
    batch = finish(next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))).to(DEVICE)
    flow: FlowProvider = RaftFlow(Raft(iterations=2)) if config.network.temporal else NoFlow()
    module = LossModule(build_network(config.network), body_layers(packs)["neutral"], config, flow).to(DEVICE).train()
    module(batch)  # the first step makes the constants
    waits = Waits()
    with waits:
        report = module(batch)
        report.total.backward()
    assert report.total.device == DEVICE and waits.found == []
