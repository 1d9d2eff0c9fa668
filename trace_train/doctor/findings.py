"""What the doctor says: one line a fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorFinding:
    """One thing that is here, is not here, or is here and broken."""

    group: str
    """`machine`, `library`, `data`, `setting` or `command`."""
    name: str
    state: State
    found: str
    """What was found, or what is wrong."""
    meaning: str = ""
    """What it is for, or what its absence means."""
    hint: str = ""
    """The command or place that mends it; empty when nothing has to be mended."""
