"""Consistency of one record's annotations: 2D with 3D, bodies with joints, bone lengths and speeds over time.

Joints of any set are compared by name among the 44; those of Human3.6M also through its own regressor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from trace_data.assets.bodies import BodyModels
from trace_data.consistency.joint_errors import (
    OWN_JOINTS,
    Floats,
    backwards,
    backwards_from_to,
    body_errors,
    bone_change,
    displaced,
    posed_joints,
    reprojection_errors,
    shift_of,
    speeds_of,
    twisted,
    zoom_of,
)
from trace_data.schema.check import DETECTED_SHARE, EXACT_PX
from trace_data.schema.findings import Finding, Severity
from trace_data.schema.record import Person, SequenceRecord

OFF_FACTOR = 5.0
"""A frame is an outlier when its median error exceeds this multiple of the sequence's median, and the limit."""
MANY_OFF = 0.1
"""Share of outlier frames above which a sequence is unusable."""
RIGID = (*OWN_JOINTS, "H36M_32", "H36M_17_RIGHT_FIRST", "MPI_INF_28")
"""Joint sets of skeletons with constant bone lengths."""
PROJECTED_PX = 2.0
"""Largest median distance of 2D points that are projections from their 3D joints; the 95th percentile may be twice as
large. In MPI-INF-3DHP it is 0.007 px, at hips and spine 2.1."""
BODY_MM = 30.0
"""Limit, mm, of the median distance between the body model's joints and annotated joints of the same definition."""
OTHER_BODY_MM = 100.0
"""The same for joints of another definition: those of motion capture lie elsewhere in the body."""
BONE_CHANGE = 0.02
"""Largest standard deviation of a bone's length over a sequence, as a share of its mean, in rigid skeletons."""
OTHER_BONE_CHANGE = 0.1
"""The same where joints are regressed from the skin or triangulated."""
FASTEST = 20.0
"""m/s; nobody moves faster, so the world motion or the camera jumps."""
IMPOSSIBLE = 100.0
"""m/s; no jump of a camera is so large, so the unit or the world is wrong."""
WORST = 5
"""Number of frames listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Errors over a sequence."""

    median: float
    p95: float
    worst: float
    worst_frame: int
    """Index in the sequence of the frame with the largest error."""
    worst_frames: tuple[int, ...]
    """The frames with the largest errors, worst first, at most `WORST`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistency:
    """Measurements of one sequence; None where there is nothing to compare."""

    key: str
    """Key of the sequence."""
    reprojection_px: Spread | None
    """Projected 3D joints (of the body where none are annotated) against 2D joints of the same name."""
    body_mm: Spread | None
    """Joints of the posed body model against the annotated 3D joints."""
    bone_change: float | None
    """Largest relative change of a bone's length."""
    swapped: tuple[str, ...]
    """People whose 2D joints fit their 3D joints much better with left and right exchanged, or whose hips and shoulders
    disagree about left and right."""
    swapped_body: tuple[str, ...]
    """People whose 3D joints fit their body much better with left and right exchanged."""
    backwards: tuple[str, ...]
    """People whose knees bend and whose toes point backwards in 3D."""
    backwards_stretches: tuple[tuple[int, int], ...]
    """First and last frame of stretches in which somebody's do, who is not among these."""
    displaced: tuple[str, ...]
    """People whose body stands elsewhere than their 3D joints, and would fit them there."""
    shifts: tuple[int, ...]
    """For each person 1 or -1 when its 2D joints belong to the next or the previous frame, else 0."""
    zooms: tuple[float, ...]
    """For each person the factor by which its 2D joints lie wider apart than the projected ones; 1 where it explains
    nothing."""
    off_frames: tuple[int, ...]
    """Outlier frames, in which 2D and 3D disagree although they agree in most: the camera or the annotation jumps."""
    fastest: float | None
    """Highest speed of a person in the world, m/s."""
    fastest_frame: int | None
    """The frame after the fastest step."""

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Consistency:
        """The inverse of `dataclasses.asdict` and JSON."""
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
        }
        values["backwards_stretches"] = tuple((first, last) for first, last in content["backwards_stretches"])
        for name in ("reprojection_px", "body_mm"):
            if (spread := content[name]) is not None:
                values[name] = Spread(**{**spread, "worst_frames": tuple(spread["worst_frames"])})
        return cls(**values)


