"""The report page stands alone, says what it is given, and survives awkward words and numbers."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from trace_train.chart import line_chart
from trace_train.report import Curve, Picture, ReportData, Result, Step, write_report

VOID = {"meta", "img", "line", "polyline", "br"}


class Checker(HTMLParser):
    """Collects addresses and text; fails on tags that do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def page_of(path: Path, report: ReportData) -> tuple[str, Checker]:
    write_report(path, report)
    text = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    return text, checker


def full_report() -> ReportData:
    return ReportData(
        title="A <run> & more",
        notes=("note one",),
        columns=("this run", "mean pose"),
        results=(
            Result(metric="MPJPE", unit="mm", values=(127.25, 210.0)),
            Result(metric="recall", unit="%", values=(98.0, None), lower_is_better=False),
        ),
        curves={"total": Curve(steps=[0, 1, 2], values=[3.0, math.nan, 1.0])},
        pictures=(Picture(caption='a "caption"', image=np.zeros((8, 8, 3), np.uint8)),),
        steps=(Step(name="train", seconds=60.0, text="x"), Step(name="evaluate", seconds=30.5, text="y")),
        synthetic=True,
    )


def test_the_page_stands_alone_and_tells_all(tmp_path: Path) -> None:
    text, checker = page_of(tmp_path / "report.html", full_report())
    assert all(address.startswith("data:image/") for address in checker.addresses)
    assert checker.addresses
    assert not re.search(r"https?://|@import|<script|<link", text)
    assert "A <run> & more" in checker.words
    for words in ("synthetic data", "note one", "127.2", "210.0", "mean pose", "90.5 s", "Python 3."):
        assert words in checker.words
    assert "<td class=best>127.2" in text  # lower wins
    assert "<td class=best>98.0" not in text  # nothing to compare with
    assert list(tmp_path.iterdir()) == [tmp_path / "report.html"]


def test_empty_parts_are_left_out(tmp_path: Path) -> None:
    _, checker = page_of(tmp_path / "r.html", ReportData(title="t", notes=()))
    for words in ("Scores", "Training loss", "Pictures", "What each step took", "synthetic"):
        assert words not in checker.words


def points(svg: str, style: str) -> np.ndarray:
    found = re.search(rf'class="{style}" points="([^"]+)"', svg)
    assert found
    return np.array([[float(v) for v in pair.split(",")] for pair in found[1].split()])


def test_a_chart_maps_values_linearly_and_leaves_out_what_is_not_finite() -> None:
    drawn = points(line_chart([0, 10, 20, 40], [4.0, math.nan, 2.0, 0.0], label="x"), "raw")
    assert len(drawn) == 3
    x, y = drawn.T
    np.testing.assert_allclose((x[1] - x[0]) / (x[2] - x[0]), 0.5, atol=1e-3)
    np.testing.assert_allclose((y[1] - y[0]) / (y[2] - y[0]), 0.5, atol=1e-3)
    assert (np.diff(y) > 0).all()  # smaller values lie lower on the page


def test_flat_negative_and_lonely_curves_are_drawn_or_said() -> None:
    for values in ([5.0, 5.0], [0.0, 0.0], [-3.0, -1.0], [1e-9, 2e-9], [1e9, 2e9]):
        assert np.isfinite(points(line_chart([1, 2], values, label="x"), "mean")).all()
    assert "too few" in line_chart([1], [1.0], label="x")
    assert "too few" in line_chart([1, 2], [math.nan, math.inf], label="x")


def test_the_running_mean_of_a_line_is_the_line_inside() -> None:
    steps = list(range(100))
    svg = line_chart(steps, [float(s) for s in steps], label="x")
    np.testing.assert_allclose(points(svg, "mean")[5:-5], points(svg, "raw")[5:-5], atol=0.11)
