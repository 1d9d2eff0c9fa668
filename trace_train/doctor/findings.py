"""Results of the doctor, one line per fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One item that is available, missing or broken."""

    group: str
    """`machine`, `library`, `data`, `setting` or `command`."""
    name: str
    state: State
    found: str
    """What was found, or what is wrong."""
    meaning: str = ""
    """Its purpose, or the effect of its absence."""
    hint: str = ""
    """The command or place that fixes it; empty if nothing needs fixing."""
