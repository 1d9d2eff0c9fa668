"""How predictions are compared with annotations, beside the weights of the losses."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from trace_train.config.part import Part


class SupervisionConfig(Part):
    """How people are read in training, and what else is known of them (docs/losses.md)."""

    center_jitter: int = Field(0, ge=0, le=3)
    """How far from annotated centres people are read, at most, in cells of the maps: detected ones are a cell off.
    Drawn by the clip, the same each time."""
    pose_prior_file: Path | None = None
    """`gmm_08.pkl` of SMPLify, which `loss.pose_prior` needs; read only when that has a weight."""
