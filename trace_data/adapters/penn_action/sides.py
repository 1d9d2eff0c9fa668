"""Whether a clip's left and right fit the side from which its label file says that the person is seen."""

from __future__ import annotations

import numpy as np

from trace_data.schema.keypoints import LAYOUTS, Keypoints

CLEAR = 0.5
"""The shoulders of a clip tell something when their distances along x add up to this share of their absolute values."""
_RIGHT_IS_LEFT = {"front": True, "back": False}
"""Whether the right shoulder of an upright person stands left of the other one in the picture."""


def sides_agree(keypoints: Keypoints, view: str) -> bool | None:
    """Whether the shoulders (T, 13, 3) stand in the picture as `view` says; None where that cannot be told.

    Frames count in which shoulders and hips are visible and the person is upright. Turned torsos (golf, serve, pitch)
    disagree now and then, so one clip proves nothing (docs/reference/joints.md#left-and-right-in-penn-action).
    """
    if view not in _RIGHT_IS_LEFT:
        return None
    names = LAYOUTS[keypoints.layout]
    ends = keypoints.points[:, [names.index(name) for name in ("R_Shoulder", "L_Shoulder", "R_Hip", "L_Hip")]]
    known = (ends[..., 2] > 0).all(axis=1) & (ends[:, :2, 1].max(axis=1) < ends[:, 2:, 1].min(axis=1))
    apart = ends[known, 0, 0] - ends[known, 1, 0]
    total = float(apart.sum())
    if abs(total) < CLEAR * float(np.abs(apart).sum()) or total == 0:
        return None
    return (total < 0) == _RIGHT_IS_LEFT[view]
