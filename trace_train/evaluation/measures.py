"""Every number that an evaluation gives, declared once: what it is called, its unit, and which value is best."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a number is shown."""

    key: str
    """Field of `Scores`."""
    name: str
    unit: str
    """Of what is shown."""
    group: str
    """What it is about; groups are shown in the order in which they first appear."""
    best: Literal["lowest", "highest", "one"]
    """Which value is best."""
    digits: int
    """Decimals that are shown."""
    factor: float
    """What the value in `Scores` is multiplied by: 100 where a share is shown in per cent."""


def _measure(
    name: str,
    unit: str,
    *,
    group: str,
    best: Literal["lowest", "highest", "one"] = "lowest",
    digits: int = 1,
    factor: float = 1.0,
) -> Any:
    """A field of `Scores` with how it is shown."""
    return field(
        metadata={"name": name, "unit": unit, "group": group, "best": best, "digits": digits, "factor": factor}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Errors of one predictor, in the order in which people look for them; None where nothing was measured.

    Formulas: docs/evaluation.md.
    """

    mpjpe: float | None = _measure("MPJPE", "mm", group="camera")
    pa_mpjpe: float | None = _measure("PA-MPJPE", "mm", group="camera")
    pve: float | None = _measure("PVE", "mm", group="camera")
    acceleration: float | None = _measure("acceleration error", "m/s²", group="camera")
    acceleration_per_frame: float | None = _measure("acceleration error", "mm/frame²", group="camera")
    error_2d: float | None = _measure("2D error", "px", group="camera")
    """Pixels of the original frame."""
    joints_mpjpe: float | None = _measure("MPJPE, labelled joints", "mm", group="camera")
    """On the labelled joints of people without a body; so are the next three."""
    joints_pa_mpjpe: float | None = _measure("PA-MPJPE, labelled joints", "mm", group="camera")
    pck: float | None = _measure("3DPCK at 150 mm", "%", group="camera", best="highest", factor=100)
    """Share of joints within 150 mm."""
    auc: float | None = _measure("AUC, 0 to 150 mm", "%", group="camera", best="highest", factor=100)
    """The same, mean over 0 to 150 mm."""
    recall: float | None = _measure("detection recall", "%", group="detection", best="highest", factor=100)
    precision: float | None = _measure("detection precision", "%", group="detection", best="highest", factor=100)
    mpjpe_with_misses: float | None = _measure("MPJPE, misses at 150 mm", "mm", group="detection")
    """Each missed person counts 150 mm."""
    w_mpjpe: float | None = _measure("W-MPJPE", "mm", group="world")
    wa_mpjpe: float | None = _measure("WA-MPJPE", "mm", group="world")
    rte: float | None = _measure("RTE", "%", group="world", factor=100)
    """Share of the path."""
    root_orientation: float | None = _measure("root orientation error", "°", group="world")
    ate: float | None = _measure("ATE, Sim(3)", "m", group="world", digits=3)
    """After Sim(3)."""
    ate_rigid: float | None = _measure("ATE, SE(3)", "m", group="world", digits=3)
    """After SE(3)."""
    ate_start: float | None = _measure("ATE, from the start", "m", group="world", digits=3)
    """After the first positions were made to meet."""
    path_ratio: float | None = _measure("path ratio (1 is best)", "", group="world", best="one", digits=2)
    """Predicted over annotated length of path."""
    jitter: float | None = _measure("jitter", "10 m/s³", group="world")
    foot_sliding: float | None = _measure("foot sliding", "mm", group="world")
    """In a thirtieth of a second."""
    world_coverage: float | None = _measure("coverage", "%", group="world", best="highest", factor=100)
    """Share of the person-frames annotated in the world that were found."""

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Scores:
        """What `asdict` gave, of this version or one with other measures."""
        return cls(**{f.name: values.get(f.name) for f in fields(cls)})


MEASURES = tuple(Measure(key=f.name, **f.metadata) for f in fields(Scores))
"""How each field of `Scores` is shown, in their order."""
