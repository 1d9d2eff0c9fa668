"""How well the annotations of one record agree: 2D with 3D, bodies with joints, bones with themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from trace_data.geometry import project, transform
from trace_data.schema.check import Finding
from trace_data.schema.keypoints import ALL_44, EXTRA_9, FLIP_44, LAYOUTS, SMPL_PARENTS
from trace_data.schema.record import Person, SequenceRecord

if TYPE_CHECKING:
    from trace_data.completion import Bodies

DETECTED_SHARE = 0.02
"""2D points that were detected, not projected, may lie this share of the frame's long side from the joints (median)."""
EXACT_PX = 1.0
"""The same for the sample world, whose points are projections."""
BODY_MM = 30.0
"""Largest median distance of the body model's joints from the annotated ones, mm, where these are the model's own."""
OTHER_BODY_MM = 100.0
"""The same where the joints are those of a motion capture: centres of rotation that lie elsewhere in the body."""
OWN_JOINTS = ("SMPL_24", "ALL_44")
"""Joint sets that are computed from the body model."""
RIGID = (*OWN_JOINTS, "H36M_32", "H36M_17_RIGHT_FIRST", "MPI_INF_28")
"""Joint sets of skeletons whose bones keep their length."""
LIMBS = tuple(
    (f"{side}_{upper}", f"{side}_{lower}")
    for side in "LR"
    for upper, lower in (("Knee", "Ankle"), ("Shoulder", "Elbow"), ("Elbow", "Wrist"))
)
"""Bones that all of them have, by the names of their ends."""
BONE_CHANGE = 0.02
"""Largest standard deviation of a bone's length over a sequence, as a share of its mean."""
REGRESSED = slice(len(ALL_44) - len(EXTRA_9), None)
"""Of the 44: points that a regressor makes, each its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Errors over a sequence."""

    median: float
    p95: float
    worst: float
    worst_frame: int
    """Frame (counted in the sequence) with the largest error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What `measure` found in one sequence; None where there is nothing to compare."""

    key: str
    """Of the sequence."""
    reprojection_px: Spread | None
    """3D joints (those of the body, where none are annotated) through the camera against 2D joints of the same name."""
    body_mm: Spread | None
    """Joints of the posed body model against the annotated 3D joints."""
    bone_change: float | None
    """Largest relative change of a bone's length."""
    swapped: tuple[str, ...]
    """People whose 2D joints fit their 3D joints much better with left and right exchanged, or whose hips and shoulders
    disagree about where left is."""


def measure(record: SequenceRecord, bodies: Bodies | None) -> Agreement:
    """Compare the annotations of a record that passed `check_record`."""
    pixels = [_reprojection(person, record, bodies) for person in record.people]
    metres = [_body(person, bodies) for person in record.people]
    bones = [change for person in record.people if (change := _bone_change(person)) is not None]
    return Agreement(
        key=record.key,
        reprojection_px=_spread([direct for direct, _ in pixels]),
        body_mm=_spread([1000 * errors for errors in metres]),
        bone_change=max(bones, default=None),
        swapped=tuple(
            person.name
            for person, (direct, mirrored) in zip(record.people, pixels)
            if (np.isfinite(direct).any() and np.nanmedian(mirrored) < 0.5 * np.nanmedian(direct)) or _twisted(person)
        ),
    )


def judge(agreement: Agreement, record: SequenceRecord) -> list[Finding]:
    """Findings where an agreement is worse than its threshold."""
    synthetic = record.provenance.get("synthetic") == "true"
    limit = EXACT_PX if synthetic else DETECTED_SHARE * max(record.camera.width, record.camera.height)
    found = []
    if agreement.swapped:
        found.append(("joints", f"left and right are exchanged for {', '.join(agreement.swapped)}", ""))
    elif agreement.reprojection_px is not None and agreement.reprojection_px.median > limit:
        spread = agreement.reprojection_px
        found.append(
            (
                "reprojection",
                f"3D joints meet the 2D joints at {spread.median:.1f} px (median), expected {limit:.1f}; "
                f"worst frame {spread.worst_frame} with {spread.worst:.1f} px",
                "frames shifted against their annotation, a stale calibration, or images of another size",
            )
        )
    own = any(person.joints3d is not None and person.joints3d.layout in OWN_JOINTS for person in record.people)
    body_limit = BODY_MM if own else OTHER_BODY_MM
    if agreement.body_mm is not None and agreement.body_mm.median > body_limit:
        found.append(
            (
                "body",
                f"the body model's joints are {agreement.body_mm.median:.0f} mm from the annotated ones (median), "
                f"expected {body_limit:.0f}",
                "body models of another gender or version: trace prepare-smpl --gender all --force",
            )
        )
    if agreement.bone_change is not None and agreement.bone_change > BONE_CHANGE:
        found.append(("bones", f"a bone's length changes by {agreement.bone_change:.1%}", "joints of different people"))
    return [Finding(severity="error", key=key, what=what, hint=hint) for key, what, hint in found]


