"""The result of an evaluation: scores, protocol, and everything needed to reproduce it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from trace_data.errors import OutputError
from trace_data.files import atomic_write, sha256_of
from trace_data.schema.body import GENDERS
from trace_data.shards.reader import ShardReader
from trace_train.evaluation.measures import Scores
from trace_train.protocols.loading import DEFAULT


def basis_of(values: Mapping[str, Any]) -> str:
    """`EvalReport.basis` of a stored result of any version."""
    settings = values.get("settings") or {}
    facts = [values.get(name) for name in ("split", "sequences_sha256", "shards_sha256", "packs_sha256")]
    facts += [None if settings.get(name) is None else float(settings[name]) for name in ("every", "threshold")]
    if (name := values.get("protocol_name") or DEFAULT) != DEFAULT:
        facts += [name, values.get("rules")]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def data_hashes(reader: ShardReader, packs: Path) -> tuple[str, str]:
    """`shards_sha256` and `packs_sha256` of a result, for `EvalReport.of_data`."""
    adults = [sha256_of(packs / f"SMPL_{gender.upper()}.pth") for gender in sorted(GENDERS)]
    index = hashlib.sha256(reader.store.read_index())
    return index.hexdigest(), hashlib.sha256("".join(adults).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceScores:
    """The network's scores on one sequence or one window of it."""

    dataset: str
    name: str
    start: int
    """Index of the first frame in the sequence."""
    frames: int
    people: int
    """Annotated person-frames."""
    matched: int
    """Person-frames matched by a detection."""
    scores: Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalReport:
    """The result of an evaluation and everything needed to reproduce it."""

    checkpoint: str
    """Source of the weights."""
    weights_sha256: str
    """SHA-256 of the weights file; empty for an evaluation during training."""
    step: int
    split: str
    synthetic: bool
    sequences: int
    """Number of sequences evaluated."""
    sequences_sha256: str
    """SHA-256 of the list of sequence names, first frames and frame counts."""
    frames: int
    people: int
    """Annotated person-frames in the picture."""
    matched: int
    """Person-frames matched by a detection."""
    rows: Mapping[str, Scores]
    """Scores of `model`, `mean pose` and `mean pose in the camera` (if they could be fitted), and `stands still`."""
    datasets: Mapping[str, Mapping[str, Scores]]
    """The same rows per dataset, if the split has several."""
    sequence_scores: tuple[SequenceScores, ...]
    """Scores of the network per sequence, or per window if only some windows are evaluated."""
    settings: Mapping[str, Any]
    """How frames were chosen and people detected."""
    configuration: Mapping[str, Any]
    """Configuration of the run."""
    protocol: str
    """The protocol in words."""
    protocol_name: str = DEFAULT
    rules: Mapping[str, Any] = field(default_factory=dict)
    """The protocol as data: what `trace_train/protocols/protocol.py: Protocol` holds."""
    shards_sha256: str = ""
    """SHA-256 of the shard index; this and the next are empty in results of older versions."""
    packs_sha256: str = ""
    """SHA-256 of the body-model packs used for the ground truth."""
    candidates: int | None = None
    """Number of detections in all frames, matched or not; this and the next are None in results of older versions."""
    best_score: float | None = None
    """Highest detection score anywhere, above the threshold or not."""

    def of_data(self, shards_sha256: str, packs_sha256: str) -> EvalReport:
        """A copy with the hashes of the data."""
        return replace(self, shards_sha256=shards_sha256, packs_sha256=packs_sha256)

    @property
    def basis(self) -> str:
        """Eight digits identifying data and protocol: only results with the same basis can be compared."""
        return basis_of(self.to_json())

    @property
    def file_name(self) -> str:
        """File name; it differs for other data or another threshold at the same step."""
        return f"evaluation-{self.split}-{self.step:08d}-{self.basis}.json"

    @property
    def advice(self) -> str:
        """Advice if no annotated person was detected; otherwise empty."""
        if self.matched or not self.people or self.candidates is None or self.best_score is None:
            return ""
        threshold = self.settings["threshold"]
        text = (
            f"no annotated person was found: {self.candidates:,} detections above the threshold of {threshold:g}, the"
            f" best score is {self.best_score:.3g}"
        )
        if self.candidates:
            return f"{text}; none matches a person: train longer, and look at the heat maps of trace report"
        lower = 0.8 * self.best_score
        return f"{text}; --threshold {lower:.2g} would show the best of them, and longer training raises them"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EvalReport:
        """The report from the output of `to_json`."""

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
        """Write the report as JSON, atomically. Raises OutputError."""
        try:
            with atomic_write(file) as partial:
                partial.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False), encoding="utf-8")
        except OSError as error:
            raise OutputError(
                f"the result cannot be written: {error.strerror}",
                where=file,
                hint="free some space, then run the same command again",
            ) from error
