"""Which checkpoint of a run is the best, from its evaluations so far (fact sheet training.md, 6.7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

RECALL_MARGIN = 0.01
"""How much less of the people than the best so far a better pose may find: otherwise it would win by leaving out the
difficult ones."""


def best_steps(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Steps of the best evaluations, under the names of the links to their checkpoints.

    `best`: lowest `pa_mpjpe` whose `recall` is at most `RECALL_MARGIN` under that of the best before it. `best-world`:
    lowest `wa_mpjpe`. One that no evaluation measured is left out.
    """
    found: dict[str, int] = {}
    pose, recall = float("inf"), 0.0
    for step, scores in _measured(history, "pa_mpjpe"):
        found_now = scores.get("recall") or 0.0
        if scores["pa_mpjpe"] < pose and found_now >= recall - RECALL_MARGIN:
            found["best"], pose, recall = step, scores["pa_mpjpe"], found_now
    world = float("inf")
    for step, scores in _measured(history, "wa_mpjpe"):
        if scores["wa_mpjpe"] < world:
            found["best-world"], world = step, scores["wa_mpjpe"]
    return found


def _measured(history: Sequence[Mapping[str, Any]], name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for scores in history:
        value = scores.get(name)
        if value is not None and isfinite(value):
            yield scores["step"], scores
