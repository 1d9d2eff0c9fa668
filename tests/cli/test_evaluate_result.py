"""`trace evaluate RESULT`: a predicted video is scored against its truth, and slips are named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result

from trace_cli.main import run as command
from trace_data.results.file import write_result
from trace_data.shards.reader import ShardReader


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    file = tmp_path / "zwei Wege.trace.npz"
    write_result(file, example_result())
    return file


def test_a_result_is_scored(result: Path, packs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", str(result), "--against", str(result), "--packs", str(packs)]
    assert command(words) == 0
    said = capsys.readouterr().out
    assert "90 of 90 frames" in said and "3 identities of 3" in said
    assert [line.split()[-2:] for line in said.splitlines() if " HOTA  " in line] == [["100.0", "–"]]
    assert command([*words, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["rows"]["model"]["idf1"] == 1 and scores["states"]["predicted"] == 6


def test_body_models_are_those_of_the_prediction(
    packs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The settings name others, which hold another body."""
    home, file = tmp_path / "home", tmp_path / "a.trace.npz"
    monkeypatch.setenv("TRACE_HOME", str(home))
    shutil.copytree(packs, home / "packs")
    for kind in (".pth", ".json"):
        shutil.copy(packs / f"SMPL_FEMALE{kind}", home / "packs" / f"SMPL_NEUTRAL{kind}")
    made = example_result()
    write_result(file, replace(made, about={**made.about, "packs": str(packs)}))
    words = ["evaluate", str(file), "--against", str(file)]
    assert command(words) == 0
    assert command([*words, "--packs", str(home / "packs")]) == 3
    assert "another body model" in capsys.readouterr().err
    write_result(file, made)
    assert command(words) == 3, "without a record those of the settings are used"


def test_slips_are_named(
    result: Path, packs: Path, shards: Path, sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--packs", str(packs)]
    broken = tmp_path / "broken.trace.npz"
    broken.write_bytes(result.read_bytes()[:5000])
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, outputs=np.zeros(1), imgpaths=np.zeros(1))
    others = tmp_path / "packs"
    shutil.copytree(packs, others)
    for kind in (".pth", ".json"):
        shutil.copy(packs / f"SMPL_FEMALE{kind}", others / f"SMPL_NEUTRAL{kind}")
    assert command(["evaluate", str(result), "--against", str(result), "--packs", str(others)]) == 3
    assert "another body model" in capsys.readouterr().err
    datasets, sequence = sample / "datasets", ShardReader(shards).index.sequences[0]
    cases: list[tuple[list[str], int, str]] = [
        ([str(result)], 2, "--against"),
        ([str(shards), "--against", str(result)], 2, "RESULT"),
        ([str(result), "--against", str(tmp_path / "gone")], 3, "gone"),
        ([str(result), "--against", str(shards)], 2, "--sequence"),
        ([str(result), "--against", str(shards), "--sequence", "nobody"], 2, "nobody"),
        ([str(result), "--against", str(datasets)], 2, "--sequence"),
        ([str(result), "--against", str(datasets / "3DPW"), "--sequence", "nobody"], 2, "nobody"),
        ([str(result), "--against", str(datasets), "--sequence", sequence.key], 2, f"those of {sequence.key}"),
        ([str(result), "--against", str(tmp_path)], 3, "index.json"),
        ([str(broken), "--against", str(result)], 3, "cut short"),
        ([str(foreign), "--against", str(result)], 3, "published"),
        ([str(result), "--against", str(foreign)], 3, "published"),
    ]
    for words, code, text in cases:
        assert command(["evaluate", *words, *own]) == code, words
        assert text in capsys.readouterr().err
