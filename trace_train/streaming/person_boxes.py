"""Where people are in the frames of a clip, and how windows are kept over them.

Coordinates are edges in px of the frame, as in `Window`: a pixel centre x is x + 0.5 here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipAnnotations

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonBoxes:
    """P people in T frames, as the build found them (`center` and `box` of the annotations); NaN where nothing is."""

    centers: Array
    """(P, T, 2)."""
    low: Array
    """(P, T, 2) left and top of the box of the joints inside the frame."""
    high: Array
    """(P, T, 2) right and bottom."""

    def most_often(self, people: npt.NDArray[np.int64]) -> Array:
        """(T, 2) the centres of that one of `people` who has one in the most frames (the first of equals)."""
        if not len(people):
            return np.full(self.centers.shape[1:], np.nan)
        chosen: Array = self.centers[people[int(np.isfinite(self.centers[people, :, 0]).sum(axis=1).argmax())]]
        return chosen


def places_of(annotations: ClipAnnotations) -> PersonBoxes:
    """The people of a clip in its frames."""
    there = annotations.masks["center"][..., None]
    box = np.where(there, annotations.box.astype(np.float64) + 0.5, np.nan)
    centers = np.where(there, annotations.center.astype(np.float64) + 0.5, np.nan)
    return PersonBoxes(centers=centers, low=box[..., :2], high=box[..., 2:])


def held(path: Array, centers: Array, half: float) -> Array:
    """A path (T, 2) of window centres, moved as a whole as little as keeps a person's centres (T, 2) inside.

    `half`: half the windows' side, px. Where no one shift does for all frames, the first frame with a centre decides.
    """
    away = (centers - path)[np.isfinite(centers[:, 0])]
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
