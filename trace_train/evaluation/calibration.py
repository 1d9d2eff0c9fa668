"""From the 50-degree camera, in which the network sees every crop, to the camera that took the frame."""

from __future__ import annotations

import torch
from torch import Tensor

from trace_train.geometry.camera import FOCAL
from trace_train.streaming.batch import Batch


def true_from_assumed(batch: Batch) -> Tensor:
    """(B, T, 3, 3) linear maps from places in the crop's 50-degree camera to places in the true camera, metres.

    A place keeps where it is seen in the frame, and its depth grows with the focal length: a body of the same size
    that looks as large stands farther away from a longer lens.
    """
    size = batch.images.shape[2]
    px_from_crop = torch.eye(3, device=batch.images.device)
    px_from_crop[0, 0] = px_from_crop[1, 1] = size / 2
    px_from_crop[:2, 2] = (size - 1) / 2
    frame_from_crop = torch.linalg.inv(batch.crop_from_frame.double()) @ px_from_crop.double()
    ray_from_crop = torch.linalg.inv(batch.intrinsics.double()) @ frame_from_crop
    ray_from_crop = ray_from_crop / ray_from_crop[..., 2:, 2:]
    widths = ray_from_crop[..., 0, 0] * ray_from_crop[..., 1, 1]
    deeper = widths.rsqrt() / FOCAL
    assumed = ray_from_crop.new_tensor([FOCAL, FOCAL, 1.0]).diag()
    mapping: Tensor = deeper[..., None, None] * ray_from_crop @ assumed
    return mapping
