"""Somebody who stands with bent knees, as joints of any set: written by hand, so that front and back are certain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_MIDDLE = {"Pelvis": (0, 0.95, 0), "Neck": (0, 1.45, 0), "Neck_LSP": (0, 1.45, 0), "Head": (0, 1.6, 0),
           "Head_top": (0, 1.75, 0), "Pelvis_SMPL": (0, 0.95, 0)}  # fmt: skip
_LEFT = {"Hip": (0.1, 0.9, 0), "Hip_SMPL": (0.08, 0.92, 0), "Knee": (0.11, 0.5, 0.15), "Ankle": (0.1, 0.1, -0.02),
         "Toe_SMPL": (0.11, 0.02, 0.12), "BigToe": (0.1, 0.02, 0.17), "SmallToe": (0.15, 0.02, 0.14),
         "Shoulder": (0.18, 1.4, 0), "Elbow": (0.25, 1.1, -0.05), "Wrist": (0.24, 0.9, 0.1)}  # fmt: skip
"""Metres to the person's left, upwards and forwards."""


def standing(names: Sequence[str], frames: int) -> np.ndarray:
    """(frames, len(names), 3) metres, x right, y down, z away from a viewer whom the person faces."""
    places = {**_MIDDLE, **{f"L_{name}": place for name, place in _LEFT.items()}}
    places |= {f"R_{name}": (-x, y, z) for name, (x, y, z) in _LEFT.items()}
    body = np.array([places.get(name, (0, 1.2, 0)) for name in names], float) * (1, -1, -1)
    return np.asarray(body[None] + np.linspace((0, 0, 0), (0.05, 0, 0), frames)[:, None])
