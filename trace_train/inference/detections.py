"""Decodes detected people from the maps: peaks of the 3D centre map, sampled and posed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from trace_data.errors import CheckpointError
from trace_train.body.layer import BodyLayer, BodyOutput
from trace_train.geometry.camera import project, translation_from_triple
from trace_train.network.model import TraceNetwork
from trace_train.network.outputs import Maps, People, full_rotations

DUPLICATE_DISTANCE = 0.05
"""Detections in a frame closer than this in (s, y, x) are duplicates; the one with the best score is kept. The
published system uses this value (docs/reference/inference.md#duplicate-filter)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detections:
    """K detected people of a batch of frames."""

    frame: Tensor
    """(K,) frame of the batch, ascending."""
    zyx: Tensor
    """(K, 3) voxel of the peak: depth level, row, column."""
    score: Tensor
    """(K,) value of the peak; a probability if the map holds logits."""
    translation: Tensor
    """(K, 3) hip midpoint, metres, in the 50-degree camera of the crop."""
    rotations: Tensor
    """(K, 24, 3, 3) root in the camera frame, then relative to the parent."""
    betas: Tensor
    """(K, 10)."""
    body: BodyOutput
    """Posed neutral bodies, relative to the hip midpoint."""
    joints2d: Tensor
    """(K, 44, 2) x, y in the crop, edges at -1 and 1."""
    joints2d_h36m: Tensor
    """(K, 17, 2) the same for the H36M joints."""
    people: People
    """The parameters (K, ...) that they were decoded from."""


def centers(center_3d: Tensor, *, logits: bool, threshold: float, most: int = 64) -> tuple[Tensor, Tensor, Tensor]:
    """Peaks of (N, D, M, M): frame (K,), voxel z, y, x (K, 3) and score (K,), best first within a frame.

    A voxel is a peak if it is the maximum of its 5 x 5 x 5 neighbourhood
    (docs/reference/network.md#peaks-of-the-centre-volume).
    """
    # find peaks before the sigmoid, which saturates for large logits
    peak = highest_around(center_3d)
    heat = center_3d.sigmoid() if logits else center_3d
    kept = torch.where(center_3d == peak, heat, torch.zeros_like(heat)).flatten(1)
    score, index = kept.topk(min(most, kept.shape[1]), dim=1)
    frame, rank = (score > threshold).nonzero(as_tuple=True)
    flat = index[frame, rank]
    _, _, rows, columns = center_3d.shape
    zyx = torch.stack([flat // (rows * columns), flat // columns % rows, flat % columns], dim=1)
    return frame, zyx, score[frame, rank]


def highest_around(volume: Tensor) -> Tensor:
    """The maximum of the 5 x 5 x 5 neighbourhood of each voxel of (N, D, M, M).

    As `max_pool3d`, whose loops on a CPU take longer than a small network.
    """
    for dim in (1, 2, 3):
        size = volume.shape[dim]
        padded = F.pad(volume, [0, 0] * (3 - dim) + [2, 2], value=-torch.inf)
        two = torch.maximum(padded.narrow(dim, 0, size + 3), padded.narrow(dim, 1, size + 3))
        four = torch.maximum(two.narrow(dim, 0, size + 1), two.narrow(dim, 2, size + 1))
        volume = torch.maximum(four.narrow(dim, 0, size), padded.narrow(dim, 4, size))
    return volume


def best_score(center_3d: Tensor, *, logits: bool) -> float:
    """The highest score in (N, D, M, M) maps, for advice when nobody is detected. Raises CheckpointError on NaN."""
    highest = center_3d.max()
    score = float(highest.sigmoid() if logits else highest)
    refuse_not_finite(score)
    return score


def refuse_not_finite(*predicted: Tensor | npt.NDArray[np.floating[Any]] | float) -> None:
    """Raise CheckpointError where the network predicts NaN or infinite values: it cannot tell anything."""
    if not all(bool(torch.as_tensor(values).isfinite().all()) for values in predicted):
        raise CheckpointError(
            "the network predicts values that are not finite",
            hint="its training diverged, or its weights are damaged; where half precision overflows,"
            "  trace predict --set precision=fp32  helps",
        )


def detect(
    network: TraceNetwork,
    maps: Maps,
    layer: BodyLayer,
    *,
    threshold: float = 0.2,
    vertices: bool = False,
    duplicates: bool = False,
) -> Detections:
    """Detect and pose all people in the frames of `maps`. `duplicates`: keep all peaks, also several of a person."""
    frame, zyx, score = centers(maps.center_3d, logits=network.center_logits, threshold=threshold)
    people = network.regress(maps, frame, zyx)
    if not duplicates:
        keep = _without_duplicates(frame, people.camera).nonzero()[:, 0]  # each mask would be read from the GPU anew
        frame, zyx, score, people = frame[keep], zyx[keep], score[keep], people.of(keep)
    published = network.published_camera
    rotations, betas = full_rotations(people), people.shape[:, :10]
    translation = translation_from_triple(people.camera, published=published)
    body = layer(rotations, betas, vertices=vertices)
    return Detections(
        frame=frame,
        zyx=zyx,
        score=score,
        translation=translation,
        rotations=rotations,
        betas=betas,
        body=body,
        joints2d=project(body.joints + translation[:, None], published=published),
        joints2d_h36m=project(body.joints_h36m + translation[:, None], published=published),
        people=people,
    )


def _without_duplicates(frame: Tensor, camera: Tensor) -> Tensor:
    """Mask (K,) of the detections to keep; they are sorted by frame, best first within each.

    Detections are compared only within their frame, so the cost is linear in the number of frames.
    """
    if not len(frame):
        return torch.ones_like(frame, dtype=torch.bool)
    at = torch.arange(len(frame), device=frame.device)
    begins = frame.diff(prepend=frame[:1] - 1) != 0
    number = begins.cumsum(0) - 1
    rank = at - torch.where(begins, at, 0).cummax(0).values
    frames, most = (torch.stack([number[-1], rank.max()]) + 1).tolist()
    place = camera.new_full((frames, most, 3), float("nan"))  # NaN padding is close to nothing
    place[number, rank] = camera
    near = (place[:, :, None] - place[:, None]).norm(dim=-1) < DUPLICATE_DISTANCE
    better = near.triu(diagonal=1)  # (frame, i, j): i scores better than j and is the same person
    keep = torch.ones_like(place[..., 0], dtype=torch.bool)
    # only kept detections suppress others; each round settles at least one more in a chain of neighbours
    while not torch.equal(keep, settled := ~(better & keep[..., None]).any(1)):
        keep = settled
    return keep[number, rank]
