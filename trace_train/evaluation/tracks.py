"""World-frame measures of one person's track in a window, computed chunk by chunk in constant memory.

Detections are linked into tracks by the person they were matched to in each frame, without a tracker. Frames in which
the person was not detected are left out, not interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from trace_train.evaluation.baselines import MEAN_POSE, ConstantBody
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.evaluation.windows import CHUNK_SECONDS
from trace_train.metrics import joints, world

STANDS_STILL = "stands still"
"""Baseline for world measures: the annotated body at the start of the track, without any motion."""
SHORTEST_PATH = 0.1
"""Minimum path length, m, for errors relative to the path."""
TAIL = 3
"""Number of frames of the previous chunk needed for derivatives."""
KEPT = ("id", "predicted", "annotated", "in_world", "skeleton", "feet", "root")
ALIGNMENTS = {"ate": world.similar, "ate_rigid": world.rigid, "ate_start": world.from_start}
Frames = dict[str, Tensor]
"""Values (n, ...) of n frames by name, float64 on the CPU; including `id` (n,) int64 and `in_world` (n,) bool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Timing of a sequence's frame ids."""

    fps: float
    """Frames per second of consecutive ids."""
    step: int
    """Usual difference between ids."""

    @property
    def rate(self) -> float:
        """Frames per second of the stored frames."""
        return self.fps / self.step

    def chunk(self, ids: Tensor, first: int) -> Tensor:
        """(n,) index of each frame's chunk, counted from the track's first frame."""
        return torch.floor((ids - first).double() / (CHUNK_SECONDS * self.fps) + 1e-9).long()


