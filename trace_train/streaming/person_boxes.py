"""Person boxes of a clip, and how windows are constrained to contain them.

Coordinates are px measured from the frame's edge, as in `Window`: pixel x has its centre at x + 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipAnnotations

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonBoxes:
    """P people in T frames, from `center` and `box` of the annotations; NaN where there is none."""

    centers: Array
    """(P, T, 2)."""
    low: Array
    """(P, T, 2) left and top edge of the box around the joints inside the frame."""
    high: Array
    """(P, T, 2) right and bottom edge."""

    def most_often(self, people: npt.NDArray[np.int64]) -> Array:
        """(T, 2) centres of the one of `people` with centres in the most frames; the first if tied."""
        if not len(people):
            return np.full(self.centers.shape[1:], np.nan)
        chosen: Array = self.centers[people[int(np.isfinite(self.centers[people, :, 0]).sum(axis=1).argmax())]]
        return chosen


def places_of(annotations: ClipAnnotations) -> PersonBoxes:
    """The person boxes of a clip."""
    there = annotations.masks["center"][..., None]
    box = np.where(there, annotations.box.astype(np.float64) + 0.5, np.nan)
    centers = np.where(there, annotations.center.astype(np.float64) + 0.5, np.nan)
    return PersonBoxes(centers=centers, low=box[..., :2], high=box[..., 2:])


def held(path: Array, centers: Array, half: float) -> Array:
    """A path (T, 2) of window centres, shifted as a whole by the least amount that keeps `centers` (T, 2) inside.

    `half`: half the side of the windows, px. If no shift works for all frames, the first frame with a centre decides.
    """
    away = (centers - path)[np.isfinite(centers[:, 0])]
    low, high = away.max(axis=0) - half, away.min(axis=0) + half
    first = np.clip(0.0, away[0] - half, away[0] + half)
    moved: Array = path + np.where(low <= high, np.clip(0.0, low, np.maximum(low, high)), first)
    return moved


def damped(offsets: Array, base: Array, centers: Array, half: float) -> Array:
    """Offsets (T, 2) px of a window from `base` (2,), scaled down together until `centers` (T, 2) stay inside."""
    known = np.isfinite(centers[:, 0])
    away, step = (centers - base)[known], offsets[known]
    room = half + np.sign(step) * away
    largest = np.divide(room, np.abs(step), out=np.ones_like(room), where=step != 0).min(initial=1.0)
    return offsets * max(0.0, float(largest))
