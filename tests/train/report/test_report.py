"""The report of a run: its numbers are those of its files, whatever of them is there, and no name becomes markup."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from report_pages import page_of
from written_runs import evaluation, line, make_run

from trace_cli.main import run as trace
from trace_data.errors import CheckpointError, OutputError
from trace_data.files import exclusive
from trace_train.config import load_config
from trace_train.report.chart import Frame, line_chart, share_chart, sparkline
from trace_train.report.clips import learning_section
from trace_train.report.curves import stage_marks, weights_at
from trace_train.report.folder import read_run
from trace_train.report.hover import Series
from trace_train.report.overview import StepTook, seconds_of, steps_section
from trace_train.report.run import write_report
from trace_train.report.scale import fitting, short
from trace_train.report.scores import best_constant
from trace_train.report.terms import group_of, shares

EVIL = "<script>alert('1')</script>"


LINES = [line(step) for step in range(10, 41, 10)]


def test_the_page_tells_what_the_files_tell(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES, [evaluation(20, mpjpe=170.0), evaluation(40)], seed=77)
    text, page = page_of(run)
    for words in (
        "synthetic data",
        "finished",
        "40 of 40",
        "torch 9.9.9",
        "abababababab",
        "4 sequences <of> mine",
        "3 × Abacus",
        "The protocol.",
        "5,200 people",
    ):
        assert words in page.words
    # terms: first, last, weight, valid entries
    row = re.search(r"<tr><th>[^/]*</i> joints3d</th>.*?</tr>", text)
    assert row
    cells = re.findall(r'class="number">([^<]*)<', row[0])
    assert cells == ["0.2", "0.05", "300", "4,711"]
    # of 60 * 0.75 + 300 * 0.05 + 60 * 0.25 at the end, two thirds are the centre's
    assert [round(float(s)) for s in re.findall(r"></span> (\d+) %", text)] == [60, 20, 20]
    # scores, the best of each row in bold, and the sentence about them
    assert '<span class="best">131.9</span></td><td><span>268.8</span></td><td><span>224.3</span>' in text
    assert '<span>99.4</span></td><td><span class="best">93.3</span>' in text
    assert "MPJPE 131.9 mm, 41\u00a0% under the best constant predictor (224.3)" in page.words
    assert "PA-MPJPE 99.4 mm, 7\u00a0% over the best constant predictor (93.3)" in page.words
    assert "best constant 224" in page.words  # the level in the chart over steps
    # settings that differ from the preset
    usual = load_config("debug").steps
    assert f"<th>steps</th><td>{usual}</td><td>40</td>" in text and "<th>seed</th><td>0</td><td>77</td>" in text
    assert "Nothing unusual" in page.words
    assert {file.name for file in run.glob("*")} >= {"report.html"} and not list(run.glob("*.partial"))


def test_a_run_is_finished_going_on_or_interrupted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES, steps=80)
    assert "interrupted at step 40 of 80" in page_of(run)[1].words
    with exclusive(run / ".lock"):
        assert "going on, step 40 of 80" in page_of(run)[1].words
        with pytest.raises(OutputError), exclusive(run / ".lock"):
            pass  # looking has not taken the lock away
    assert read_run(make_run(tmp_path / "done", LINES)).state == "finished"


def test_without_evaluation_or_shards_the_page_says_what_to_do(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES)
    result = write_report(run)
    _, page = page_of(run)
    assert f"trace evaluate {run}" in page.words
    assert not result.clips and "gone" in result.notes[0] and result.notes[0] in page.words.replace("  ", " ")


def test_every_stage_of_a_run_has_a_page(tmp_path: Path) -> None:
    assert "Nothing has been logged yet" in page_of(make_run(tmp_path / "fresh", []))[1].words
    assert "too few values" in page_of(make_run(tmp_path / "one", LINES[:1]))[1].words
    old = [{"step": step, "loss": {"total": 5.0 - step}} for step in (1, 2, 3)]
    words = page_of(make_run(tmp_path / "old", old))[1].words
    assert "total 4 → 2" in words and "gradient norm" not in words
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_text("steps: 5\n")
    assert "interrupted at step 0 of 5" in page_of(bare)[1].words
    with pytest.raises(CheckpointError, match=r"config\.yaml"):
        write_report(tmp_path)


def test_what_checkpoints_remember_of_evaluations_is_shown_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES, [evaluation(40)])
    file = run / "checkpoints" / "step-00000040" / "checkpoint.json"
    history = [{"step": step, "pa_mpjpe": 150.0 - step, "recall": 0.5} for step in (10, 20, 40)]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"history": history}))
    (scored,) = read_run(run).scored("val")
    assert [(one["step"], one["rows"]["model"]["pa_mpjpe"]) for one in scored] == [(10, 140), (20, 130), (40, 99.42)]
    assert "step 10 · val 140" in page_of(run)[0]


def test_the_hardest_sequences_come_first(tmp_path: Path) -> None:
    scored = evaluation(40)
    scored["sequence_scores"] = [
        {"dataset": "3dpw", "name": f"s{n}", "start": n, "people": 16, "scores": {"mpjpe": 100.0 + n, "recall": None}}
        for n in range(12)
    ]
    text, _ = page_of(make_run(tmp_path / "run", LINES, [scored]))
    names = re.findall(r"3dpw/(s\d+) from frame (\d+)</th><td>16</td><td>([\d.]+)<", text)
    assert names == [(f"s{n}", str(n), f"{100 + n}.0") for n in range(11, 3, -1)]


def test_damaged_files_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES, [evaluation(40)])
    (run / "evaluation-val-00000050.json").write_text('{"split": "val", "st')
    (run / "evaluation-val-00000060.json").write_text("[]")
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 50, "lo')
    (run / "pictures").mkdir()
    (run / "pictures" / "step-00000010.jpg").write_bytes(b"no picture")
    folder = read_run(run)
    assert folder.step == 40 and [one["step"] for one in folder.evaluations] == [40]
    assert "131.9" in page_of(run)[1].words


@pytest.mark.parametrize(
    "odd", ["[1]", "null", '{"step": "x", "loss": {}}', '{"step": NaN, "loss": {}}', '{"loss": {}}']
)
def test_a_log_ends_before_a_line_that_is_none_of_ours(odd: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES, [evaluation(40)])
    with (run / "metrics.jsonl").open("a") as log:
        log.write(odd + "\n")
    assert read_run(run).step == 40 and "131.9" in page_of(run)[1].words


def test_pipes_in_a_run_are_not_waited_for(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES)
    for name in ("errors.jsonl", "parameters.txt", "evaluation-val-00000050.json"):
        os.mkfifo(run / name)
    (run / "pictures").mkdir()
    os.mkfifo(run / "pictures" / "step-00000020.jpg")
    found = read_run(run)
    assert found.step == 40 and not learning_section(found).body
    (run / "metrics.jsonl").unlink()
    os.mkfifo(run / "metrics.jsonl")
    with pytest.raises(CheckpointError, match="pipe") as caught:
        read_run(run)
    assert caught.value.where == str(run / "metrics.jsonl")


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    bad = [line(step) for step in (10, 20)]
    for one in bad:
        one["loss"][EVIL] = 1.0
    scored = evaluation(20, split=EVIL)
    scored["rows"][EVIL] = {"mpjpe": 1.0}
    scored["protocol"] = EVIL
    run = make_run(tmp_path / "a<b>&\"'", bad, [scored], preset=EVIL, stages=[{"clips": EVIL, "frames": 1, "share": 1}])
    (run / "errors.jsonl").write_text(json.dumps({"clip": EVIL, "reason": EVIL}) + "\n")
    text, page = page_of(
        run, title=EVIL, notes=(EVIL,), sections=(steps_section([StepTook(name=EVIL, seconds=1.0, text=EVIL)]),)
    )
    assert "<script" not in text.lower() and page.words.count(EVIL) > 8


def test_what_deserves_a_look_is_said(tmp_path: Path) -> None:
    lines = [
        line(step, data_wait=0.3, counts={"center_map": 16, "joints3d": 0, "shape": 1}) for step in (10, 20, 30, 40)
    ]
    for one in lines:
        one["loss"]["total"] = float(one["step"])
    lines[0]["loss"]["center_map"] = 4e4
    run = make_run(tmp_path / "run", lines)
    (run / "not-finite-step-00000012.pth").write_bytes(b"")
    (run / "errors.jsonl").write_text(3 * (json.dumps({"clip": "a", "reason": "cut short"}) + "\n") + '{"seq')
    words = page_of(run)[1].words
    for said in ("waited 30 % of its time", "single valid entry in the last quarter of the run: joints3d", "not lower"):
        assert said in words
    assert f"trace train --replay {run / 'not-finite-step-00000012.pth'}" in words
    assert "center_map at step 10: 4e+04 per centre, expected at most" in words
    assert "replaced: 3." in words and re.search(r"3\s+cut short", words)


def test_a_place_that_cannot_be_written_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "run", LINES)
    (tmp_path / "file").write_text("")
    monkeypatch.delattr("trace_train.report.run._drawn")
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(run, out=tmp_path / "file" / "report.html")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", LINES)
    page = tmp_path / "elsewhere" / "page.html"
    assert trace(["report", str(run), "--page", str(page), "--packs", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["report"] == str(page) and page.stat().st_size == told["bytes"] and told["state"] == "finished"
    assert told["synthetic"] is True and told["clips"] is False
    assert trace(["report", str(run), "--page", str(tmp_path / "page.txt")]) == 2
    assert trace(["report", str(tmp_path)]) == CheckpointError("").exit_code


# --- numbers ---------------------------------------------------------------------------------------------------


def test_shares_are_weight_times_value_over_their_sum() -> None:
    lines = [line(10), {**line(20), "loss": {"center_map": math.nan, "shape": 1.0}}, line(30)]
    early, late = {"center_map": 60.0, "joints3d": 300.0}, {"center_map": 0.0, "joints3d": 300.0}
    steps, parts = shares(lines, [early, early, late])
    assert steps == [10, 30] and set(parts) == {"center_map", "joints3d"}
    np.testing.assert_allclose(parts["joints3d"], [60 / 240, 1.0])
    np.testing.assert_allclose(sum(parts.values()), 1.0)


def test_stages_have_weights_of_their_own() -> None:
    stages = [{"share": 0.5, "loss": {"joints*": 7}}, {"share": 0.5, "loss": {"shape": 0}}]
    settings = {"steps": 10, "loss": {"joints2d": 1.0, "joints3d": 2.0, "shape": 3.0}, "stages": stages}
    assert weights_at(settings, 5) == {"joints2d": 7, "joints3d": 7, "shape": 3}
    assert weights_at(settings, 6) == {"joints2d": 1, "joints3d": 2, "shape": 0}
    assert weights_at({"stages": [{"loss": {"a": 1}}]}, 1) == {}


def test_every_term_of_the_configuration_has_a_group() -> None:
    assert {group_of(term) for term in load_config("trace").loss.model_dump()} <= {
        "detection", "location", "pose", "shape", "motion", "world",
    }  # fmt: skip
    assert group_of("world_joints2d") == "world" and group_of("whatever") == "other"


def test_time_is_clips_over_throughput(tmp_path: Path) -> None:
    stages = [{"share": 0.5, "clips": 16, "frames": 1}, {"share": 0.5, "clips": 4, "frames": 4, "name": "B"}]
    run = read_run(make_run(tmp_path / "run", LINES, stages=stages))
    assert stage_marks(run.settings) == [(20, "B: 4 clips of 4 frames")]
    assert seconds_of(run) == pytest.approx((20 * 16 + 20 * 4) / 32)


def test_the_best_constant_is_the_smallest_of_the_others() -> None:
    assert best_constant(evaluation(1), "mpjpe") == 224.3 and best_constant(evaluation(1), "recall") is None


# --- charts ----------------------------------------------------------------------------------------------------


def points(chart: str, style: str) -> np.ndarray:
    found = re.search(rf'class="{style} c\d" d="M([^"Zh]+)"', chart)
    assert found
    return np.array([[float(v) for v in pair.split()] for pair in found[1].split("L")])


def curve(values: Sequence[float], steps: Sequence[float] | None = None, *, dots: bool = False) -> Series:
    return Series(name="x", steps=range(len(values)) if steps is None else steps, values=values, dots=dots)


def test_a_chart_maps_values_linearly_and_leaves_out_what_is_not_finite() -> None:
    drawn = points(line_chart([curve([4.0, math.nan, 2.0, 0.0], [0, 10, 20, 40])], Frame(label="x")), "raw")
    assert drawn.tolist() == [[0, 0], [500, 500], [1000, 1000]]  # smaller values lie lower on the page


def test_values_of_many_sizes_get_a_logarithmic_axis() -> None:
    chart = line_chart([curve([1000.0, 100.0, 10.0])], Frame(label="x"))
    assert "log scale" in chart
    np.testing.assert_allclose(np.diff(points(chart, "raw")[:, 1]), 500, atol=0.2)
    assert "log scale" not in line_chart([curve([1000.0, 100.0, 0.0])], Frame(label="x"))


@pytest.mark.parametrize("values", [[5, 5], [0, 0], [-3, -1], [1e-9, 2e-9], [1e9, 2e9], [1e-12, 1e12], [-1, 1e-300]])
def test_any_values_fit_on_their_axis(values: list[float]) -> None:
    scale = fitting([float(v) for v in values], 4)
    assert scale.low <= min(values) and scale.high >= max(values) - 1e-9 and 2 <= len(scale.ticks) < 14
    assert all(0 <= scale.place(tick) <= 1 for tick in scale.ticks)
    assert np.isfinite(points(line_chart([curve(values)], Frame(label="x")), "mean")).all()


def test_lonely_values_are_said_or_dotted() -> None:
    assert "too few" in line_chart([curve([1.0])], Frame(label="x"))
    assert "too few" in line_chart([curve([math.nan, math.inf])], Frame(label="x"))
    assert "M0.0 0.0h0" in line_chart([curve([1.0], dots=True)], Frame(label="x"))
    assert sparkline([1.0]) == ""


def test_a_long_curve_keeps_its_spike() -> None:
    values = np.ones(20_000)
    values[12_345] = 9.0
    drawn = points(line_chart([curve(values.tolist())], Frame(label="x")), "raw")
    assert len(drawn) <= 300
    x, y = drawn[drawn[:, 1].argmin()]
    assert x == pytest.approx(1000 * 12_345 / 19_999, abs=0.1) and y == pytest.approx(100, abs=0.1)  # 9 of 10


def test_the_running_mean_of_a_line_is_the_line_inside() -> None:
    chart = line_chart([curve([float(s) for s in range(100)])], Frame(label="x"))
    np.testing.assert_allclose(points(chart, "mean")[5:-5], points(chart, "raw")[5:-5], atol=0.11)


def test_hovering_says_the_values_of_all_series() -> None:
    one, two = curve([3.0, 2.0, 1.0], [0, 10, 20]), Series(name="val", steps=[10], values=[7.5], dots=True)
    chart = line_chart([one, two], Frame(label="x", levels=[(4.0, "mean <pose>")]))
    assert re.findall(r"<b[^>]*>(.*?)</b>", chart) == [
        "step 0 · x 3",
        "step 10 · x 2 · val 7.5",
        "step 20 · x 1 · val 7.5",
    ]
    assert "mean &lt;pose&gt; 4" in chart


def test_stacked_shares_reach_the_top() -> None:
    parts = [
        Series(name=n, steps=[0, 1], values=v, colour=c) for n, v, c in (("a", [0.25, 0.5], 0), ("b", [0.75, 0.5], 1))
    ]
    chart = share_chart(parts, Frame(label="x"))
    assert re.findall(r'area c\d" d="M(.*?)Z"', chart) == [
        "0.0 750.0L1000.0 500.0L1000.0 1000.0L0.0 1000.0",
        "0.0 0.0L1000.0 0.0L1000.0 500.0L0.0 750.0",
    ]
    assert "step 1 · a 50 · b 50" in chart


def test_numbers_are_written_with_three_digits() -> None:
    words = [short(v) for v in (0, 0.00212, 12.34, 1240, 15_000, 999_999, 2_500_000, -3.0)]
    assert words == ["0", "0.00212", "12.3", "1,240", "15k", "1M", "2.5M", "-3"]


def test_curves_join_only_what_was_computed_on_the_same(tmp_path: Path) -> None:
    whole = [evaluation(step) | {"shards_sha256": "a", "frames": 900} for step in (20, 40)]
    quick = [evaluation(step) | {"shards_sha256": "a", "frames": 90, "settings": {"every": 20}} for step in (20, 40)]
    other = [evaluation(40) | {"shards_sha256": "b", "frames": 400}]
    run = make_run(tmp_path / "run", LINES)
    for number, one in enumerate([*whole, *quick, *other]):
        (run / f"evaluation-val-{one['step']:08d}-{number:08d}.json").write_text(json.dumps(one))
    series = read_run(run).scored("val")
    assert [[(one["step"], one["frames"]) for one in part] for part in series] == [
        [(20, 900), (40, 900)],
        [(40, 400)],
        [(20, 90), (40, 90)],
    ]
    text, _ = page_of(run)
    assert "val, 900 frames" in text and "val, 90 frames" in text and "val, 400 frames" not in text


def test_remembered_scores_join_those_of_their_own_basis(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", LINES)
    for one in (evaluation(20), evaluation(20) | {"shards_sha256": "b"}, evaluation(40)):
        (run / f"evaluation-val-{one['step']}-{one.get('shards_sha256')}.json").write_text(json.dumps(one))
    file = run / "checkpoints" / "step-00000040" / "checkpoint.json"
    facts = json.loads(file.read_text()) | {"history": [{"step": step, "mpjpe": 9.0} for step in (10, 20, 40)]}
    file.write_text(json.dumps(facts))
    series = read_run(run).scored("val")
    assert sorted([one["step"] for one in part] for part in series) == [[10, 20, 40], [20]]
