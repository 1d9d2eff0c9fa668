"""How several processes train together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trace_train.config.part import Part


class DistributedConfig(Part):
    """How several processes train together (docs/training.md, "On several GPUs"). One alone needs nothing of it."""

    timeout_minutes: float = Field(10.0, gt=0)
    """How long one process waits for the others in a step before it ends with an error."""
    sync_batchnorm: Literal["auto", "always", "never"] = "auto"
    """Whether normalisation sees the clips of all processes; `auto`: on CUDA. Not possible on a CPU."""
