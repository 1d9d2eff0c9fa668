"""Several runs on one page: only what is alike stands side by side, and what is missing is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from report_pages import Checker, checked
from written_runs import evaluation, line, make_run

from trace_cli.main import run as trace
from trace_data.errors import CheckpointError, ConfigError
from trace_train.report.compare import Comparison, write_comparison
from trace_train.report.comparison import MOST_RUNS

EVIL = "<script>alert('1')</script>"
LINES = [line(step) for step in range(10, 41, 10)]


def scored(step: int = 40, split: str = "val", mpjpe: float = 131.9, **other: Any) -> dict[str, Any]:
    """An evaluation that says its data and how it was computed."""
    one = evaluation(step, split, mpjpe)
    one["rows"]["model"]["mpjpe_with_misses"] = mpjpe + 2
    known = {"shards_sha256": "5a" * 32, "packs_sha256": "7b" * 32, "sequences_sha256": "9c" * 32}
    settings = {"every": 1, "threshold": 0.2}
    text = "Frames: every frame.\nMatching: per frame.\nCamera: 14 joints.\nWorld: chunks."
    return one | known | {"settings": settings, "protocol": text} | other


def page_of(runs: list[Path], out: Path) -> tuple[Comparison, str, Checker]:
    result = write_comparison(runs, out=out)
    text = out.read_text(encoding="utf-8")
    assert result.bytes == len(text.encode())
    return result, text, checked(text)


def test_like_scores_stand_side_by_side_and_curves_lie_over_each_other(tmp_path: Path) -> None:
    a = make_run(tmp_path / "a", LINES, [scored(20, mpjpe=170.0), scored(40)], seed=1)
    b = make_run(tmp_path / "b", LINES[:3], [scored(20, mpjpe=160.0), scored(30, mpjpe=125.0)], seed=2)
    result, text, page = page_of([a, b], tmp_path / "page.html")
    (one,) = result.scores
    assert (one.split, one.steps) == ("val", {"a": 40, "b": 30})
    assert [one.scores[name]["mpjpe"] for name in "ab"] == [131.9, 125.0]
    assert "<span>131.9</span>" in text and '<span class="best">125.0</span>' in text
    assert "-41 %" in text  # against the best constant, 224.3
    assert "step 20 · a 170 · b 160" in text, "the curve of a score has both runs"
    assert "step 30 · a 0.0667 · b 0.0667" in text, "and so has that of a loss term"
    assert "MPJPE with misses on val, 36 frames, lowest first: b 127.0 mm; a 133.9 mm" in page.words
    assert result.settings == {"seed": {"a": "1", "b": "2"}} and re.search(r"<th>seed</th><td>1</td><td>2</td>", text)


def test_who_finds_nobody_does_not_lead(tmp_path: Path) -> None:
    far, nobody, near = scored(mpjpe=230.0), scored(mpjpe=230.0), scored(mpjpe=120.0)
    nobody["rows"]["model"] |= {"mpjpe": None, "recall": 0.0, "mpjpe_with_misses": 150.0}
    runs = [make_run(tmp_path / n, LINES, [one]) for n, one in zip("abc", (far, nobody, near))]
    _, _, page = page_of(runs, tmp_path / "page.html")
    assert "lowest first: c 122.0 mm; a 254.4 mm." in page.words  # 230 over the recall of 0.904


@pytest.mark.parametrize(
    ("other", "why", "option"),
    [
        ({"shards_sha256": "ff" * 32}, "other shards", ""),
        ({"packs_sha256": "ff" * 32}, "other body models", ""),
        ({"sequences_sha256": "ff" * 32}, "other sequences", ""),
        ({"settings": {"every": 20, "threshold": 0.2}}, "one of 20 windows, not one of 1", ""),
        ({"settings": {"every": 1, "threshold": 0.4}}, "threshold 0.4, not 0.2", "--threshold 0.2"),
        ({"protocol": "Matching: by feeling."}, "another version of the protocol", ""),
        ({"shards_sha256": "", "sequences_sha256": ""}, "do not say on what data", ""),
    ],
)
def test_unlike_scores_are_kept_apart_and_it_is_said_why(
    tmp_path: Path, other: dict[str, Any], why: str, option: str
) -> None:
    threshold = {"evaluation": {"threshold": other.get("settings", {}).get("threshold", 0.2)}}
    runs = [make_run(tmp_path / name, LINES, [scored()]) for name in "ab"]
    runs.append(make_run(tmp_path / "c", LINES, [scored(mpjpe=1.0, **other)], **threshold))
    result, text, page = page_of(runs, tmp_path / "page.html")
    assert [list(one.scores) for one in result.scores] == [["a", "b"]]
    (said,) = result.missing
    assert said.startswith("c: ") and why in said
    assert f"trace evaluate {tmp_path / 'c'} --split val" in said and option in said
    assert why in page.words and '"best">1.0<' not in text


def test_how_a_network_sees_does_not_keep_runs_apart(tmp_path: Path) -> None:
    text = scored()["protocol"].replace("every frame.", "every frame. The network sees single frames.")
    runs = [make_run(tmp_path / "a", LINES, [scored()]), make_run(tmp_path / "b", LINES, [scored(protocol=text)])]
    assert [list(one.scores) for one in write_comparison(runs, out=tmp_path / "page.html").scores] == [["a", "b"]]


def test_unknown_data_is_never_taken_for_the_same(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, LINES, [evaluation(40)]) for name in "ab"]
    result, _, page = page_of(runs, tmp_path / "page.html")
    assert result.scores == () and "No two of these runs" in page.words
    assert [said.split(":")[0] for said in result.missing] == ["a", "b"]


def test_what_is_missing_where_is_named(tmp_path: Path) -> None:
    more = [{**one, "loss": {**one["loss"], "joints2d": 1.0}} for one in LINES]
    a = make_run(tmp_path / "a", more, [scored(), scored(split="test")])
    b = make_run(tmp_path / "b b", LINES, [scored()], steps=80)
    c = make_run(tmp_path / "c", [])
    result, _, _ = page_of([a, b, c], tmp_path / "page.html")
    said = "\n".join(result.missing)
    assert re.search(r"b b: interrupted at step 40 of 80;  trace train --resume '.*b b'", said)
    assert "b b: has no loss term joints2d" in said and "c: has no log" in said
    assert re.search(r"b b: has no scores on test;  trace evaluate '.*b b' --split test", said)
    assert "c: has no scores on val" in said


def test_the_command_for_other_data_names_its_place(tmp_path: Path) -> None:
    a, b = (make_run(tmp_path / name, LINES, [scored()] if name == "a" else []) for name in "ab")
    for run, digest in ((a, "5a" * 32), (b, "ee" * 32)):
        file = run / "checkpoints" / "step-00000040" / "checkpoint.json"
        facts = json.loads(file.read_text())
        facts["data"] |= {"shards": f"/data/{run.name}", "shards_sha256": digest, "packs_sha256": "7b" * 32}
        file.write_text(json.dumps(facts))
    (said,) = write_comparison([a, b], out=tmp_path / "page.html").missing
    assert said.endswith(f"trace evaluate {b} --split val --shards /data/a")


def test_totals_of_other_weights_are_not_taken_for_the_same(tmp_path: Path) -> None:
    weights = {"joints3d": 300.0, "shape": 60.0}
    a = make_run(tmp_path / "a", LINES, loss=weights)
    b = make_run(tmp_path / "b", LINES, loss=weights | {"shape": 1.0})
    result, _, page = page_of([a, b], tmp_path / "page.html")
    assert "loss.shape" in result.settings and "do not measure the same" in page.words
    assert (
        "do not measure the same"
        not in page_of([a, make_run(tmp_path / "c", LINES, loss=weights)], tmp_path / "p.html")[2].words
    )


def test_runs_of_one_name_are_told_apart_and_no_name_becomes_markup(tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name / "a<b>&\"'", LINES, [scored(split=EVIL)], preset=EVIL + name) for name in "xy"]
    result, text, page = page_of(runs, tmp_path / "page.html")
    assert [one.name[:2] for one in result.runs] == ["x/", "y/"]
    assert "<script" not in text.lower() and EVIL in page.words


def test_too_few_too_many_twice_or_no_run_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES)
    with pytest.raises(ConfigError, match="twice"):
        write_comparison([run, tmp_path / "x" / ".." / "run"], out=tmp_path / "page.html")
    with pytest.raises(ConfigError, match="1 run"):
        write_comparison([run], out=tmp_path / "page.html")
    with pytest.raises(ConfigError, match=str(MOST_RUNS)):
        write_comparison([tmp_path / str(n) for n in range(MOST_RUNS + 1)], out=tmp_path / "page.html")
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        write_comparison([run, tmp_path], out=tmp_path / "page.html")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [make_run(tmp_path / name, LINES, [scored()], seed=ord(name)) for name in "ab"]
    assert trace(["compare", *map(str, runs), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == "compare.html" and (tmp_path / "compare.html").stat().st_size == told["bytes"]
    assert told["settings"] == {"seed": {"a": "97", "b": "98"}} and told["scores"][0]["scores"]["a"]["mpjpe"] == 131.9
    assert told["missing"] == []
    assert trace(["compare", *map(str, runs), "--page", "sub/other.html"]) == 0
    shown = capsys.readouterr().out
    assert "131.9" in shown and "settings that differ: seed" in shown and (tmp_path / "sub" / "other.html").exists()
    assert trace(["compare", *map(str, runs), "--page", "page.txt"]) == 2
    assert trace(["compare", str(runs[0])]) == 2 and trace(["compare"]) == 2
