"""A run: resumed bit for bit, killed at any moment, damaged, and honest about what it finds."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from repository import SUPPORT
from tiny_runs import StopAt, same_weights, tiny

from trace_data.errors import (
    CheckpointError,
    ConfigError,
    InterruptedRun,
    OutputError,
    ShardError,
    TrainingDiverged,
)
from trace_data.progress import Progress
from trace_train.build import build_network
from trace_train.config import load_config
from trace_train.evaluate import evaluate
from trace_train.train import check_unused, train
from trace_train.training.loss_module import LossModule
from trace_train.training.run_log import read_metrics
from trace_train.weights.checkpoint import FORMAT_VERSION, finished, open_checkpoint


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3, 5])
def test_interrupted_and_resumed_ends_in_the_same_bits(
    step: int, tiny_run: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(InterruptedRun, match=f"after step {step}"):
        train(tiny(), shards=shards, packs=packs, run=run, progress=StopAt(step))
    assert open_checkpoint(run).step == step
    report = train(tiny(), shards=shards, packs=packs, run=run, resume=True)
    assert report.steps_now == 7 - step
    assert same_weights(run, tiny_run)
    assert [line["loss"] for line in read_metrics(run)] == [line["loss"] for line in read_metrics(tiny_run)]


@pytest.mark.slow
def test_killed_without_warning_and_resumed_ends_in_the_same_bits(
    tiny_run: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    code = (
        "import sys, torch; torch.set_num_threads(1); from pathlib import Path; from tiny_runs import tiny;"
        "from trace_train.train import train; s, p, r = map(Path, sys.argv[1:]);"
        "train(tiny(), shards=s, packs=p, run=r)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(shards), str(packs), str(run)], cwd=SUPPORT)
    deadline = time.monotonic() + 120
    while not (run / "checkpoints" / "step-00000003").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    train(tiny(), shards=shards, packs=packs, run=run, resume=True)
    assert same_weights(run, tiny_run)


def test_a_run_is_not_overwritten(tiny_run: Path, shards: Path, packs: Path) -> None:
    with pytest.raises(OutputError, match="--resume"):
        train(tiny(), shards=shards, packs=packs, run=tiny_run)


def test_a_foreign_folder_is_not_written_into(shards: Path, packs: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        train(tiny(), shards=shards, packs=packs, run=tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_a_resumed_run_stays_what_it_was(tiny_run: Path, shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    with pytest.raises(ConfigError) as caught:
        train(tiny("seed=1", "optim.lr=0.5"), shards=shards, packs=packs, run=run, resume=True)
    assert "seed: 0 → 1" in str(caught.value) and "optim.lr" in str(caught.value)
    with pytest.raises(ConfigError, match="7 are done"):
        train(tiny("steps=5"), shards=shards, packs=packs, run=run, resume=True)
    other = tmp_path / "shards"
    shutil.copytree(shards, other)
    index = other / "index.json"
    index.write_text(index.read_text().replace('"tool":"', '"tool":"another '))
    with pytest.raises(ConfigError, match="shards are not those"):
        train(tiny(), shards=other, packs=packs, run=run, resume=True)
    report = train(tiny("steps=9", "log_every=1"), shards=shards, packs=packs, run=run, resume=True)
    assert report.steps_now == 2 and open_checkpoint(run).step == 9


def test_a_cut_shard_is_found_before_the_first_step(shards: Path, packs: Path, tmp_path: Path) -> None:
    other = tmp_path / "shards"
    shutil.copytree(shards, other)
    shard = next(other.glob("*.h5"))
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(ShardError, match=shard.name):
        train(tiny(), shards=other, packs=packs, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


class FullDisk(Progress):
    """From the second step after the first regular checkpoint on, the system takes no large file from this process."""

    def __init__(self) -> None:
        self.step = 0
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def advance(self, amount: int = 1, detail: str = "") -> None:
        self.step += amount
        if self.step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, self.before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


def test_a_full_disk_keeps_the_checkpoint_before(tiny_run: Path, shards: Path, packs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    disk = FullDisk()
    try:
        with pytest.raises(OutputError, match="step 6 was not written") as caught:
            train(tiny(), shards=shards, packs=packs, run=run, progress=disk)
    finally:
        disk.free()
    assert f"trace train --resume {run}  goes on from there" in str(caught.value)
    assert [f.name for f in finished(run)] == ["step-00000000", "step-00000003"]
    assert not list((run / "checkpoints").glob("*.partial"))
    train(tiny(), shards=shards, packs=packs, run=run, resume=True)
    assert same_weights(run, tiny_run)


def test_a_disk_that_is_full_before_the_first_checkpoint_sends_nobody_to_resume(
    shards: Path, packs: Path, tmp_path: Path
) -> None:
    run, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="step 0 was not written") as caught:
            train(tiny(), shards=shards, packs=packs, run=run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "same command" in str(caught.value.hint) and "--resume" not in str(caught.value.hint)
    check_unused(run)  # it may be given again


def test_checkpoints_hold_everything_and_only_the_last_stay(tiny_run: Path) -> None:
    assert [f.name for f in finished(tiny_run)] == ["step-00000003", "step-00000006", "step-00000007"]
    checkpoint = open_checkpoint(tiny_run)
    assert checkpoint.facts["data"]["synthetic"] is True and checkpoint.config == tiny("data.shuffle_window=0")
    assert set(checkpoint.facts["sha256"]) == {"weights.safetensors", "averaged.safetensors", "training.pth"}


@pytest.mark.parametrize("damage", ["cut", "flip", "missing", "format"])
def test_a_damaged_checkpoint_is_named(damage: str, tiny_run: Path, tmp_path: Path) -> None:

    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    folder = finished(run)[-1]
    file = folder / "weights.safetensors"
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[:-10])
    elif damage == "flip":
        file.write_bytes(content[:-10] + bytes([content[-10] ^ 1]) + content[-9:])
    elif damage == "missing":
        file.unlink()
    else:
        description = folder / "checkpoint.json"
        description.write_text(
            description.read_text().replace(f'"format_version": {FORMAT_VERSION}', '"format_version": 99')
        )
    with pytest.raises(CheckpointError, match=folder.name):
        open_checkpoint(run)


def test_another_architecture_is_refused(tiny_run: Path, packs: Path) -> None:
    network = build_network(tiny("network.width=16").network)
    with pytest.raises(CheckpointError, match="another architecture"):
        open_checkpoint(tiny_run).load_into(network)


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(
    shards: Path, packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    real = LossModule.forward
    calls = 0

    def poisoned(*args: object):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        report = real(*args)  # type: ignore[arg-type]
        if calls == 5:
            object.__setattr__(report, "total", report.total * float("nan"))
        return report

    monkeypatch.setattr(LossModule, "forward", poisoned)
    with pytest.raises(TrainingDiverged, match="joints3d"):
        train(tiny(), shards=shards, packs=packs, run=run)
    weights = open_checkpoint(run).weights(averaged=False)
    assert open_checkpoint(run).step == 3 and all(v.isfinite().all() for v in weights.values())


def test_preset_trace_without_a_gpu_points_at_debug(shards: Path, packs: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match="--config debug") as caught:
        train(load_config("trace"), shards=shards, packs=packs, run=tmp_path / "run")
    assert caught.value.exit_code == 2 and not (tmp_path / "run").exists()


def test_evaluation_reports_scores_constants_and_protocol(
    tiny_run: Path, shards: Path, packs: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(tiny_run, tmp_path / "run")
    report = evaluate(run, shards=shards, packs=packs, split="test", threshold=0.0)
    assert report.synthetic and report.people >= report.matched
    assert set(report.rows) == {"model", "mean pose", "mean pose in the camera", "stands still"}
    saved = json.loads((run / report.file_name).read_text())
    assert report.file_name.startswith("evaluation-test-00000007-")
    assert "LSP" in saved["protocol"] and saved["people"] == report.people
    with pytest.raises(ConfigError, match="split"):
        evaluate(run, shards=shards, packs=packs, split="nowhere")
