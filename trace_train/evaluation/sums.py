"""Scores as sums and counts, so that those of sequences add up to those of a split."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from trace_train.evaluation.measures import MEASURES, Scores

KEYS = tuple(measure.key for measure in MEASURES)
MODEL = "model"
"""The row of the network in a table of scores."""


class Sums:
    """A sum and a count for each measure of `Scores`."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self.counts: dict[str, float] = {}

    def add(self, measure: str, total: float, count: float) -> None:
        """Add a sum over `count` values. Raises ValueError for a measure that `Scores` does not have."""
        if measure not in KEYS:
            raise ValueError(f"no measure is called {measure!r}: Scores lists all of them")
        if count:
            self.totals[measure] = self.totals.get(measure, 0.0) + total
            self.counts[measure] = self.counts.get(measure, 0.0) + count

    def add_all(self, measure: str, values: Tensor, factor: float = 1.0) -> None:
        """Add values (N,), each counting once."""
        self.add(measure, factor * float(values.sum()), len(values))

    def take(self, other: Sums) -> None:
        """Add all sums of `other`."""
        for measure, total in other.totals.items():
            self.add(measure, total, other.counts[measure])

    def scores(self) -> Scores:
        """The means."""
        return Scores(**{key: self.totals[key] / self.counts[key] if key in self.totals else None for key in KEYS})


def pooled(parts: Iterable[Sums]) -> Scores:
    """The means over everything that was counted: every frame weighs the same."""
    whole = Sums()
    for part in parts:
        whole.take(part)
    return whole.scores()


def mean_of_sequences(parts: Iterable[Sums]) -> Scores:
    """The means of the sequences' scores, of those in which a measure was taken: every sequence weighs the same."""
    return mean_of_scores([part.scores() for part in parts])


def mean_of_scores(rows: Sequence[Scores]) -> Scores:
    """Each measure's mean over the rows that have it."""
    values = {key: [value for row in rows if (value := getattr(row, key)) is not None] for key in KEYS}
    return Scores(**{key: sum(found) / len(found) if found else None for key, found in values.items()})
