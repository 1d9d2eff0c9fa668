"""Report sections on training: total loss, shares of its terms, each term, and throughput."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from trace_data.pages.html import Html, element, figure, joined, note, table
from trace_train.losses.table import LOSSES
from trace_train.report.chart import Frame, legend, line_chart, share_chart, sparkline
from trace_train.report.folder import RunFolder
from trace_train.report.hover import Series
from trace_train.report.page import Section
from trace_train.report.scale import short
from trace_train.report.terms import GROUPS, TOTAL, colour_of, group_of, number, shares, terms_of, values_of

MACHINE: Sequence[tuple[str, str, str, float]] = (
    ("lr", "learning rate", "", 1.0),
    ("gradient_norm", "gradient norm", "before clipping", 1.0),
    ("clips_per_s", "throughput", "clips a second", 1.0),
    ("data_wait", "waiting for data", "% of the time", 100.0),
    ("memory_gb", "GPU memory", "GB, the most so far", 1.0),
)
"""Key in a log line, title, unit, and factor to that unit."""


def stage_marks(settings: Mapping[str, Any]) -> list[tuple[float, str]]:
    """Start steps of stages after the first, with descriptions of their batches."""
    stages, steps = settings.get("stages") or [], number(settings.get("steps"))
    if not math.isfinite(steps):
        return []
    ends = [round(share * steps) for share in accumulate(number(stage.get("share", 1.0)) for stage in stages)]
    return [(begin, batch_words(stage)) for begin, stage in zip(ends, stages[1:])]


def weights_at(settings: Mapping[str, Any], step: float) -> dict[str, float]:
    """Weights of the loss terms in the stage of a step, as far as known."""
    weights = {term: number(weight) for term, weight in (settings.get("loss") or {}).items()}
    begun = sum(begin < step for begin, _ in stage_marks(settings))
    stages = settings.get("stages") or []
    for pattern, weight in ((stages[begun].get("loss") or {}) if begun < len(stages) else {}).items():
        weights |= dict.fromkeys(fnmatch.filter(weights, pattern), number(weight))
    return {term: weight for term, weight in weights.items() if math.isfinite(weight)}


def batch_words(stage: Mapping[str, Any]) -> str:
    """`16 clips of 1 frame`, with the stage's name if it has one."""
    clips, frames = stage.get("clips", "?"), stage.get("frames", "?")
    name = f"{stage['name']}: " if stage.get("name") else ""
    return f"{name}{clips} clips of {frames} frame{'' if frames == 1 else 's'}"


def span_of(run: RunFolder) -> tuple[float, float]:
    """First and last step shown in charts."""
    return 0.0, float(max(run.step, 1))


def loss_section(run: RunFolder) -> Section:
    """The total, the shares of its terms, a table of all terms, and the curve of each."""
    if not run.lines:
        return Section(title="Training loss", body=note("Nothing has been logged yet."))
    span, marks = span_of(run), stage_marks(run.settings)
    total = Series(name="total", steps=[line["step"] for line in run.lines], values=_totals(run.lines), colour=7)
    parts = [
        figure(
            element("b", f"total {_ends(total.values)}"),
            Html(line_chart([total], Frame(label="Total loss", span=span, marks=marks, large=True))),
        ),
        _shares(run, span, marks),
        _table(run),
        _terms(run, span, marks),
    ]
    return Section(title="Training loss", body=joined(parts))


def _totals(lines: Sequence[Mapping[str, Any]]) -> list[float]:
    return [number(line["loss"].get(TOTAL)) for line in lines]


def _ends(values: Sequence[float]) -> str:
    known = [value for value in values if math.isfinite(value)]
    return f"{short(known[0])} → {short(known[-1])}" if known else ""


