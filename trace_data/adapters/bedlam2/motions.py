"""The motion of one person: `<body>_<motion>.npz` with parameters of SMPL-X whose head is locked.

Facts: docs/reference/further-datasets.md#bedlam2.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.bedlam.motions import SMPLX, motion_arrays
from trace_data.adapters.smplx_bodies import JOINTS
from trace_data.errors import AnnotationError

Array = npt.NDArray[np.float64]

_AGAIN = "unpack b2_motions_npz_training.tar again"


def read_rotations(file: Path) -> tuple[Array, Array]:
    """Rotations (N, 22, 3), axis-angle, radians, and translation (N, 3), metres, of a motion. Shapes are not read: they
    have 16 coefficients or 300, of another model. Raises AnnotationError."""
    _, poses, translation = motion_arrays(file, _AGAIN)
    if poses.shape[1] != SMPLX:
        what = f"poses has {poses.shape[1]} columns, expected SMPL-X's {SMPLX}"
        raise AnnotationError(what, where=file, hint=f"of another body model: {_AGAIN}")
    return poses[:, : 3 * JOINTS].reshape(-1, JOINTS, 3), translation
