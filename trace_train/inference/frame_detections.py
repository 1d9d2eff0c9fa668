"""What the network says about one frame, and which identity each detection received."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameDetections:
    """K people detected in one frame, best score first, in float64. The camera is the one that the video was taken
    with, as far as its lens is known: x right, y down, z forward."""

    score: npt.NDArray[np.float64]
    """(K,) value of the peak in the 3D centre map."""
    front_score: npt.NDArray[np.float64]
    """(K,) value of the front-view centre map at the same cell."""
    zyx: npt.NDArray[np.int64]
    """(K, 3) voxel of the peak."""
    triple: npt.NDArray[np.float64]
    """(K, 3) the network's camera triple s, y, x."""
    triple_motion: npt.NDArray[np.float64] | None
    """(K, 3) change of the triple since the previous frame; None without temporal parts or without a previous frame."""
    hips: npt.NDArray[np.float64]
    """(K, 3) hip midpoint, m, in the camera."""
    rotations: npt.NDArray[np.float64]
    """(K, 24, 3, 3) the root in the camera, then relative to the parent."""
    betas: npt.NDArray[np.float64]
    """(K, 10)."""
    joints: npt.NDArray[np.float64]
    """(K, 44, 3) m, relative to the hip midpoint, camera axes."""
    joints_2d: npt.NDArray[np.float64]
    """(K, 44, 2) px of the upright picture."""
    feature: npt.NDArray[np.float64]
    """(K, C) mesh feature at the peak."""
    world_motion: npt.NDArray[np.float64] | None
    """(K, 3) change of the triple in the fixed view since the previous frame, gain applied."""
    world_rotation: npt.NDArray[np.float64] | None
    """(K, 3, 3) rotation from camera to world axes."""

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def empty(cls, features: int) -> FrameDetections:
        """No people, as in a frame that could not be read."""
        return cls(
            score=np.zeros(0),
            front_score=np.zeros(0),
            zyx=np.zeros((0, 3), np.int64),
            triple=np.zeros((0, 3)),
            triple_motion=None,
            hips=np.zeros((0, 3)),
            rotations=np.zeros((0, 24, 3, 3)),
            betas=np.zeros((0, 10)),
            joints=np.zeros((0, 44, 3)),
            joints_2d=np.zeros((0, 44, 2)),
            feature=np.zeros((0, features)),
            world_motion=None,
            world_rotation=None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A detection of a frame belongs to a person."""

    frame: int
    """Number of the frame, counted in calls of `Tracker.step` from 0. It may lie in the past: a person is confirmed
    only after several hits, and then receives the earlier ones too."""
    detection: int
    """Index among the frame's detections; -1: none, the place is remembered or predicted."""
    identity: int
    """From 1, never reused within a video."""
    state: int
    """SEEN, INHERITED or PREDICTED of `trace_data.results.result`."""


class Tracker(Protocol):
    """Gives detections identities, frame by frame. One object belongs to one video."""

    def step(self, time: float, people: FrameDetections, *, cut: bool = False) -> Sequence[Assignment]:
        """The assignments that are certain after the frame at `time` (s). `cut`: a new shot begins with this frame."""
        ...

    @property
    def settled(self) -> int:
        """Frames before this number receive no further assignments."""
        ...

    def finish(self) -> Sequence[Assignment]:
        """The assignments that were still waiting when the video ended."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: numbers, texts, tensors, and lists and dictionaries of them."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict()`."""
        ...
