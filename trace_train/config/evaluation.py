"""How a run scores itself while it trains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trace_train.config.part import Part


class EvaluationConfig(Part):
    """How a run scores itself while it trains, and how a network watches videos when it is scored."""

    every: int = Field(0, ge=0)
    """Steps between evaluations on held-out shards; the last step is evaluated too. 0: none."""
    split: Literal["train", "val", "test"] = "val"
    """What is evaluated while the run goes on."""
    frames: int = Field(2000, ge=0)
    """About how many frames of it, in windows spread over its sequences. 0: all."""
    threshold: float = Field(0.2, ge=0, lt=1)
    """Least score of a detection."""
    videos: int = Field(4, ge=1)
    """Videos that are watched side by side; it changes the speed, not the result."""
    chunk: int = Field(8, ge=1)
    """Frames of each that are seen at once; it changes the speed, not the result."""
