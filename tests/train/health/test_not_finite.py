"""Whatever stops being finite in a step, the run ends with the batch that did it, and a replay finds the place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_runs import tiny
from torch import Tensor, nn

from trace_data.errors import TrainingDiverged
from trace_train.health.replay import replay
from trace_train.train import train
from trace_train.training.update import Updater
from trace_train.weights.checkpoint import open_checkpoint

NAN = float("nan")


def weight(module: nn.Module) -> None:
    with torch.no_grad():
        next(module.parameters())[0] = NAN


def prediction(module: nn.Module) -> None:
    def poisoned(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return output + NAN

    module.register_forward_hook(poisoned)


def gradient(module: nn.Module) -> None:
    next(module.parameters()).register_hook(lambda given: given + NAN)


@pytest.mark.parametrize("poison", [weight, prediction, gradient])
@pytest.mark.parametrize("part", ["temp_smplpose_regressor", "temp_trans_regressor", "det_head", "backbone"])
def test_a_run_ends_with_the_batch_that_did_it(
    poison: Callable[[nn.Module], None],
    part: str,
    shards: Path,
    packs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_num_threads(1)
    run, real, calls = tmp_path / "run", Updater.__call__, []

    def call(self: Updater, *arguments: object) -> object:
        calls.append(1)
        if len(calls) == 2:
            poison(self.loss_module.network.get_submodule(part))
        return real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Updater, "__call__", call)
    with pytest.raises(TrainingDiverged, match="not finite") as caught:
        train(tiny("stages=[{clips: 2, frames: 2}]"), shards=shards, packs=packs, run=run)
    file = run / "not-finite-step-00000001.pth"
    assert file.exists() and "--replay" in (caught.value.hint or "") and open_checkpoint(run).step == 0
    if poison is weight:
        found = replay(file, packs=packs)
        assert found.module.startswith(f"network.{part}") and found.weights[0].startswith(part)
