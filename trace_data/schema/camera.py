"""One camera over the frames of a sequence: a pinhole with optional lens distortion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NEAR_PLANE = 0.05
"""Depth, m, nearer than which nothing is drawn, and the least that points are projected with."""
NOMINAL_VIEW = np.radians(50)
"""Field of view over the longer side that is assumed for an unknown camera: the one of the network's own camera."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """Axes: x right, y down, z forward. The centre of the top-left pixel is (0, 0)."""

    width: int
    """Frame width, px."""
    height: int
    """Frame height, px."""
    intrinsics: npt.NDArray[np.float64]
    """(1 or T, 3, 3) px; one matrix when it does not change."""
    camera_from_world: npt.NDArray[np.float64] | None
    """(1 or T, 4, 4) rigid, metres; None when the release has none: the world is then the camera frame."""
    moving: bool
    """Whether the camera moves within the sequence."""
    known: bool = True
    """Whether `intrinsics` are the camera's own; otherwise they are placeholders, and nothing in metres may be
    projected with them."""
    cropped: bool = False
    """Whether frames are cut out of larger pictures: then their principal point lies anywhere, else near the middle."""
    distortion: npt.NDArray[np.float64] | None = None
    """(5,) to (12,) coefficients of the lens in OpenCV's order: k1, k2, p1, p2, k3, k4, k5, k6, s1, s2, s3, s4; None
    for a pinhole. Used where 2D and 3D are compared; shards and training keep the pinhole part."""

    def per_frame(self, frames: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Intrinsics (T,3,3) and camera_from_world (T,4,4), repeated over the frames where they are constant."""
        extrinsics = np.eye(4)[None] if self.camera_from_world is None else self.camera_from_world
        return (
            np.broadcast_to(self.intrinsics, (frames, 3, 3)).copy(),
            np.broadcast_to(extrinsics, (frames, 4, 4)).copy(),
        )


def nominal_camera(width: int, height: int, *, moving: bool) -> Camera:
    """A placeholder camera for a release without intrinsics and extrinsics: `known` is False."""
    focal = max(width, height) / 2 / np.tan(NOMINAL_VIEW / 2)
    intrinsics = np.array([[focal, 0.0, (width - 1) / 2], [0.0, focal, (height - 1) / 2], [0.0, 0.0, 1.0]])
    return Camera(
        width=width, height=height, intrinsics=intrinsics[None], camera_from_world=None, moving=moving, known=False
    )
