"""What a preflight says of each thing that a run needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from trace_data.errors import TraceError


@dataclass(slots=True, kw_only=True)
class PreflightItem:
    """One thing that was looked at, and everything that is wrong with it."""

    name: str
    """`shards`, `packs`, …"""
    found: str = ""
    """What there is."""
    errors: list[TraceError] = field(default_factory=list)
    """Each with its cause, its place, and what mends it."""
    warnings: list[str] = field(default_factory=list)
    """What a run can live with."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors


class PreflightError(TraceError):
    """Several things are wrong; nothing was started."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PreflightReport:
    """Everything that was looked at."""

    parts: tuple[PreflightItem, ...]

    @property
    def errors(self) -> list[TraceError]:
        """All problems."""
        return [error for part in self.parts for error in part.errors]

    @property
    def ok(self) -> bool:
        """Whether a run can begin."""
        return not self.errors

    def raise_if_wrong(self) -> None:
        """Raise the problem there is, or PreflightError with all of them."""
        raise_all(self.errors)


def raise_all(errors: Sequence[TraceError]) -> None:
    """Raise the only error, or PreflightError that names all; nothing where there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        text = "\n  ".join(f"{number}. {error}".replace("\n", "\n   ") for number, error in enumerate(errors, start=1))
        raise PreflightError(f"{len(errors)} problems, nothing was started:\n  {text}")
