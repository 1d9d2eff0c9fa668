"""What each step of a way took, of which training is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trace_train.report.html import table
from trace_train.report.page import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTook:
    """One step of the way."""

    name: str
    seconds: float
    text: str
    """What came out, in a line."""


def steps_section(steps: Sequence[StepTook]) -> Section:
    """A table of the steps and their sum."""
    total = StepTook(name="in all", seconds=sum(step.seconds for step in steps), text="")
    rows = [(step.name, f"{step.seconds:,.1f} s", step.text) for step in (*steps, total)]
    return Section(title="What each step took", body=table((), rows, style="steps"))
