"""Tooltips of charts, with CSS only."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

import numpy as np

from trace_train.report.scale import Scale, short

STOPS = 40
"""Maximum number of positions with a tooltip in a chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Values over steps; non-finite ones are left out."""

    name: str
    steps: Sequence[float]
    values: Sequence[float]
    colour: int = 0
    dots: bool = False
    """Draw few values as connected dots; otherwise a noisy curve with its running mean."""


def stops(series: Sequence[Series], x: Scale, y: Scale | None) -> str:
    """Stripes that show a line and the values on hover; `y` places a dot on each curve."""
    known = sorted({step for one in series for step in one.steps if x.low <= step <= x.high})
    chosen = [known[i] for i in np.unique(np.linspace(0, len(known) - 1, min(len(known), STOPS)).round().astype(int))]
    places = [100 * x.place(step) for step in chosen]
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(places)), 100.0]
    out = []
    for step, place, left, right in zip(chosen, places, edges, edges[1:]):
        words, dots = [f"step {step:,.0f}"], ""
        for one in series:
            if i := bisect.bisect_right(one.steps, step):
                value = one.values[i - 1]
                words.append(f"{escape(one.name)} {short(value)}")
                if y is not None:
                    dots += f'<u class="c{one.colour}" style="top:{100 - 100 * y.place(value):.1f}%"></u>'
        inside = 100 * (place - left) / max(right - left, 1e-9)
        side = ' class="r"' if place > 50 else ""
        out.append(
            f'<i style="left:{left:.2f}%;width:{right - left:.2f}%"><s style="left:{inside:.0f}%">'
            f"{dots}<b{side}>{' · '.join(words)}</b></s></i>"
        )
    return "".join(out)
