"""What a fresh network starts from."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from trace_train.config.part import Part


class InitConfig(Part):
    """What a fresh network starts from. A resumed run needs nothing of it."""

    weights: Path | None = None
    """Folder of `trace import-weights`, or a run or checkpoint to go on from with another configuration. None: random
    weights that begin at the constant predictor."""
    parts: tuple[Literal["image", "head", "flow"], ...] | None = None
    """Which of its parts are taken: backbone, everything else of the network, RAFT. None: all that are there."""
