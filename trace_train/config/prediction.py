"""Configuration of prediction on videos."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trace_train.config.part import ConfigPart
from trace_train.config.tracker import CutConfig, TrackerConfig
from trace_train.config.world import WorldConfig


class PredictionConfig(ConfigPart):
    """How people are found in videos (docs/prediction.md)."""

    chunk: int = Field(8, ge=1)
    """Frames of a forward pass; affects speed, not results, unless `bn` is `chunk`."""
    padding: Literal["weights", "black", "white"] = "weights"
    """Colour around frames that are not square. `weights`: as the weights need it, white for released ones."""
    bn: Literal["weights", "running", "chunk"] = "weights"
    """Statistics of batch normalisation outside the backbone: averages of the training, or those of the chunk, as in
    the published inference. `weights`: as the weights need it, `chunk` for released ones."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Precision of convolutions. `auto`: bf16 if the device supports it, else fp32."""
    compile: bool = False
    """Whether to use torch.compile: slow to start, then faster."""
    cuts: CutConfig = CutConfig()
    tracker: TrackerConfig = TrackerConfig()
    world: WorldConfig = WorldConfig()
