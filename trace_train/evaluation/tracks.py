"""World-frame measures of one person's track in a window, by the rules of a protocol.

Detections are linked into tracks by the person they were matched to in each frame, without a tracker. Frames in which
the person was not detected are left out, or filled in the path where the protocol says so; nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from trace_train.evaluation.baselines import MEAN_POSE, ConstantBody
from trace_train.evaluation.sums import MODEL, Sums
from trace_train.metrics import joints, world
from trace_train.protocols.protocol import Protocol, WorldRules

STANDS_STILL = "stands still"
"""Baseline for world measures: the annotated body at the start of the track, without any motion."""
KEPT = ("id", "predicted", "annotated", "in_world", "skeleton", "feet", "root", "pelvis", "rest", "true_rest")
OF_A_MISS = ("id", "in_world", "true_hips", "true_root", "true_pelvis", "true_rest", "camera_from_world")
"""Of a frame in which the person was not found."""
ALIGNMENTS = {"ate": world.similar, "ate_rigid": world.rigid, "ate_start": world.from_start}
LOST = {"ate": 2.0, "ape": 4.0}
"""Errors of a person who is never found, where misses are filled (docs/reference/evaluation.md#dynacam)."""
Frames = dict[str, Tensor]
"""Values (n, ...) of n frames by name, float64 on the CPU; including `id` (n,) int64 and `in_world` (n,) bool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTiming:
    """Timing of a sequence's frame ids."""

    fps: float
    """Frames per second of consecutive ids."""
    step: int
    """Usual difference between ids."""

    @property
    def rate(self) -> float:
        """Frames per second of the stored frames."""
        return self.fps / self.step


def pieces(ids: Tensor, first: int, timing: FrameTiming, rules: WorldRules) -> list[slice]:
    """The chunks of a track: slices of its n frames with these ids (n,). `first`: id of the track's first frame."""
    count = len(ids)
    if rules.unit == "frames":
        length = round(rules.chunk)
        if rules.tail == "prolonged":  # docs/reference/further-datasets.md#emdb-protocols
            starts = range(0, count - length, length)
            ends = [count - 1 if start + 2 * length > count else start + length for start in starts]
        else:
            starts = range(0, count, length)
            ends = [min(start + length, count) for start in starts]
        cut = [slice(start, end) for start, end in zip(starts, ends)]
    else:
        number = torch.floor((ids - first).double() / (rules.chunk / 30 * timing.fps) + 1e-9).long()
        bounds = [0, *(number.diff().nonzero()[:, 0] + 1).tolist(), count]
        cut = [slice(start, end) for start, end in pairwise(bounds)]
    return [piece for piece in cut if piece.stop - piece.start >= rules.least]


class TrackAccumulator:
    """Receives the frames of a track in order and measures all predictors at its end.

    Frames hold the values of `bodies.compare` and their `id`. About 3 kB are kept of each.
    """

    def __init__(
        self, timing: FrameTiming, protocol: Protocol, constant: ConstantBody | None, *, world_is_first_camera: bool
    ) -> None:
        """`world_is_first_camera`: predicted positions are relative to the camera of the track's first frame, else to
        that of their own frame."""
        self.timing, self.rules, self.constant = timing, protocol, constant
        self.rate = protocol.time.rate or timing.rate
        self.world_is_first_camera = world_is_first_camera
        self.sums: dict[str, Sums] = {MODEL: Sums(), STANDS_STILL: Sums()}
        if constant is not None:
            self.sums[MEAN_POSE] = Sums()
        self._first: Frames = {}
        self._parts: list[Frames] = []
        self._missed: list[Frames] = []

    def add(self, frames: Frames) -> None:
        """Add the next frames in which the person was found."""
        if not self._first:
            self._first = {name: value[:1] for name, value in frames.items()}
        self._parts.append(self._placed(frames))

    def miss(self, frames: Frames) -> None:
        """Add frames in which the person was not found, which hold `OF_A_MISS`. They count where misses are filled."""
        if self.rules.misses == "filled":
            self._missed.append({name: frames[name] for name in OF_A_MISS})

    def end(self) -> dict[str, Sums]:
        """The sums of all measures."""
        if not self._parts:
            if any(part["in_world"].any() for part in self._missed):
                for measure, error in LOST.items():
                    self.sums[MODEL].add(measure, error, 1)
            return self.sums
        frames = _joined(self._parts)
        self._measure_smoothness(frames)
        there = _where(frames, frames["in_world"])
        if len(there["id"]):
            for piece in pieces(there["id"], int(self._first["id"]), self.timing, self.rules.world):
                chunk = {name: value[piece] for name, value in there.items()}
                for name, (skeleton, root) in self._in_world(chunk, there).items():
                    _measure_chunk(self.sums[name], chunk, skeleton, root)
            self._measure_path(there)
        return self.sums

    def _placed(self, frames: Frames) -> Frames:
        """Express prediction and annotation in the axes of the camera of the track's first frame, metres."""
        lens = self._first["true_from_assumed"] if self.world_is_first_camera else frames["true_from_assumed"]
        turn = self._turn()
        return {name: frames[name] for name in KEPT} | {
            "hips": (lens @ frames["place"][..., None]).squeeze(-1),
            "true_hips": frames["true_hips"] @ turn.mT,
            "true_skeleton": frames["true_skeleton"] @ turn.mT,
            "true_feet": frames["true_feet"] @ turn.mT,
            "true_pelvis": frames["true_pelvis"] @ turn.mT,
            "true_root": turn @ frames["true_root"],
        }

    def _turn(self) -> Tensor:
        """(3, 3) rotation from the world to the axes of the track's first camera."""
        return self._first["camera_from_world"][0]

    def _in_world(self, chunk: Frames, track: Frames) -> Mapping[str, tuple[Tensor, Tensor]]:
        """World joints (n, 24, 3) and root rotations (n, 3, 3) of every predictor."""
        count = len(chunk["id"])
        start = {name: value[:1] for name, value in track.items()}
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

    def _measure_smoothness(self, frames: Frames) -> None:
        """Measures over consecutive frames."""
        sums, rate, ends = self.sums[MODEL], self.rate, self.rules.time.trimmed
        if (valid := self._consecutive(frames, 2)).any():
            error = joints.acceleration_error(frames["predicted"], frames["annotated"])[valid]
            error = error[ends : len(error) - ends]
            sums.add_all("acceleration_per_frame", error, 1000)
            sums.add_all("acceleration", error, rate**2)
        if self.rules.time.gaps == "join":
            frames = _where(frames, frames["in_world"])
        skeleton = frames["skeleton"] + frames["hips"][:, None]
        if (valid := self._consecutive(frames, 3, world=True)).any():
            sums.add_all("jitter", world.jitter(skeleton, rate)[valid])
        if (valid := self._consecutive(frames, 1, world=True)).any():
            feet = frames["feet"] + frames["hips"][:, None]
            true_feet = frames["true_feet"] + frames["true_hips"][:, None]
            slid, still = world.foot_sliding(feet, true_feet, rate)
            sums.add_all("foot_sliding", slid[valid][still[valid]], 1000)

    def _consecutive(self, frames: Frames, order: int, *, world: bool = False) -> Tensor:
        """(n - order,) whether `order` + 1 frames follow one another, as the protocol has it."""
        ids, usable = frames["id"], frames["in_world"]
        if self.rules.time.gaps == "join":
            return torch.ones(max(0, len(ids) - order), dtype=torch.bool)
        follow = ids[order:] - ids[:-order] == order * self.timing.step
        if world and order < len(ids):
            follow &= usable.unfold(0, order + 1, 1).all(-1)
        return follow

    def _measure_path(self, frames: Frames) -> None:
        """Measures of the whole path of the point that the protocol follows."""
        sums = self.sums[MODEL]
        predicted, true, root, true_root = self._filled(frames)
        each = self.rules.mean == "tracks"

        def add(name: str, measure: str, error: float) -> None:
            # a path weighs as much as its frames, as short ones are easy to align
            weight = 1 if each else len(true)
            self.sums[name].add(measure, error * weight, weight)

        still = true[:1].expand_as(true)
        for name, path in {MODEL: predicted, STANDS_STILL: still, MEAN_POSE: still}.items():
            if name not in self.sums:
                continue
            for measure, align in ALIGNMENTS.items():
                add(name, measure, float(world.trajectory_error(path, true, align(path, true))))
            length = float(world.path_length(true))
            if length >= self.rules.world.shortest_path and length > 0:
                self.sums[name].add_all("rte", world.root_translation_error(path, true))
                if name == MODEL:
                    sums.add("path_ratio", float(world.path_length(path)), length)
        if "ape" in self.rules.measures:
            aligned = world.similar(predicted, true)
            add(MODEL, "ape", float(world.pose_error(predicted, true, root, true_root, aligned)))

    def _filled(self, frames: Frames) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predicted and annotated points (n, 3) and root rotations (n, 3, 3): of frames in which the person was found
        and, where misses are filled, of all, with the prediction of the last one before, else of the next."""
        point = self.rules.world.point
        predicted, true = (_points(frames, point, side) for side in ("", "true_"))
        if not self._missed:
            return predicted, true, frames["root"], frames["true_root"]
        missed = _joined(self._missed)
        missed = _where(missed, missed["in_world"])
        turn = self._turn()
        missed["true_hips"], missed["true_pelvis"] = missed["true_hips"] @ turn.mT, missed["true_pelvis"] @ turn.mT
        ids = torch.cat([frames["id"], missed["id"]])
        order = ids.argsort()
        last = torch.searchsorted(frames["id"], ids[order], right=True) - 1
        source = last.clamp_min(0)
        return (
            predicted[source],
            torch.cat([true, _points(missed, point, "true_")])[order],
            frames["root"][source],
            torch.cat([frames["true_root"], turn @ missed["true_root"]])[order],
        )


def _points(frames: Frames, point: str, side: str) -> Tensor:
    """(n, 3) what a protocol follows through the world. `side`: "" of the prediction, "true_" of the annotation."""
    hips = frames[f"{side}hips"]
    if point == "pelvis":
        return hips + frames[f"{side}skeleton"][:, 0]
    if point == "translation":
        return hips + frames[f"{side}pelvis"][:, 0] - frames[f"{side}rest"]
    return hips


def _measure_chunk(sums: Sums, chunk: Frames, skeleton: Tensor, root: Tensor) -> None:
    true = chunk["true_skeleton"] + chunk["true_hips"][:, None]
    first = world.first_two(skeleton, true)
    sums.add_all("w_mpjpe", world.joint_errors(skeleton, true, first), 1000)
    sums.add_all("wa_mpjpe", world.joint_errors(skeleton, true, world.similar(skeleton, true)), 1000)
    sums.add_all("root_orientation", world.rotation_angle(first[1] @ root, chunk["true_root"]))


def _joined(parts: list[Frames]) -> Frames:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _where(frames: Frames, mask: Tensor) -> Frames:
    return {name: value[mask] for name, value in frames.items()}
