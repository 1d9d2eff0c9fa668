"""The word demo: the network that ships is scored and predicts, as a new user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trace_cli.main import run as command
from trace_data.results.file import read_result
from trace_train.weights.shared import open_shared, resolve


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_it_finds_people_it_never_saw(
    shards: Path, packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["evaluate", "demo", "--shards", str(shards), "--packs", str(packs), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows["model"]["recall"] > 0.9
    assert rows["model"]["pa_mpjpe"] < 0.8 * rows["mean pose"]["pa_mpjpe"]
    assert list(tmp_path.glob("evaluation-*.json"))  # where one works, not in the package


def test_it_predicts(sample: Path, packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = sorted((sample / "datasets/3DPW/imageFiles").iterdir())[0]
    words = ["predict", str(frames), "--weights", "demo", "--packs", str(packs), "--out", str(tmp_path)]
    assert command([*words, "--json"]) == 0
    found, printed = list(tmp_path.glob("*.trace.npz")), capsys.readouterr()
    assert len(found) == 1, printed.out
    step = open_shared(resolve(Path("demo"))).step
    assert f"network demo, step {step:,}" in printed.err  # not the name of the folder where one works
    assert read_result(found[0]).about["weights_name"] == f"demo, step {step}"


def test_it_is_small_and_synthetic() -> None:
    shipped = open_shared(resolve(Path("demo")))
    assert shipped.synthetic
    assert shipped.file.stat().st_size < 6_000_000


def test_another_word_is_no_network(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", "demos"]) == 2
    assert "demos" in capsys.readouterr().err
