"""How well the annotations of one record agree: 2D with 3D, bodies with joints, bones and motion with themselves.

Joints of any set are compared by name through the table of the 44, those of Human3.6M also through its own regressor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trace_data.geometry import project, transform
from trace_data.schema.check import Finding, Severity
from trace_data.schema.keypoints import ALL_44, FLIP_44, LSP_14, SMPL_24, SMPL_PARENTS
from trace_data.schema.record import Person, SequenceRecord

if TYPE_CHECKING:
    from trace_data.completion import Bodies

DETECTED_SHARE = 0.02
"""2D points that were detected, not projected, may lie this share of the frame's long side from the joints (median)."""
EXACT_PX = 1.0
"""The same for the sample world, whose points are projections."""
OFF_FACTOR = 5.0
"""A frame is off when its median is so many times that of the sequence, and beyond the limit."""
MANY_OFF = 0.1
"""Share of frames that are off from which a sequence cannot be used."""
OWN_JOINTS = ("SMPL_24", "ALL_44")
"""Joint sets that are points of the body model itself."""
BODY_MM = 30.0
"""Largest median distance of the body model's joints from annotated ones of its own, mm."""
OTHER_BODY_MM = 100.0
"""The same from joints of another definition: markers and other skeletons lie elsewhere in the body."""
BONE_CHANGE = 0.02
"""Largest standard deviation of a bone's length over a sequence, as a share of its mean, between rigid joints."""
OTHER_BONE_CHANGE = 0.1
"""The same where joints are regressed from the skin or triangulated."""
FASTEST = 20.0
"""m/s; nobody moves so fast, so the world or the camera jumps."""
WORST = 5
"""Frames that are named."""