def _reprojection(
    person: Person, record: SequenceRecord, bodies: Bodies | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(T, 44) px errors with the joints as named and with left and right exchanged; NaN where either is missing."""
    joints = _joints(person, bodies)
    if person.keypoints2d is None or joints is None or not record.camera.known:
        nothing = np.full((len(record.frames), 1), np.nan)
        return nothing, nothing
    intrinsics, extrinsics = record.camera.per_frame(len(record.frames))
    points = person.keypoints2d.to_44()
    pixels = project(intrinsics, transform(extrinsics, joints[..., :3]), record.camera.distortion)
    pixels[joints[..., 3] == 0] = np.nan
    pixels[points[..., 2] == 0] = np.nan  # then both comparisons see the same joints
    direct = np.linalg.norm(pixels - points[..., :2], axis=-1)
    mirrored = np.linalg.norm(pixels[:, list(FLIP_44)] - points[..., :2], axis=-1)
    mirrored[points[..., 2] == 0] = np.nan
    return direct, mirrored


def _joints(person: Person, bodies: Bodies | None) -> npt.NDArray[np.float64] | None:
    """(T, 44, 4) the annotated joints, or those of the posed body model where a dataset annotates none."""
    if person.joints3d is not None:
        return person.joints3d.to_44()
    placed = None if bodies is None or person.body is None else bodies.place(person.body)
    if placed is None:
        return None
    joints, _ = placed
    return np.concatenate([joints, np.broadcast_to(person.body_valid[:, None, None], (*joints.shape[:2], 1))], axis=2)


def _twisted(person: Person) -> bool:
    """Whether hips and shoulders point to opposite sides in most frames: one of them has left and right exchanged."""
    if person.joints3d is None:
        return False
    ends = person.joints3d.to_44()[:, [ALL_44.index(f"{side}_{name}") for name in ("Hip", "Shoulder") for side in "LR"]]
    known = (ends[..., 3] > 0).all(axis=1)
    hips, shoulders = ends[known, 0, :3] - ends[known, 1, :3], ends[known, 2, :3] - ends[known, 3, :3]
    return bool(known.any() and ((hips * shoulders).sum(axis=1) < 0).mean() > 0.5)


def _body(person: Person, bodies: Bodies | None) -> npt.NDArray[np.float64]:
    """(T, 44) m; NaN where there is nothing to compare."""
    body = person.body
    if bodies is None or body is None or not body.whole or person.joints3d is None:
        return np.full((len(person.present), 1), np.nan)
    joints = person.joints3d.to_44()
    missing = (joints[..., 3] == 0) | ~person.body_valid[:, None]
    if person.joints3d.layout not in OWN_JOINTS:
        missing[:, REGRESSED] = True  # another regressor's points are other points
    placed = bodies.place(body)
    posed = bodies.posed(body) if placed is None else placed[0]
    apart = np.where(missing[..., None], 0.0, posed - joints[..., :3])
    if placed is None:  # only the release's joints tell where it is
        count = np.maximum((~missing).sum(axis=1), 1)
        apart -= apart.sum(axis=1, keepdims=True) / count[:, None, None]
    errors: npt.NDArray[np.float64] = np.linalg.norm(apart, axis=-1)
    errors[missing] = np.nan
    return errors


def _bone_change(person: Person) -> float | None:
    if person.joints3d is None or person.joints3d.layout not in RIGID:
        return None
    names = LAYOUTS[person.joints3d.layout]
    ends = [(names.index(upper), names.index(lower)) for upper, lower in LIMBS]
    if person.joints3d.layout in OWN_JOINTS:
        ends = list(enumerate(SMPL_PARENTS))[1:]
    joints = person.joints3d.points[(person.joints3d.points[..., 3] > 0).all(axis=1)]
    if len(joints) < 2:
        return None
    bones = np.stack([joints[:, one, :3] - joints[:, other, :3] for one, other in ends], axis=1)
    lengths = np.linalg.norm(bones, axis=-1)
    return float((lengths.std(axis=0) / np.maximum(lengths.mean(axis=0), 1e-6)).max())


def _spread(errors: list[npt.NDArray[np.float64]]) -> Spread | None:
    """Percentiles over people, frames and joints of (T, K) arrays with NaN for missing."""
    known = [error for error in errors if np.isfinite(error).any()]
    if not known:
        return None
    stacked = np.concatenate(known, axis=1)
    values = stacked[np.isfinite(stacked)]
    filled = np.where(np.isfinite(stacked), stacked, -1.0)
    return Spread(
        median=float(np.median(values)),
        p95=float(np.percentile(values, 95)),
        worst=float(values.max()),
        worst_frame=int(filled.max(axis=1).argmax()),
    )