class Track:
    """Receives the frames of a track in order and accumulates the measures of all predictors.

    Frames hold the values of `bodies.compare` and their `id`.
    """

    def __init__(self, clock: Clock, constant: ConstantBody | None, *, world_is_first_camera: bool) -> None:
        """`world_is_first_camera`: predicted positions are relative to the camera of the track's first frame, else to
        that of their own frame."""
        self.clock, self.constant, self.world_is_first_camera = clock, constant, world_is_first_camera
        self.sums: dict[str, Sums] = {MODEL: Sums(), STANDS_STILL: Sums()}
        if constant is not None:
            self.sums[MEAN_POSE] = Sums()
        self._held: Frames = {}
        self._tail: Frames = {}
        self._start: Frames = {}
        self._first: Frames = {}
        self._path: list[tuple[Tensor, Tensor]] = []

    def add(self, frames: Frames) -> None:
        """Add the next frames."""
        if not self._first:
            self._first = {name: value[:1] for name, value in frames.items()}
        held = _joined(self._held, self._placed(frames))
        number = self.clock.chunk(held["id"], int(self._first["id"]))
        complete = number < number[-1]
        for chunk in number[complete].unique().tolist():
            self._measure(_where(held, number == chunk))
        self._held = _where(held, ~complete)

    def end(self) -> dict[str, Sums]:
        """Measure the rest and the whole path, and return the sums."""
        if self._held:
            self._measure(self._held)
        if self._path:
            self._measure_path()
        return self.sums

    def _placed(self, frames: Frames) -> Frames:
        """Express prediction and annotation in the axes of the camera of the track's first frame, metres."""
        lens = self._first["true_from_assumed"] if self.world_is_first_camera else frames["true_from_assumed"]
        turn = self._first["camera_from_world"]
        return {name: frames[name] for name in KEPT} | {
            "hips": (lens @ frames["place"][..., None]).squeeze(-1),
            "true_hips": frames["true_hips"] @ turn[0].mT,
            "true_skeleton": frames["true_skeleton"] @ turn.mT,
            "true_feet": frames["true_feet"] @ turn.mT,
            "true_root": turn @ frames["true_root"],
        }

    def _measure(self, chunk: Frames) -> None:
        """Measure one complete chunk."""
        longer = _joined(self._tail, chunk)
        new = len(longer["id"]) - len(chunk["id"])
        self._measure_smoothness(longer, new)
        self._tail = {name: value[-TAIL:] for name, value in longer.items()}
        chunk = _where(chunk, chunk["in_world"])
        if not len(chunk["id"]):
            return
        if not self._start:
            self._start = {name: value[:1] for name, value in chunk.items()}
        self._path.append((chunk["hips"], chunk["true_hips"]))
        if len(chunk["id"]) > 1:
            for name, (skeleton, root) in self._in_world(chunk).items():
                _measure_chunk(self.sums[name], chunk, skeleton, root)

    def _in_world(self, chunk: Frames) -> Mapping[str, tuple[Tensor, Tensor]]:
        """World joints (n, 24, 3) and root rotations (n, 3, 3) of every predictor."""
        count = len(chunk["id"])
        start = self._start
        bodies = {
            MODEL: (chunk["skeleton"] + chunk["hips"][:, None], chunk["root"]),
            STANDS_STILL: (
                (start["true_skeleton"] + start["true_hips"][:, None]).expand(count, -1, -1),
                start["true_root"].expand(count, 3, 3),
            ),
        }
        if (constant := self.constant) is not None:
            bodies[MEAN_POSE] = (constant.skeleton.expand(count, -1, -1), constant.root.expand(count, 3, 3))
        return bodies

    def _measure_smoothness(self, frames: Frames, new: int) -> None:
        """Measures over consecutive frames, each counted for the last frame of its stencil, from frame `new` on."""
        sums, rate = self.sums[MODEL], self.clock.rate
        if (valid := self._consecutive(frames, 2, new)).any():
            error = joints.acceleration_error(frames["predicted"], frames["annotated"])[valid]
            sums.add_all("acceleration_per_frame", error, 1000)
            sums.add_all("acceleration", error, rate**2)
        skeleton = frames["skeleton"] + frames["hips"][:, None]
        if (valid := self._consecutive(frames, 3, new, world=True)).any():
            sums.add_all("jitter", world.jitter(skeleton, rate)[valid])
        if (valid := self._consecutive(frames, 1, new, world=True)).any():
            feet = frames["feet"] + frames["hips"][:, None]
            true_feet = frames["true_feet"] + frames["true_hips"][:, None]
            slid, still = world.foot_sliding(feet, true_feet, rate)
            sums.add_all("foot_sliding", slid[valid][still[valid]], 1000)

    def _consecutive(self, frames: Frames, order: int, new: int, *, world: bool = False) -> Tensor:
        """(n - order,) whether `order` + 1 frames are consecutive and the last one is new."""
        ids, usable = frames["id"], frames["in_world"]
        follow = ids[order:] - ids[:-order] == order * self.clock.step
        follow &= torch.arange(len(ids))[order:] >= new
        if world and order < len(ids):
            follow &= usable.unfold(0, order + 1, 1).all(-1)
        return follow

    def _measure_path(self) -> None:
        predicted, true = (torch.cat(parts) for parts in zip(*self._path))
        still = true[:1].expand_as(true)
        for name, path in {MODEL: predicted, STANDS_STILL: still, MEAN_POSE: still}.items():
            if (sums := self.sums.get(name)) is None:
                continue
            for measure, align in ALIGNMENTS.items():
                error = float(world.trajectory_error(path, true, align(path, true)))
                sums.add(measure, error * len(path), len(path))  # weighted by length, as short tracks are easy to align
            if float(length := world.path_length(true)) >= SHORTEST_PATH:
                sums.add_all("rte", world.root_translation_error(path, true))
                if name == MODEL:
                    sums.add("path_ratio", float(world.path_length(path)), float(length))


def _measure_chunk(sums: Sums, chunk: Frames, skeleton: Tensor, root: Tensor) -> None:
    true = chunk["true_skeleton"] + chunk["true_hips"][:, None]
    first = world.first_two(skeleton, true)
    sums.add_all("w_mpjpe", world.joint_errors(skeleton, true, first), 1000)
    sums.add_all("wa_mpjpe", world.joint_errors(skeleton, true, world.similar(skeleton, true)), 1000)
    sums.add_all("root_orientation", world.rotation_angle(first[1] @ root, chunk["true_root"]))


def _joined(before: Frames, after: Frames) -> Frames:
    return {name: torch.cat([before[name], value]) for name, value in after.items()} if before else after


def _where(frames: Frames, mask: Tensor) -> Frames:
    return {name: value[mask] for name, value in frames.items()}
