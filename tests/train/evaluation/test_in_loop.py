"""Evaluation while a run goes on: it scores the weights that would be kept, and leaves no trace in the run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from shard_damage import relabel
from small_network import small
from tiny_runs import same_weights, tiny

from trace_data.progress import Progress
from trace_train.build import scoring_device
from trace_train.evaluate import evaluate
from trace_train.evaluation import in_loop
from trace_train.evaluation.result import EvalReport
from trace_train.evaluation.score import untouched
from trace_train.evaluation.sums import MODEL
from trace_train.inference.detections import refuse_not_finite
from trace_train.inference.source import open_source
from trace_train.train import train
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import open_checkpoint


class Told(Progress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
def test_a_run_that_is_evaluated_ends_in_the_same_bits(
    tiny_run: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(tiny("evaluation.every=2", "evaluation.threshold=0"), shards=shards, packs=packs, run=run)
    assert same_weights(run, tiny_run)
    assert [line["loss"] for line in read_metrics(run)] == [line["loss"] for line in read_metrics(tiny_run)]
    found = sorted(file.name for file in run.glob("evaluation-*.json"))
    assert [name[:23] for name in found] == [f"evaluation-val-{step:08d}" for step in (2, 4, 6, 7)]
    assert len({name[23:] for name in found}) == 1, "all were computed on the same"
    report = EvalReport.from_json(json.loads((run / found[-1]).read_text()))
    history = open_checkpoint(run).facts["history"]
    assert [line["step"] for line in history] == [2, 4, 6, 7]
    assert history[-1]["recall"] == report.rows[MODEL].recall and "wa_mpjpe" in history[-1]
    # and what was scored are the weights that were kept
    later = evaluate(run, shards=shards, packs=packs, split="val", threshold=0)
    assert later.rows == report.rows and later.sequences_sha256 == report.sequences_sha256
    assert (run / later.file_name).name == found[-1]  # what is the same is written in the same place
    assert later.weights_sha256 == open_checkpoint(run).facts["sha256"]["averaged.safetensors"]


def test_a_run_on_the_cpu_is_scored_on_the_cpu_though_there_is_a_gpu(
    tiny_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert open_source(tiny_run).device.type == "cpu"


@pytest.mark.parametrize(
    ("device", "gpu", "expected"),
    [
        ("cpu", True, "cpu"),
        ("auto", True, "cuda"),
        ("cuda", True, "cuda"),
        ("auto", False, "cpu"),
        ("cuda", False, "cpu"),
    ],
)
def test_what_a_network_is_scored_on(device: str, gpu: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert scoring_device(tiny(f"device={device}")).type == expected


def test_a_split_that_is_not_there_is_said_once(tiny_run: Path, shards: Path, packs: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(shards, tmp_path / "shards")
    for file in sorted(folder.glob("*-val-*.h5")):
        relabel(folder, file.name, split="test")
    told, run = Told(), tmp_path / "run"
    train(tiny("evaluation.every=2"), shards=folder, packs=packs, run=run, progress=told)
    said = [line for line in told.lines if "no evaluation" in line]
    assert said == ["no evaluation: these shards have no split 'val', they have test, train"]
    assert same_weights(run, tiny_run) and not list(run.glob("evaluation-*"))


def test_a_network_that_cannot_be_scored_is_said_and_trained_on(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_loop, "score", lambda *_, **__: refuse_not_finite(torch.nan))
    told, run = Told(), tmp_path / "run"
    train(tiny("steps=2", "evaluation.every=1"), shards=shards, packs=packs, run=run, progress=told)
    said = [line for line in told.lines if "no evaluation" in line]
    assert [line.partition(":")[0] for line in said] == ["no evaluation of step 1", "no evaluation of step 2"]


def test_a_network_is_left_as_it_was() -> None:
    network = small()
    network.train()
    network.backbone.eval()  # as a frozen part is
    modes = {name: module.training for name, module in network.named_modules()}
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    with pytest.raises(RuntimeError, match="stop"), untouched(network):
        assert not any(module.training for module in network.modules())
        torch.rand(9)
        raise RuntimeError("stop")
    assert modes == {name: module.training for name, module in network.named_modules()}
    assert torch.equal(torch.rand(4), expected)
