"""Pixel operations on the CPU or GPU: colour jitter, occluders, and crops from whole pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from trace_train.geometry.constants import constant
from trace_train.streaming.batch import Batch, to_device

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma."""


def finish(batch: Batch) -> Batch:
    """Apply the pending colour changes and occluders on the batch's device.

    Returns the same batch if nothing is pending.
    """
    images = recolored(batch.images, batch.color)
    images = occluded(images, batch.occluded, batch.occluders, batch.occluder_places)
    if images is batch.images:
        return batch
    return replace(batch, images=images, color=torch.ones_like(batch.color), occluded=())


def recolored(images: Tensor, color: Tensor) -> Tensor:
    """Change brightness, contrast (about the clip's own mean) and saturation of clips, in this order.

    images (B, T, S, S, 3) uint8 on any device; color (B, 3) factors on the CPU. Clips with factors of one are
    unchanged. Returns the same tensor if all are, else a new one.
    """
    rows = (color != 1).any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return images
    brightness, contrast, saturation = to_device(color[rows].double(), images.device).unbind(dim=1)
    at = to_device(rows, images.device)
    chosen = images[at]
    # with gray(x) = luma . x the three steps form one affine map per clip: x -> gain (s x + (1 - s) gray(x)) + rest
    gain = brightness * contrast
    mean = chosen.sum(dim=(1, 2, 3, 4), dtype=torch.int64).double() / chosen[0].numel()
    rest = brightness * mean * (1 - contrast)
    luma = constant(LUMA, like=gain)
    identity = torch.eye(3, dtype=torch.float64, device=images.device)
    grayed = luma[:, None].expand(3, 3)
    mix = gain[:, None, None] * (saturation[:, None, None] * identity + (1 - saturation)[:, None, None] * grayed)
    values = torch.baddbmm(rest.float()[:, None, None], chosen.flatten(1, 3).float(), mix.float())
    out = images.clone()
    out[at] = values.round_().clamp_(0, 255).to(torch.uint8).view_as(chosen)
    return out


def occluded(images: Tensor, rows: Sequence[int], pictures: Tensor, places: Tensor) -> Tensor:
    """Draw one object into each frame of some clips.

    images (B, T, S, S, 3) uint8; rows: the R clips that have an object; pictures (R, N, N, 4) uint8 RGBA; places
    (R, T, 2, 3) maps from pixel centres of the crop to the picture, whose edges are at -1 and 1. Returns the same
    tensor if `rows` is empty, else a new one.
    """
    if not rows:
        return images
    frames, size = images.shape[1], images.shape[2]
    line = torch.arange(size, dtype=torch.float32, device=images.device)
    y, x = torch.meshgrid(line, line, indexing="ij")
    grid = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ places.float().flatten(0, 1)[:, None].transpose(2, 3)
    layers = pictures.float().permute(0, 3, 1, 2)
    # premultiply by alpha before interpolating, or transparent pixels would bleed into the edge
    layers = torch.cat([layers[:, :3] * layers[:, 3:] / 255, layers[:, 3:] / 255], dim=1)
    drawn = F.grid_sample(layers.repeat_interleave(frames, dim=0), grid, align_corners=False).permute(0, 2, 3, 1)
    at = to_device(torch.tensor(rows), images.device)
    below = images[at].flatten(0, 1).float()
    values = drawn[..., :3] + (1 - drawn[..., 3:]) * below
    out = images.clone()
    out[at] = values.round_().clamp_(0, 255).to(torch.uint8).view(len(rows), frames, size, size, 3)
    return out


def crop_pictures(pictures: Sequence[Tensor], crop_from_picture: npt.NDArray[np.float64], size: int) -> Tensor:
    """Crop decoded pictures with the same result as the reader's CPU path: (T, size, size, 3) uint8.

    pictures: T of (H, W, 3) uint8 on one device, all of one size; crop_from_picture (T, 3, 3) between pixel centres,
    axis-aligned, mirrored if its x scale is negative. A picture shrunk by a factor of two or more is first averaged by
    an integer factor, then sampled bilinearly; outside is black.
    """
    stacked = torch.stack(list(pictures)).permute(0, 3, 1, 2)
    scales = np.abs(crop_from_picture[:, (0, 1), (0, 1)])
    out = torch.empty(len(stacked), size, size, 3, dtype=torch.uint8, device=stacked.device)
    factors = [_factors(1 / float(scale.max())) for scale in scales]
    for own in sorted(set(factors)):
        rows = [t for t, factor in enumerate(factors) if factor == own]
        out[rows] = _sampled(stacked[rows].float(), crop_from_picture[rows], own, size)
    return out


def _factors(shrink: float) -> tuple[int, int]:
    """The two integer factors by which a picture is averaged when `shrink` of its px make one px of the crop.

    The first corresponds to the decoder's reduced-size decoding, the second to the reader's averaging afterwards.
    """
    reduce = next((r for r in (8, 4, 2) if shrink >= r), 1)
    return reduce, max(1, int(shrink / reduce))


def _sampled(
    pictures: Tensor, crop_from_picture: npt.NDArray[np.float64], factors: tuple[int, int], size: int
) -> Tensor:
    """Sample (T, 3, H, W) float to (T, size, size, 3) uint8."""
    reduce, average = factors
    height, width = pictures.shape[2:]
    if reduce > 1:  # like the decoder, padding the last block at the edge
        pictures = F.pad(pictures, (0, -width % reduce, 0, -height % reduce), mode="replicate")
        pictures = F.avg_pool2d(pictures, reduce).round_()
    if average > 1:  # like the reader, dropping an incomplete last block
        pictures = F.avg_pool2d(pictures, average).round_()
    factor = reduce * average
    enlarged = np.array([[factor, 0, 0.5 * factor - 0.5], [0, factor, 0.5 * factor - 0.5], [0, 0, 1.0]])
    crop_from_picture = crop_from_picture @ enlarged
    height, width = pictures.shape[2:]
    picture_from_crop = np.linalg.inv(crop_from_picture)
    edges = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1.0]])  # at -1 and 1
    theta = torch.from_numpy((edges @ picture_from_crop)[:, :2]).to(pictures.device)
    line = torch.arange(size, dtype=torch.float64, device=pictures.device)
    # axis-aligned: x depends only on the column, y only on the row
    x = theta[:, 0, 0, None] * line + theta[:, 0, 2, None]
    y = theta[:, 1, 1, None] * line + theta[:, 1, 2, None]
    grid = torch.stack([x[:, None, :].expand(-1, size, -1), y[:, :, None].expand(-1, -1, size)], dim=-1).float()
    crops = F.grid_sample(pictures, grid, align_corners=False)
    return crops.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8)
