"""Line charts as inline SVG: no script, no font, no address outside the page. Colours come from the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

MARGIN_LEFT, MARGIN_BOTTOM, MARGIN_TOP, MARGIN_RIGHT = 46.0, 22.0, 8.0, 12.0


def line_chart(
    steps: Sequence[float], values: Sequence[float], *, label: str, width: int = 720, height: int = 240
) -> str:
    """An SVG of one curve over steps, with its running mean drawn over the single values. The y axis starts at 0.

    Values that are not finite are left out. Returns a note instead of a chart when fewer than two are left.
    """
    kept = [(float(s), float(v)) for s, v in zip(steps, values) if math.isfinite(v)]
    if len(kept) < 2:
        return '<p class="note">too few values to draw</p>'
    xs, ys = np.array(kept).T
    x_ticks = _ticks(xs.min(), xs.max(), width // 110)
    y_ticks = _ticks(min(0.0, ys.min()), ys.max(), height // 45)
    x_range, y_range = (xs.min(), xs.max()), (y_ticks[0], max(y_ticks[-1], ys.max()))

    def across(x: float) -> float:
        inner = width - MARGIN_LEFT - MARGIN_RIGHT
        return MARGIN_LEFT + inner * float((x - x_range[0]) / max(x_range[1] - x_range[0], 1e-12))

    def down(y: float) -> float:
        inner = height - MARGIN_TOP - MARGIN_BOTTOM
        return MARGIN_TOP + inner * float(1 - (y - y_range[0]) / max(y_range[1] - y_range[0], 1e-12))

    def path(heights: Sequence[float], style: str) -> str:
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in zip(xs, heights))
        return f'<polyline class="{style}" points="{points}"/>'

    grid = "".join(
        f'<line class="grid" x1="{MARGIN_LEFT}" x2="{width - MARGIN_RIGHT}" y1="{down(y):.1f}" y2="{down(y):.1f}"/>'
        f'<text x="{MARGIN_LEFT - 6}" y="{down(y) + 4:.1f}" text-anchor="end">{y:g}</text>'
        for y in y_ticks
    )
    below = "".join(
        f'<text x="{across(x):.1f}" y="{height - 5}" text-anchor="middle">{x:g}</text>'
        for x in x_ticks
        if x_range[0] <= x <= x_range[1]
    )
    curves = path(ys.tolist(), "raw") + path(_running_mean(ys.tolist(), len(ys) // 30), "mean")
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label, quote=True)}">'
        f"{grid}{below}{curves}</svg>"
    )


def _ticks(low: float, high: float, wanted: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) from at or below `low` to at or above `high`."""
    span = max(float(high - low), 1e-9)
    rough = span / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first, last = math.floor(low / distance + 1e-9), math.ceil(high / distance - 1e-9)
    return [round(i * distance, 12) for i in range(first, last + 1)]


def _running_mean(values: Sequence[float], reach: int) -> list[float]:
    """Mean of each value with `reach` neighbours on either side, fewer at the ends."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    low, high = np.maximum(at - reach, 0), np.minimum(at + reach + 1, len(values))
    means: list[float] = ((sums[high] - sums[low]) / (high - low)).tolist()
    return means
