"""Checks that left and right in a clip agree with the view given in its label file."""

from __future__ import annotations

import numpy as np

from trace_data.schema.keypoints import LAYOUTS, Keypoints

CLEAR = 0.5
"""Minimum ratio of the sum of the shoulders' signed x distances to the sum of absolute ones, for a decision."""
_RIGHT_IS_LEFT = {"front": True, "back": False}
"""Whether an upright person's right shoulder is to the left of the other in the picture."""


def sides_agree(keypoints: Keypoints, view: str) -> bool | None:
    """Whether the shoulders in points (T, 13, 3) agree with `view`; None if that cannot be decided.

    Uses frames in which shoulders and hips are visible and the person is upright. Twisted torsos (golf, serve, pitch)
    sometimes disagree, so one clip proves nothing (docs/reference/joints.md#left-and-right-in-penn-action).
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
