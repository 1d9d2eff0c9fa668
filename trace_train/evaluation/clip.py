"""Evaluates a network on one clip: detections, their matches with annotated people, and errors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trace_data.schema.clip import ClipRef
from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.evaluation.accumulator import MISS_MM
from trace_train.evaluation.ground_truth import GroundTruth, annotated
from trace_train.inference.detections import Detections, detect
from trace_train.metrics import joints
from trace_train.metrics.matching import match
from trace_train.network.flow import FlowProvider
from trace_train.network.model import TraceNetwork
from trace_train.streaming.batch import collate
from trace_train.streaming.stream import load_clip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipResult:
    """Result of a network on one clip of T frames."""

    ref: ClipRef
    found: Detections
    truth: GroundTruth
    pairs: tuple[tuple[int, int], ...]
    """Matched rows of `found` and `truth`."""
    heat: Tensor
    """(T, M, M) front-view centre heat, 0 to 1."""

    @property
    def mpjpe(self) -> Tensor:
        """(pairs,) mm."""
        return 1000 * joints.mpjpe(*self._joints())

    @property
    def pa_mpjpe(self) -> Tensor:
        """(pairs,) mm."""
        return 1000 * joints.pa_mpjpe(*self._joints())

    @property
    def missed(self) -> int:
        """Number of annotated person-frames without a match."""
        return len(self.truth.frame) - len(self.pairs)

    @property
    def error(self) -> float:
        """MPJPE over all annotated people, mm, with 150 for each missed one; NaN if nobody is annotated."""
        if not len(self.truth.frame):
            return math.nan
        return (float(self.mpjpe.sum()) + MISS_MM * self.missed) / len(self.truth.frame)

    def _joints(self) -> tuple[Tensor, Tensor]:
        found, truth = ([pair[side] for pair in self.pairs] for side in (0, 1))
        return self.found.body.joints_h36m[found, :14], self.truth.joints[truth]


@torch.inference_mode()
def evaluate_clip(
    network: TraceNetwork,
    flow: FlowProvider,
    layers: Mapping[str, BodyLayer],
    reader: ShardReader,
    ref: ClipRef,
    *,
    threshold: float,
    vertices: bool = False,
) -> ClipResult:
    """Run a network in evaluation mode on the whole frames of a clip. `flow`: that of the run. `layers` by gender name.
    `threshold`: minimum score of a detection.

    Raises ShardError.
    """
    device = next(network.parameters()).device
    batch = collate([load_clip(reader, ref, 4 * network.map_size)]).to(device)
    maps = network(batch.images, flow(batch.images) if ref.length > 1 else None)
    detections = detect(network, maps, layers["neutral"], threshold=threshold, vertices=vertices)
    truth = annotated(batch, layers)
    labelled = torch.ones_like(truth.joints2d[..., 0], dtype=torch.bool)
    rows, people = match(
        detections.joints2d_h36m[:, :14], detections.frame, truth.joints2d, truth.frame, labelled, len(maps.center)
    )
    heat = maps.center.float()
    return ClipResult(
        ref=ref,
        found=detections,
        truth=truth,
        pairs=tuple(zip(rows.tolist(), people.tolist())),
        heat=heat.sigmoid() if network.center_logits else heat.clamp(0, 1),
    )
