"""A view: a camera together with a crop."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_train.geometry.camera import to_crop, to_pixels
from trace_train.streaming.batch import Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CropView:
    """Cameras and crops (B, P or 1, T or 1, ...), for points (B, P, T, J, ...)."""

    camera_from_world: Tensor
    """(..., 4, 4) metres."""
    intrinsics: Tensor
    """(..., 3, 3) px of the frame."""
    intrinsics_known: Tensor
    """(...) bool: the intrinsics are those of the real camera."""
    crop_from_frame: Tensor
    """(..., 3, 3) px to px, pixel centres."""
    size: int
    """Side of the crop, px."""

    @staticmethod
    def of_frames(batch: Batch, size: int) -> CropView:
        """The view of each frame (B, 1, T)."""
        return CropView(
            camera_from_world=batch.camera_from_world[:, None],
            intrinsics=batch.intrinsics[:, None],
            intrinsics_known=batch.masks["intrinsics"][:, None],
            crop_from_frame=batch.crop_from_frame[:, None],
            size=size,
        )

    def at(self, frame: Tensor) -> CropView:
        """The view (B, P, 1) at each person's `frame` (B, P)."""
        return CropView(
            camera_from_world=at_frame(self.camera_from_world.expand(-1, frame.shape[1], -1, -1, -1), frame),
            intrinsics=at_frame(self.intrinsics.expand(-1, frame.shape[1], -1, -1, -1), frame),
            intrinsics_known=at_frame(self.intrinsics_known.expand(-1, frame.shape[1], -1), frame),
            crop_from_frame=at_frame(self.crop_from_frame.expand(-1, frame.shape[1], -1, -1, -1), frame),
            size=self.size,
        )

    @property
    def turn(self) -> Tensor:
        """(..., 3, 3) rotation from world to camera axes."""
        return self.camera_from_world[..., :3, :3]

    def in_axes(self, vectors: Tensor) -> Tensor:
        """Rotate vectors (B, P, T, J, 3) from world to camera axes."""
        return vectors @ self.turn.mT

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project world points (B, P, T, J, 3) m to px of the frame (B, P, T, J, 2) and depth (B, P, T, J) m."""
        seen = self.in_axes(points) + self.camera_from_world[..., None, :3, 3]
        return to_pixels(seen, self.intrinsics), seen[..., 2]

    def normalised(self, px: Tensor) -> Tensor:
        """Map px of the frame (B, P, T, J, 2) to normalised crop coordinates x, y, edges at -1 and 1."""
        return to_crop(px, self.crop_from_frame, self.size)

    def lens(self) -> Tensor:
        """(..., 3) focal length and principal point y, x of the crop, in its normalised coordinates."""
        scale = self.crop_from_frame[..., 0, 0]
        focal = scale * (self.intrinsics[..., 0, 0] + self.intrinsics[..., 1, 1]) / self.size
        center = self.normalised(self.intrinsics[..., None, :2, 2])[..., 0, :]
        return torch.cat([focal[..., None], center.flip(-1)], dim=-1)


def at_frame(values: Tensor, frame: Tensor) -> Tensor:
    """Select each person's frame (B, P) from (B, P, T, ...): (B, P, 1, ...)."""
    index = frame[(..., *[None] * (values.dim() - 2))].expand(*values.shape[:2], 1, *values.shape[3:])
    return values.gather(2, index)
