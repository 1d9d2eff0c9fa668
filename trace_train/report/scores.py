"""Report section with a run's scores, compared with the constant baselines and over the steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from trace_data.errors import quoted
from trace_data.pages.html import Html, element, figure, folded, joined, note, table
from trace_train.evaluate import MEASURES, MODEL, Measure
from trace_train.report.chart import Frame, legend, line_chart
from trace_train.report.curves import span_of, stage_marks
from trace_train.report.folder import RunFolder
from trace_train.report.hover import Series
from trace_train.report.page import Section
from trace_train.report.terms import number

COMPARED = ("mpjpe", "pa_mpjpe", "pve", "w_mpjpe", "wa_mpjpe", "rte")
"""Errors whose charts show the best constant baseline."""
HARDEST = 8
"""Number of sequences listed."""
FOLLOWED = ("mpjpe", "pa_mpjpe", "pve", "recall", "precision", "wa_mpjpe", "w_mpjpe", "rte", "acceleration")
"""Measures drawn over the steps."""
Evaluation = Mapping[str, Any]


def headline(run: RunFolder) -> str:
    """The result in a sentence, on the test split if evaluated, else on the first split."""
    splits = sorted(run.splits, key=lambda split: split != "test")
    if not splits:
        return ""
    last = run.scored(splits[0])[0][-1]
    parts = []
    for m in MEASURES:
        ours, best = model_score(last, m.key), best_constant(last, m.key)
        if m.key in ("mpjpe", "pa_mpjpe") and math.isfinite(ours):
            constant = f"{m.factor * best:.{m.digits}f}" if best else ""
            beside = f", {_change(ours / best)} the best constant predictor ({constant})" if best else ""
            parts.append(f"{m.name} {m.factor * ours:.{m.digits}f} {m.unit}{beside}")
    return f"Scored on {splits[0]} at step {last['step']:,}: {'; '.join(parts)}." if parts else ""


def _change(ratio: float) -> str:
    return f"{100 * abs(ratio - 1):.0f}\N{NO-BREAK SPACE}% {'under' if ratio < 1 else 'over'}"


def best_constant(evaluation: Evaluation, measure: str) -> float | None:
    """The smallest error of the constant baselines."""
    scores = (_score(evaluation, name, measure) for name in evaluation["rows"] if name != MODEL)
    return min((value for value in scores if math.isfinite(value)), default=None)


def model_score(evaluation: Evaluation, measure: str) -> float:
    """A score of the network; NaN if it was not measured."""
    return _score(evaluation, MODEL, measure)


def _score(evaluation: Evaluation, row: str, measure: str) -> float:
    return number((evaluation["rows"].get(row) or {}).get(measure))


def scores_section(run: RunFolder) -> Section:
    """A table of the latest evaluation with its protocol, for each split and selection of frames."""
    if not run.evaluations:
        command = element("pre", f"trace evaluate {quoted(run.path)}")
        return Section(title="Scores", body=joined([note("This run has not been scored yet:"), command]))
    parts = [_scored(series[-1]) for split in run.splits for series in run.scored(split)]
    return Section(title="Scores", body=joined([*parts, _followed(run)]))


def _scored(one: Evaluation) -> Html:
    names = [MODEL, *(name for name in one["rows"] if name != MODEL)]
    rows = []
    for measure in MEASURES:
        values = [_score(one, name, measure.key) for name in names]
        if any(map(math.isfinite, values)):
            rows.append((measure_title(measure), *_cells(measure, values)))
    about = ", ".join(f"{one[key]:,} {key}" for key in ("sequences", "frames", "people", "matched") if key in one)
    return joined(
        [
            element("h3", f"{one['split']}, step {one['step']:,} ", element("small", about)),
            table(("", *names), rows, style="scores"),
            *([folded("how these were computed", element("p", one["protocol"]))] if one.get("protocol") else []),
            _hardest(one),
        ]
    )


def _hardest(one: Evaluation) -> Html:
    """The sequences with the largest errors, if the evaluation has scores per sequence."""
    known = [s for s in one.get("sequence_scores") or [] if math.isfinite(number(s["scores"].get("mpjpe")))]
    if not known:
        return Html()
    known = sorted(known, key=lambda sequence: -number(sequence["scores"]["mpjpe"]))[:HARDEST]
    measured = [m for m in MEASURES if any(math.isfinite(number(s["scores"].get(m.key))) for s in known)]
    measures = [m for m in measured if m.key in FOLLOWED]
    rows = []
    for s in known:
        values = [(m.factor * number(s["scores"].get(m.key)), m.digits) for m in measures]
        cells = [f"{value:,.{digits}f}" if math.isfinite(value) else "–" for value, digits in values]
        rows.append((f"{s['dataset']}/{s['name']} from frame {s['start']}", f"{s['people']:,}", *cells))
    head = ("", "people, frame by frame", *(f"{m.name} {m.unit}" for m in measures))
    return folded("the sequences with the largest MPJPE", table(head, rows, style="scores"))


def measure_title(measure: Measure) -> Html:
    """Name, unit and which values are better."""
    # the name of a ratio says that one is best
    better = {"highest": "higher is better", "lowest": "lower is better", "one": ""}[measure.best]
    return joined([measure.name, " ", element("small", ", ".join(word for word in (measure.unit, better) if word))])


def distance_to_best(measure: Measure, value: float) -> float:
    """Smaller for better values."""
    return {"highest": -value, "lowest": value, "one": abs(value - 1)}[measure.best]


def _cells(measure: Measure, values: Sequence[float]) -> Iterable[Html]:
    known = [value for value in values if math.isfinite(value)]
    best = min(known, key=lambda value: distance_to_best(measure, value))
    for value in values:
        if math.isfinite(value):
            style = "best" if value == best and len(known) > 1 else ""
            yield element("span", f"{measure.factor * value:,.{measure.digits}f}", style=style)
        else:
            yield Html("–")


def _followed(run: RunFolder) -> Html:
    """Measures over steps, if evaluated more than once; one line per data basis."""
    series_of = {name: series for name, series in _named(run) if len(series) > 1}
    charts = []
    for m in MEASURES:
        if m.key not in FOLLOWED:
            continue
        series = [_way(name, one, m, _colour(i)) for i, (name, one) in enumerate(series_of.items())]
        if not any(math.isfinite(value) for one in series for value in one.values):
            continue
        best = best_constant(next(iter(series_of.values()))[-1], m.key)
        frame = Frame(
            label=f"{m.name} over training steps",
            span=span_of(run),
            marks=stage_marks(run.settings),
            levels=[(m.factor * best, "best constant")] if best and m.key in COMPARED else (),
        )
        charts.append(figure(joined([element("b", m.name), " ", m.unit]), Html(line_chart(series, frame))))
    if not charts:
        return Html()
    names = Html(legend([(name, _colour(i)) for i, name in enumerate(series_of)]))
    return joined([element("h3", "over the steps"), names, element("div", *charts, style="charts")])


def _colour(place: int) -> int:
    return (7, 0, 4, 5)[place % 4]


def _named(run: RunFolder) -> Iterator[tuple[str, list[Evaluation]]]:
    """Comparable evaluations by name: the split, with the number of frames if there are several."""
    for split in run.splits:
        series = run.scored(split)
        for one in series:
            alone = len(series) == 1
            yield split if alone else f"{split}, {one[-1].get('frames', 0):,} frames ({one[-1]['basis']})", one


def _way(name: str, scored: list[Evaluation], measure: Measure, colour: int) -> Series:
    return Series(
        name=name,
        steps=[one["step"] for one in scored],
        values=[measure.factor * model_score(one, measure.key) for one in scored],
        colour=colour,
        dots=True,
    )