def measure(record: SequenceRecord, bodies: BodyModels | None) -> Consistency:
    """Compare the annotations of a record that passed `check_record`."""
    posed = [posed_joints(person, bodies) for person in record.people]
    pixels = [reprojection_errors(person, joints, record) for person, joints in zip(record.people, posed)]
    metres = [body_errors(person, joints) for person, joints in zip(record.people, posed)]
    bones = [change for person in record.people if (change := bone_change(person)) is not None]
    reprojection = _spread([direct for direct, _ in pixels])
    speeds = [speeds_of(person, joints, record) for person, joints in zip(record.people, posed)]
    fastest = np.nanmax(np.stack(speeds), axis=0, initial=-1.0) if speeds else np.zeros(0)
    known = len(fastest) and fastest.max() >= 0
    return Consistency(
        key=record.key,
        reprojection_px=reprojection,
        body_mm=_spread([1000 * direct for direct, _ in metres]),
        bone_change=max(bones, default=None),
        swapped=_exchanged(record, pixels, _limit(record), twisted),
        swapped_body=_exchanged(record, metres, _body_limit(record) / 1000),
        backwards=tuple(person.name for person in record.people if backwards(person)),
        backwards_stretches=tuple(stretch for person in record.people if (stretch := backwards_from_to(person))),
        displaced=tuple(person.name for person, joints in zip(record.people, posed) if displaced(person, joints)),
        shifts=tuple(shift_of(person, joints, record) for person, joints in zip(record.people, posed)),
        zooms=tuple(zoom_of(person, joints, record) for person, joints in zip(record.people, posed)),
        off_frames=_off([direct for direct, _ in pixels], reprojection, _limit(record)),
        fastest=float(fastest.max()) if known else None,
        fastest_frame=int(fastest.argmax()) + 1 if known else None,
    )


def judge(consistency: Consistency, record: SequenceRecord) -> list[Finding]:
    """Findings for measurements beyond their thresholds."""
    synthetic, limit = _synthetic(record), _limit(record)
    problems: list[tuple[Severity, str, str, str]] = []
    reprojection, body = consistency.reprojection_px, consistency.body_mm
    if consistency.swapped:
        problems.append(("error", "joints", f"left and right are exchanged for {', '.join(consistency.swapped)}", ""))
    elif any(consistency.shifts):
        shift = next(shift for shift in consistency.shifts if shift)
        what = f"the 2D joints are those of the frame {'after' if shift > 0 else 'before'}"
        hint = "frame numbers of 2D and 3D joints differ by one: copy the annotations again"
        problems.append(("error", "reprojection", what, hint))
    elif reprojection is not None and _projected(record) and (zoomed := [z for z in consistency.zooms if z != 1]):
        wider = "wider" if zoomed[0] > 1 else "closer"
        what = f"the 2D joints lie {abs(zoomed[0] - 1):.1%} {wider} than the 3D joints project"
        hint = "a focal length that is not that of these points: get calibration and annotations together"
        problems.append(("error", "reprojection", what, hint))
    elif reprojection is not None and reprojection.median > limit:
        what = (
            f"3D joints meet the 2D joints at {reprojection.median:.1f} px (median), expected {limit:.1f}; "
            f"worst frame {reprojection.worst_frame} with {reprojection.worst:.1f} px"
        )
        hint = "a stale calibration, points of another camera or person, or frames shifted against their annotation"
        problems.append(("error", "reprojection", what, hint))
    elif off := consistency.off_frames:
        what = f"2D and 3D joints disagree in {len(off)} frames: {_some(off)}"
        hint = "the camera or an annotation jumps there, or the 2D points belong to another person"
        problems.append(
            ("error" if synthetic or len(off) > MANY_OFF * len(record.frames) else "warning", "jump", what, hint)
        )
    elif _projected(record) and reprojection is not None and reprojection.p95 > 2 * limit:
        what = (
            f"the worst 3D joints meet the 2D joints at {reprojection.p95:.1f} px (95th percentile), "
            f"expected {2 * limit:.1f}"
        )
        problems.append(("error", "reprojection", what, "a calibration that is not quite that of these points"))
    if consistency.backwards and not consistency.swapped:
        people = ", ".join(consistency.backwards)
        what = f"knees bend and toes point backwards: left and right are exchanged in 3D for {people}"
        problems.append(("error", "joints3d", what, "where the 2D joints fit, theirs are exchanged too"))
    elif consistency.backwards_stretches:
        first, last = (int(record.frame_ids[frame]) for frame in consistency.backwards_stretches[0])
        what = f"knees bend and toes point backwards in frames {first} to {last}, and forwards in others"
        hint = "left and right may be exchanged there, or the annotation mirrored: look with  trace preview"
        problems.append(("warning", "joints3d", what, hint))
    if consistency.swapped_body:
        people = ", ".join(consistency.swapped_body)
        problems.append(("error", "joints3d", f"left and right of the 3D joints are exchanged for {people}", ""))
    elif body is not None and body.median > (expected := _body_limit(record)):
        what = (
            f"the body model's joints are {body.median:.0f} mm from the annotated ones (median), "
            f"expected {expected:.0f}"
        )
        hint = "body models of another gender or version: trace prepare-smpl --gender all --force"
        if consistency.displaced:
            what += f"; moved there, that of {', '.join(consistency.displaced)} fits"
            hint = "stale camera poses, or joints and bodies of different worlds: get cameras and annotations together"
        problems.append(("error", "body", what, hint))
    if consistency.bone_change is not None and consistency.bone_change > _bone_limit(record):
        what = f"a bone's length changes by {consistency.bone_change:.1%}"
        problems.append(("error", "bones", what, "joints of different people"))
    if consistency.fastest is not None and consistency.fastest > FASTEST:
        speed, frame = f"{consistency.fastest:.0f} m/s", consistency.fastest_frame
        what = f"a person moves at {speed} through the world, up to frame {frame}"
        hint = "the camera path or the world motion jumps there, or two people share a name"
        severe = synthetic or consistency.fastest > IMPOSSIBLE
        problems.append(("error" if severe else "warning", "speed", what, hint))
    return [Finding(severity=severity, key=key, what=what, hint=hint) for severity, key, what, hint in problems]


