"""Loss terms in reports: groups, colours, values and shares of the total."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from trace_train.losses.table import LOSSES, Group

TOTAL = "total"
OTHER = "other"
"""Group of unknown losses, from other versions."""
GROUPS = (*get_args(Group), OTHER)
"""In the order of detecting, locating, posing and tracking a body; the index of a group is its colour."""


def group_of(term: str) -> str:
    """The group a term is shown in."""
    return LOSSES[term].group if term in LOSSES else OTHER


def colour_of(term: str) -> int:
    """The colour of a term's group."""
    return GROUPS.index(group_of(term))


def terms_of(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the logged terms without the total, group by group."""
    names = dict.fromkeys(name for line in lines for name in line["loss"] if name != TOTAL)
    return sorted(names, key=colour_of)


def values_of(lines: Sequence[Mapping[str, Any]], key: str, term: str) -> tuple[list[int], list[float]]:
    """Steps and values of one entry of a mapping in the log, such as a term of `loss`."""
    pairs = [(int(line["step"]), number(line[key][term])) for line in lines if term in (line.get(key) or {})]
    return [step for step, _ in pairs], [value for _, value in pairs]


def number(value: object) -> float:
    """The value as a number; NaN if it is not one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def shares(
    lines: Sequence[Mapping[str, Any]], weights: Sequence[Mapping[str, float]]
) -> tuple[list[int], dict[str, npt.NDArray[np.float64]]]:
    """Share of each weighted term in the total, for the steps in which all terms are numbers.

    `weights`: of the terms, for each line; terms without a weight in all lines are left out.
    """
    terms = [term for term in terms_of(lines) if any(term in own for own in weights)]
    parts = np.array(
        [
            [own.get(term, 0.0) * max(0.0, number(line["loss"].get(term, 0.0))) for term in terms]
            for line, own in zip(lines, weights)
        ]
    ).reshape(len(lines), len(terms))
    sums = parts.sum(axis=1)
    good = np.isfinite(sums) & (sums > 0)
    steps = [int(line["step"]) for line, kept in zip(lines, good) if kept]
    return steps, dict(zip(terms, (parts[good] / sums[good, None]).T))