def _shares(run: RunFolder, span: tuple[float, float], marks: Sequence[tuple[float, str]]) -> Html:
    steps, parts = shares(run.lines, [weights_at(run.settings, line["step"]) for line in run.lines])
    groups = {group: [part for term, part in parts.items() if group_of(term) == group] for group in GROUPS}
    series = [
        Series(name=group, steps=steps, values=sum(members).tolist(), colour=GROUPS.index(group))  # type: ignore[union-attr]
        for group, members in groups.items()
        if members
    ]
    if len(steps) < 2 or not series:
        return Html()
    chart = share_chart(series, Frame(label="Shares of the total", span=span, marks=marks))
    names = legend([(one.name, one.colour) for one in series])
    return figure(element("b", "what the total is made of (weight × value)"), joined([Html(names), Html(chart)]))


def _table(run: RunFolder) -> Html:
    late = run.lines[-max(1, len(run.lines) // 10) :]
    weights = weights_at(run.settings, run.lines[-1]["step"])
    _, parts = shares(late, [weights_at(run.settings, line["step"]) for line in late])
    counts = run.lines[-1].get("counts") or {}
    rows = []
    for term in terms_of(run.lines):
        _, values = values_of(run.lines, "loss", term)
        share = float(parts[term].mean()) if term in parts and len(parts[term]) else math.nan
        rows.append(
            (
                joined([element("i", style=f"c{colour_of(term)}"), " ", term]),
                element("small", LOSSES[term].unit if term in LOSSES else ""),
                Html(sparkline(values, colour_of(term))),
                *(element("span", word, style="number") for word in _first_and_last(values)),
                _bar(share, colour_of(term)),
                element("span", _dash(weights.get(term)), style="number"),
                element("span", _dash(counts.get(term)), style="number"),
            )
        )
    head = (
        "term",
        "unit",
        "",
        "first",
        "last",
        "share of the total at the end",
        "weight",
        "valid a step",
    )
    return table(head, rows, style="terms")


def _first_and_last(values: Sequence[float]) -> tuple[str, str]:
    known = [value for value in values if math.isfinite(value)]
    return (short(known[0]), short(known[-1])) if known else ("–", "–")


def _dash(value: object) -> str:
    return "–" if math.isnan(number(value)) else short(number(value))


def _bar(share: float, colour: int) -> Html:
    if math.isnan(share):
        return Html("–")
    return Html(
        f'<span class="bar"><i class="c{colour}" style="width:{100 * share:.0f}%"></i></span> {100 * share:.0f} %'
    )


def _terms(run: RunFolder, span: tuple[float, float], marks: Sequence[tuple[float, str]]) -> Html:
    charts = []
    for term in terms_of(run.lines):
        steps, values = values_of(run.lines, "loss", term)
        one = Series(name=term, steps=steps, values=values, colour=colour_of(term))
        frame = Frame(label=f"{term} over training steps", span=span, marks=marks)
        words = joined([element("b", term), f" {_ends(values)} ", element("small", group_of(term))])
        charts.append(figure(words, Html(line_chart([one], frame))))
    return _charts(charts)


def _charts(charts: Sequence[Html]) -> Html:
    return element("div", *charts, style="charts")


def machine_section(run: RunFolder) -> Section:
    """Learning rate, gradient, throughput, waiting and memory over steps, as far as they were logged."""
    span, marks, charts = span_of(run), stage_marks(run.settings), []
    for key, name, unit, factor in MACHINE:
        known = [(line["step"], factor * number(line[key])) for line in run.lines if line.get(key) is not None]
        values = [value for _, value in known]
        if not any(math.isfinite(value) and value != 0 for value in values) and key != "data_wait":
            continue
        one = Series(name=name, steps=[step for step, _ in known], values=values, colour=7)
        frame = Frame(label=f"{name} over training steps", span=span, marks=marks, log=key == "gradient_norm")
        charts.append(figure(joined([element("b", name), f" {unit}"]), Html(line_chart([one], frame))))
    return Section(title="Optimiser and machine", body=_charts(charts) if charts else Html())
