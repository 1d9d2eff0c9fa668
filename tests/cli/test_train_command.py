"""`trace train` and `trace evaluate` from a run's own memory: its configuration, its shards and packs."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from tiny_runs import TINY, tiny

from trace_cli.main import run as command
from trace_train.config import load_config
from trace_train.config.loading import presets
from trace_train.train import train


@pytest.fixture(scope="module")
def run(shards: Path, packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(tiny("steps=2", "stages=[{clips: 2, frames: 1}]"), shards=shards, packs=packs, run=folder)
    return folder


def test_help_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["train", "--help"]) == 0
    said = re.split(r"[\s,.;]+", re.sub(r"-\n\s*", "-", capsys.readouterr().out))
    assert [name for name in presets() if name not in said] == []


def test_the_configuration_that_would_hold_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = [word for text in [*TINY, "stages.0.clips=8"] for word in ("--set", text)]
    assert command(["train", "--config", "debug", *changes, "--print-config"]) == 0
    text = capsys.readouterr().out
    (tmp_path / "same.yaml").write_text(text)
    assert load_config(tmp_path / "same.yaml") == tiny("stages.0.clips=8")
    assert command(["train", "--config", "debug", *changes, "--print-config", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(text)


def test_the_configuration_of_a_run_is_printed_wherever_its_data_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied, symlinks=True)
    for file in copied.glob("checkpoints/step-*/checkpoint.json"):
        facts = json.loads(file.read_text())
        facts["data"]["shards"] = str(tmp_path / "gone")
        file.write_text(json.dumps(facts))
    assert command(["train", "--resume", str(copied), "--set", "steps=9", "--print-config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["steps"] == 9
    for words in (["train", "--resume", str(copied)], ["evaluate", str(copied)]):
        assert command(words) == 2
        said = capsys.readouterr().err
        assert f"trace {' '.join(words)} --shards DIR" in said and str(tmp_path / "gone") in said


@pytest.mark.parametrize("place", ["", "checkpoints/step-00000000", "checkpoints/step-00000002"])
def test_an_evaluation_takes_the_data_of_its_run(
    place: str, run: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path))
    assert command(["evaluate", str(run / place), "--split", "val", "--every", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "val"


def test_evaluations_of_other_things_stand_side_by_side(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def files() -> set[str]:
        return {file.name for file in run.glob("evaluation-test-*.json")}

    for options, count in (([], 1), (["--threshold", "0.5"], 2), (["--every", "2"], 3), ([], 3)):
        assert command(["evaluate", str(run), *options]) == 0
        assert len(files()) == count
    capsys.readouterr()


def test_when_nobody_is_found_the_best_score_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command(["evaluate", str(run), "--threshold", "0.99", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["matched"] == report["candidates"] == 0 and 0 < report["best_score"] < 0.99
    command(["evaluate", str(run), "--threshold", "0.99"])
    said = capsys.readouterr().out
    assert "no annotated person was found: 0 detections" in said and f"{report['best_score']:.3g}" in said
    lower = said.split("--threshold ")[1].split()[0]
    command(["evaluate", str(run), "--threshold", lower, "--json"])
    assert json.loads(capsys.readouterr().out)["candidates"] > 0, "the threshold that was offered finds somebody"
