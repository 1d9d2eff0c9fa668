"""What a fresh network starts from, what follows its weights, and the flow that a run keeps for itself."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from published_files import random_state, save
from tiny_runs import StopAt, tiny
from torch import Tensor

from trace_data.errors import CheckpointError, ConfigError, InterruptedRun, NoCheckpointError
from trace_data.progress import Progress
from trace_train.build import build_network
from trace_train.config import Config, NetworkConfig, load_config
from trace_train.network.flow import DisFlow, RaftFlow
from trace_train.train import train
from trace_train.training.loss_module import LossModule
from trace_train.weights.checkpoint import open_checkpoint
from trace_train.weights.flow import build_flow
from trace_train.weights.folder import Switches, open_weights
from trace_train.weights.importing import import_weights
from trace_train.weights.sources import open_start
from trace_train.weights.starting import Start

MOVING = ("stages=[{clips: 2, frames: 2}]", "steps=2")
CPU = torch.device("cpu")


class Heard(Progress):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def raft(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of RAFT's alone. Read only."""
    folder = tmp_path_factory.mktemp("raft") / "weights"
    open_weights(imported).copy("flow", folder)
    return folder


@pytest.fixture(scope="module")
def single(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of single frames. Read only."""
    run = tmp_path_factory.mktemp("single") / "run"
    alone = ("network.temporal=false", "network.flow=none", "stages=[{clips: 2, frames: 1}]")
    config = tiny(*alone, "steps=2", "optim.frozen=[det_head]")
    train(config, shards=shards, packs=packs, run=run)
    return run


def begun(config: Config) -> Start:
    start = open_start(config)
    assert start is not None
    return start


# --- what is filled ------------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_another_ones_weights_and_says_what_begins_anew(
    single: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    heard = Heard()
    config = tiny(*MOVING, f"init.weights={single}", "checkpoint_every=1")
    train(config, shards=shards, packs=packs, run=tmp_path / "run", progress=heard)
    first = open_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000000")
    theirs, ours = open_checkpoint(single).weights(), first.weights(averaged=False)
    assert theirs and all(torch.equal(ours[name], value) for name, value in theirs.items())
    new = {name.split(".")[0] for name in ours.keys() - theirs.keys()}
    assert {"temp_model", "motion_head", "cam_rot_head"} <= new
    said = {line.split()[0]: line for line in heard.lines if " of " in line and "tensors" in line}
    assert set(said) == {name.split(".")[0] for name in ours}
    assert all(("begins anew" in line) == (module in new) for module, line in said.items())
    # what was not trained there is not trained here, and stays so on resuming
    assert first.config.optim.frozen == ("det_head",)
    assert any(line.startswith("frozen   det_head") for line in heard.lines)
    assert first.facts["data"]["start"]["weights"] == str(open_checkpoint(single).folder)
    assert open_checkpoint(tmp_path / "run").facts["data"]["start"] == first.facts["data"]["start"]


def test_released_weights_fill_all_and_bring_their_forms(imported: Path) -> None:
    start = begun(Config.model_validate({"init": {"weights": imported}}))
    config, said = start.follow(Config.model_validate({"init": {"weights": imported}}))
    assert {key: getattr(config.network, key) for key in start.form} == start.form
    assert start.form == asdict(Switches())
    plain = NetworkConfig()
    assert len(said) == sum(getattr(plain, key) != value for key, value in start.form.items())
    assert any("network.center_maps is 'raw'" in line for line in said)
    assert config.optim.frozen == ("backbone",)
    resolved = Config.model_validate(config.model_dump(mode="json"))  # as a run's config.yaml has it
    assert start.follow(resolved) == (resolved, [])
    asked = load_config("trace", [f"init.weights={imported}", "optim.frozen=[]"])
    assert start.follow(asked)[0].optim.frozen == ()


def test_only_the_parts_asked_for_are_taken(imported: Path) -> None:
    config = Config.model_validate({"init": {"weights": imported, "parts": ["image", "flow"]}})
    start = begun(config)
    followed, said = start.follow(config)
    assert followed.network == config.network and not said  # the head is ours, in our forms
    network = build_network(config.network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rows = {row.module: row for row in start.fill(network, config.network)}
    assert len(rows["backbone"].names) == 1752 and rows["backbone"].source == "image.safetensors"
    assert not [row for module, row in rows.items() if module != "backbone" and row.names]
    for name, value in network.state_dict().items():
        if not name.startswith("backbone."):
            assert torch.equal(value, before[name])


def test_a_start_from_bev_fills_what_fits_and_leaves_the_forms(tmp_path: Path) -> None:
    import_weights({}, tmp_path / "bev", from_bev=save(random_state("image"), tmp_path / "bev.pkl"))
    config = Config.model_validate({"init": {"weights": tmp_path / "bev"}, "network": {"flow": "none"}})
    start = begun(config)
    assert start.follow(config)[0].network == config.network
    network = build_network(config.network)
    torch.nn.init.constant_(network.det_head[-1].weight, 7.0)
    rows = {row.module: row for row in start.fill(network, config.network)}
    assert 0 < len(rows["det_head"].names) < rows["det_head"].of and not rows["temp_model"].names
    saved = open_weights(tmp_path / "bev").state("start")
    assert torch.equal(network.state_dict()["det_head.0.0.conv1.weight"], saved["det_head.0.0.conv1.weight"])
    assert bool((network.det_head[-1].weight == 7).all())  # four channels there, seven here


# --- what does not fit ---------------------------------------------------------------------------------------------


def test_a_configuration_that_misreads_the_weights_is_refused(imported: Path) -> None:
    config = load_config("trace", [f"init.weights={imported}", "network.center_maps=logits"])
    with pytest.raises(ConfigError, match=r"network\.center_maps: 'logits', the weights need 'raw'") as caught:
        begun(config).follow(config)
    assert "init.parts" in str(caught.value) and "world_rotation" not in str(caught.value)  # that was not said


def test_weights_of_another_size_are_refused_before_the_run_begins(
    imported: Path, single: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    for weights, finding in ((imported, "network.input_size 512 there, 64 here"), (single, "network.width 8 there")):
        config = tiny("network.width=16", f"init.weights={weights}")
        with pytest.raises(CheckpointError, match="tensors do not fit the network, first ") as caught:
            train(config, shards=shards, packs=packs, run=tmp_path / "run")
        assert finding in str(caught.value) and str(weights) in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_half_a_module_is_no_module(single: Path, tmp_path: Path) -> None:
    start = begun(tiny(f"init.weights={single}"))
    network = build_network(tiny("network.mesh_blocks=2").network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"param_head\.1.*network\.mesh_blocks 1 there, 2 here"):
        start.fill(network, tiny("network.mesh_blocks=2").network)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("weights", "parts", "finding"),
    [
        ("nowhere", "null", "holds neither imported weights nor a network nor a finished checkpoint"),
        ("trace_head.pkl", "null", "is a file.*import-weights --head"),
        ("raft", "[head, flow]", "holds no head weights, only flow"),
    ],
)
def test_what_is_no_start_is_named(raft: Path, tmp_path: Path, weights: str, parts: str, finding: str) -> None:
    (tmp_path / "trace_head.pkl").write_bytes(b"PK")
    where = raft if weights == "raft" else tmp_path / weights
    with pytest.raises(CheckpointError, match=f"(?s){finding}"):
        open_start(tiny(f"init.weights={where}", f"init.parts={parts}"))


def test_no_checkpoint_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(NoCheckpointError):
        open_checkpoint(tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(CheckpointError) as caught:
        open_start(tiny(f"init.weights={tmp_path}"))
    assert not isinstance(caught.value, NoCheckpointError) and caught.value.where == str(tmp_path / "checkpoint.json")


def test_damaged_weights_are_no_start(raft: Path, tmp_path: Path) -> None:
    shutil.copytree(raft, tmp_path / "w")
    content = (tmp_path / "w" / "flow.safetensors").read_bytes()
    (tmp_path / "w" / "flow.safetensors").write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match="SHA-256 differs"):
        open_start(tiny(f"init.weights={tmp_path / 'w'}"))


# --- flow ----------------------------------------------------------------------------------------------------------


def test_flow_without_weights_says_how_to_get_them(shards: Path, packs: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"init\.weights is not set") as caught:
        train(tiny(*MOVING, "network.flow=raft"), shards=shards, packs=packs, run=tmp_path / "run")
    assert "trace import-weights --flow raft-things.pth" in str(caught.value) and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        (["network.flow=dis"], "single frames"),
        (["network.flow=raft", "network.temporal=true", "network.motion_channels=0"], "motion_channels is 0"),
        (["network.flow=farneback"], "'none', 'dis', 'raft' or 'stored'"),
    ],
)
def test_flow_that_has_no_place_is_refused(changes: list[str], finding: str) -> None:
    with pytest.raises(ConfigError, match=finding):
        tiny("network.temporal=false", *changes)


def test_a_run_keeps_its_raft_and_needs_nothing_else(raft: Path, shards: Path, packs: Path, tmp_path: Path) -> None:
    source, run = tmp_path / "weights", tmp_path / "run"
    shutil.copytree(raft, source)
    config = tiny(*MOVING, "network.flow=raft", "network.flow_iterations=2", f"init.weights={source}")
    with pytest.raises(InterruptedRun):
        train(config, shards=shards, packs=packs, run=run, progress=StopAt(1))
    shutil.rmtree(source)
    train(load_config(run / "config.yaml"), shards=shards, packs=packs, run=run, resume=True)
    flow = build_flow(open_checkpoint(run).config, run, CPU)
    assert isinstance(flow, RaftFlow) and flow.raft.iterations == 2 and flow.first_frame == "zero"
    published = open_weights(raft).state("flow")
    assert all(torch.equal(value, published[name]) for name, value in flow.raft.state_dict().items())
    assert json.loads((run / "flow" / "weights.json").read_text())["parts"]["flow"]["source"] == "raft-things.pth"
    again = train(
        tiny(*MOVING, "network.flow=raft", f"init.weights={run}"), shards=shards, packs=packs, run=tmp_path / "2"
    )
    assert again.steps == 2 and (tmp_path / "2" / "flow").is_dir()  # from a run, its flow too
    shutil.rmtree(run / "flow")
    with pytest.raises(CheckpointError, match="no weights of RAFT"):
        build_flow(config, run, CPU)


def test_the_network_sees_the_flow_of_the_finished_pixels(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Tensor, Tensor | None]] = []
    flown: list[Tensor] = []
    forward, search = LossModule.forward, DisFlow.__call__

    def watched(self: LossModule, batch: object) -> object:
        hook = self.network.register_forward_pre_hook(lambda module, given: seen.append(given))
        report = forward(self, batch)  # type: ignore[arg-type]
        hook.remove()
        return report

    def searched(self: DisFlow, frames: Tensor, previous: Tensor | None = None) -> Tensor:
        flown.append(frames)
        return search(self, frames, previous)

    monkeypatch.setattr(LossModule, "forward", watched)
    monkeypatch.setattr(DisFlow, "__call__", searched)
    stages = "stages=[{share: 0.5, clips: 2, frames: 1}, {share: 0.5, clips: 2, frames: 2}]"
    config = tiny(stages, "steps=2", "data.color_jitter_probability=1")
    train(config, shards=shards, packs=packs, run=tmp_path / "run")
    (one, nothing), (two, flow) = seen
    assert one.shape[1] == 1 and nothing is None and len(flown) == 1  # a single frame costs no search
    assert torch.equal(flown[0], two) and flow is not None and torch.equal(flow, search(DisFlow(), two))
    assert float(flow.unflatten(0, (2, 2))[:, 1].abs().max()) > 0
