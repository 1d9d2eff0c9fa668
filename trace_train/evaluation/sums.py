"""Scores as sums and counts: those of a split are those of its sequences, added up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

MODEL = "model"
"""The row of the network in a table of scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors of one predictor; None where nothing was measured. Formulas: docs/evaluation.md."""

    mpjpe: float | None
    """mm."""
    pa_mpjpe: float | None
    """mm."""
    pve: float | None
    """mm."""
    acceleration: float | None
    """m/s^2."""
    acceleration_per_frame: float | None
    """mm/frame^2."""
    error_2d: float | None
    """px of the original frame."""
    joints_mpjpe: float | None
    """mm, on the labelled joints of people without a body; so are the next three."""
    joints_pa_mpjpe: float | None
    """mm."""
    pck: float | None
    """Share of joints within 150 mm."""
    auc: float | None
    """The same, mean over 0 to 150 mm."""
    recall: float | None
    precision: float | None
    mpjpe_with_misses: float | None
    """mm, each missed person counting 150."""
    w_mpjpe: float | None
    """mm."""
    wa_mpjpe: float | None
    """mm."""
    rte: float | None
    """Share of the path."""
    root_orientation: float | None
    """Degrees."""
    ate: float | None
    """m, after Sim(3)."""
    ate_rigid: float | None
    """m, after SE(3)."""
    ate_start: float | None
    """m, after the first positions were made to meet."""
    path_ratio: float | None
    """Predicted over annotated length of path."""
    jitter: float | None
    """10 m/s^3."""
    foot_sliding: float | None
    """mm in a thirtieth of a second."""
    world_coverage: float | None
    """Share of the person-frames annotated in the world that were found."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Scores:
        """What `asdict` gave, of this version or one with other measures."""
        return cls(**{f.name: values.get(f.name) for f in fields(cls)})


class Sums:
    """A sum and a count for each measure of `Scores`."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def add(self, measure: str, total: float, count: float) -> None:
        """Take in a sum over `count` things."""
        if count:
            self.totals[measure] = self.totals.get(measure, 0.0) + total
            self.counts[measure] = self.counts.get(measure, 0.0) + count

    def add_all(self, measure: str, values: Tensor, factor: float = 1.0) -> None:
        """Take in values (N,), each counting once."""
        self.add(measure, factor * float(values.sum()), len(values))

    def take(self, other: Sums) -> None:
        """Take in all of another's."""
        for measure, total in other.totals.items():
            self.add(measure, total, other.counts[measure])

    def scores(self) -> Scores:
        """The means."""
        names = [f.name for f in fields(Scores)]
        return Scores(**{n: self.totals[n] / self.counts[n] if n in self.totals else None for n in names})
