"""Annotated people, with or without a body, to whom detections can be matched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trace_data.schema.camera import NEAR_PLANE
from trace_data.schema.keypoints import ALL_44, L_HIP, LEAST_CONFIDENCE, R_HIP
from trace_data.shards.entries import SequenceEntry
from trace_train.evaluation.bodies import LSP
from trace_train.evaluation.ground_truth import GroundTruth, in_crop
from trace_train.inference.detections import Detections
from trace_train.metrics.joints import (
    area_under_curve,
    correct,
    labelled_errors,
    per_person,
    rooted,
    with_bones_of,
)
from trace_train.protocols.protocol import LabelledRules, Protocol
from trace_train.streaming.batch import Batch
from trace_train.targets.view import CropView

LEAST_JOINTS = 4
"""Minimum number of 2D joints needed to match a person without a body."""
UNIVERSAL = "universal"
"""Key of the provenance of sequences of MuPoTS: factor of each person, as `TS1/0 1.08, TS1/1 0.95`."""
ROOTS = {"hips": (R_HIP, L_HIP), "pelvis": (ALL_44.index("Pelvis"),)}
BONES = tuple(
    (ALL_44.index(parent), ALL_44.index(child))
    for parent, child in (
        ("Pelvis", "Neck_LSP"), ("Neck_LSP", "R_Shoulder"), ("R_Shoulder", "R_Elbow"), ("R_Elbow", "R_Wrist"),
        ("Neck_LSP", "L_Shoulder"), ("L_Shoulder", "L_Elbow"), ("L_Elbow", "L_Wrist"), ("Pelvis", "R_Hip"),
        ("R_Hip", "R_Knee"), ("R_Knee", "R_Ankle"), ("Pelvis", "L_Hip"), ("L_Hip", "L_Knee"), ("L_Knee", "L_Ankle"),
    )
)  # fmt: skip
"""(parent, child) from the root outwards: the joints of MuPoTS that are among the 44."""
POINTS = LSP + len(ALL_44)
"""Matching points: the 14 LSP joints for people with a body, the labelled ones of the 44 joints for others."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidates:
    """L annotated people of a batch of frames, in the order of the frames."""

    frame: Tensor
    """(L,) index of the frame in the flattened batch (clips, frames)."""
    points: Tensor
    """(L, 58, 2) the 14 LSP joints and the 44: x, y in the crop, edges at -1 and 1."""
    labelled: Tensor
    """(L, 58) bool: the points used for matching."""
    counted: Tensor
    """(L,) bool: inside the picture, so that not detecting this person is a miss. Detections matched to other people
    are not false alarms."""
    body: Tensor
    """(L,) row in `GroundTruth`; -1 for people without a whole body."""
    identity: Tensor
    """(L,) number among the people of all sequences."""
    joints: Tensor
    """(L, 44, 3) labelled joints, m, camera axes, relative to the midpoint of the labelled hips, or to the pelvis."""
    scored: Tensor
    """(L, 44) bool: the joints compared; none for people with a body, whose body is compared instead."""


def points_of(found: Detections) -> Tensor:
    """(K, 58, 2) the matching points of detections."""
    return torch.cat([found.joints2d_h36m[:, :LSP], found.joints2d], dim=1)


def candidates(batch: Batch, bodies: GroundTruth, rules: LabelledRules) -> Candidates:
    """All people of a batch that detections can be matched to.

    `bodies`: those with a full body. `rules`: which labelled joints of the others are scored.
    """
    frames = batch.images.shape[1]
    row = torch.full(batch.present.shape, -1, device=batch.present.device)
    row[bodies.frame // frames, bodies.person, bodies.frame % frames] = torch.arange(
        len(bodies.frame), device=row.device
    )
    points, labelled = _joints2d(batch)
    there = batch.present & ((labelled.sum(-1) >= LEAST_JOINTS) | (row >= 0))
    clip, frame, person = there.transpose(1, 2).nonzero(as_tuple=True)
    at = (clip, person, frame)
    body = row[at]
    has_body = body >= 0
    places = points.new_zeros(len(clip), POINTS, 2)
    places[:, LSP:] = in_crop(batch, clip, frame, points[at])
    places[has_body, :LSP] = bodies.joints2d[body[has_body]]
    counts = torch.zeros(len(clip), POINTS, dtype=torch.bool, device=row.device)
    counts[:, LSP:] = labelled[at] & ~has_body[:, None]
    counts[:, :LSP] = has_body[:, None]
    joints, scored = _joints3d(batch, at, rules)
    return Candidates(
        frame=clip * frames + frame,
        points=places,
        labelled=counts,
        counted=batch.masks["center"][at] | has_body,
        body=body,
        identity=batch.identity[clip, person],
        joints=joints,
        scored=scored & ~has_body[:, None],
    )