Floats = npt.NDArray[np.float64]
_H36M_17 = (*LSP_14[:12], "Neck", "Head", "Pelvis", "Spine_H36M", "Jaw_H36M")
"""Names of what the Human3.6M regressor gives (fact sheet joints.md, section 2)."""
_BONES = (
    *((joint, SMPL_PARENTS[joint]) for joint in range(1, len(SMPL_24))),
    *((ALL_44.index(f"{side}_Knee"), ALL_44.index(f"{side}_Hip")) for side in "LR"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Errors over a sequence."""

    median: float
    p95: float
    worst: float
    worst_frame: int
    """Frame (counted in the sequence) with the largest error."""
    worst_frames: tuple[int, ...]
    """The frames with the largest errors, at most `WORST`, the worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What `measure` found in one sequence; None where there is nothing to compare."""

    key: str
    """Of the sequence."""
    reprojection_px: Spread | None
    """3D joints (those of the body where none are annotated) through the camera against 2D joints of the same name."""
    body_mm: Spread | None
    """Joints of the posed body model against the annotated 3D joints."""
    bone_change: float | None
    """Largest relative change of a bone's length."""
    swapped: tuple[str, ...]
    """People whose 2D joints fit their 3D joints much better with left and right exchanged."""
    swapped_body: tuple[str, ...]
    """People whose 3D joints fit their body much better with left and right exchanged."""
    off_frames: tuple[int, ...]
    """Frames in which 2D and 3D are far apart although they agree in most: the camera or the annotation jumps."""
    fastest: float | None
    """Largest speed of a person in the world, m/s."""
    fastest_frame: int | None
    """Frame that is reached at this speed."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Agreement:
        """The inverse of `dataclasses.asdict` and JSON."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        for name in ("reprojection_px", "body_mm"):
            if (spread := content[name]) is not None:
                values[name] = Spread(**{**spread, "worst_frames": tuple(spread["worst_frames"])})
        return cls(**values)


def measure(record: SequenceRecord, bodies: Bodies | None) -> Agreement:
    """Compare the annotations of a record that passed `check_record`."""
    posed = [None if bodies is None else _posed(person, bodies) for person in record.people]
    pixels = [_reprojection(person, joints, record) for person, joints in zip(record.people, posed)]
    metres = [_body(person, joints) for person, joints in zip(record.people, posed)]
    bones = [change for person in record.people if (change := _bone_change(person)) is not None]
    reprojection = _spread([direct for direct, _ in pixels])
    speeds = [_speeds(person, joints, record) for person, joints in zip(record.people, posed)]
    fastest = np.nanmax(np.stack(speeds), axis=0, initial=-1.0) if speeds else np.zeros(0)
    known = len(fastest) and fastest.max() >= 0
    return Agreement(
        key=record.key,
        reprojection_px=reprojection,
        body_mm=_spread([1000 * direct for direct, _ in metres]),
        bone_change=max(bones, default=None),
        swapped=_exchanged(record, pixels),
        swapped_body=_exchanged(record, metres),
        off_frames=_off([direct for direct, _ in pixels], reprojection, _limit(record)),
        fastest=float(fastest.max()) if known else None,
        fastest_frame=int(fastest.argmax()) + 1 if known else None,
    )


def judge(agreement: Agreement, record: SequenceRecord) -> list[Finding]:
    """Findings where an agreement is worse than its threshold."""
    synthetic, limit = _synthetic(record), _limit(record)
    own, found = _own_joints(record), list[tuple[Severity, str, str, str]]()
    reprojection, body = agreement.reprojection_px, agreement.body_mm
    if agreement.swapped:
        found.append(("error", "keypoints2d", f"left and right are exchanged for {', '.join(agreement.swapped)}", ""))
    elif reprojection is not None and reprojection.median > limit:
        what = (
            f"3D joints meet the 2D joints at {reprojection.median:.1f} px (median), expected {limit:.1f}; "
            f"worst frame {reprojection.worst_frame} with {reprojection.worst:.1f} px"
        )
        hint = "frames shifted against their annotation, a stale calibration, or images of another size"
        found.append(("error", "reprojection", what, hint))
    elif off := agreement.off_frames:
        what = f"2D and 3D joints part in {len(off)} frames: {_some(off)}"
        hint = "the camera or an annotation jumps there, or the 2D points are somebody else's"
        found.append(
            ("error" if synthetic or len(off) > MANY_OFF * len(record.frames) else "warning", "jump", what, hint)
        )
    if agreement.swapped_body:
        people = ", ".join(agreement.swapped_body)
        found.append(("error", "joints3d", f"left and right of the 3D joints are exchanged for {people}", ""))
    elif body is not None and body.median > (expected := BODY_MM if own or synthetic else OTHER_BODY_MM):
        what = (
            f"the body model's joints are {body.median:.0f} mm from the annotated ones (median), "
            f"expected {expected:.0f}"
        )
        hint = "body models of another gender or version: trace prepare-smpl --gender all --force"
        found.append(("error", "body", what, hint))
    if agreement.bone_change is not None and agreement.bone_change > (BONE_CHANGE if own else OTHER_BONE_CHANGE):
        what = f"a bone's length changes by {agreement.bone_change:.1%}"
        found.append(("error", "bones", what, "joints of different people"))
    if agreement.fastest is not None and agreement.fastest > FASTEST:
        what = f"somebody moves at {agreement.fastest:.0f} m/s through the world, into frame {agreement.fastest_frame}"
        hint = "the camera path or the world motion jumps there, or two people share a name"
        found.append(("error" if synthetic else "warning", "speed", what, hint))
    return [Finding(severity=severity, key=key, what=what, hint=hint) for severity, key, what, hint in found]


def joints_to_show(person: Person, bodies: Bodies | None) -> Floats | None:
    """(T, 44, 4) m world and confidence: the annotated 3D joints, else those of the body."""
    if person.joints3d is not None:
        return person.joints3d.to_44()
    return None if bodies is None else _posed(person, bodies)


def _synthetic(record: SequenceRecord) -> bool:
    return record.provenance.get("synthetic") == "true"


def _limit(record: SequenceRecord) -> float:
    return EXACT_PX if _synthetic(record) else DETECTED_SHARE * max(record.camera.width, record.camera.height)


def _own_joints(record: SequenceRecord) -> bool:
    return all(person.joints3d is None or person.joints3d.layout in OWN_JOINTS for person in record.people)


def _some(frames: tuple[int, ...]) -> str:
    return ", ".join(map(str, frames[:WORST])) + (", …" if len(frames) > WORST else "")


def _posed(person: Person, bodies: Bodies) -> Floats | None:
    """(T, 44, 4) joints of the body, m world, confidence 0 where it may not be trusted; None without a whole body."""
    body = person.body
    if body is None or not body.whole or not person.body_valid.any():
        return None
    joints, translation = bodies.place(body)
    if person.joints3d is not None and person.joints3d.layout.startswith("H36M"):
        regressed = bodies.model(body.gender).joints_h36m17(body.pose, body.betas, translation)
        joints[:, [ALL_44.index(name) for name in _H36M_17]] = regressed
    trusted = np.broadcast_to(person.body_valid[:, None, None], (len(joints), joints.shape[1], 1))
    return np.concatenate([joints, trusted], axis=2)


def _reprojection(person: Person, posed: Floats | None, record: SequenceRecord) -> tuple[Floats, Floats]:
    """(T, 44) px errors with the joints as named and with left and right exchanged; NaN where either is missing."""
    joints = posed if person.joints3d is None else person.joints3d.to_44()
    if person.keypoints2d is None or joints is None or not record.camera.known:
        nothing = np.full((len(record.frames), 1), np.nan)
        return nothing, nothing
    intrinsics, extrinsics = record.camera.per_frame(len(record.frames))
    pixels = project(intrinsics, transform(extrinsics, joints[..., :3]))
    return _errors(pixels, joints[..., 3] > 0, person.keypoints2d.to_44())


def _body(person: Person, posed: Floats | None) -> tuple[Floats, Floats]:
    """(T, 44) m between the body's joints and the annotated ones, as `_reprojection` gives px."""
    if posed is None or person.joints3d is None:
        nothing = np.full((len(person.present), 1), np.nan)
        return nothing, nothing
    return _errors(posed[..., :3], posed[..., 3] > 0, person.joints3d.to_44())


def _errors(places: Floats, known: npt.NDArray[np.bool_], points: Floats) -> tuple[Floats, Floats]:
    """Distances (T, 44) of `places` (T, 44, D), where `known`, from `points` (T, 44, D + 1) with a confidence."""
    places = np.where(known[..., None], places, np.nan)
    there = points[..., -1] > 0
    places = np.where(there[..., None], places, np.nan)  # then both comparisons see the same joints
    direct = np.linalg.norm(places - points[..., :-1], axis=-1)
    mirrored = np.linalg.norm(places[:, list(FLIP_44)] - points[..., :-1], axis=-1)
    mirrored[~there] = np.nan
    return direct, mirrored


def _exchanged(record: SequenceRecord, errors: list[tuple[Floats, Floats]]) -> tuple[str, ...]:
    return tuple(
        person.name
        for person, (direct, mirrored) in zip(record.people, errors)
        if np.isfinite(direct).any() and np.nanmedian(mirrored) < 0.5 * np.nanmedian(direct)
    )


def _bone_change(person: Person) -> float | None:
    """The largest of all bones whose two ends are known in two frames or more."""
    if person.joints3d is None:
        return None
    # hips that are regressed from the skin of our own body move in it
    bones = _BONES[: len(SMPL_24) - 1] if person.joints3d.layout in OWN_JOINTS else _BONES
    joints = person.joints3d.to_44()
    changes = []
    for outer, inner in bones:
        both = (joints[:, outer, 3] > 0) & (joints[:, inner, 3] > 0)
        if both.sum() >= 2:
            lengths = np.linalg.norm(joints[both, outer, :3] - joints[both, inner, :3], axis=-1)
            changes.append(float(lengths.std() / max(lengths.mean(), 1e-6)))
    return max(changes, default=None)


def _speeds(person: Person, posed: Floats | None, record: SequenceRecord) -> Floats:
    """(T - 1) m/s of the middle of a person's joints between consecutive frames; NaN where it is not known in both."""
    joints = posed if person.joints3d is None else person.joints3d.to_44()
    if joints is None or len(joints) < 2:
        return np.full(max(len(record.frames) - 1, 0), np.nan)
    both = ((joints[1:, :, 3] > 0) & (joints[:-1, :, 3] > 0))[
        ..., None
    ]  # the same joints, or the middle moves by itself
    count = both.sum(axis=1)
    moved = np.where(both, joints[1:, :, :3] - joints[:-1, :, :3], 0.0).sum(axis=1) / np.maximum(count, 1)
    seconds = np.diff(record.frame_ids) / record.fps
    speeds: Floats = np.where(count[:, 0] > 0, np.linalg.norm(moved, axis=1) / seconds, np.nan)
    return speeds


def _off(errors: list[Floats], over_all: Spread | None, limit: float) -> tuple[int, ...]:
    """Frames in which some person's median is far beyond that of the sequence."""
    if over_all is None:
        return ()
    bound = max(limit, OFF_FACTOR * over_all.median)
    off: set[int] = set()
    for error in errors:
        known = np.isfinite(error).any(axis=1)
        off.update(np.flatnonzero(known)[np.nanmedian(error[known], axis=1) > bound].tolist())
    return tuple(sorted(off))


def _spread(errors: list[Floats]) -> Spread | None:
    """Percentiles over people, frames and joints of (T, K) arrays with NaN for missing."""
    known = [error for error in errors if np.isfinite(error).any()]
    if not known:
        return None
    stacked = np.concatenate(known, axis=1)
    values = stacked[np.isfinite(stacked)]
    a_frame = np.where(np.isfinite(stacked), stacked, -1.0).max(axis=1)
    worst = [int(frame) for frame in np.argsort(-a_frame, kind="stable")[:WORST] if a_frame[frame] >= 0]
    return Spread(
        median=float(np.median(values)),
        p95=float(np.percentile(values, 95)),
        worst=float(values.max()),
        worst_frame=worst[0],
        worst_frames=tuple(worst),
    )