def _synthetic(record: SequenceRecord) -> bool:
    return record.provenance.get("synthetic") == "true"


def _limit(record: SequenceRecord) -> float:
    if _synthetic(record):
        return EXACT_PX
    detected = DETECTED_SHARE * max(record.camera.width, record.camera.height)
    return min(PROJECTED_PX, detected) if _projected(record) else detected


def _projected(record: SequenceRecord) -> bool:
    points = [person.keypoints2d for person in record.people if person.keypoints2d is not None]
    return bool(points) and all(keypoints.projected for keypoints in points)


def _body_limit(record: SequenceRecord) -> float:
    """mm."""
    own = all(person.joints3d is None or person.joints3d.layout in OWN_JOINTS for person in record.people)
    return BODY_MM if own or _synthetic(record) else OTHER_BODY_MM


def _bone_limit(record: SequenceRecord) -> float:
    rigid = all(person.joints3d is None or person.joints3d.layout in RIGID for person in record.people)
    return BONE_CHANGE if rigid else OTHER_BONE_CHANGE


def _some(frames: tuple[int, ...]) -> str:
    return ", ".join(map(str, frames[:WORST])) + (", …" if len(frames) > WORST else "")


def _exchanged(
    record: SequenceRecord,
    errors: list[tuple[Floats, Floats]],
    limit: float,
    also: Callable[[Person], bool] = lambda _: False,
) -> tuple[str, ...]:
    """People who fit much better with left and right exchanged, and then within the limit: else it is another cause."""
    return tuple(
        person.name
        for person, (direct, mirrored) in zip(record.people, errors)
        if (np.isfinite(direct).any() and np.nanmedian(mirrored) < min(limit, 0.5 * np.nanmedian(direct)))
        or also(person)
    )


def _off(errors: list[Floats], over_all: Spread | None, limit: float) -> tuple[int, ...]:
    """Frames in which some person's median error is far above the sequence's."""
    if over_all is None:
        return ()
    bound = max(limit, OFF_FACTOR * over_all.median)
    off: set[int] = set()
    for error in errors:
        known = np.isfinite(error).any(axis=1)
        off.update(np.flatnonzero(known)[np.nanmedian(error[known], axis=1) > bound].tolist())
    return tuple(sorted(off))


def _spread(errors: list[Floats]) -> Spread | None:
    """Percentiles over people, frames and joints of (T, K) arrays; NaN is missing."""
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