def _joints2d(batch: Batch) -> tuple[Tensor, Tensor]:
    """2D joints (B, P, T, 44, 2), px of the frame, and their mask: annotated joints, else projected 3D joints."""
    known2d = (batch.kp2d[..., 2] > LEAST_CONFIDENCE) & batch.masks["pose2d"][..., None]
    view = CropView.of_frames(batch, batch.images.shape[2])
    projected, depth = view.project(batch.kp3d[..., :3])
    projectable = batch.masks["joints3d"] & view.intrinsics_known
    known3d = (batch.kp3d[..., 3] > 0) & (depth > NEAR_PLANE) & projectable[..., None]
    annotated = known2d.sum(-1, keepdim=True) >= LEAST_JOINTS
    return (
        torch.where(annotated[..., None], batch.kp2d[..., :2], projected),
        torch.where(annotated, known2d, known3d),
    )


def _joints3d(batch: Batch, at: tuple[Tensor, Tensor, Tensor], rules: LabelledRules) -> tuple[Tensor, Tensor]:
    """Joints (L, 44, 3) in camera axes relative to the root, and the mask of those scored; none without a root."""
    clip, _, frame = at
    points, known = batch.kp3d[at][..., :3], batch.kp3d[at][..., 3] > 0
    root = ROOTS[rules.root]
    has = batch.masks["joints3d"][at] & known[:, list(root)].all(-1)
    turned = rooted(points, root) @ batch.camera_from_world[clip, frame][:, :3, :3].mT
    return turned, scored_joints(rules, known) & has[:, None]


def scored_joints(rules: LabelledRules, known: Tensor) -> Tensor:
    """Of the labelled joints (..., 44), those that a protocol compares."""
    if rules.joints is None:
        return known
    return known & torch.tensor([name in rules.joints for name in ALL_44], device=known.device)


def universal_factors(entry: SequenceEntry) -> Tensor:
    """How many times as large as themselves the people (P,) of a sequence are in universal joints; NaN: not known."""
    said = (part.rpartition(" ") for part in entry.provenance.get(UNIVERSAL, "").split(", "))
    factors = {name: float(factor) for name, _, factor in said if name in entry.people}
    return torch.tensor([factors.get(name, torch.nan) for name in entry.people], dtype=torch.float64)


def joint_sums(
    rules: Protocol, predicted: Tensor, target: Tensor, labelled: Tensor, universal: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """Sums and counts (M,) of each measure of labelled joints.

    Joints (M, 44, 3): predicted ones relative to the hips, labelled ones to the root of the rules; `labelled` (M, 44),
    `universal` (M,) the factors to the universal skeleton, or NaN.
    """
    predicted = compared_joints(rules.labelled, predicted, target)
    errors = labelled_errors(predicted, target, labelled)
    aligned = labelled_errors(predicted, target, labelled, align=True)
    each, count = torch.ones(len(target)), labelled.sum(-1)
    sums = {
        "joints_mpjpe": (1000 * per_person(errors, labelled), each),
        "joints_pa_mpjpe": (1000 * per_person(aligned, labelled), each),
        "pck": (correct(errors, labelled), count),
        "auc": (area_under_curve(errors, labelled), count),
    }
    if rules.labelled.bones == "annotated":  # bones of the target's lengths: errors grow with the skeleton
        known = labelled & universal.isfinite()[:, None]
        sums["pck_universal"] = (correct(errors * universal[:, None], known), known.sum(-1))
    if rules.misses == "wrong":
        sums |= {f"{measure}_matched": sums[measure] for measure in ("pck", "pck_universal") if measure in sums}
    return sums


def missed_joints(rules: Protocol, labelled: Tensor, universal: Tensor) -> dict[str, Tensor]:
    """Joints (M,) of people who were not found, by the measure in which they count as wrong.

    `labelled` (M, 44), `universal` (M,) the factors to the universal skeleton, or NaN.
    """
    if rules.misses != "wrong":
        return {}
    count = labelled.sum(-1)
    counts = {"pck": count, "auc": count}
    return counts | {"pck_universal": count * universal.isfinite()} if rules.labelled.bones == "annotated" else counts


def compared_joints(rules: LabelledRules, predicted: Tensor, target: Tensor) -> Tensor:
    """Predicted joints (M, 44, 3), relative to the hips, as they are compared with labelled ones of the same layout."""
    predicted = predicted if rules.root == "hips" else rooted(predicted, ROOTS[rules.root])
    return predicted if rules.bones == "predicted" else with_bones_of(predicted, target, BONES)
