"""Distances between the joints, bodies and projections of a record.

Joints of any set are compared by name among the 44; those of Human3.6M also through its own regressor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trace_data.assets.bodies import BodyModels
from trace_data.geometry import project, transform, zoom
from trace_data.schema.keypoints import ALL_44, EXTRA_9, FLIP_44, LSP_14, SMPL_24, SMPL_PARENTS
from trace_data.schema.record import Person, SequenceRecord

Floats = npt.NDArray[np.float64]
OWN_JOINTS = ("SMPL_24", "ALL_44")
"""Joint sets that the body model itself defines."""
SHIFT_PX = 0.05
"""Below this reprojection error, px, a frame shift is ruled out, or nobody moves."""
SHIFT_FITS = 0.25
"""A frame shift is reported when the error after shifting is below this fraction of the unshifted error."""
SHAPE_FITS = 0.03
"""Metres (median) within which a body fits its joints once it was moved to them."""
ORIGINS_APART = 0.15
"""Metres by which the origins of bodies of two genders never differ."""
BENT = 0.34
"""Sine of the angle from which a knee is bent, or a foot stands off its shank: 20 degrees."""
MOST = 0.9
"""Share of legs that must bend backwards."""
PIECE = 200
"""Frames of a piece in which a stretch is looked for whose left and right are exchanged."""
MOST_LEGS = 3
"""So many bent knees and feet must be seen."""
_LEGS = tuple(
    tuple(
        tuple(ALL_44.index(f"{side}_{name}") for name in names)
        for names in (("Hip", "Hip_SMPL"), ("Knee",), ("Ankle",), ("Toe_SMPL", "BigToe", "SmallToe"))
    )
    for side in "LR"
)
"""Hip, knee, ankle and toes of the left and the right leg, each as choices."""
_H36M_17 = (*LSP_14[:12], "Neck", "Head", "Pelvis", "Spine_H36M", "Jaw_H36M")
"""Joints of the Human3.6M regressor, by row (docs/reference/joints.md#rows-of-the-human36m-regressor)."""
_REGRESSED = slice(len(ALL_44) - len(EXTRA_9), None)
"""Of the 44: the points that come from a regressor."""
_BONES = tuple((joint, SMPL_PARENTS[joint]) for joint in range(1, len(SMPL_24)))
"""Pairs of the 44. Regressed hips move within the body, so they end no bone."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Posed:
    """A body's joints."""

    joints: Floats
    """(T, 44, 4) m, confidence 0 where the body is not valid."""
    regressed: Floats | None
    """(T, 44, 4) the same with the joints of Human3.6M's regressor where it has one; for its joint sets only, since a
    release does not say which of the two definitions it uses."""
    placed: bool
    """Whether the joints are in world coordinates; otherwise their position is unknown."""


def joints_to_show(person: Person, bodies: BodyModels | None) -> Floats | None:
    """(T, 44, 4) m, world, and confidence: the annotated 3D joints, else the body's."""
    return world_joints(person, None if person.joints3d is not None else posed_joints(person, bodies))


def posed_joints(person: Person, bodies: BodyModels | None) -> Posed | None:
    """The joints of a person's body; None unless every part of it is known."""
    body = person.body
    if bodies is None or body is None or not body.whole or not person.body_valid.any():
        return None
    placed = bodies.place(body)
    trusted = np.broadcast_to(person.body_valid[:, None, None], (len(body.pose), len(ALL_44), 1))
    joints = np.concatenate([bodies.posed(body) if placed is None else placed[0], trusted], axis=2)
    regressed = None
    if person.joints3d is not None and person.joints3d.layout.startswith("H36M"):
        translation = None if placed is None else placed[1]
        regressed = joints.copy()
        points = bodies.model(body.gender).joints_h36m17(body.pose, body.betas, translation)
        regressed[:, [ALL_44.index(name) for name in _H36M_17], :3] = points
    return Posed(joints=joints, regressed=regressed, placed=placed is not None)


def world_joints(person: Person, posed: Posed | None) -> Floats | None:
    """(T, 44, 4) m, world, and confidence: the annotated joints, else those of a body with known position."""
    if person.joints3d is not None:
        return person.joints3d.to_44()
    return posed.joints if posed is not None and posed.placed else None


def reprojection_errors(person: Person, posed: Posed | None, record: SequenceRecord) -> tuple[Floats, Floats]:
    """Errors (T, 44) px as named, and with left and right exchanged; NaN where either joint is missing."""
    pixels = _projected(person, posed, record)
    if pixels is None or person.keypoints2d is None:
        nothing = np.full((len(record.frames), 1), np.nan)
        return nothing, nothing
    return _errors(pixels[..., :2], pixels[..., 2] > 0, person.keypoints2d.to_44())


def shift_of(person: Person, posed: Posed | None, record: SequenceRecord) -> int:
    """1 or -1 when the 2D joints belong to the next or the previous frame, else 0.

    At 50 fps a frame of motion is a few pixels, far below the error of detected points; but projected points fit one
    frame only.
    """
    pixels = _projected(person, posed, record)
    if pixels is None or person.keypoints2d is None or len(pixels) < 3:
        return 0
    steps, points = np.diff(record.frame_ids), person.keypoints2d.to_44()
    near = np.flatnonzero((steps[1:] == steps.min()) & (steps[:-1] == steps.min())) + 1  # frames with both neighbours
    medians = {}
    for shift in (0, 1, -1):
        errors = _errors(pixels[near + shift, :, :2], pixels[near + shift, :, 2] > 0, points[near])[0]
        medians[shift] = float(np.nanmedian(errors)) if np.isfinite(errors).any() else np.inf
    best = min((1, -1), key=lambda shift: medians[shift])
    return best if SHIFT_PX < medians[0] < np.inf and medians[best] < SHIFT_FITS * medians[0] else 0


def zoom_of(person: Person, posed: Posed | None, record: SequenceRecord) -> float:
    """`geometry.zoom` of the 2D joints against the projected 3D joints."""
    pixels = _projected(person, posed, record)
    if pixels is None or person.keypoints2d is None:
        return 1.0
    points = person.keypoints2d.to_44()
    there = (pixels[..., 2] > 0) & (points[..., 2] > 0)
    return zoom(pixels[there, :2], points[there, :2])


def _projected(person: Person, posed: Posed | None, record: SequenceRecord) -> Floats | None:
    """(T, 44, 3) px of the 3D joints, and 1 where known; None without joints or camera."""
    joints = world_joints(person, posed)
    if joints is None or not record.camera.known:
        return None
    intrinsics, extrinsics = record.camera.per_frame(len(record.frames))
    pixels = project(intrinsics, transform(extrinsics, joints[..., :3]), record.camera.distortion)
    projected: Floats = np.concatenate([pixels, joints[..., 3:] > 0], axis=2)
    return projected


def body_errors(person: Person, posed: Posed | None) -> tuple[Floats, Floats]:
    """Distances (T, 44) m of the body's joints from the annotated ones, as named and with left and right exchanged."""
    if posed is None or person.joints3d is None:
        nothing = np.full((len(person.present), 1), np.nan)
        return nothing, nothing
    annotated, own = person.joints3d.to_44(), posed.joints.copy()
    if person.joints3d.layout not in OWN_JOINTS:
        own[:, _REGRESSED, 3] = 0  # another regressor's points are other points
    tried = [
        _errors(joints[..., :3] if posed.placed else _moved_to(annotated, joints), joints[..., 3] > 0, annotated)
        for joints in (own, posed.regressed)
        if joints is not None
    ]
    comparable = [errors for errors in tried if np.isfinite(errors[0]).any()]
    return min(comparable, key=lambda errors: float(np.nanmedian(errors[0])), default=tried[0])


def _moved_to(annotated: Floats, joints: Floats) -> Floats:
    """Joints (T, K, 4) translated to the annotated ones, for bodies of unknown position: (T, K, 3)."""
    both = ((joints[..., 3] > 0) & (annotated[..., 3] > 0))[..., None]
    apart = np.where(both, annotated[..., :3] - joints[..., :3], 0.0).sum(axis=1, keepdims=True)
    moved: Floats = joints[..., :3] + apart / np.maximum(both.sum(axis=1, keepdims=True), 1)
    return moved


def _errors(places: Floats, known: npt.NDArray[np.bool_], points: Floats) -> tuple[Floats, Floats]:
    """Distances (T, 44) between `places` (T, 44, D), where `known`, and `points` (T, 44, D + 1) with confidence."""
    places = np.where(known[..., None], places, np.nan)
    there = points[..., -1] > 0
    places = np.where(there[..., None], places, np.nan)  # so that both comparisons use the same joints
    direct = np.linalg.norm(places - points[..., :-1], axis=-1)
    mirrored = np.linalg.norm(places[:, list(FLIP_44)] - points[..., :-1], axis=-1)
    mirrored[~there] = np.nan
    return direct, mirrored


def twisted(person: Person) -> bool:
    """Whether hips and shoulders disagree about left and right in most frames."""
    if person.joints3d is None:
        return False
    ends = person.joints3d.to_44()[:, [ALL_44.index(f"{side}_{name}") for name in ("Hip", "Shoulder") for side in "LR"]]
    known = (ends[..., 3] > 0).all(axis=1)
    hips, shoulders = ends[known, 0, :3] - ends[known, 1, :3], ends[known, 2, :3] - ends[known, 3, :3]
    return bool(known.any() and ((hips * shoulders).sum(axis=1) < 0).mean() > 0.5)


def bone_change(person: Person) -> float | None:
    """Largest relative change of length of all bones that are known in at least two frames."""
    if person.joints3d is None:
        return None
    joints = person.joints3d.to_44()
    changes = []
    for outer, inner in _BONES:
        both = (joints[:, outer, 3] > 0) & (joints[:, inner, 3] > 0)
        if both.sum() >= 2:
            lengths = np.linalg.norm(joints[both, outer, :3] - joints[both, inner, :3], axis=-1)
            changes.append(float(lengths.std() / max(lengths.mean(), 1e-6)))
    return max(changes, default=None)


def displaced(person: Person, posed: Posed | None) -> bool:
    """Whether a body stands elsewhere than its annotated joints, and would fit them if it were moved there.

    A body model of another gender has its origin elsewhere too: then the shift is short and the same in all frames.
    """
    if posed is None or not posed.placed or person.joints3d is None:
        return False
    annotated = person.joints3d.to_44()
    moved = _moved_to(annotated, posed.joints)
    known = (posed.joints[..., 3] > 0) & (annotated[..., 3] > 0)
    if not known.any():
        return False
    remaining = np.linalg.norm(moved - annotated[..., :3], axis=-1)[known]
    shifts = (moved - posed.joints[..., :3])[known.any(axis=1), 0]
    length, change = (
        np.median(np.linalg.norm(shifts, axis=1)),
        np.linalg.norm(shifts - shifts.mean(axis=0), axis=1).max(),
    )
    return bool(np.median(remaining) < SHAPE_FITS and (length > ORIGINS_APART or change > SHAPE_FITS))


def backwards(person: Person) -> bool:
    """Whether knees bend and toes point backwards: left and right are exchanged, however well the joints project.

    Seen along the line from the right hip to the left one, thigh and shank turn one way, shank and foot the other.
    """
    return person.joints3d is not None and _bend_backwards(person.joints3d.to_44(), MOST_LEGS)


def backwards_from_to(person: Person) -> tuple[int, int] | None:
    """First and last frame of a stretch in which they do, of a person whose do not in other frames; None without one.

    A sequence is looked at in pieces of `PIECE` frames, of which two in a row must tell: single poses may do so.
    """
    if person.joints3d is None:
        return None
    joints = person.joints3d.to_44()
    pieces = [_bend_backwards(joints[start : start + PIECE], PIECE // 4) for start in range(0, len(joints), PIECE)]
    if all(pieces):
        return None
    for first in range(len(pieces) - 1):
        if pieces[first] and pieces[first + 1]:
            last = next((end for end in range(first, len(pieces)) if not pieces[end]), len(pieces))
            return first * PIECE, min(last * PIECE, len(joints)) - 1
    return None


def _bend_backwards(joints: Floats, least: int) -> bool:
    """Whether the legs of joints (T, 44, 4) bend backwards, by at least so many bent knees and feet."""

    def first(choices: tuple[int, ...]) -> Floats:
        """(T, 4) of these joints the one that is known in most frames."""
        return joints[:, max(choices, key=lambda joint: float((joints[:, joint, 3] > 0).mean()))]

    legs = [[first(choices) for choices in leg] for leg in _LEGS]
    hips = legs[0][0], legs[1][0]
    knees = np.concatenate([_turns(*hips, hip, knee, ankle) for hip, knee, ankle, _ in legs])
    toes = np.concatenate([-_turns(*hips, knee, ankle, toe) for _, knee, ankle, toe in legs])
    measured = [kind for kind in (knees, toes) if len(kind)]
    return len(knees) + len(toes) >= least and all((kind < 0).mean() > MOST for kind in measured)


def _turns(left: Floats, right: Floats, start: Floats, middle: Floats, end: Floats) -> Floats:
    """(N,) cosines between the line of the hips, to the left, and the axis about which a limb turns in its middle.

    From (T, 4) joints; of frames in which all are known, the limb is bent and its axis is not across that line.
    """
    known = np.all([joint[:, 3] > 0 for joint in (left, right, start, middle, end)], axis=0)
    left, right, start, middle, end = (joint[known, :3] for joint in (left, right, start, middle, end))
    across, one, two = left - right, middle - start, end - middle
    axis = np.cross(one, two)
    sine = np.linalg.norm(axis, axis=1) / np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1), 1e-9)
    scale = np.linalg.norm(axis, axis=1) * np.linalg.norm(across, axis=1)
    along = (axis * across).sum(axis=1) / np.maximum(scale, 1e-9)
    found: Floats = along[(sine > BENT) & (np.abs(along) > 0.5)]
    return found


def speeds_of(person: Person, posed: Posed | None, record: SequenceRecord) -> Floats:
    """Speed (T - 1,) m/s of the mean of a person's joints between consecutive frames; NaN where unknown."""
    joints = world_joints(person, posed)
    body = person.body
    if joints is None and body is not None and body.translation is not None and "translation" in body.known:
        joints = np.concatenate([body.translation, person.body_valid[:, None]], axis=1)[:, None]
    if joints is None or len(joints) < 2:
        return np.full(max(len(record.frames) - 1, 0), np.nan)
    both = ((joints[1:, :, 3] > 0) & (joints[:-1, :, 3] > 0))[
        ..., None
    ]  # of the same joints, otherwise their mean would jump
    count = both.sum(axis=1)
    moved = np.where(both, joints[1:, :, :3] - joints[:-1, :, :3], 0.0).sum(axis=1) / np.maximum(count, 1)
    seconds = np.diff(record.frame_ids) / record.fps
    speeds: Floats = np.where(count[:, 0] > 0, np.linalg.norm(moved, axis=1) / seconds, np.nan)
    return speeds
