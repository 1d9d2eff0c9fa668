"""The result of an evaluation: scores, how they were computed, and what is needed to repeat it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trace_data.errors import OutputError
from trace_data.files import atomic_write
from trace_train.evaluation.measures import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceScores:
    """The network's scores on one sequence, or on one window of it."""

    dataset: str
    name: str
    start: int
    """First frame, counted within the sequence."""
    frames: int
    people: int
    """Annotated person-frames."""
    matched: int
    """Person-frames a detection was matched to."""
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """The result of an evaluation and all that is needed to repeat it."""

    checkpoint: str
    """Where the weights come from."""
    weights_sha256: str
    """Of the file they were read from; empty for those of a run that goes on."""
    step: int
    split: str
    synthetic: bool
    sequences: int
    """Sequences that frames were taken of."""
    sequences_sha256: str
    """Of the list of names, first frames and numbers of frames."""
    frames: int
    people: int
    """Annotated person-frames in the picture."""
    matched: int
    """Person-frames a detection was matched to."""
    rows: Mapping[str, Scores]
    """`model`, `mean pose` and `mean pose in the camera` where they could be fitted, `stands still`."""
    datasets: Mapping[str, Mapping[str, Scores]]
    """The same rows for each dataset, where the split has several."""
    sequence_scores: tuple[SequenceScores, ...]
    """Of the network, sequence by sequence, or window by window where only some are scored."""
    settings: Mapping[str, Any]
    """How frames were chosen and people detected."""
    configuration: Mapping[str, Any]
    """The run's."""
    protocol: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EvalReport:
        """The report whose `to_json` gave `values`."""

        def rows(found: Mapping[str, Any]) -> dict[str, Scores]:
            return {name: Scores.from_json(row) for name, row in found.items()}

        sequences = [
            SequenceScores(**{**one, "scores": Scores.from_json(one["scores"])}) for one in values["sequence_scores"]
        ]
        nested = {
            "rows": rows(values["rows"]),
            "datasets": {name: rows(found) for name, found in values["datasets"].items()},
            "sequence_scores": tuple(sequences),
        }
        return cls(**{**values, **nested})

    def write(self, file: Path) -> None:
        """Write it as JSON, whole or not at all. Raises OutputError."""
        try:
            with atomic_write(file) as partial:
                partial.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"the result cannot be written: {error.strerror}", where=file) from error
