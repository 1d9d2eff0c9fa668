"""One update: in parts it has the gradient of the whole, and counts are known before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_runs import tiny
from torch import Tensor

from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers, build_network
from trace_train.config import Config
from trace_train.network.flow import NoFlow
from trace_train.streaming.batch import Batch
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream
from trace_train.training.distributed import Processes, synchronise_normalisation
from trace_train.training.initialise import start_from_means
from trace_train.training.loss_module import LossModule, batch_targets
from trace_train.training.optimizer import build_optimizer
from trace_train.training.parameter_groups import NetworkParameters
from trace_train.training.precision import gradient_scaler
from trace_train.training.update import Update, Updater, over_all, valid_counts

CONFIG = ["stages=[{clips: 4, frames: 3}]", "network.temporal=true", "precision=fp32", "optim.clip_norm=1e9"]


@pytest.fixture(scope="module")
def batch(shards: Path) -> Batch:
    return finish(next(iter(TrainStream(ShardReader(shards), tiny(*CONFIG)).batches(0, 1))))


def learner_of(config: Config, packs: Path, batch: Batch) -> LossModule:
    """A learner whose normalisation does not let clips see each other."""
    torch.manual_seed(0)
    network = build_network(config.network)
    start_from_means(network, [batch_targets(network, batch)])
    return LossModule(network.eval(), body_layers(packs)["neutral"], config, NoFlow(network.motion_channels))


def updated(config: Config, packs: Path, batch: Batch) -> tuple[Update, dict[str, Tensor]]:
    """One update with a rate of zero, and the gradient it leaves."""
    loss_module = learner_of(config, packs, batch)
    groups = NetworkParameters(loss_module.network).groups(config.optim)
    updater = Updater(
        loss_module=loss_module,
        optimizer=build_optimizer(groups, config.optim),
        scaler=gradient_scaler(config, torch.device("cpu")),
        processes=Processes(),
    )
    update = updater(batch, 0.0, lambda batch, report: "")
    return update, {n: p.grad for n, p in loss_module.network.named_parameters() if p.grad is not None}


def test_counts_are_known_without_the_network(packs: Path, batch: Batch) -> None:
    loss_module = learner_of(tiny(*CONFIG), packs, batch)
    report = loss_module(batch)
    counts = valid_counts(loss_module, batch.split(4))
    assert {name: int(count) for name, count in counts.items()} == {n: int(c) for n, c in report.counts.items()}
    people = [valid_counts(loss_module, [part])["joints3d"].item() for part in batch.split(4)]
    assert len(set(people)) > 1  # else a mean of means would be the mean too


@pytest.mark.parametrize("parts", [2, 4])
def test_in_parts_as_in_one_piece(parts: int, packs: Path, batch: Batch) -> None:
    whole, gradient = updated(tiny(*CONFIG), packs, batch)
    update, in_parts = updated(tiny(*CONFIG, f"optim.accumulate={parts}"), packs, batch)
    assert update.counts == whole.counts
    assert update.values == pytest.approx(whole.values, rel=1e-4)
    assert update.norm == pytest.approx(whole.norm, rel=1e-3)
    assert in_parts.keys() == gradient.keys()
    for name, value in gradient.items():
        assert (in_parts[name] - value).norm() <= 1e-3 * value.norm() + 1e-6 * whole.norm, name


def test_parts_of_several_processes_add_up(packs: Path, batch: Batch) -> None:
    loss_module = learner_of(tiny(*CONFIG), packs, batch)
    with torch.no_grad():
        whole, halves = loss_module(batch), batch.split(2)
        counts = valid_counts(loss_module, halves)
        reports = [over_all(loss_module(half), counts, Processes(rank, 2)) for rank, half in enumerate(halves)]
    for name, value in whole.values.items():
        mean = sum((report.values[name] for report in reports), torch.zeros(())) / 2
        assert torch.isclose(mean, value, rtol=1e-4), name


def test_a_batch_is_split_without_loss(batch: Batch) -> None:
    parts = batch.split(2)
    assert [ref for part in parts for ref in part.refs] == list(batch.refs)
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.kp2d for part in parts]), batch.kp2d)
    assert torch.equal(torch.cat([part.masks["world"] for part in parts]), batch.masks["world"])
    assert batch.split(1) == [batch]


def test_a_network_with_synchronised_normalisation_starts_from_means_alike(batch: Batch) -> None:
    config = tiny(*CONFIG)
    states = []
    for convert in (False, True):
        torch.manual_seed(0)
        network = build_network(config.network)
        parts = NetworkParameters(network)
        if convert:  # as a run on several GPUs does; the process decides, not this machine's devices
            synchronise_normalisation(network, "auto", Processes(0, 2), torch.device("cuda"))
            assert any(isinstance(module, torch.nn.SyncBatchNorm) for module in network.modules())
        start_from_means(network, [batch_targets(network, batch)])
        parts.apply(parts.groups(config.optim.model_copy(update={"frozen": ("backbone",)})))
        assert not network.backbone.bn1.training and network.det_head[0][0].bn1.training
        states.append(network.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
