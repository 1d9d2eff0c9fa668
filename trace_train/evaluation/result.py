"""The result of an evaluation: scores, how they were computed, and what is needed to repeat it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from trace_data.errors import OutputError
from trace_data.files import atomic_write, sha256_of
from trace_data.schema.body import GENDERS
from trace_data.shards.reader import ShardReader
from trace_train.evaluation.measures import Scores


def basis_of(values: Mapping[str, Any]) -> str:
    """`EvalReport.basis` of a result as it was written, by any version."""
    settings = values.get("settings") or {}
    facts = [values.get(name) for name in ("split", "sequences_sha256", "shards_sha256", "packs_sha256")]
    facts += [None if settings.get(name) is None else float(settings[name]) for name in ("every", "threshold")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def data_hashes(reader: ShardReader, packs: Path) -> tuple[str, str]:
    """`shards_sha256` and `packs_sha256` of a result, for `EvalReport.of_data`."""
    adults = [sha256_of(packs / f"SMPL_{gender.upper()}.pth") for gender in sorted(GENDERS)]
    index = hashlib.sha256(reader.store.read_index())
    return index.hexdigest(), hashlib.sha256("".join(adults).encode()).hexdigest()


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
    shards_sha256: str = ""
    """Of the index of the shards; empty in results of versions before this one, as is the next."""
    packs_sha256: str = ""
    """Of the body models that annotated bodies are made of."""
    candidates: int | None = None
    """Detections in all frames, whoever they are; None in results of versions before this one, as is the next."""
    best_score: float | None = None
    """Of anything that could have been a detection."""

    def of_data(self, shards_sha256: str, packs_sha256: str) -> EvalReport:
        """The same, which says what data it was computed on."""
        return replace(self, shards_sha256=shards_sha256, packs_sha256=packs_sha256)

    @property
    def basis(self) -> str:
        """Eight digits of what the scores were computed on and how: only results of one basis can be compared."""
        return basis_of(self.to_json())

    @property
    def file_name(self) -> str:
        """Results of one step on other data, or with another threshold, have another one."""
        return f"evaluation-{self.split}-{self.step:08d}-{self.basis}.json"

    @property
    def advice(self) -> str:
        """What to know, and to do, where nobody annotated was found; empty where somebody was."""
        if self.matched or not self.people or self.candidates is None or self.best_score is None:
            return ""
        threshold = self.settings["threshold"]
        text = (
            f"nobody annotated was found: {self.candidates:,} detections above the threshold of {threshold:g}, the best"
            f" score is {self.best_score:.3g}"
        )
        if self.candidates:
            return f"{text}; they are not where people are: train longer, and look at the heat maps of trace report"
        lower = 0.8 * self.best_score
        return f"{text}; --threshold {lower:.2g} would show the best of them, and longer training raises them"

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
