"""Results of a preflight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trace_data.errors import TraceError


@dataclass(slots=True, kw_only=True)
class PreflightItem:
    """Result of one check, with all its problems."""

    name: str
    """`shards`, `packs`, …"""
    found: str = ""
    """Description of what was found."""
    notes: list[str] = field(default_factory=list)
    """More of what was found, a line each."""
    errors: list[TraceError] = field(default_factory=list)
    """Each with its cause, location and fix."""
    warnings: list[str] = field(default_factory=list)
    """Problems that do not prevent a run."""

    @property
    def ok(self) -> bool:
        """Whether there are no errors."""
        return not self.errors


class PreflightError(TraceError):
    """Several things are wrong; nothing was started."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """Results of all checks."""

    parts: tuple[PreflightItem, ...]

    @property
    def errors(self) -> list[TraceError]:
        """All problems."""
        return [error for part in self.parts for error in part.errors]

    @property
    def ok(self) -> bool:
        """Whether a run can start."""
        return not self.errors

    def raise_if_wrong(self) -> None:
        """Raise the only error, or PreflightError with all of them."""
        raise_all(self.errors)


def raise_all(errors: Sequence[TraceError]) -> None:
    """Raise the only error, or PreflightError with all of them; do nothing if there are none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        text = "\n  ".join(f"{number}. {error}".replace("\n", "\n   ") for number, error in enumerate(errors, start=1))
        raise PreflightError(f"{len(errors)} problems, nothing was started:\n  {text}")
