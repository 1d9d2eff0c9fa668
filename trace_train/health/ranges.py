"""Is a run healthy? Each loss term is compared with what is normal for it at steps 1, 100 and 1000."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trace_train.losses.table import LOSSES, Loss

LOOKED_AT = (1, 100, 1000)
"""Steps at which terms are compared; the first logged line from each of them on counts."""
ENOUGH_TRAVEL = 0.02
"""Sum of learning rates from which on a term must have fallen at step 100. Adam moves a weight by about the rate in a
step, so this is how far weights can have moved: about the size of a fresh one. A long warm-up is not there by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """A term outside of what is normal for it."""

    step: int
    term: str
    what: str
    """Value and range, in words."""
    causes: str

    def __str__(self) -> str:
        return f"{self.term} at step {self.step:,}: {self.what}; usual causes: {self.causes}"


def oddities(lines: Sequence[Mapping[str, Any]], *, fresh: bool) -> list[Oddity]:
    """What is not normal in the last of a run's logged lines, if it is one of those that are looked at.

    `lines`: all of `metrics.jsonl` so far. `fresh`: the network began at the constant predictor, not from weights that
    were loaded. Terms without a valid entry are left out, as are terms of other versions.
    """
    line, before = lines[-1], lines[-2]["step"] if len(lines) > 1 else 0
    looked_at = [step for step in LOOKED_AT if before < step <= line["step"]]
    if not looked_at:
        return []
    asked = looked_at[-1]
    travel = sum(b["lr"] * (b["step"] - a["step"]) for a, b in zip([{"step": 0}, *lines], lines))
    first = lines[0]["loss"] if lines[0]["step"] == LOOKED_AT[0] else {}
    must_fall = fresh and (asked == 1000 or (asked == 100 and travel >= ENOUGH_TRAVEL))
    found = []
    for name, loss in LOSSES.items():
        if line["counts"].get(name) and name in line["loss"]:
            start = first.get(name) if asked > 1 and lines[0]["counts"].get(name) else None
            what = _odd(loss, line["loss"][name], start, asked, must_fall=must_fall)
            if what:
                found.append(Oddity(step=line["step"], term=name, what=what[0], causes=what[1]))
    return found


def _odd(loss: Loss, value: float, start: float | None, asked: int, *, must_fall: bool) -> tuple[str, str] | None:
    """What is odd about a value, and its usual causes; None where it is normal."""
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
