"""Clips: which frames, cropped to which windows, with which annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PERSON_MASKS = ("center", "pose2d", "joints3d", "root_rotation", "body_pose", "shape", "translation", "world")
"""Masks per person and frame, one for each kind of supervision."""
FRAME_MASKS = ("everyone_annotated", "intrinsics")
"""Masks per frame. `intrinsics`: whether they are the camera's own, not a placeholder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRef:
    """Hashable reference to `length` frames of one sequence, `stride` frames apart."""

    sequence: int
    """Row in the index's table of sequences."""
    start: int
    """First frame, counted within the sequence."""
    stride: int
    """Distance of consecutive frames, in frames of the sequence."""
    length: int
    """Number of frames T."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A square part of a frame, scaled to the network's input.

    Coordinates are edges in px of the original frame: the left edge of the frame is 0, so the pixel with centre x
    covers [x, x + 1] here. The window may leave the frame; what lies outside is black.
    """

    left: float
    """Left edge, px."""
    top: float
    """Top edge, px."""
    side: float
    """Width = height, px."""

    def mirrored(self, frame_width: int) -> Window:
        """The window that shows the same content in the mirrored frame."""
        return Window(left=frame_width - self.left - self.side, top=self.top, side=self.side)

    def crop_from_frame(self, size: int) -> npt.NDArray[np.float64]:
        """(3, 3) affine map from pixel-centre coordinates of the frame to those of the `size` x `size` crop."""
        scale = size / self.side
        return np.array(
            [
                [scale, 0.0, (0.5 - self.left) * scale - 0.5],
                [0.0, scale, (0.5 - self.top) * scale - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipAnnotations:
    """A clip's annotations: T frames, P people, in the units and frames of shards (docs/shard-format.md#a-shard)."""

    dataset: str
    """Canonical dataset name."""
    moving: bool
    """Whether the camera moves."""
    frame_ids: npt.NDArray[np.int64]
    """(T,) frame ids of the release."""
    fps: float
    """Frame ids a second."""
    width: int
    """Frame width, px."""
    height: int
    """Frame height, px."""
    intrinsics: npt.NDArray[np.float32]
    """(T, 3, 3) px."""
    camera_from_world: npt.NDArray[np.float32]
    """(T, 4, 4) metres."""
    identity: npt.NDArray[np.int64]
    """(P,) person numbers, unique over the whole index."""
    gender: npt.NDArray[np.uint8]
    """(P,) codes: places in `schema.body.GENDERS`."""
    present: npt.NDArray[np.bool_]
    """(P, T) whether the person is annotated in the frame."""
    pose: npt.NDArray[np.float32]
    """(P, T, 24, 3) axis-angle, world root."""
    betas: npt.NDArray[np.float32]
    """(P, T, 10) of the gendered model."""
    betas_neutral: npt.NDArray[np.float32]
    """(P, T, 10) of the neutral model; mask `shape`."""
    translation: npt.NDArray[np.float32]
    """(P, T, 3) metres, world."""
    kp2d: npt.NDArray[np.float32]
    """(P, T, 44, 3) x, y px of the frame, confidence."""
    kp3d: npt.NDArray[np.float32]
    """(P, T, 44, 4) x, y, z metres of the world frame, confidence."""
    center: npt.NDArray[np.float32]
    """(P, T, 2) x, y px of the frame: the person's centre; mask `center`."""
    box: npt.NDArray[np.float32]
    """(P, T, 4) left, top, right, bottom px of the frame: bounds of the joints inside it; mask `center`."""
    masks: Mapping[str, npt.NDArray[np.bool_]]
    """`PERSON_MASKS` as (P, T), `FRAME_MASKS` as (T,)."""
