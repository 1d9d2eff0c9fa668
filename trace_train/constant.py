"""The best predictors that never look at a pixel. A network that does not beat them has learnt nothing.

Fitted on the training split by geometric median, which no other constant can beat in a mean of distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trace_data.errors import ConfigError
from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.annotated import Annotated, annotated
from trace_train.body_layer import BodyLayer
from trace_train.metrics import geometric_median, rooted
from trace_train.streaming.augment import full_frame
from trace_train.streaming.batch import LoadedClip, collate

FRAMES = 1000
"""Training frames the constants are fitted on, evenly spread."""
SHARDS = 16
"""Shards they come from, evenly spread too: a training split behind a URL is not fetched whole to score a network."""
MEAN_POSE = "mean pose"
MEAN_POSE_IN_CAMERA = "mean pose in the camera"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConstantPredictor:
    """Two constant bodies, and where in the frame they stand."""

    mean_pose: Tensor
    """(14, 3) median joints in body axes, turned by the mean root rotation, metres."""
    mean_pose_in_camera: Tensor
    """(14, 3) median joints in camera axes, metres."""
    joints2d: Tensor
    """(14, 2) median joints in the letter-boxed frame, edges at -1 and 1."""

    names = (MEAN_POSE, MEAN_POSE_IN_CAMERA)

    @classmethod
    def fit(cls, reader: ShardReader, layers: Mapping[str, BodyLayer]) -> ConstantPredictor:
        """From the annotations of the training split; no frame is decoded. Raises ConfigError when there is none."""
        refs = _spread(reader)
        if not refs:
            raise ConfigError(
                "these shards have no training split, on which the constant predictors are fitted",
                where=reader.store.where,
                hint="trace build-shards --split train --split test",
            )
        reader.prefetch(refs)
        people = [_people(reader, refs[i : i + 64], layers) for i in range(0, len(refs), 64)]
        joints, upright, joints2d, root = (
            np.concatenate([getattr(p, name).cpu().double().numpy() for p in people])
            for name in ("joints", "upright", "joints2d", "root")
        )
        if not len(root):
            raise ConfigError(
                "nobody in the training split of these shards has a whole body, with its place, to compare with",
                where=reader.store.where,
                hint="evaluate on shards of a release that has them, such as 3DPW's own (docs/datasets/3dpw.md)",
            )
        u, _, vt = np.linalg.svd(root.mean(0))
        turn = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
        body = geometric_median(rooted(torch.from_numpy(upright)).numpy())
        return cls(
            mean_pose=torch.from_numpy(body @ turn.T),
            mean_pose_in_camera=torch.from_numpy(geometric_median(rooted(torch.from_numpy(joints)).numpy())),
            joints2d=torch.from_numpy(geometric_median(joints2d)),
        )

    def predict(self, people: int) -> dict[str, tuple[Tensor, Tensor]]:
        """For each predictor its joints (people, 14, 3) and their places (people, 14, 2)."""
        image = self.joints2d.expand(people, 14, 2)
        return {
            MEAN_POSE: (self.mean_pose.expand(people, 14, 3), image),
            MEAN_POSE_IN_CAMERA: (self.mean_pose_in_camera.expand(people, 14, 3), image),
        }


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


def _people(reader: ShardReader, refs: Sequence[ClipRef], layers: Mapping[str, BodyLayer]) -> Annotated:
    size = 2  # any: the crop only carries coordinates here
    blank = []
    for ref in refs:
        known = reader.annotations(ref)
        window = full_frame(known.width, known.height)
        crop = window.crop_from_frame(size)[None]
        frames = torch.zeros(1, size, size, 3, dtype=torch.uint8)
        blank.append(LoadedClip(ref=ref, frames=frames, crop_from_frame=crop, annotations=known))
    return annotated(collate(blank), layers)
