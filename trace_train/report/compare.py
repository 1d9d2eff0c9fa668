"""Writes the page that compares several runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trace_data.files import writable_folder
from trace_data.pages.html import Html, element, figure, folded, joined, note, table
from trace_train.evaluate import MEASURES, Measure
from trace_train.report.chart import Frame, legend, line_chart
from trace_train.report.comparison import (
    LikeScores,
    Missing,
    differing_settings,
    like_scores,
    missing_parts,
    read_runs,
)
from trace_train.report.curves import MACHINE, stage_marks
from trace_train.report.folder import RunFolder, State
from trace_train.report.hover import Series
from trace_train.report.overview import facts
from trace_train.report.page import Page, Section, write_page
from trace_train.report.scores import COMPARED, FOLLOWED, best_constant, distance_to_best, measure_title, model_score
from trace_train.report.terms import TOTAL, number, terms_of, values_of
from trace_train.weights.checkpoint_writer import RULES, error_with_misses

PAGE = "compare.html"
COLOURS = (0, 2, 4, 5, 3, 1, 7, 6)
"""Of the runs, neighbours far apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One of the runs."""

    name: str
    path: Path
    state: State
    step: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresBeside:
    """The latest scores of runs evaluated on the same data with the same protocol."""

    split: str
    basis: str
    frames: int
    steps: Mapping[str, int]
    """Of the latest evaluation, by run."""
    scores: Mapping[str, Mapping[str, float | None]]
    """By run and measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The content of a written page."""

    page: Path
    runs: tuple[ComparedRun, ...]
    scores: tuple[ScoresBeside, ...]
    """Only of evaluations that at least two runs share."""
    settings: Mapping[str, Mapping[str, str]]
    """Settings that differ, by key and run."""
    missing: tuple[str, ...]
    """What one run lacks that another has."""
    bytes: int


def write_comparison(paths: Sequence[Path], *, out: Path = Path(PAGE)) -> Comparison:
    """Write the page of two to eight runs, finished or not, from their folders alone.

    Scores stand beside each other only where the data evaluated and the protocol are the same. Raises CheckpointError
    if there is no run, ConfigError, OutputError.
    """
    runs = read_runs(paths)
    writable_folder(out.parent)
    groups = like_scores(runs)
    shared = [group for group in groups if len(group.series) > 1]
    missing, settings = missing_parts(runs, groups), differing_settings(runs)
    synthetic = all(run.data.get("synthetic") for run in runs.values())
    page = Page(
        title=f"{len(runs)} runs compared",
        badges=[("synthetic data", "synthetic")] if synthetic else [],
        notes=[sentence] if (sentence := _sentence(shared)) else [],
        sections=[
            Section(title="Runs", body=_facts(runs)),
            Section(title="What is missing where", body=_missing(missing)),
            Section(title="Scores", body=_scores(runs, shared)),
            Section(title="Settings that differ", body=_settings(runs, settings)),
            Section(title="Training loss", body=_losses(runs, settings)),
            Section(title="Optimiser and machine", body=_machine(runs)),
        ],
        drawn_by="trace compare",
    )
    return Comparison(
        page=out,
        runs=tuple(
            ComparedRun(name=name, path=run.path, state=run.state, step=run.step, steps=run.steps)
            for name, run in runs.items()
        ),
        scores=tuple(map(_beside, shared)),
        settings={key: dict(zip(runs, values)) for key, values in settings.items()},
        missing=tuple(map(str, missing)),
        bytes=write_page(out, page),
    )


def _beside(group: LikeScores) -> ScoresBeside:
    last = group.last
    finite = {
        name: {m.key: value if math.isfinite(value := model_score(one, m.key)) else None for m in MEASURES}
        for name, one in last.items()
    }
    return ScoresBeside(
        split=group.split,
        basis=group.basis,
        frames=_frames(group),
        steps={name: int(one["step"]) for name, one in last.items()},
        scores=finite,
    )


def _frames(group: LikeScores) -> int:
    return max(int(one.get("frames") or 0) for one in group.last.values())


def colour_of_run(runs: Mapping[str, RunFolder], name: str) -> int:
    """The colour of a run everywhere on the page."""
    return COLOURS[list(runs).index(name)]


def legend_of(runs: Mapping[str, RunFolder]) -> Html:
    """Names of the runs with their colours."""
    return Html(legend([(name, colour_of_run(runs, name)) for name in runs]))


def _heads(runs: Mapping[str, RunFolder], names: Iterable[str]) -> list[Html]:
    return [joined([element("i", style=f"c{colour_of_run(runs, name)}"), " ", name]) for name in names]


def _sentence(groups: Sequence[LikeScores]) -> str:
    """Which run leads in the first table, by the error that counts misses: MPJPE alone knows only who was found."""
    if not groups:
        return ""
    group = groups[0]
    deciding = ("recall", "mpjpe", "mpjpe_with_misses", "joints_mpjpe")
    values = {
        name: error_with_misses({measure: model_score(one, measure) for measure in deciding})
        for name, one in group.last.items()
    }
    known = sorted((value, name) for name, value in values.items() if math.isfinite(value))
    if len(known) < 2:
        return ""
    text = "; ".join(f"{name} {value:.1f} mm" for value, name in known)
    return f"{RULES['best'][1]} on {group.split}, {_frames(group):,} frames, lowest first: {text}."


def _facts(runs: Mapping[str, RunFolder]) -> Html:
    told: list[dict[str, object]] = [
        {"state": f"{run.state}, step {run.step:,} of {run.steps:,}", **dict(facts(run, None)), "folder": run.path}
        for run in runs.values()
    ]
    names = dict.fromkeys(name for one in told for name in one if name != "steps")
    rows = [(name, *(one.get(name, "–") for one in told)) for name in names]
    return table(("", *_heads(runs, runs)), rows, style="beside")


def _missing(missing: Sequence[Missing]) -> Html:
    if not missing:
        return note("Nothing: all are finished, log the same terms, and are scored on the same data.")
    items = [
        element("li", element("b", one.run), f": {one.what}", *([element("pre", one.command)] if one.command else []))
        for one in missing
    ]
    return element("ul", *items, style="warnings")


def _scores(runs: Mapping[str, RunFolder], groups: Sequence[LikeScores]) -> Html:
    if not groups:
        return note("No two of these runs are scored on the same data with the same protocol.")
    explained = note(
        "Only evaluations on the same frames of the same shards, with the same body models, threshold and protocol "
        "stand in one table. The latest of each run counts. In bold the best of a row; small, how far it is from the "
        "best constant predictor on the people that this run found. Two runs that differ in their seed alone differ "
        "too: take a small difference for none before it was seen with several seeds."
    )
    return joined([explained, *(_group(runs, group) for group in groups)])


def _group(runs: Mapping[str, RunFolder], group: LikeScores) -> Html:
    last = group.last
    rows = []
    for measure in MEASURES:
        values = [model_score(one, measure.key) for one in last.values()]
        if any(map(math.isfinite, values)):
            rows.append((measure_title(measure), *_cells(measure, values, list(last.values()))))
    heads = [
        joined([head, element("small", f" step {one['step']:,}")])
        for head, one in zip(_heads(runs, last), last.values())
    ]
    first = next(iter(last.values()))
    about = ", ".join(f"{first[key]:,} {key}" for key in ("sequences", "frames", "people") if key in first)
    protocols = dict.fromkeys(str(one.get("protocol") or "") for one in last.values())
    return joined(
        [
            element("h3", f"{group.split} ", element("small", about)),
            table(("", *heads), rows, style="scores"),
            folded("how these were computed", *(element("p", text) for text in protocols)),
            _followed(runs, group),
        ]
    )


def _cells(measure: Measure, values: Sequence[float], evaluations: Sequence[Mapping[str, Any]]) -> Iterable[Html]:
    known = [value for value in values if math.isfinite(value)]
    best = min(known, key=lambda value: distance_to_best(measure, value))
    for value, one in zip(values, evaluations):
        if not math.isfinite(value):
            yield Html("–")
            continue
        constant = best_constant(one, measure.key) if measure.key in COMPARED else None
        beside = f" {100 * (value / constant - 1):+.0f} %" if constant else ""
        style = "best" if value == best and len(known) > 1 else ""
        number_shown = element("span", f"{measure.factor * value:,.{measure.digits}f}", style=style)
        yield joined([number_shown, element("small", beside)])


def _followed(runs: Mapping[str, RunFolder], group: LikeScores) -> Html:
    """Measures over the steps, of runs that were evaluated more than once."""
    charts = []
    for measure in MEASURES:
        if measure.key not in FOLLOWED:
            continue
        series = [
            Series(
                name=name,
                steps=[one["step"] for one in scored],
                values=[measure.factor * model_score(one, measure.key) for one in scored],
                colour=colour_of_run(runs, name),
                dots=True,
            )
            for name, scored in group.series.items()
        ]
        if any(math.isfinite(value) for one in series if len(one.values) > 1 for value in one.values):
            frame = Frame(label=f"{measure.name} over training steps", span=_span(runs), marks=_marks(runs))
            caption = joined([element("b", measure.name), " ", measure.unit])
            charts.append(figure(caption, Html(line_chart(series, frame))))
    return _charts(runs, charts)


def _charts(runs: Mapping[str, RunFolder], charts: Sequence[Html]) -> Html:
    return joined([legend_of(runs), element("div", *charts, style="charts")]) if charts else Html()


def _span(runs: Mapping[str, RunFolder]) -> tuple[float, float]:
    return 0.0, float(max(1, *(run.step for run in runs.values())))


def _marks(runs: Mapping[str, RunFolder]) -> Sequence[tuple[float, str]]:
    """The beginnings of stages, if they are the same in all runs."""
    marks = [stage_marks(run.settings) for run in runs.values()]
    return marks[0] if all(own == marks[0] for own in marks) else ()


def _settings(runs: Mapping[str, RunFolder], settings: Mapping[str, Sequence[str]]) -> Html:
    if not settings:
        return note("None: all runs have the same configuration.")
    return table(("key", *_heads(runs, runs)), [(key, *values) for key, values in settings.items()], style="beside")


def _losses(runs: Mapping[str, RunFolder], settings: Mapping[str, Sequence[str]]) -> Html:
    weighted = [key for key in settings if key.startswith("loss.") or ".loss" in key]
    warning = f"The totals do not measure the same: weights of the losses differ ({', '.join(weighted)})."
    total = _curves(runs, TOTAL, large=True)
    terms = dict.fromkeys(term for run in runs.values() for term in terms_of(run.lines))
    charts = [chart for term in terms if (chart := _curves(runs, term))]
    if not total and not charts:
        return note("Nothing has been logged yet.")
    return joined(
        [note(warning) if weighted else Html(), legend_of(runs), total, element("div", *charts, style="charts")]
    )


def _curves(runs: Mapping[str, RunFolder], term: str, *, large: bool = False) -> Html:
    """One loss term of all runs, unweighted."""
    series = []
    for name, run in runs.items():
        steps, values = values_of(run.lines, "loss", term)
        if sum(map(math.isfinite, values)) > 1:
            series.append(Series(name=name, steps=steps, values=values, colour=colour_of_run(runs, name)))
    frame = Frame(label=f"{term} over training steps", span=_span(runs), marks=_marks(runs), large=large)
    return figure(element("b", term), Html(line_chart(series, frame))) if series else Html()


def _machine(runs: Mapping[str, RunFolder]) -> Html:
    charts = []
    for key, title, unit, factor in MACHINE:
        series = []
        for name, run in runs.items():
            known = [(line["step"], factor * number(line.get(key))) for line in run.lines]
            known = [(step, value) for step, value in known if math.isfinite(value)]
            if len(known) > 1 and any(value for _, value in known):
                steps, values = zip(*known)
                series.append(Series(name=name, steps=steps, values=values, colour=colour_of_run(runs, name)))
        if series:
            frame = Frame(
                label=f"{title} over training steps", span=_span(runs), marks=_marks(runs), log=key == "gradient_norm"
            )
            charts.append(figure(joined([element("b", title), f" {unit}"]), Html(line_chart(series, frame))))
    return _charts(runs, charts)
