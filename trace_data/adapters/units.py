"""Whether annotated joints can be metres of a person, asked before anything is projected with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError

BODY_SIZE = (0.4, 3.0)
"""Metres between the farthest joints of one person along an axis, median over frames: a wrong unit is far outside."""


def check_unit(file: Path, joints: npt.NDArray[np.float64]) -> None:
    """Raises AnnotationError when joints (T, K, 3) cannot be metres of one person."""
    size = float(np.median(np.ptp(joints, axis=1).max(axis=-1))) if len(joints) else BODY_SIZE[0]
    if not BODY_SIZE[0] <= size <= BODY_SIZE[1]:
        raise AnnotationError(
            f"the 3D joints of one person lie {size:.3g} m apart, expected {BODY_SIZE[0]} to {BODY_SIZE[1]}",
            where=file,
            hint="metres and millimetres were exchanged, or the joints are of another file: get it again",
        )
