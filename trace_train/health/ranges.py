"""Is a run healthy? Each loss term is compared with what is normal for it at steps 1, 100 and 1000 (`terms.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

LOOKED_AT = (1, 100, 1000)
"""Steps at which terms are compared; the first logged line from each of them on counts."""
ENOUGH_TRAVEL = 0.02
"""Sum of learning rates from which on a term must have fallen at step 100. Adam moves a weight by about the rate in a
step, so this is how far weights can have moved: about the size of a fresh one. A long warm-up is not there by then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """What is normal for one term; the keys are explained in `terms.yaml`."""

    short: str
    unit: str
    range: tuple[float, float]
    fall: tuple[float, float] | None = None
    rise: float
    why: str
    above: str
    below: str


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


@cache
def normal_terms() -> dict[str, Normal]:
    """What is normal for each term, by its name."""
    text = resources.files("trace_train.health").joinpath("terms.yaml").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = yaml.safe_load(text)
    for values in known.values():
        values |= {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return {name: Normal(**values) for name, values in known.items()}


def oddities(lines: Sequence[Mapping[str, Any]], *, fresh: bool) -> list[Oddity]:
    """What is not normal in the last of a run's logged lines, if it is one of those that are looked at.

    `lines`: all of `metrics.jsonl` so far. `fresh`: the network began at the constant predictor, not from weights that
    were loaded. Terms without a valid entry are left out, as are terms that `terms.yaml` does not know.
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
    for name, normal in normal_terms().items():
        if line["counts"].get(name) and name in line["loss"]:
            start = first.get(name) if asked > 1 and lines[0]["counts"].get(name) else None
            what = _odd(normal, line["loss"][name], start, asked, must_fall=must_fall)
            if what:
                found.append(Oddity(step=line["step"], term=name, what=what[0], causes=what[1]))
    return found


def _odd(normal: Normal, value: float, start: float | None, asked: int, *, must_fall: bool) -> tuple[str, str] | None:
    """What is odd about a value, and its usual causes; None where it is normal."""
    low, high = normal.range
    shown = f"{value:.4g} {normal.unit}"
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
