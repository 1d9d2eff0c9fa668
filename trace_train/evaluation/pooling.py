"""Scores of several predicted videos as one, by both means that people take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from trace_data.errors import ConfigError
from trace_train.evaluation.measures import Scores, defined
from trace_train.evaluation.sums import MODEL, Sums, mean_of_scores, pooled
from trace_train.evaluation.video_score import ResultScores, tracking_scores
from trace_train.metrics.tracking import no_counts
from trace_train.protocols.protocol import Protocol

BY_PROTOCOL, POOLED, MEAN = "by the protocol", "pooled", "mean of videos"
HOTA = ("hota", "detection_accuracy", "association_accuracy")


@dataclass(frozen=True, slots=True, kw_only=True)
class PooledScores:
    """Scores of several predicted videos."""

    videos: tuple[ResultScores, ...]
    rows: Mapping[str, Scores]
    """`by the protocol`: with the protocol's own means. `pooled`: every frame, and in tracking every count, weighs the
    same. `mean of videos`: every video weighs the same; of id switches it is the mean number."""
    protocol: str
    protocol_name: str
    rules: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return asdict(self)


def pool(videos: Sequence[ResultScores]) -> PooledScores:
    """The scores of all videos together. Raises ConfigError if they follow different protocols."""
    first = videos[0]
    if other := next((one for one in videos if one.rules != first.rules), None):
        raise ConfigError(
            f"{first.result} was scored by protocol {first.protocol_name}, {other.result} by {other.protocol_name}",
            hint="scores of one protocol alone can be put together",
        )
    rules = Protocol.model_validate(dict(first.rules))
    counts = sum((one.counts for one in videos), no_counts())
    together = tracking_scores(counts)
    added = defined(replace(pooled(_sums(one) for one in videos), **together), rules)
    means = mean_of_scores([one.rows[MODEL] for one in videos])
    chosen = means if rules.mean == "sequences" else added
    tracking = together
    if rules.tracking.mean == "published":
        tracking |= {name: getattr(means, name) for name in HOTA}
    return PooledScores(
        videos=tuple(videos),
        rows={BY_PROTOCOL: defined(replace(chosen, **tracking), rules), POOLED: added, MEAN: means},
        protocol=first.protocol,
        protocol_name=first.protocol_name,
        rules=first.rules,
    )


def _sums(scores: ResultScores) -> Sums:
    sums = Sums()
    for measure, (total, count) in scores.totals.items():
        sums.add(measure, total, count)
    return sums
