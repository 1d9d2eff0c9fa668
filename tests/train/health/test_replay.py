"""A batch whose numbers are not finite is kept, run again, and says where it began."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny
from torch import Tensor, nn

from trace_data.errors import CheckpointError
from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers, build_network
from trace_train.config import Config
from trace_train.health.not_finite import keep_batch, load_batch
from trace_train.health.replay import NotFinite, Replay, replay
from trace_train.streaming.batch import Batch
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream
from trace_train.training.hooks import RunSnapshot
from trace_train.training.loss_module import LossModule
from trace_train.weights.flow import build_flow


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


class Run:
    """A network that met a batch, and what it left behind of it."""

    def __init__(self, shards: Path, packs: Path, folder: Path) -> None:
        self.config: Config = tiny("stages=[{clips: 3, frames: 2}]")
        self.packs, self.folder = packs, folder
        torch.manual_seed(0)
        flow = build_flow(self.config, folder, torch.device("cpu"))
        self.loss_module = LossModule(
            build_network(self.config.network), body_layers(packs)["neutral"], self.config, flow
        )
        self.stream = TrainStream(ShardReader(shards), self.config)
        self.batch: Batch = finish(next(iter(self.stream.batches(0, 1))))

    def keep(self) -> str:
        snapshot = RunSnapshot(
            run=self.folder,
            step=2,
            config=self.config,
            loss_module=self.loss_module.train(),
            averaged=None,
            stream=self.stream,
            packs=self.packs,
        )
        return keep_batch(snapshot, self.batch, self.loss_module(self.batch))

    @property
    def file(self) -> Path:
        return self.folder / "not-finite-step-00000002.pth"

    def replay(self, *, raise_there: bool = False) -> Replay:
        self.keep()
        return replay(self.file, packs=self.packs, raise_there=raise_there)


@pytest.fixture
def run(shards: Path, packs: Path, tmp_path: Path) -> Run:
    return Run(shards, packs, tmp_path)


def test_a_batch_comes_back_as_it_was_and_finite_numbers_are_said_to_be(run: Run) -> None:
    advice = run.keep()
    assert f"trace train --replay {run.file}" in advice and "3dpw/train/" in advice and "frames " in advice
    saved = load_batch(run.file)
    assert saved.batch.refs == run.batch.refs and saved.batch.occluded == run.batch.occluded and saved.step == 2
    assert torch.equal(saved.batch.images, run.batch.images) and torch.equal(saved.batch.kp3d, run.batch.kp3d)
    assert all(torch.equal(saved.batch.masks[name], mask) for name, mask in run.batch.masks.items())
    assert saved.weights is not None and saved.config == run.config
    found = replay(run.file, packs=run.packs)
    assert found.found == found.module == "" and not found.weights and not found.annotations
    again = run.loss_module.train()(run.batch)
    assert found.total == pytest.approx(again.total.item(), rel=1e-6) and found.terms == pytest.approx(saved.terms)


def test_one_clip_with_a_poisoned_annotation_is_named(run: Run) -> None:
    kp3d = run.batch.kp3d.clone()
    person = int(run.batch.masks["joints3d"][1].any(dim=1).nonzero()[0])
    kp3d[1, person, 0, 5, 0] = 3e38
    run.batch = replace(run.batch, kp3d=kp3d)
    found = run.replay()
    clip = load_batch(run.file).clips[1]
    assert not found.total < float("inf") and "in the losses" in found.found and "joints3d" in found.found
    assert found.annotations == (f"kp3d[{person}, 0, 5, 0] is 3e+38 in {clip}",)
    assert found.worst[0].clip == clip and not abs(found.worst[0].value) < float("inf")
    bad = {(entry.clip, entry.term) for entry in found.worst if not abs(entry.value) < float("inf")}
    assert {name for name, _ in bad} == {clip} and (clip, "joints3d") in bad


def test_poisoned_weights_name_their_module(run: Run) -> None:
    name, module = next((n, m) for n, m in run.loss_module.network.named_modules() if "det_head" in n and weighty(m))
    with torch.no_grad():
        next(module.parameters())[0, 0, 0, 0] = float("nan")
    found = run.replay()
    assert found.module == f"network.{name}" and "its inputs are finite" in found.found
    assert found.weights == (f"{name}.weight",)
    with pytest.raises(NotFinite, match="det_head") as caught:
        run.replay(raise_there=True)
    places = [entry.name for entry in caught.traceback]
    assert "_forward" in places and "forward" in places, "a debugger lands below the forward pass"


def weighty(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d)


class Steep(torch.autograd.Function):
    """The same numbers, with a gradient that is infinite."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * float("inf")


def test_a_gradient_that_is_not_finite_names_the_module_it_reaches_first(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = nn.Conv2d.forward
    name, steep = next((n, m) for n, m in run.loss_module.network.named_modules() if "det_head" in n and weighty(m))
    assert isinstance(steep, nn.Conv2d)

    def forward(self: nn.Conv2d, values: Tensor) -> Tensor:
        out = real(self, values)
        same = self.weight.shape == steep.weight.shape and torch.equal(self.weight, steep.weight)
        return Steep.apply(out) if same else out

    monkeypatch.setattr(nn.Conv2d, "forward", forward)
    found = run.replay()
    assert abs(found.total) < float("inf") and found.module == f"network.{name}"
    assert f"the gradient of network.{name}.weight; what came to it was finite" in found.found
    assert "Backward0' returned nan values" in found.found


@pytest.mark.parametrize("damage", ["cut", "text", "other", "missing", "pickle"])
def test_a_damaged_file_is_refused_by_name(damage: str, run: Run) -> None:
    run.keep()
    if damage == "cut":
        run.file.write_bytes(run.file.read_bytes()[:5000])
    elif damage == "text":
        run.file.write_text("nothing")
    elif damage == "other":
        torch.save({"format_version": 1}, run.file)
    elif damage == "missing":
        run.file.unlink()
    else:
        torch.save({"format_version": run.config}, run.file)  # a class of ours: nothing but plain values is read
    with pytest.raises(CheckpointError, match="not-finite-step"):
        load_batch(run.file)


def test_a_full_disk_does_not_hide_what_happened(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        advice = run.keep()
    assert "3dpw/train/" in advice and "could not be kept" in advice and not run.file.exists()
    run.file.with_name("not-finite-step-00000002.safetensors.partial").mkdir()
    advice = run.keep()
    assert run.file.exists() and "without the weights" in advice and load_batch(run.file).weights is None
    with pytest.raises(CheckpointError, match="neither the weights of this batch nor a checkpoint"):
        replay(run.file, packs=run.packs)
