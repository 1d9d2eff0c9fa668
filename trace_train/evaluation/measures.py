"""Declares every measure of an evaluation: name, unit, group, and which value is best."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from trace_train.protocols.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """How a measure is displayed."""

    key: str
    """Field of `Scores`."""
    name: str
    unit: str
    """Unit of the displayed value."""
    group: str
    """Group in tables; groups are shown in order of first appearance."""
    best: Literal["lowest", "highest", "one"]
    """Which value is best."""
    digits: int
    """Number of decimals."""
    factor: float
    """Factor from `Scores` to the displayed value: 100 for shares shown in per cent."""


def _measure(
    name: str,
    unit: str,
    *,
    group: str,
    best: Literal["lowest", "highest", "one"] = "lowest",
    digits: int = 1,
    factor: float = 1.0,
) -> Any:
    """A field of `Scores` with its display settings."""
    return field(
        metadata={"name": name, "unit": unit, "group": group, "best": best, "digits": digits, "factor": factor}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of one predictor, in display order; None where nothing was measured.

    Formulas: docs/evaluation.md.
    """

    mpjpe: float | None = _measure("MPJPE", "mm", group="camera")
    pa_mpjpe: float | None = _measure("PA-MPJPE", "mm", group="camera")
    pve: float | None = _measure("PVE", "mm", group="camera")
    acceleration: float | None = _measure("acceleration error", "m/s²", group="camera")
    acceleration_per_frame: float | None = _measure("acceleration error", "mm/frame²", group="camera")
    error_2d: float | None = _measure("2D error", "px", group="camera")
    """In px of the original frame."""
    joints_mpjpe: float | None = _measure("MPJPE, labelled joints", "mm", group="camera")
    """On the labelled joints of people without a body, as are the next six."""
    joints_pa_mpjpe: float | None = _measure("PA-MPJPE, labelled joints", "mm", group="camera")
    pck: float | None = _measure("3DPCK at 150 mm", "%", group="camera", best="highest", factor=100)
    """Share of joints within 150 mm."""
    pck_matched: float | None = _measure(
        "3DPCK at 150 mm, who was found", "%", group="camera", best="highest", factor=100
    )
    """The same without those who were not found, of protocols in which their joints are wrong ones."""
    pck_universal: float | None = _measure(
        "3DPCK at 150 mm, universal skeleton", "%", group="camera", best="highest", factor=100
    )
    """Of bodies brought to a standard height: those of MuPoTS, where bones are scaled to the annotated lengths."""
    pck_universal_matched: float | None = _measure(
        "3DPCK at 150 mm, universal skeleton, who was found", "%", group="camera", best="highest", factor=100
    )
    auc: float | None = _measure("AUC, 0 to 150 mm", "%", group="camera", best="highest", factor=100)
    """The same, averaged over thresholds from 0 to 150 mm."""
    recall: float | None = _measure("detection recall", "%", group="detection", best="highest", factor=100)
    precision: float | None = _measure("detection precision", "%", group="detection", best="highest", factor=100)
    mpjpe_with_misses: float | None = _measure("MPJPE, misses at 150 mm", "mm", group="detection")
    """Each missed person counts 150 mm."""
    w_mpjpe: float | None = _measure("W-MPJPE", "mm", group="world")
    wa_mpjpe: float | None = _measure("WA-MPJPE", "mm", group="world")
    rte: float | None = _measure("RTE", "%", group="world", factor=100)
    """Relative to the length of the path."""
    root_orientation: float | None = _measure("root orientation error", "°", group="world")
    ate: float | None = _measure("ATE, Sim(3)", "m", group="world", digits=3)
    """After Sim(3)."""
    ate_rigid: float | None = _measure("ATE, SE(3)", "m", group="world", digits=3)
    """After SE(3)."""
    ate_start: float | None = _measure("ATE, from the start", "m", group="world", digits=3)
    """After translating the prediction to the same start."""
    ape: float | None = _measure("APE of DynaCam", "", group="world", digits=3)
    """Positions and turns added up, after Sim(3)."""
    path_ratio: float | None = _measure("path ratio (1 is best)", "", group="world", best="one", digits=2)
    """Predicted over annotated path length."""
    jitter: float | None = _measure("jitter", "10 m/s³", group="world")
    foot_sliding: float | None = _measure("foot sliding", "mm", group="world")
    """Per 1/30 s."""
    world_coverage: float | None = _measure("coverage", "%", group="world", best="highest", factor=100)
    """Share of the person-frames annotated in the world that were matched."""

    mota: float | None = _measure("MOTA", "%", group="tracking", best="highest", factor=100)
    """Of predicted videos, as are all of this group."""
    idf1: float | None = _measure("IDF1", "%", group="tracking", best="highest", factor=100)
    hota: float | None = _measure("HOTA", "%", group="tracking", best="highest", factor=100)
    detection_accuracy: float | None = _measure("DetA", "%", group="tracking", best="highest", factor=100)
    """The part of HOTA that says how well people are found."""
    association_accuracy: float | None = _measure("AssA", "%", group="tracking", best="highest", factor=100)
    """The part of HOTA that says how well identities are kept."""
    id_switches: float | None = _measure("id switches", "", group="tracking", digits=0)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Scores:
        """Read what `asdict` gave, also from a version with other measures."""
        return cls(**{f.name: values.get(f.name) for f in fields(cls)})


MEASURES = tuple(Measure(key=f.name, **f.metadata) for f in fields(Scores))
"""Display settings of the fields of `Scores`, in order."""
OF_BODIES = ("mpjpe", "pa_mpjpe", "pve", "acceleration", "acceleration_per_frame")
"""Of people with a body, in the camera."""
OF_PCK = ("pck", "pck_matched", "pck_universal", "pck_universal_matched")
OF_LABELS = ("joints_mpjpe", "joints_pa_mpjpe", *OF_PCK, "auc")
"""Of people with labelled joints and no body."""
OF_TIME = ("acceleration", "acceleration_per_frame", "jitter", "foot_sliding")
"""Derivatives."""
OF_CHUNKS = ("w_mpjpe", "wa_mpjpe", "root_orientation")
OF_PATHS = ("rte", "ate", "ate_rigid", "ate_start", "ape", "path_ratio")
OF_WORLD = (*OF_CHUNKS, *OF_PATHS, "jitter", "foot_sliding")
OF_IDENTITIES = ("mota", "idf1", "hota", "detection_accuracy", "association_accuracy", "id_switches")
ALWAYS = ("recall", "precision", "world_coverage")
"""How much was found at all, which any score has to be read beside."""


def defined(scores: Scores, protocol: Protocol) -> Scores:
    """Only the measures that a protocol defines, and how much was found."""
    kept = {*protocol.measures, *ALWAYS}
    if not protocol.measures:
        return scores
    return replace(scores, **{m.key: None for m in MEASURES if m.key not in kept})
