"""Runs that are stopped go on exactly, whatever they are made of, from their folder alone."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import StopAt, same_weights, tiny

from trace_cli.main import run as command
from trace_data.errors import ConfigError, InterruptedRun, OutputError
from trace_train.config import changed
from trace_train.train import train
from trace_train.training.hooks import Hooks, RunSnapshot
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import finished, open_checkpoint

STAGES = (
    "stages=[{name: first, share: 0.6, clips: 4, frames: 1, frozen: [backbone], loss: {joints2d: 0, 'pa_*': 0}},"
    "{name: then, share: 0.4, clips: 4, frames: 2, lr: 1.0e-4}]"
)
FEWER = "stages=[{share: 0.6, clips: 2, frames: 1}, {share: 0.4, clips: 1, frames: 2}]"
"""A CPU computes slowly in half precision."""
KINDS = {
    "bf16": ["precision=bf16", FEWER],
    "fp16": ["precision=fp16", "optim.ema=0", FEWER],
    "stages in parts": [STAGES, "optim.accumulate=2", "optim.optimizer=adam", "optim.schedule=steps"],
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_run_is_made_of_it_goes_on_in_the_same_bits(
    kind: str, shards: Path, packs: Path, tmp_path: Path
) -> None:
    config = tiny(*KINDS[kind])
    train(config, shards=shards, packs=packs, run=tmp_path / "whole")
    first, second = sorted(np.random.default_rng(sum(kind.encode())).choice(range(1, 7), 2, replace=False).tolist())
    run = tmp_path / "stopped"
    with pytest.raises(InterruptedRun, match=f"after step {first}"):
        train(config, shards=shards, packs=packs, run=run, progress=StopAt(first, signal.SIGTERM))
    with pytest.raises(InterruptedRun, match=f"after step {second}"):
        train(config, shards=shards, packs=packs, run=run, resume=True, progress=StopAt(second - first, signal.SIGUSR1))
    train(config, shards=shards, packs=packs, run=run, resume=True)
    assert same_weights(run, tmp_path / "whole")
    lines, others = (
        [(line["loss"], line["counts"], line["lr"]) for line in read_metrics(folder)]
        for folder in (run, tmp_path / "whole")
    )
    assert lines == others


def test_another_stage_is_another_training(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny(STAGES, "log_every=1"), shards=shards, packs=packs, run=run)
    lines = read_metrics(run)
    assert [line["stage"] for line in lines] == ["first"] * 4 + ["then"] * 3
    assert "joints2d" not in lines[3]["loss"] and "joints2d" in lines[4]["loss"]
    assert "pa_joints3d" not in lines[3]["loss"] and "joints3d" in lines[3]["loss"]
    assert lines[4]["lr"] < 1e-4 < lines[3]["lr"]
    before, between, after = (
        open_checkpoint(run / "checkpoints" / f"step-0000000{step}").weights(averaged=False) for step in (3, 6, 7)
    )
    assert not torch.equal(between["backbone.conv1.weight"], before["backbone.conv1.weight"])
    assert not torch.equal(between["backbone.conv1.weight"], after["backbone.conv1.weight"])
    text = (run / "parameters.txt").read_text()
    assert text.count("stage ") == 2 and text.count("frozen   backbone") == 1


@pytest.mark.slow
def test_the_folder_alone_is_enough(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "nowhere"))
    here, run = tmp_path / "shards", tmp_path / "run"
    shutil.copytree(shards, here)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InterruptedRun, match=f"trace train --resume {run}"):
        train(tiny(), shards=Path("shards"), packs=packs, run=run, progress=StopAt(2))
    assert command(["train", "--resume", str(run), "--set", "log_every=2"]) == 0
    assert "7 steps" in capsys.readouterr().out and open_checkpoint(run).step == 7
    assert command(["train", "--resume", str(run)]) == 0
    assert "this run is finished: 7 of 7 steps" in capsys.readouterr().out
    here.rename(tmp_path / "moved")
    longer = ["train", "--resume", str(run), "--set", "steps=8"]
    assert command(longer) == 2
    assert f"--resume {run} --shards DIR" in capsys.readouterr().err
    assert command([*longer, "--shards", str(tmp_path / "moved"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps_now"] == 1


def scores_of(values: dict[int, tuple[float, float, float]], seen: list[int]) -> Hooks:
    """An evaluation that gives MPJPE with misses, recall and WA-MPJPE by step, and looks at the averaged network."""

    def evaluate(snapshot: RunSnapshot) -> dict[str, float | None]:
        seen.append(snapshot.step)
        with snapshot.scored_network() as network:
            assert not any(module.training for module in network.modules())
            assert snapshot.averaged is not None
            assert torch.equal(
                network.state_dict()["backbone.conv1.weight"], snapshot.averaged["backbone.conv1.weight"]
            )
        return dict(zip(("mpjpe_with_misses", "recall", "wa_mpjpe"), values[snapshot.step]))

    return Hooks(evaluate=evaluate)


@pytest.mark.slow
def test_the_best_checkpoints_stay_and_looking_changes_nothing(
    tiny_run: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    values = {2: (80.0, 0.8, 90.0), 4: (90.0, 0.7, 60.0), 6: (75.0, 0.795, 61.0), 7: (76.0, 0.9, 62.0)}
    config, seen = tiny("evaluation.every=2", "keep_checkpoints=1", "checkpoint_every=5"), list[int]()
    run = tmp_path / "run"
    with pytest.raises(InterruptedRun):
        train(config, shards=shards, packs=packs, run=run, hooks=scores_of(values, seen), progress=StopAt(5))
    train(config, shards=shards, packs=packs, run=run, hooks=scores_of(values, seen), resume=True)
    assert seen == [2, 4, 6, 7]
    # step 4 misses more people than it gains; in the world it is the best
    assert [folder.name for folder in finished(run)] == ["step-00000004", "step-00000006", "step-00000007"]
    assert (run / "checkpoints" / "best").resolve().name == "step-00000006"
    assert (run / "checkpoints" / "best-world").resolve().name == "step-00000004"
    best = open_checkpoint(run / "checkpoints" / "best")
    assert best.step == 6 and [scores["step"] for scores in best.facts["history"]] == [2, 4, 6]
    assert same_weights(run, tiny_run)


def test_checkpoints_come_by_time_too(shards: Path, packs: Path, tmp_path: Path) -> None:
    config = tiny("checkpoint_every=100", "checkpoint_minutes=0.0001", "keep_checkpoints=9", "steps=3")
    train(config, shards=shards, packs=packs, run=tmp_path / "run")
    assert [folder.name[-1] for folder in finished(tmp_path / "run")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("data.decode=gpu", "decode"),
        ("optim.frozen=[bakbone]", "did you mean 'backbone'"),
        ("optim.groups=[{pattern: det_haed, lr_factor: 2}]", "did you mean 'det_head'"),
        ("optim.accumulate=3", "cannot be computed in 3 equal parts"),
        ("stages=[{clips: 2, frames: 1, loss: {'*': 0, 'world_*': 9}}]", "clips of 1 frame have center_map"),
        ("distributed.sync_batchnorm=always", "needs CUDA"),
        ("data.occluders=/nowhere/at/all", "/nowhere/at/all"),
    ],
)
def test_nothing_is_written_before_all_is_checked(
    wrong: str, words: str, shards: Path, packs: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        train(tiny(wrong), shards=shards, packs=packs, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_never_began_is_begun_anew(shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000000.partial").mkdir(parents=True)
    (run / "parameters.txt").write_text("half")
    train(tiny("steps=1"), shards=shards, packs=packs, run=run)
    assert not list((run / "checkpoints").glob("*.partial"))
    with pytest.raises(OutputError, match="not empty"):
        train(tiny("steps=1"), shards=shards, packs=packs, run=run)


def test_fp16_that_only_overflows_ends_with_a_word(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trace_data.errors import TrainingDiverged
    from trace_train.training import precision

    monkeypatch.setattr(precision, "FIRST_SCALE", 1e30)
    config = tiny("precision=fp16", "optim.max_skipped=3", "log_every=1")
    with pytest.raises(TrainingDiverged, match="3 steps in a row") as caught:
        train(config, shards=shards, packs=packs, run=tmp_path / "run")
    assert "precision=bf16" in str(caught.value)
    assert [line["skipped"] for line in read_metrics(tmp_path / "run")] == [1, 2]
    assert read_metrics(tmp_path / "run")[0]["gradient_norm"] is None
    start = open_checkpoint(tmp_path / "run").weights(averaged=False)
    assert open_checkpoint(tmp_path / "run").step == 0 and start["backbone.conv1.weight"].isfinite().all()


def test_assignments_on_top_of_a_configuration() -> None:
    config = changed(tiny(), ["steps=9", "optim.lr=0.5"])
    assert (config.steps, config.optim.lr, config.network) == (9, 0.5, tiny().network)
    with pytest.raises(ConfigError, match="steps"):
        changed(tiny(), ["stepps=9"])


@pytest.mark.nightly
def test_a_compiled_network_trains_alike_under_the_same_names(shards: Path, packs: Path, tmp_path: Path) -> None:
    changes = ["steps=2", "log_every=1", "stages=[{clips: 2, frames: 2}]", "precision=fp32"]
    lines, weights = [], []
    for name, compiled in (("plain", "false"), ("compiled", "true")):
        config = tiny(*changes, f"compile={compiled}")
        train(config, shards=shards, packs=packs, run=tmp_path / name)
        lines.append(read_metrics(tmp_path / name))
        weights.append(open_checkpoint(tmp_path / name).weights())
    assert weights[0].keys() == weights[1].keys()
    for plain, compiled in zip(*lines):
        assert compiled["loss"] == pytest.approx(plain["loss"], rel=0.02, abs=1e-3)
