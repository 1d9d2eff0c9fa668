"""Where people are in the frames of a clip, as far as a view can be planned from it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipAnnotations
from trace_data.schema.keypoints import TORSO

VISIBLE = 0.1
"""Least confidence of a 2D joint that counts as seen (joints.md 4)."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """P people in T frames. Coordinates are edges in px of the frame, as in `Window`: a pixel centre x is x + 0.5."""

    points: Array
    """(P, T, 44, 2)."""
    seen: npt.NDArray[np.bool_]
    """(P, T, 44) confident and inside the frame: decided here, once for a joint, never for x and y apart."""
    centers: Array
    """(P, T, 2) mean of the seen torso joints when there are two, else of all seen joints when there are three, else
    NaN (joints.md 4)."""

    def most_often(self, people: npt.NDArray[np.int64]) -> Array:
        """(T, 2) the centres of that one of `people` who has one in the most frames (the first of equals)."""
        counts = np.isfinite(self.centers[people, :, 0]).sum(axis=1)
        chosen: Array = self.centers[people[int(counts.argmax())]]
        return chosen


def places_of(annotations: ClipAnnotations) -> Places:
    """The people of a clip in its frames."""
    points = annotations.kp2d[..., :2].astype(np.float64) + 0.5
    inside = ((points >= 0) & (points <= (annotations.width, annotations.height))).all(axis=-1)
    seen = inside & (annotations.kp2d[..., 2] > VISIBLE)
    torso = np.zeros_like(seen)
    torso[..., TORSO] = seen[..., TORSO]
    by_torso = torso.sum(axis=-1) >= 2
    used = np.where(by_torso[..., None], torso, seen)
    count = used.sum(axis=-1)
    total = np.where(used[..., None], points, 0.0).sum(axis=-2)
    known = by_torso | (count > 2)
    centers = np.where(known[..., None], total / np.maximum(count, 1)[..., None], np.nan)
    return Places(points=points, seen=seen, centers=centers)


def box_of(points: Array, seen: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Lower and upper corner (..., 2) of the box of seen points: (..., K, 2) and (..., K); infinite where none is."""
    low = np.where(seen[..., None], points, np.inf).min(axis=-2)
    high = np.where(seen[..., None], points, -np.inf).max(axis=-2)
    return low, high


def held(path: Array, centers: Array, half: float) -> Array:
    """A path (T, 2) of window centres, moved as a whole as little as keeps a person's centres (T, 2) inside.

    `half`: half the windows' side, px. Where no one shift does for all frames, the first frame with a centre decides.
    """
    away = (centers - path)[np.isfinite(centers[:, 0])]
    if not len(away):
        return path
    low, high = away.max(axis=0) - half, away.min(axis=0) + half
    first = np.clip(0.0, away[0] - half, away[0] + half)
    moved: Array = path + np.where(low <= high, np.clip(0.0, low, np.maximum(low, high)), first)
    return moved


def damped(offsets: Array, base: Array, centers: Array, half: float) -> Array:
    """Offsets (T, 2) px of a window from `base` (2,), shrunk together until a person's centres (T, 2) stay inside."""
    known = np.isfinite(centers[:, 0])
    away, step = (centers - base)[known], offsets[known]
    room = half + np.sign(step) * away
    largest = np.divide(room, np.abs(step), out=np.ones_like(room), where=step != 0).min(initial=1.0)
    return offsets * max(0.0, float(largest))
