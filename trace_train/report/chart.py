"""Charts as HTML: lines are SVG that scales with the page, labels are plain text, and hovering needs no script.

Colours come from the page's style sheet: a series is of class `c0`, `c1`, ….
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from trace_train.report.hover import Series, stops
from trace_train.report.scale import Scale, along, fitting, short

DRAWN = 300
"""Maximum number of points drawn; longer curves are reduced to the minimum and maximum of each segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Axes and labels of a chart."""

    label: str
    """Text for screen readers."""
    span: tuple[float, float] | None = None
    """First and last step of the axis; None: the range of the values."""
    marks: Sequence[tuple[float, str]] = ()
    """Labelled steps, such as the start of stages."""
    levels: Sequence[tuple[float, str]] = ()
    """Labelled reference values."""
    large: bool = False
    log: bool = True
    """Whether to use a logarithmic axis for a large range of values."""


def line_chart(series: Sequence[Series], frame: Frame) -> str:
    """Curves over steps, or a note if there is nothing to draw."""
    kept = [_finite(one) for one in series]
    kept = [one for one in kept if len(one.steps) >= (1 if one.dots else 2)]
    if not kept:
        return '<p class="note">too few values to draw</p>'
    steps = [step for one in kept for step in one.steps]
    values = [value for one in kept for value in one.values] + [value for value, _ in frame.levels]
    x = along(*(frame.span or (min(steps), max(steps))), 8 if frame.large else 4)
    y = fitting(values, 5 if frame.large else 3, log=frame.log)
    lines = "".join(_curve(one, x, y) for one in kept)
    across = "".join(f'<path class="level" d="M0 {_down(y, value)}H1000"/>' for value, _ in frame.levels)
    words = "".join(
        f'<span class="level" style="top:{100 - 100 * y.place(value):.1f}%">{escape(name)} {short(value)}</span>'
        for value, name in frame.levels
    )
    ends = "; ".join(f"{one.name} {short(one.values[0])} to {short(one.values[-1])}" for one in kept)
    label = f"{frame.label}, from step {x.low:,.0f} to {x.high:,.0f}: {ends}"
    return _chart(frame, label, x, y, across + lines, words + stops(kept, x, y))


def share_chart(series: Sequence[Series], frame: Frame) -> str:
    """Shares of a whole, stacked from the first at the bottom. All series have the same steps; values sum to 1."""
    if not series or len(series[0].steps) < 2:
        return '<p class="note">too few values to draw</p>'
    steps = np.asarray(series[0].steps, float)
    shares = np.array([one.values for one in series], float)
    bins = np.array_split(np.arange(len(steps)), min(len(steps), DRAWN))
    steps = np.array([steps[b].mean() for b in bins])
    shares = np.stack([shares[:, b].mean(axis=1) for b in bins], axis=1)
    upper = np.cumsum(shares, axis=0)
    lower = upper - shares
    x = along(*(frame.span or (float(steps[0]), float(steps[-1]))), 8 if frame.large else 4)
    y = Scale(low=0, high=1, ticks=(0.0, 0.5, 1.0))
    areas = "".join(
        f'<path class="area c{one.colour}" d="M{_points(steps, up, x, y)}L{_points(steps[::-1], low[::-1], x, y)}Z"/>'
        for one, up, low in zip(series, upper, lower)
    )
    binned = [
        Series(name=one.name, steps=steps.tolist(), values=(100 * share).tolist(), colour=one.colour)
        for one, share in zip(series, shares)
    ]
    ends = "; ".join(f"{one.name} {one.values[0]:.0f} to {one.values[-1]:.0f} %" for one in binned)
    return _chart(frame, f"{frame.label}: {ends}", x, y, areas, stops(binned, x, None), percent=True)


def sparkline(values: Sequence[float], colour: int = 0) -> str:
    """A curve without axes, for a cell of a table."""
    known = [value for value in values if math.isfinite(value)]
    if len(known) < 2:
        return ""
    y = fitting(known, 2)
    one = Series(name="", steps=range(len(known)), values=known, colour=colour)
    path = _mean_path(one, along(0, len(known) - 1, 2), y)
    return f'<svg class="spark" viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">{path}</svg>'


def legend(names: Sequence[tuple[str, int]]) -> str:
    """Names with their colours."""
    return '<p class="legend">' + "".join(f'<span><i class="c{c}"></i>{escape(n)}</span>' for n, c in names) + "</p>"


def _chart(frame: Frame, label: str, x: Scale, y: Scale, lines: str, words: str, *, percent: bool = False) -> str:
    marks = [(step, name) for step, name in frame.marks if x.low < step < x.high]
    grid = "".join(f'<path class="grid" d="M0 {_down(y, tick)}H1000"/>' for tick in y.ticks)
    grid += "".join(f'<path class="mark" d="M{1000 * x.place(step):.0f} 0V1000"/>' for step, _ in marks)
    write = "{:.0%}".format if percent else short
    texts = [f'<span class="y" style="top:{100 - 100 * y.place(tick):.1f}%">{write(tick)}</span>' for tick in y.ticks]
    texts += [f'<span class="x" style="left:{100 * x.place(tick):.1f}%">{short(tick)}</span>' for tick in x.ticks]
    for step, name in marks if frame.large else ():
        side = " r" if x.place(step) > 0.6 else ""
        texts.append(f'<span class="mark{side}" style="left:{100 * x.place(step):.1f}%">{escape(name)}</span>')
    if y.log:
        texts.append('<span class="log">log scale</span>')
    svg = f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none" aria-hidden="true">{grid}{lines}</svg>'
    style = "chart large" if frame.large else "chart"
    inside = f"<div>{svg}{''.join(texts)}{words}</div>"
    return f'<div class="{style}" role="img" aria-label="{escape(label, quote=True)}">{inside}</div>'


def _finite(one: Series) -> Series:
    kept = [(float(s), float(v)) for s, v in zip(one.steps, one.values) if math.isfinite(v)]
    steps, values = zip(*kept) if kept else ((), ())
    return Series(name=one.name, steps=steps, values=values, colour=one.colour, dots=one.dots)


def _curve(one: Series, x: Scale, y: Scale) -> str:
    if one.dots:
        places = [f"{1000 * x.place(s):.1f} {_down(y, v)}" for s, v in zip(one.steps, one.values)]
        dots = "".join(f"M{place}h0" for place in places)
        return (
            f'<path class="mean c{one.colour}" d="M{"L".join(places)}"/><path class="dots c{one.colour}" d="{dots}"/>'
        )
    raw = f'<path class="raw c{one.colour}" d="M{_points(*_extremes(one), x, y)}"/>'
    return raw + _mean_path(one, x, y)


def _mean_path(one: Series, x: Scale, y: Scale) -> str:
    means = running_mean(one.values, len(one.values) // 30)
    at = np.unique(np.linspace(0, len(means) - 1, min(len(means), DRAWN)).round().astype(int)).tolist()
    points = _points([one.steps[i] for i in at], [means[i] for i in at], x, y)
    return f'<path class="mean c{one.colour}" d="M{points}"/>'


def _points(steps: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, x: Scale, y: Scale) -> str:
    return "L".join(f"{1000 * x.place(float(s)):.1f} {_down(y, float(v))}" for s, v in zip(steps, values))


def _down(y: Scale, value: float) -> str:
    return f"{1000 - 1000 * y.place(value):.1f}"


def _extremes(one: Series) -> tuple[list[float], list[float]]:
    """The curve, or the minimum and maximum of each of `DRAWN / 2` segments, in order."""
    if len(one.values) <= DRAWN:
        return list(one.steps), list(one.values)
    values = np.asarray(one.values)
    stretches = np.array_split(np.arange(len(values)), DRAWN // 2)
    at = [i for s in stretches for i in sorted({int(s[values[s].argmin()]), int(s[values[s].argmax()])})]
    return [one.steps[i] for i in at], [one.values[i] for i in at]


def running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Mean of each value with `reach` neighbours on either side, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    means: list[float] = ((sums[high] - sums[low]) / (high - low)).tolist()
    return means
