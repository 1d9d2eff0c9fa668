"""Constant baselines that ignore the image. A network that does not beat them has learnt nothing.

Fitted on the training split with the geometric median: the constant prediction with the least mean distance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.evaluation.candidates import Candidates, candidates
from trace_train.evaluation.ground_truth import GroundTruth, annotated
from trace_train.metrics.joints import rooted
from trace_train.protocols.loading import load_protocol
from trace_train.streaming.augment import full_frame
from trace_train.streaming.batch import LoadedClip, collate

FRAMES = 1000
"""Number of training frames, evenly spaced, used to fit the constants."""
SHARDS = 16
"""Number of shards these frames come from, so that a remote training split is not downloaded completely."""
MEAN_POSE = "mean pose"
MEAN_POSE_IN_CAMERA = "mean pose in the camera"

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConstantBody:
    """Two constant bodies and their position in the frame, float64."""

    mean_pose: Tensor
    """(14, 3) median joints in body axes, rotated by the mean root rotation, metres."""
    mean_pose_in_camera: Tensor
    """(14, 3) median joints in camera axes, metres."""
    joints2d: Tensor
    """(14, 2) median joints in the letter-boxed frame, edges at -1 and 1."""
    skeleton: Tensor
    """(24, 3) median kinematic joints in body axes, rotated by the mean root rotation, metres."""
    root: Tensor
    """(3, 3) mean root rotation."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConstantPredictor:
    """Constant predictions; None for labels that the training split does not have."""

    body: ConstantBody | None
    """Fitted on people with a full body."""
    joints: Tensor | None
    """(44, 3) median labelled joints in camera axes, relative to the hips, metres, of people without bodies; zero
    where a joint is never labelled."""

    @classmethod
    def fit(cls, reader: ShardReader, layers: Mapping[str, BodyLayer]) -> ConstantPredictor:
        """Fit on the annotations of the training split, if any; no frame is decoded."""
        refs = _spread(reader)
        reader.prefetch(refs)
        people = [_people(reader, refs[i : i + 64], layers) for i in range(0, len(refs), 64)]
        return cls(body=_body([bodies for bodies, _ in people]), joints=_joints([others for _, others in people]))


def _body(people: Sequence[GroundTruth]) -> ConstantBody | None:
    if not sum(len(p.frame) for p in people):
        return None

    def all_of(name: str) -> Tensor:
        return torch.cat([getattr(p, name) for p in people]).cpu().double()

    root = all_of("root")
    u, _, vt = np.linalg.svd(root.numpy().mean(0))
    turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    rotations = torch.cat([p.rotations[:, 0] for p in people]).cpu().double()
    return ConstantBody(
        mean_pose=_median(rooted(all_of("upright"))) @ torch.from_numpy(turn).mT,
        mean_pose_in_camera=_median(rooted(all_of("joints"))),
        joints2d=_median(all_of("joints2d")),
        skeleton=_median(all_of("skeleton") @ rotations) @ torch.from_numpy(turn).mT,
        root=torch.from_numpy(turn),
    )


def _joints(people: Sequence[Candidates]) -> Tensor | None:
    joints = [p.joints[p.scored.any(-1)].cpu().double() for p in people]
    scored = [p.scored[p.scored.any(-1)].cpu() for p in people]
    if not sum(len(p) for p in joints):
        return None
    return torch.from_numpy(geometric_median(torch.cat(joints).numpy(), torch.cat(scored).numpy()))


def _median(points: Tensor) -> Tensor:
    return torch.from_numpy(geometric_median(points.numpy()))


def _spread(reader: ShardReader) -> list[ClipRef]:
    shards = sorted({entry.shard for entry in reader.index.sequences if entry.split == "train"})
    count = min(SHARDS, len(shards))
    chosen = {shards[i * len(shards) // count] for i in range(count)}
    frames = [
        (row, start)
        for row, entry in enumerate(reader.index.sequences)
        if entry.split == "train" and entry.shard in chosen
        for start in range(entry.frames)
    ]
    step = max(1, len(frames) // FRAMES)
    return [ClipRef(sequence=row, start=start, stride=1, length=1) for row, start in frames[::step]]


def _people(
    reader: ShardReader, refs: Sequence[ClipRef], layers: Mapping[str, BodyLayer]
) -> tuple[GroundTruth, Candidates]:
    size = 2  # arbitrary: the crop only defines coordinates here
    blank = []
    for ref in refs:
        known = reader.annotations(ref)
        window = full_frame(known.width, known.height)
        crop = window.crop_from_frame(size)[None]
        frames = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        blank.append(LoadedClip(ref=ref, frames=frames, crop_from_frame=crop, annotations=known))
    device = next(iter(layers.values())).weights.device
    batch = collate(blank).to(device)
    bodies = annotated(batch, layers)
    return bodies, candidates(batch, bodies, load_protocol().labelled)


def geometric_median(
    points: npt.NDArray[np.float64], known: npt.NDArray[np.bool_] | None = None, steps: int = 64
) -> npt.NDArray[np.float64]:
    """The point (..., 3) with the least mean distance to points (N, ..., 3), by Weiszfeld's iteration.

    No constant prediction has a lower mean distance, such as MPJPE. `known` (N, ...): the points to use; without any
    the result is zero.
    """
    counts = np.ones((*points.shape[:-1], 1)) if known is None else known[..., None].astype(np.float64)
    estimate: npt.NDArray[np.float64] = (points * counts).sum(0) / np.maximum(counts.sum(0), 1)
    for _ in range(steps):
        distance = np.maximum(np.linalg.norm(points - estimate, axis=-1, keepdims=True), 1e-9)
        weight = counts / distance
        estimate = (points * weight).sum(0) / np.maximum(weight.sum(0), 1e-12)
    return estimate
