"""Health check of a run: each loss term is compared with its normal range at steps 1, 100 and 1000."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trace_train.losses.table import LOSSES, Loss

LOOKED_AT = (1, 100, 1000)
"""Steps at which terms are compared, using the first log line at or after each."""
ENOUGH_TRAVEL = 0.02
"""Minimum sum of learning rates for requiring a fall at step 100. Adam moves a weight by about the learning rate per
step, so this bounds how far weights have moved: about the size of an initial weight. A long warm-up stays below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """A term outside its normal range."""

    step: int
    term: str
    what: str
    """Description of value and range."""
    causes: str

    def __str__(self) -> str:
        return f"{self.term} at step {self.step:,}: {self.what}; usual causes: {self.causes}"


def oddities(lines: Sequence[Mapping[str, Any]], *, fresh: bool) -> list[Oddity]:
    """Terms outside their normal range in the last log line, if it is one that is checked.

    `lines`: all of `metrics.jsonl` so far. `fresh`: the network was initialised to the mean, not from loaded weights.
    Terms without valid entries and unknown terms are ignored.
    """
    line, before = lines[-1], lines[-2]["step"] if len(lines) > 1 else 0
    looked_at = [step for step in LOOKED_AT if before < step <= line["step"]]
    if not looked_at:
        return []
    asked = looked_at[-1]
    travel = sum(b["lr"] * (b["step"] - a["step"]) for a, b in zip([{"step": 0}, *lines], lines))
    first = lines[0]["loss"] if lines[0]["step"] == LOOKED_AT[0] else {}
    must_fall = fresh and (asked == 1000 or (asked == 100 and travel >= ENOUGH_TRAVEL))
    out_of_range = []
    for name, loss in LOSSES.items():
        if line["counts"].get(name) and name in line["loss"]:
            start = first.get(name) if asked > 1 and lines[0]["counts"].get(name) else None
            what = _odd(loss, line["loss"][name], start, asked, must_fall=must_fall)
            if what:
                out_of_range.append(Oddity(step=line["step"], term=name, what=what[0], causes=what[1]))
    return out_of_range


def _odd(loss: Loss, value: float, start: float | None, asked: int, *, must_fall: bool) -> tuple[str, str] | None:
    """What is wrong with a value, and the usual causes; None if it is normal."""
    normal, (low, high) = loss.normal, loss.normal.range
    shown = f"{value:.4g} {loss.unit}"
    if value > high:
        return f"{shown}, expected at most {high:g}", normal.above
    if value < low:
        return f"{shown}, expected at least {low:g}", normal.below
    if start is None:
        return None
    if value > normal.rise * start:
        return f"{shown}, at step 1 it was {start:.4g}", "a learning rate that is too high; " + normal.above
    if must_fall and normal.fall is not None and value > normal.fall[asked == 1000] * start:
        wanted = normal.fall[asked == 1000] * start
        return (
            f"{shown}, expected at most {wanted:.4g} by now (at step 1 it was {start:.4g})",
            "a part of the network that is frozen or not in the optimiser, or a learning rate that is too low",
        )
    return None
