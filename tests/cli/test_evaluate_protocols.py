"""`trace evaluate --protocol`: protocols are listed, printed and stored, several results stand side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from example_result import ABOUT, example_result
from perfect_result import of_sequence

from trace_cli.main import run as command
from trace_data.results.file import write_result
from trace_data.shards.reader import ShardReader
from trace_train.evaluation.video_truth import truth_of_shards
from trace_train.protocols.loading import protocols


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two results, the second of which lacks half of its frames' people; their truths lie in `truth`."""
    monkeypatch.setenv("TRACE_HOME", str(tmp_path / "home"))
    (tmp_path / "truth").mkdir()
    files = [tmp_path / "erster Weg.trace.npz", tmp_path / "b.trace.npz"]
    for number, file in enumerate(files, start=1):
        for place in (file, tmp_path / "truth" / file.name):
            write_result(place, example_result(people=number, frames=20))
    return [str(file) for file in files]


@pytest.fixture
def anywhere(tmp_path: Path) -> str:
    """EMDB-2's rules for any video."""
    file = tmp_path / "emdb2-anywhere.yaml"
    file.write_text(
        "base: emdb2-wham\nname: emdb2-wham\ndata: {dataset: null, split: null, subset: null, count: null}\n"
    )
    return str(file)


def test_all_protocols_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["evaluate", "--list-protocols"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in protocols())
    row = {line.split()[0]: line for line in said.splitlines() if line.split()}
    assert "13 labelled" in row["mupots"] and "lsp-14" not in row["mupots"] and " wrong " in row["mupots"]
    assert "lsp-14" not in row["dynacam"] and "100 frames" not in row["3dpw-14"]
    assert "RICH cannot be scored" in said and "SMPL-X" in said
    assert said.count("It counts: ") == len(protocols()) - 1, "frames, people and camera of all but the default"
    assert command(["evaluate", "--list-protocols", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == set(protocols()) and listed["emdb2-tram"]["world"]["tail"] == "prolonged"


def test_a_result_carries_its_protocol_and_the_published_rows(
    results: list[str], anywhere: str, packs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", results[0], "--against", results[0], "--packs", str(packs), "--protocol", anywhere]
    assert command([*words, "--beside", "wham,trace"]) == 0
    said = capsys.readouterr().out
    head = next(line for line in said.splitlines() if "WHAM, DPVO" in line)
    assert "TRACE, its own world motion" in head and "stands still" in head
    (line,) = [line for line in said.splitlines() if " WA-MPJPE " in line]
    assert line.split()[-4:] == ["135.6", "133.3", "132.0", "529.0"]
    assert "Protocol: emdb2-wham" in said and "Follows yohanshin/WHAM" in said and " MPJPE  " not in said
    assert command([*words, "--beside", "wham", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["rules"]["world"]["chunk"] == 100 and values["protocol_name"] == "emdb2-wham"
    assert [row["camera"] for row in values["published"]] == ["DPVO", "DROID-SLAM", "true gyroscope"]


def test_several_results_are_scored_each_and_together(
    results: list[str], packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", *results, "--against", str(tmp_path / "truth"), "--packs", str(packs)]
    assert command(words) == 0
    said = capsys.readouterr().out
    head = next(line for line in said.splitlines() if "by the protocol" in line)
    assert "pooled" in head and "mean of videos" in head and "erster Weg.trace.npz" in head
    assert "2 sequences" in said and said.count(" against ") >= 2
    assert command([*words, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert len(values["videos"]) == 2 and values["rows"]["pooled"]["mota"] == 1


def test_several_results_against_a_dataset_by_a_protocol_beside_published_rows(
    sample: Path, shards: Path, packs: Path, anywhere: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, words = ShardReader(shards), ["evaluate"]
    for entry in reader.index.sequences[:2]:
        words.append(str(tmp_path / f"{entry.name}.trace.npz"))
        result = of_sequence(truth_of_shards(reader, entry.key))
        write_result(Path(words[-1]), replace(result, about={**ABOUT, "packs": str(packs)}))
    words += ["--against", str(sample / "datasets"), "--protocol", anywhere, "--beside", "wham", "--json"]
    assert command(words) == 0
    values = json.loads(capsys.readouterr().out)
    assert [one["truth"] for one in values["videos"]] == [entry.key for entry in reader.index.sequences[:2]]
    assert values["protocol_name"] == "emdb2-wham" and len(values["published"]) == 3


def test_slips_with_protocols_are_named(
    results: list[str], packs: Path, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--against", results[0], "--packs", str(packs)]
    cases: list[tuple[list[str], int, str]] = [
        ([], 2, "--list-protocols"),
        ([results[0], *own, "--protocol", "emdb2"], 2, "did you mean"),
        ([results[0], *own, "--protocol", "mupots"], 2, "about mupots"),
        ([results[0], *own, "--protocol", "emdb2-wham", "--beside", "gvhmr"], 2, "emdb2-gvhmr"),
        ([results[0], *own, "--beside", "nobody"], 2, "nobody"),
        ([*results, str(shards), *own], 2, "one at a time"),
        ([str(shards), "--adapter", "mine"], 2, "--adapter"),
        ([*results, *own, "--sequence", "one"], 2, "1 of --sequence"),
    ]
    for words, code, word in cases:
        assert command(["evaluate", *words]) == code, words
        assert word in capsys.readouterr().err, words
