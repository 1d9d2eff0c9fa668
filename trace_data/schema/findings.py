"""Findings of one kind put together, so that a report says once what occurs a thousand times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Findings of one kind, grouped."""

    severity: Severity
    what: str
    """What was found, in the words of the first case."""
    count: int
    examples: tuple[str, ...]
    """Where, at most five unless all were asked for."""
    hint: str
    """What mends it."""


def wrong(key: str, what: str) -> Finding:
    """An error for which whoever reports it knows what mends it."""
    return Finding(severity="error", key=key, what=what)


def grouped(found: Sequence[tuple[str, Finding]], examples: int | None = EXAMPLES) -> tuple[Problem, ...]:
    """Findings that differ only in numbers, names and places become one problem; errors first, then by count.

    `examples`: how many of its cases a problem names; None for all.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, Finding]]] = {}
    for where, finding in found:
        kind = re.sub(r"\([^()]*\)|\[[^\[\]]*\]|\S*\d\S*", "", f"{finding.key}: {finding.what}")
        groups.setdefault((finding.severity, " ".join(kind.split()), finding.hint), []).append((where, finding))
    problems = [
        Problem(
            severity=cases[0][1].severity,
            what=cases[0][1].what,
            count=len(cases),
            examples=tuple(f"{where}: {finding.key}: {finding.what}" for where, finding in cases[:examples]),
            hint=cases[0][1].hint,
        )
        for cases in groups.values()
    ]
    return tuple(sorted(problems, key=lambda problem: (problem.severity, -problem.count, problem.what)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    severity: Severity
    """`error`: the sequence cannot be used; `warning`: it can, but somebody should know."""
    key: str
    """Which part of the record or which file."""
    what: str
    """The value found and the value expected."""
    hint: str = ""
    """What usually causes it, or mends it."""
