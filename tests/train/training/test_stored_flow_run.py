"""A run on stored flow: begun, resumed, evaluated and used on videos with the provider that its checkpoint names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import added_flow
import pytest
import torch
from tiny_runs import StopAt, same_weights, tiny

from trace_cli.main import run as command
from trace_data.errors import CheckpointError, ConfigError, InterruptedRun, NoStoredFlowError, ShardError
from trace_data.shards.flow.index import FlowSettings
from trace_data.shards.reader import ShardReader
from trace_train.evaluate import evaluate
from trace_train.inference.source import open_source
from trace_train.network.flow import DisFlow
from trace_train.precompute.flow import add_flow
from trace_train.precompute.providers import open_provider
from trace_train.preflight.preflight import preflight
from trace_train.train import train
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import open_checkpoint

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def with_flow(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`shards` with flow by DIS. Read only."""
    folder = Path(shutil.copytree(shards, tmp_path_factory.mktemp("flow") / "shards"))
    add_flow(folder, open_provider("dis", height=64))
    return folder


@pytest.fixture(scope="module")
def stored_run(with_flow: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run. Read only."""
    run = tmp_path_factory.mktemp("stored") / "run"
    train(tiny("network.flow=stored"), shards=with_flow, packs=packs, run=run)
    return run


@pytest.mark.slow
def test_nothing_is_computed_and_the_checkpoint_names_the_provider(
    with_flow: Path, stored_run: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(stored_run)
    assert (checkpoint.config.network.flow, checkpoint.config.network.flow_provider) == ("stored", "dis")
    assert checkpoint.facts["data"]["flow"]["provider"] == "dis"

    def never(*given: object) -> None:
        raise AssertionError("flow was computed")

    monkeypatch.setattr(DisFlow, "__call__", never)
    again = tmp_path / "again"
    with pytest.raises(InterruptedRun):
        train(tiny("network.flow=stored"), shards=with_flow, packs=packs, run=again, progress=StopAt(5))
    train(checkpoint.config, shards=with_flow, packs=packs, run=again, resume=True)
    assert same_weights(stored_run, again)
    with pytest.raises(AssertionError, match="computed"):
        train(tiny(), shards=with_flow, packs=packs, run=tmp_path / "other")


def test_what_it_learns_from_is_the_stored_flow(with_flow: Path, stored_run: Path, tiny_run: Path) -> None:
    own, computed = read_metrics(stored_run)[-1]["loss"]["total"], read_metrics(tiny_run)[-1]["loss"]["total"]
    assert own == pytest.approx(computed, rel=0.02)
    assert own != computed, "it has another flow"


def test_evaluation_reads_it_where_it_is_and_computes_it_where_it_is_not(
    with_flow: Path, shards: Path, stored_run: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(stored_run, tmp_path / "run")
    computed = evaluate(run, shards=shards, packs=packs, split="val", threshold=0.0)
    assert "flow by DIS." in computed.protocol.replace("Optical ", "")
    monkeypatch.setattr(DisFlow, "__call__", lambda *given: pytest.fail("flow was computed"))
    stored = evaluate(run, shards=with_flow, packs=packs, split="val", threshold=0.0)
    assert "flow by DIS, stored" in stored.protocol
    one, other = stored.rows["model"].mpjpe, computed.rows["model"].mpjpe
    assert one is not None and one == pytest.approx(other, rel=0.01)


def test_a_video_is_predicted_with_the_same_provider(stored_run: Path) -> None:
    assert isinstance(open_source(stored_run).flow, DisFlow)


def test_missing_flow_stops_a_run_before_it_begins(shards: Path, packs: Path, tmp_path: Path, capsys: Output) -> None:
    with pytest.raises(NoStoredFlowError):
        train(tiny("network.flow=stored"), shards=shards, packs=packs, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    report = preflight(tiny("network.flow=stored"), shards=shards, packs=packs, run=tmp_path / "run", memory=False)
    (found,) = report.errors
    assert isinstance(found, NoStoredFlowError) and "trace add-flow" in str(found.hint)
    given = ["train", "--config", "debug", "--set", "network.flow=stored", "--shards", str(shards)]
    assert command([*given, "--packs", str(packs), "--out", str(tmp_path / "run"), "--check"]) == 3
    assert "trace add-flow" in capsys.readouterr().out


def test_a_whole_check_with_flow(with_flow: Path, packs: Path, tmp_path: Path) -> None:
    report = preflight(tiny("network.flow=stored"), shards=with_flow, packs=packs, run=tmp_path / "run")
    assert report.ok, report.errors
    assert next(part for part in report.parts if part.name == "flow").found.startswith("by dis")


def test_a_resumed_run_keeps_its_flow(with_flow: Path, packs: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(with_flow, tmp_path / "shards"))
    run, config = tmp_path / "run", tiny("network.flow=stored")
    with pytest.raises(InterruptedRun):
        train(config, shards=mine, packs=packs, run=run, progress=StopAt(3))
    own = open_checkpoint(run).config
    add_flow(mine, open_provider("dis", height=128), force=True)
    with pytest.raises(ConfigError, match="files of flow"):
        train(own, shards=mine, packs=packs, run=run, resume=True)
    (mine / "flow.json").unlink()
    with pytest.raises(NoStoredFlowError):
        train(own, shards=mine, packs=packs, run=run, resume=True)


@pytest.mark.slow
def test_flow_by_raft_needs_its_weights_for_prediction(
    shards: Path, packs: Path, imported: Path, tmp_path: Path
) -> None:
    """Plumbing alone: the flow is no RAFT's."""
    mine = Path(shutil.copytree(shards, tmp_path / "shards"))
    digest = json.loads((imported / "weights.json").read_text())["parts"]["flow"]["sha256"]
    settings = FlowSettings(provider="raft", height=72, strides=(1, 2, 3, 4), iterations=20, weights_sha256=digest)
    added_flow.write(mine, settings=settings)
    config = tiny("network.flow=stored")
    with pytest.raises(ConfigError, match=r"init\.weights"):
        train(config, shards=mine, packs=packs, run=tmp_path / "run")
    weights = [f"init.weights={imported}", "init.parts=[flow]"]
    with pytest.raises(ConfigError, match="20 iterations"):
        train(tiny("network.flow=stored", "network.flow_iterations=4", *weights), shards=mine, packs=packs,
              run=tmp_path / "run")  # fmt: skip
    run = tmp_path / "run"
    train(tiny("network.flow=stored", "steps=1", *weights), shards=mine, packs=packs, run=run)
    assert open_checkpoint(run).config.network.computed_flow == "raft" and (run / "flow").is_dir()
    shutil.rmtree(run / "flow")
    with pytest.raises(CheckpointError, match="RAFT"):
        open_source(run)
    added_flow.write(mine, settings=FlowSettings(**{**vars_of(settings), "weights_sha256": "0" * 64}))
    with pytest.raises(ConfigError, match="SHA-256"):
        train(tiny("network.flow=stored", *weights), shards=mine, packs=packs, run=tmp_path / "other")


def vars_of(settings: FlowSettings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in FlowSettings.__dataclass_fields__}


def test_damaged_flow_is_a_clip_that_cannot_be_read(with_flow: Path, packs: Path, tmp_path: Path) -> None:
    mine = Path(shutil.copytree(with_flow, tmp_path / "shards"))
    file = mine / ShardReader(mine).index.shards[0].file.replace(".h5", ".flow.h5")
    content = bytearray(file.read_bytes())
    content[len(content) // 3 : -len(content) // 3] = bytes(len(content[len(content) // 3 : -len(content) // 3]))
    file.write_bytes(content)
    with pytest.raises(ShardError, match="flow") as caught:
        train(
            tiny("network.flow=stored", "stages=[{clips: 8, frames: 4}]"), shards=mine, packs=packs, run=tmp_path / "r"
        )
    assert caught.value.where == str(file)
