"""Axis scales of charts: positions of values, ticks and number formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LOG_FROM = 12.0
"""Ratio of maximum to minimum from which a logarithmic axis is used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis from `low` to `high`."""

    low: float
    high: float
    ticks: tuple[float, ...]
    """Round numbers on it."""
    log: bool = False

    def place(self, value: float) -> float:
        """Position on the axis, 0 at `low` and 1 at `high`, clamped."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return (at - low) / (high - low)


def linear(low: float, high: float, wanted: int) -> Scale:
    """An axis that starts and ends at round numbers, with about `wanted` ticks."""
    ticks = _round_numbers(low, high, wanted)
    return Scale(low=ticks[0], high=ticks[-1], ticks=ticks)


def along(first: float, last: float, wanted: int) -> Scale:
    """An axis of exactly this range, for steps, with ticks at round numbers."""
    last = last if last > first else first + 1
    ticks = tuple(tick for tick in _round_numbers(first, last, wanted) if first <= tick <= last)
    return Scale(low=first, high=last, ticks=ticks)


def logarithmic(low: float, high: float) -> Scale:
    """An axis over positive values: powers of ten, with 2 and 5 between them when there are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    between = (1,) if last - first > 3 else (1, 2, 5)
    all_ticks = [10.0**power * m for power in range(first, last + 1) for m in between]
    bottom = max((tick for tick in all_ticks if tick <= low * 1.0001), default=low)
    top = min((tick for tick in all_ticks if tick >= high * 0.9999), default=high)
    top = top if top > bottom else 10 * bottom
    ticks = [tick for tick in all_ticks if bottom <= tick <= top]
    thinned = ticks[:: max(1, math.ceil(len(ticks) / 6))]
    return Scale(low=bottom, high=top, ticks=tuple(float(f"{tick:.3g}") for tick in thinned), log=True)


def fitting(values: Sequence[float], wanted: int, *, log: bool = True) -> Scale:
    """The axis for finite values: from zero or, with `log` and a large range, logarithmic."""
    low, high = min(values), max(values)
    if log and low > 0 and high > LOG_FROM * low:
        return logarithmic(low, high)
    return linear(min(0.0, low), max(high, 0.0) if low else max(high, 1e-9), wanted)


def short(value: float) -> str:
    """Three digits: `0.0021`, `12.3`, `1,240`, `15k`, `2.1e-05`."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4:
        return f"{value / 1e3:.3g}k" if size < 999_500 else f"{value / 1e6:.3g}M"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _round_numbers(low: float, high: float, wanted: int) -> tuple[float, ...]:
    """Round numbers (1, 2 or 5 times a power of ten) from at or below `low` to at or above `high`."""
    rough = max(float(high - low), 1e-12) / max(wanted, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    distance = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999999)
    first, last = math.floor(low / distance + 1e-9), math.ceil(high / distance - 1e-9)
    return tuple(float(f"{i * distance:.12g}") for i in range(first, max(last, first + 1) + 1))
