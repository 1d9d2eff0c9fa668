"""Left and right of a whole dataset against what its release says of the view."""

from __future__ import annotations

from collections.abc import Sequence

from trace_data.schema.findings import Finding


def judge_sides(dataset: str, votes: Sequence[tuple[str, bool | None]]) -> list[tuple[str, Finding]]:
    """What it means, and where, that left and right of some sequences contradict what the release says of them.

    `votes`: key and `SequenceRecord.sides_agree` of each sequence. All are exchanged when most contradict it, else
    those may be turned torsos.
    """
    against = [key for key, agrees in votes if agrees is False]
    voting = sum(agrees is not None for _, agrees in votes)
    if 2 * len(against) > voting:
        what = f"left and right are exchanged: shoulders of {len(against)} of {voting} sequences contradict their view"
        hint = "the sides of its joints are named the wrong way round; of Penn Action:  unset TRACE_PENN_SIDES"
        return [(dataset, Finding(severity="error", key="sides", what=what, hint=hint))]
    what = "the shoulders stand the other way round than the view of the labels says"
    hint = "a turned torso, or labels whose left and right are exchanged: look with  trace preview"
    return [(key, Finding(severity="warning", key="sides", what=what, hint=hint)) for key in against]
