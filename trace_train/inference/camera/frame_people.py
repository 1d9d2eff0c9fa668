"""What a source of the camera path learns from a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_train.inference.frame_detections import FrameDetections

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FramePeople:
    """K people whom the network saw in a frame; remembered and predicted ones have no part in it."""

    identity: npt.NDArray[np.int64]
    """(K,) unique within the frame."""
    score: Array
    """(K,) detection score."""
    hips: Array
    """(K, 3) hip midpoint, m, in the frame's camera."""
    triple: Array
    """(K, 3) camera triple s, y, x in the network's square."""
    world_motion: Array | None
    """(K, 3) change of the triple in the fixed view; None where the network does not say."""
    world_rotation: Array | None
    """(K, 3, 3) rotation from camera axes to the person's world axes; None where the network does not say."""
    boxes: Array
    """(K, 4) left, top, width, height, px, of everybody in the picture."""

    @classmethod
    def of(cls, people: FrameDetections, identities: npt.NDArray[np.int64]) -> FramePeople:
        """Those detections of a frame that have an identity; `identities` (K,): 0 where there is none."""
        known = np.asarray(identities) > 0
        low, high = people.joints_2d.min(1, initial=np.inf), people.joints_2d.max(1, initial=-np.inf)
        return cls(
            identity=np.asarray(identities, np.int64)[known],
            score=people.score[known],
            hips=people.hips[known],
            triple=people.triple[known],
            world_motion=None if people.world_motion is None else people.world_motion[known],
            world_rotation=None if people.world_rotation is None else people.world_rotation[known],
            boxes=np.concatenate([low, high - low], axis=-1),
        )
