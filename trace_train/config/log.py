"""Where a run tells how it goes, beside its own folder."""

from __future__ import annotations

from typing import Literal

from trace_train.config.part import Part


class LogConfig(Part):
    """Where a run tells how it goes, beside `metrics.jsonl`, which is always written."""

    tensorboard: Literal["auto", "always", "never"] = "auto"
    """Whether the lines of the log are written for TensorBoard too, into the run folder. `auto`: where it is
    installed."""
    wandb: str | None = None
    """Project at Weights & Biases that the lines are sent to. None: none, and the package is not looked for."""
