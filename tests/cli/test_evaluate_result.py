"""`trace evaluate RESULT`: a predicted video is scored against its truth, and slips are named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from example_result import example_result

from trace_cli.main import run as command
from trace_data.results.file import write_result


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


def test_slips_are_named(
    result: Path, packs: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--packs", str(packs)]
    broken = tmp_path / "broken.trace.npz"
    broken.write_bytes(result.read_bytes()[:5000])
    foreign = tmp_path / "foreign.npz"
    np.savez(foreign, outputs=np.zeros(1), imgpaths=np.zeros(1))
    cases: list[tuple[list[str], int, str]] = [
        ([str(result)], 2, "--against"),
        ([str(shards), "--against", str(result)], 2, "RESULT"),
        ([str(result), "--against", str(tmp_path / "gone")], 3, "gone"),
        ([str(result), "--against", str(shards)], 2, "--sequence"),
        ([str(result), "--against", str(shards), "--sequence", "nobody"], 2, "nobody"),
        ([str(broken), "--against", str(result)], 3, "cut short"),
        ([str(foreign), "--against", str(result)], 3, "published"),
        ([str(result), "--against", str(foreign)], 3, "published"),
    ]
    for words, code, text in cases:
        assert command(["evaluate", *words, *own]) == code, words
        assert text in capsys.readouterr().err
