"""Findings of checks, and their grouping into problems, so that a report names each kind once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Findings of one kind, grouped."""

    severity: Severity
    what: str
    """Message of the first case."""
    count: int
    examples: tuple[str, ...]
    """Where it occurs: five cases at most, unless all were asked for."""
    hint: str
    """How to fix it."""


def any_error(found: Iterable[Finding | Problem]) -> bool:
    """Whether one of them is an error; warnings do not count."""
    return any(entry.severity == "error" for entry in found)


def wrong(key: str, what: str) -> Finding:
    """An error without a hint; the caller adds one."""
    return Finding(severity="error", key=key, what=what)


def grouped(findings: Sequence[tuple[str, Finding]], examples: int | None = EXAMPLES) -> tuple[Problem, ...]:
    """Group findings that differ only in numbers, names and places; errors first, then by count.

    `examples`: number of cases listed for each problem; None for all.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, Finding]]] = {}
    for where, finding in findings:
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
    """The result of one failed check."""

    severity: Severity
    """`error`: the sequence cannot be used; `warning`: it can, but the user should know."""
    key: str
    """The part of the record, or the file."""
    what: str
    """The value found and the value expected."""
    hint: str = ""
    """The usual cause, or how to fix it."""
