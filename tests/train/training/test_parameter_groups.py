"""Which parameters are trained, how fast, when; and which checkpoint is the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import tiny
from torch import nn

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipAnnotations
from trace_data.shards.reader import ShardReader
from trace_train.build import build_network
from trace_train.config import DataConfig, LossConfig, OptimConfig, at_stage, load_config, stage_name
from trace_train.streaming import stream
from trace_train.streaming.augment import ViewPlan
from trace_train.train import train
from trace_train.training.optimizer import build_optimizer, carry_over, learning_rate, set_rate
from trace_train.training.parameter_groups import NetworkParameters, fits, stages_table
from trace_train.weights.checkpoint import open_checkpoint
from trace_train.weights.checkpoint_writer import best_so_far, best_steps


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return build_network(tiny("network.temporal=true").network)


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("backbone.conv1.weight", "backbone", True),
        ("backbone.conv1.weight", "backbone.*", True),
        ("backbone.conv1.weight", "back", False),
        ("det_head.0.bn1.bias", "*_head", True),
        ("det_head.0.bn1.bias", "det_head.*.bias", True),
        ("det_head.0.bn1.weight", "det_head.*.bias", False),
    ],
)
def test_a_pattern_names_a_module_and_all_in_it(name: str, pattern: str, expected: bool) -> None:
    assert fits(name, pattern) is expected


def test_every_parameter_is_in_one_group_and_frozen_ones_in_no_optimiser(network: nn.Module) -> None:
    optim = OptimConfig.model_validate(
        {
            "frozen": ["backbone"],
            "weight_decay": 0.1,
            "groups": [{"pattern": "det_head", "lr_factor": 2.0}, {"pattern": "*_head", "weight_decay": 0.3}],
        }
    )
    parts = NetworkParameters(network)
    groups = parts.groups(optim)
    parts.apply(groups)
    try:
        names = [name for group in groups for name in group.parameters]
        assert len(names) == len(set(names))
        unused = {"position_embeddings.weight"}  # never trained by anybody
        assert set(names) == {name for name, _ in network.named_parameters()} - unused
        optimizer = build_optimizer(groups, optim)
        given = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        set_rate(optimizer, 0.01)
        for name, parameter in network.named_parameters():
            assert (id(parameter) in given) is parameter.requires_grad, name
            assert parameter.requires_grad is (name not in unused and not name.startswith("backbone.")), name
            if parameter.requires_grad:
                head = name.split(".")[0]
                decay = 0.0 if parameter.dim() <= 1 else 0.3 if head.endswith("_head") and head != "det_head" else 0.1
                assert given[id(parameter)]["weight_decay"] == decay, name
                assert given[id(parameter)]["lr"] == (0.02 if head == "det_head" else 0.01), name
        assert all(module.training is not name.startswith("backbone") for name, module in network.named_modules())
    finally:
        parts.apply(parts.groups(OptimConfig()))
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for name, parameter in network.named_parameters() if name not in unused)


def test_the_table_says_what_is_trained(network: nn.Module) -> None:
    changes = ("optim.frozen=[backbone]", "optim.groups=[{pattern: det_head, lr_factor: 2}]", "optim.lr=0.001")
    lines = stages_table(NetworkParameters(network), tiny("network.temporal=true", *changes))
    assert lines[0] == "stage 1" and lines[-1] == "stage 2: as before"
    rows = {line[9:].split("  ")[0].strip(): line for line in lines[1:-1]}
    assert set(rows) == {
        "det_head", "det_head (biases, norms)", "the rest", "the rest (biases, norms)", "backbone",
    }  # fmt: skip
    size = sum(p.numel() for name, p in network.named_parameters() if name.startswith("backbone."))
    assert rows["backbone"].startswith("frozen") and f" {size:,} numbers" in rows["backbone"]
    assert rows["det_head"].startswith("trains") and rows["det_head"].endswith("lr 0.002   decay 0.01")


def test_a_pattern_for_nothing_names_what_is_near(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match="no part of the network is called 'temp_modle', did you mean 'temp_model'"):
        NetworkParameters(network).groups(OptimConfig(frozen=("backbone", "temp_modle")))


def test_frozen_parts_end_as_they_began(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = tiny("optim.frozen=[backbone, det_head.0]", "steps=3", "keep_checkpoints=9")
    train(config, shards=shards, packs=packs, run=run)
    before = open_checkpoint(run / "checkpoints" / "step-00000000").weights(averaged=False)
    for averaged in (True, False):
        after = open_checkpoint(run).weights(averaged=averaged)
        for name, value in after.items():
            if name.startswith(("backbone.", "det_head.0.")):
                assert torch.equal(value, before[name]), name  # statistics of its normalisation too
        assert not torch.equal(after["det_head.1.weight"], before["det_head.1.weight"])
    state = torch.load(open_checkpoint(run).folder / "training.pth", weights_only=True)
    tensors = sum(len(group["params"]) for group in state["optimizer"]["param_groups"])
    network = build_network(config.network)
    free = [
        name
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and not name.startswith(("backbone.", "det_head.0."))
    ]
    assert tensors == len(free) == len(state["optimizer"]["state"])


def test_what_the_optimiser_knows_is_carried_over() -> None:
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    before = torch.optim.AdamW([{"params": [a, b]}], lr=0.1)
    (a.sum() + 2 * b.sum()).backward()
    before.step()
    after = torch.optim.AdamW([{"params": [b]}], lr=0.1)
    carry_over(before, after)
    assert set(after.state) == {b} and torch.equal(after.state[b]["exp_avg"], before.state[b]["exp_avg"])


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        ("constant", 0, 0.25), ("constant", 3, 1.0), ("constant", 99, 1.0),
        ("steps", 49, 1.0), ("steps", 50, 0.1), ("steps", 74, 0.1), ("steps", 75, 0.01), ("steps", 99, 0.01),
        ("cosine", 1, 0.5), ("cosine", 4, 1.0), ("cosine", 52, 0.525), ("cosine", 100, 0.05),
    ],
)  # fmt: skip
def test_learning_rates_by_hand(schedule: str, step: int, expected: float) -> None:
    values = {"lr": 2.0, "warmup": 4, "schedule": schedule, "milestones": (0.5, 0.75), "final_lr": 0.05}
    assert learning_rate(OptimConfig.model_validate(values), step, 100) == pytest.approx(2 * expected)


def test_a_stage_has_its_own() -> None:
    config = load_config("trace")
    assert [stage_name(config, number) for number in range(3)] == ["A", "B", "C"]
    a, b, c = (at_stage(config, number) for number in range(3))
    assert (a.loss.joints2d, b.loss.joints2d, c.loss) == (0, 600, LossConfig())
    assert [stage.loss.motion_offsets for stage in (a, b, c)] == [0, 300, 300]
    assert [stage.loss.world_translation for stage in (a, b, c)] == [0, 0, 400]
    assert [stage.optim.lr for stage in (a, b, c)] == [1e-4, 1e-4, 3e-5]
    assert [stage.data.camera_probability for stage in (a, b, c)] == [0, 0, 0.8]
    for number, name in enumerate(("trace-a", "trace-b", "trace-c")):
        alone, stage = load_config(name), at_stage(config, number)
        own = at_stage(alone, 0)
        assert (own.loss, own.optim, own.data) == (stage.loss, stage.optim, stage.data)
        assert alone.steps == config.stages[number].share * config.steps and alone.network == config.network


def test_clips_are_seen_as_their_stage_says(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = stream.plan

    def noting(annotations: ClipAnnotations, generator: np.random.Generator, data: DataConfig) -> ViewPlan:
        seen.append(data.camera_probability)
        return real(annotations, generator, data)

    monkeypatch.setattr(stream, "plan", noting)
    config = tiny(
        "stages=[{share: 0.5, clips: 2, frames: 4, camera_probability: 1}, {share: 0.5, clips: 2, frames: 4}]",
        "data.camera_probability=0.25",
        "data.threads=1",
        "steps=4",
    )
    assert len(list(stream.TrainStream(ShardReader(shards), config).batches(0, 4))) == 4
    assert seen == [1.0] * 4 + [0.25] * 4


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ("[{loss: {joints2: 0}}]", "no term is called 'joints2', did you mean 'joints2d'"),
        ("[{loss: {'wrold_*': 0}}]", "no term is called 'wrold_\\*'"),
        ("[{loss: {joints2d: -1}}]", "expected 0 or more"),
        ("[{share: 0.5, name: A}, {share: 0.5, name: A}]", "same name"),
    ],
)
def test_mistakes_in_stages_are_explained(stages: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_config("debug", [f"stages={stages}"])


@pytest.mark.parametrize(
    ("names", "history", "expected"),
    [
        (("mpjpe_with_misses",), [], {}),
        (("mpjpe_with_misses", "pa_mpjpe"), [(140.0, 60.0), (120.0, 80.0)], {"best": 2}),  # the pose alone was better
        (("mpjpe_with_misses", "recall"), [(120.0, 0.7), (121.0, 0.93)], {"best": 1}),
        (("mpjpe_with_misses",), [(float("nan"),), (149.0,), (None,)], {"best": 2}),
        (("mpjpe_with_misses",), [(120.0,), (120.0,)], {"best": 1}),
        # people without bodies: 0.5 * 100 + 0.5 * 150, and 0.9 * 120 + 0.1 * 150
        (("joints_mpjpe", "recall"), [(100.0, 0.5), (120.0, 0.9)], {"best": 2}),
        (("joints_mpjpe", "recall"), [(100.0, 0.9), (120.0, 1.0)], {"best": 1}),
        # who is found far off is not better missed: 170 / 0.7 and 168 / 0.93
        (("mpjpe_with_misses", "mpjpe", "recall"), [(164.0, 170.0, 0.7), (166.7, 168.0, 0.93)], {"best": 2}),
        (("joints_mpjpe", "recall"), [(170.0, 0.7), (168.0, 0.93)], {"best": 2}),
        (("mpjpe_with_misses", "mpjpe", "recall"), [(150.0, None, 0.0), (230.0, 230.0, 1.0)], {"best": 2}),
        (("mpjpe_with_misses", "mpjpe", "recall"), [(150.0, None, 0.0)], {}),  # nobody was found
        # in the world half of the people count half
        (("wa_mpjpe", "world_coverage"), [(60.0, 0.5), (100.0, 0.9)], {"best-world": 2}),
        (("wa_mpjpe", "world_coverage"), [(60.0, 0.5), (100.0, 0.0), (None, 0.0)], {"best-world": 1}),
        (("wa_mpjpe",), [(90.0,), (80.0,)], {"best-world": 2}),
    ],
)
def test_the_best_is_not_bought_by_leaving_people_out(
    names: tuple[str, ...], history: list[tuple[float | None, ...]], expected: dict[str, int]
) -> None:
    scores: list[dict[str, Any]] = [
        {"step": step, **dict(zip(names, values))} for step, values in enumerate(history, 1)
    ]
    assert best_steps(scores) == expected
    assert [line.split(":")[0] for line in best_so_far(scores)] == list(expected)
