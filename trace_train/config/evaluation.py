"""How a run scores itself while it trains."""

from __future__ import annotations

from pydantic import Field

from trace_train.config.part import Part


class EvaluationConfig(Part):
    """How a run scores itself while it trains."""

    every: int = Field(0, ge=0)
    """Steps between evaluations on held-out shards; the last step is evaluated too. 0: none."""
