"""People of an annotated video of whom joints are labelled and no whole body is known."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.schema.keypoints import LEAST_CONFIDENCE
from trace_train.evaluation.candidates import (
    LEAST_JOINTS,
    ROOTS,
    joint_sums,
    missed_joints,
    scored_joints,
    universal_factors,
)
from trace_train.evaluation.sums import Sums
from trace_train.evaluation.video_truth import VideoTruth
from trace_train.geometry.camera import to_pixels
from trace_train.metrics.joints import rooted
from trace_train.protocols.protocol import Protocol


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledPeople:
    """L person-frames, by frame."""

    frame: Tensor
    """(L,) number of the frame among the compared ones."""
    person: Tensor
    """(L,) identities."""
    points: Tensor
    """(L, 44, 2) px: as labelled, else the labelled 3D joints in the picture."""
    labelled: Tensor
    """(L, 44) bool: the points that are known."""
    joints: Tensor
    """(L, 44, 3) m, camera axes, relative to the root of the protocol."""
    scored: Tensor
    """(L, 44) bool: the joints that are compared."""
    universal: Tensor
    """(L,) factors to the universal skeleton, or NaN."""
    box: Tensor
    """(L, 4) left, top, width, height of the known points, px."""

    def rows(self, rows: Tensor) -> LabelledPeople:
        """Select people by index or mask."""
        return LabelledPeople(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def labelled_people(truth: VideoTruth, frames: npt.NDArray[np.int64], rules: Protocol) -> LabelledPeople:
    """Those in the given frames of the annotation who have enough points to be found by."""
    number = np.full(len(truth.time), -1)
    number[frames] = np.arange(len(frames))
    rows = np.flatnonzero(number[truth.others.frame] >= 0)
    frame = truth.others.frame[rows]
    kp2d, kp3d = (torch.from_numpy(values[rows]) for values in (truth.others.points, truth.others.joints))
    camera, lens = (torch.from_numpy(x[frame]).float() for x in (truth.camera_from_world, truth.intrinsics))
    in_camera = kp3d[..., :3] @ camera[:, :3, :3].mT + camera[:, None, :3, 3]
    known2d, known3d = kp2d[..., 2] > LEAST_CONFIDENCE, (kp3d[..., 3] > 0) & (in_camera[..., 2] > 0)
    by_2d = known2d.sum(-1, keepdim=True) >= LEAST_JOINTS
    points = torch.where(by_2d[..., None], kp2d[..., :2], to_pixels(in_camera, lens))
    labelled = torch.where(by_2d, known2d, known3d)
    root = ROOTS[rules.labelled.root]
    scored = scored_joints(rules.labelled, known3d) & known3d[:, root].all(-1, keepdim=True)
    far = torch.full_like(points, torch.inf)
    low = torch.where(labelled[..., None], points, far).amin(1)
    high = torch.where(labelled[..., None], points, -far).amax(1)
    there = labelled.sum(-1) >= LEAST_JOINTS
    people = LabelledPeople(
        frame=torch.from_numpy(number[frame]),
        person=torch.from_numpy(truth.others.person[rows]),
        points=points,
        labelled=labelled,
        joints=rooted(in_camera, root),
        scored=scored,
        universal=_universal(truth, rows),
        box=torch.cat([low, high - low], dim=1),
    )
    return people.rows(there)


def _universal(truth: VideoTruth, rows: npt.NDArray[np.int64]) -> Tensor:
    if truth.entry is None:
        return torch.full((len(rows),), torch.nan)
    return universal_factors(truth.entry)[truth.others.person[rows] - truth.entry.first_person]


def measure_labels(
    sums: Sums, joints: Tensor, people: LabelledPeople, pairs: tuple[Tensor, Tensor], rules: Protocol
) -> None:
    """Add the errors of joints (R, 44, 3), relative to the hips, at `pairs` of their rows and those of `people`."""
    rows, whom = pairs
    some = people.scored[whom].any(-1)
    rows, whom = rows[some], whom[some]
    for measure, (total, count) in joint_sums(
        rules, joints[rows], people.joints[whom], people.scored[whom], people.universal[whom]
    ).items():
        sums.add(measure, float(total.sum()), float(count.sum()))
    missed = torch.ones(len(people.frame), dtype=torch.bool)
    missed[pairs[1]] = False
    for measure, count in missed_joints(rules, people.scored[missed], people.universal[missed]).items():
        sums.add(measure, 0.0, float(count.sum()))
