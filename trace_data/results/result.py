"""A prediction of one video: its people, and one camera path, in one world.

Source: docs/reference/export.md#result-keys. The world is right-handed and metric. Its axes are those of the first
frame's camera (x right, y down, z forward) unless `up` says otherwise. Every row satisfies
body in the camera = camera_from_world[frame] applied to the body in the world.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.files import is_there

FORMAT, VERSION = "trace-result", 1
SEEN, INHERITED, PREDICTED = 0, 1, 2
"""States of a row: decoded from this frame; decoded from a remembered feature; interpolated or extrapolated."""
ASSUMED_UP = (0.0, -1.0, 0.0)
"""Up if the first camera was level."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """N rows (a person in a frame) sorted by person, then frame; P people; T frames."""

    about: Mapping[str, Any]
    """Facts of the run, as JSON: video, rate, lens and camera with their sources, weights, options, body model."""
    time: npt.NDArray[np.float64]
    """(T,) presentation time of each frame, s, strictly increasing."""
    frame_id: npt.NDArray[np.int64]
    """(T,) index of each frame in the source."""
    image_size: npt.NDArray[np.int32]
    """(2,) width and height of the upright picture, px."""
    intrinsics: npt.NDArray[np.float64]
    """(1 or T, 3, 3) px; the centre of the top-left pixel is (0, 0)."""
    camera_from_world: npt.NDArray[np.float64]
    """(T, 4, 4) rigid, metres."""
    camera_observed: npt.NDArray[np.bool_]
    """(T,) whether the camera's motion to the frame was measured, or the path was given."""
    up: npt.NDArray[np.float64]
    """(3,) unit vector in the world; `ASSUMED_UP` where it is not known."""
    person: npt.NDArray[np.int32]
    """(P,) identities, ascending, from 1."""
    person_name: npt.NDArray[np.str_]
    """(P,) names for people; empty text where there is none."""
    row_person: npt.NDArray[np.int32]
    """(N,) index into `person`."""
    row_frame: npt.NDArray[np.int32]
    """(N,) index into `time`."""
    state: npt.NDArray[np.uint8]
    """(N,) SEEN, INHERITED or PREDICTED."""
    score: npt.NDArray[np.float32]
    """(N,) detection score; 0 where nothing was detected."""
    pose: npt.NDArray[np.float32]
    """(N, 24, 3) axis-angle; the root in the world, the rest relative to the parent."""
    translation: npt.NDArray[np.float32]
    """(N, 3) m, world: vertices = LBS(pose, betas) + translation."""
    root_in_camera: npt.NDArray[np.float32]
    """(N, 3) axis-angle of the root in the frame's camera."""
    translation_in_camera: npt.NDArray[np.float32]
    """(N, 3) m: the translation that belongs to `root_in_camera`."""
    hips_in_camera: npt.NDArray[np.float32]
    """(N, 3) m: midpoint of the hips in the frame's camera."""
    betas: npt.NDArray[np.float32]
    """(P, 10) one shape for each person: the score-weighted median of the rows."""
    betas_row: npt.NDArray[np.float32] | None
    """(N, 10) shapes of the rows as the network gave them; None where they were not kept."""
    joints: npt.NDArray[np.float32]
    """(N, 24, 3) m, world."""
    joints_2d: npt.NDArray[np.float32]
    """(N, 44, 2) px, in the order of `ALL_44`."""
    box: npt.NDArray[np.float32]
    """(N, 4) left, top, width, height, px."""
    world_residual: npt.NDArray[np.float32]
    """(N,) m between the network's own place in the world and the one of the common camera path; NaN where unknown."""

    @property
    def packs(self) -> Path | None:
        """The folder of body models that it was predicted with; None where it does not say, or it is gone."""
        named = self.about.get("packs")
        return Path(named) if isinstance(named, str) and is_there(Path(named), folder=True) else None

    def rows_of(self, person: int) -> npt.NDArray[np.int64]:
        """Rows of the person with index `person`, in the order of frames."""
        return np.flatnonzero(self.row_person == person)

    def rows_in(self, frame: int) -> npt.NDArray[np.int64]:
        """Rows of the frame with index `frame`."""
        return np.flatnonzero(self.row_frame == frame)
