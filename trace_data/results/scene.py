"""Arranges a result for a file or a page: upright, on the floor, at a steady rate, with the people that are wanted.

Up axis, level, origin and ground are one rigid change of the whole scene, so the camera keeps seeing the people where
they were (docs/reference/export.md#export-defaults). What was done is told in `about["scene"]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.geometry import matrix_from_axis_angle, transform
from trace_data.results.bodies import Bodies
from trace_data.results.paths import at_times, between
from trace_data.results.result import ASSUMED_UP, SEEN, Result
from trace_data.results.rows import chosen, made_between
from trace_data.results.smoothing import LONGEST_GAP, Mode, fill_gaps, smooth
from trace_data.results.world_placement import in_frame, rigid_inverse
from trace_data.schema.keypoints import SMPL_24

Array = npt.NDArray[np.float64]
Up = Literal["y", "z", "camera"]

FEET = [SMPL_24.index(name) for name in ("L_Ankle", "R_Ankle", "L_Toe_SMPL", "R_Toe_SMPL")]
NECK = SMPL_24.index("Neck")
SOLE = 0.02
"""m from the joint at the base of the toes down to the floor."""
UPRIGHT = 45.0
"""Degrees from the assumed up within which a body counts as upright, and within which a level is believed."""
MOST_FPS = 10_000
"""Frames a second, far beyond any use, that memory still has room for."""
FEWEST_UPRIGHT = 10
"""Rows of upright people from which a level is found."""
_Y_UP = np.diag([1.0, -1.0, -1.0])
_Z_UP = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """How a result is arranged."""

    up: Up = "y"
    """Axis that points up. `camera`: the axes of the first camera, x right, y down, z forward; nothing is levelled."""
    level: Literal["auto", "none"] = "auto"
    """`auto`: tilted so that up is up, where the result knows it, else so that people stand upright on average."""
    origin: Literal["first-pelvis", "world"] = "first-pelvis"
    """Where the origin is: at the pelvis of the first person in the first frame with people, or at the first camera."""
    ground: Literal["auto", "none"] = "auto"
    """`auto`: the floor, at height 0, is below the lowest foot of the first person in the first frame with people."""
    person: tuple[str, ...] = ()
    """Identities or names of the people to keep; empty: all."""
    start: float | None = None
    """First second to keep."""
    end: float | None = None
    """Last second to keep."""
    fps: float | None = None
    """Frames a second to resample to; None: the frames of the video at their own times."""
    in_place: bool = False
    """Whether people walk on the spot. The camera then no longer agrees with the picture."""
    smooth: Mode = "off"
    fill_gaps: bool = False
    """Whether absences of up to a second are filled with predicted rows."""


def arrange(result: Result, options: SceneOptions) -> Result:
    """Apply `options`. Raises ConfigError for people or times that the result does not have."""
    scene: dict[str, Any] = {}
    if options.fill_gaps:
        result = fill_gaps(result)
    result = smooth(result, options.smooth)
    if options.person:
        result = only_people(result, options.person)
    if options.start is not None or options.end is not None:
        result = cut(result, options.start, options.end)
    if options.fps is not None:
        result = resampled(result, options.fps)
        scene["fps"] = options.fps
    result, facts = upright(result, options)
    scene |= facts
    if options.in_place:
        result = in_place(result, vertical={"y": 1, "z": 2, "camera": 1}[options.up])
        scene["in_place"] = True
    scene["smoothing"] = result.about.get("smoothing", "off")
    return replace(result, about={**result.about, "scene": scene})


def moved(result: Result, new_from_old: Array) -> Result:
    """The whole scene in another world: `new_from_old` (4, 4) is rigid. The bodies in the camera stay as they are."""
    joints = result.joints.astype(np.float64)
    rest = joints[:, 0] - result.translation
    pose = result.pose.copy()
    root, translation = in_frame(new_from_old, result.pose[:, 0], result.translation, rest)
    pose[:, 0] = root
    up = new_from_old[:3, :3] @ result.up
    return replace(
        result,
        camera_from_world=result.camera_from_world @ rigid_inverse(new_from_old),
        up=up / np.linalg.norm(up),
        pose=pose,
        translation=translation.astype(np.float32),
        joints=transform(new_from_old, joints).astype(np.float32),
    )


def upright(result: Result, options: SceneOptions) -> tuple[Result, dict[str, Any]]:
    """Up axis, level, origin and ground as one rigid change, and what was done."""
    change = np.eye(4)
    level = "none"
    if options.up != "camera":
        up, level = _up(result) if options.level == "auto" else (np.array(ASSUMED_UP), "none")
        axes = _Y_UP if options.up == "y" else _Z_UP @ _Y_UP
        change[:3, :3] = axes @ shortest_turn(up, np.array(ASSUMED_UP))
        # what was found to be up is up from here on
        result = replace(result, up=up)
    facts: dict[str, Any] = {"up": options.up, "level": level, "origin": "world", "ground": "none"}
    first = _first_row(result)
    if first is not None:
        joints = transform(change, result.joints[first])
        height = {"y": 1, "z": 2}.get(options.up)
        if options.origin == "first-pelvis":
            change[:3, 3] = -joints[0]
            facts["origin"] = "first-pelvis"
        if options.ground == "auto" and height is not None:
            change[height, 3] = SOLE - joints[FEET, height].min()
            facts["ground"] = (
                f"below the lowest foot of person {result.person[result.row_person[first]]} in the first frame"
            )
    facts["world_from_result"] = change.tolist()
    return moved(result, change), facts


def _up(result: Result) -> tuple[Array, str]:
    """(3,) up in the world, and where that is from."""
    if not np.allclose(result.up, ASSUMED_UP, atol=1e-6):
        return result.up, "known"
    seen = result.state == SEEN
    spine = (result.joints[seen, NECK] - result.joints[seen, 0]).astype(np.float64)
    axis = spine / np.maximum(np.linalg.norm(spine, axis=1, keepdims=True), 1e-9)
    limit, up = np.cos(np.radians(UPRIGHT)), np.array(ASSUMED_UP)
    # twice: the first answer says better who is upright
    for _ in range(2):
        standing = axis[axis @ up > limit]
        if len(standing) < FEWEST_UPRIGHT:
            return np.array(ASSUMED_UP), "none: too few people stand upright, so the first camera counts as level"
        up = standing.mean(0) / np.linalg.norm(standing.mean(0))
    tilt = np.degrees(np.arccos(np.clip(up @ ASSUMED_UP, -1, 1)))
    return up, f"a guess from how people stand: the first camera is tilted by {tilt:.1f} degrees"


def shortest_turn(start: Array, end: Array) -> Array:
    """(3, 3) rotation of unit vector `start` to unit vector `end`, about the axis across both."""
    axis, cosine = np.cross(start, end), float(start @ end)
    length = float(np.linalg.norm(axis))
    if length < 1e-12:
        return np.eye(3) if cosine > 0 else np.diag([1.0, -1.0, -1.0])
    return matrix_from_axis_angle(axis / length * np.arctan2(length, cosine))


def _first_row(result: Result) -> int | None:
    """The row of the first frame with people who are seen, of the one with the best score."""
    rows = np.flatnonzero(result.state == SEEN)
    if not len(rows):
        rows = np.arange(len(result.state))
    if not len(rows):
        return None
    rows = rows[result.row_frame[rows] == result.row_frame[rows].min()]
    return int(rows[np.argmax(result.score[rows])])


def only_people(result: Result, people: Sequence[str]) -> Result:
    """The result with these people, given by identity or name. Raises ConfigError for one that it does not have."""
    wanted = set()
    for person in people:
        found = [k for k, (n, name) in enumerate(zip(result.person, result.person_name)) if person in (str(n), name)]
        if not found:
            known = ", ".join(str(n) for n in result.person) or "none"
            raise ConfigError(f"there is no person {person!r}, expected one of: {known}", where="--person")
        wanted.update(found)
    kept = np.array(sorted(wanted))
    index = np.full(len(result.person), -1)
    index[kept] = np.arange(len(kept))
    rows = np.flatnonzero(np.isin(result.row_person, kept))
    theirs = chosen(result, rows)
    return replace(
        theirs,
        person=result.person[kept],
        person_name=result.person_name[kept],
        betas=result.betas[kept],
        row_person=index[theirs.row_person].astype(np.int32),
    )


def cut(result: Result, start: float | None, end: float | None) -> Result:
    """The frames from second `start` to second `end`, of the video's own time. Raises ConfigError if there are none."""
    low, high = -np.inf if start is None else start, np.inf if end is None else end
    frames = np.flatnonzero((result.time >= low) & (result.time <= high))
    if not len(frames):
        raise ConfigError(
            f"no frame lies between {low:g} and {high:g} s, the result covers {result.time[0]:.3f} to "
            f"{result.time[-1]:.3f} s",
            where="--start, --end",
        )
    rows = np.flatnonzero((result.row_frame >= frames[0]) & (result.row_frame <= frames[-1]))
    inside = chosen(result, rows)
    return replace(
        inside,
        time=result.time[frames],
        frame_id=result.frame_id[frames],
        intrinsics=result.intrinsics[frames] if len(result.intrinsics) > 1 else result.intrinsics,
        camera_from_world=result.camera_from_world[frames],
        camera_observed=result.camera_observed[frames],
        row_frame=(inside.row_frame - frames[0]).astype(np.int32),
    )


def resampled(result: Result, fps: float) -> Result:
    """Evenly spaced frames from the first to the last: rotations on the shortest way, places on straight lines.

    Nobody appears in a gap. Frames are numbered from 0, as they are none of the source's.
    """
    if not 0 < fps <= MOST_FPS:  # false for NaN too
        raise ConfigError(f"the rate is {fps:g}, expected frames a second, at most {MOST_FPS:,}", where="--fps")
    count = int(np.floor((result.time[-1] - result.time[0]) * fps + 1e-6)) + 1
    wanted = np.minimum(result.time[0] + np.arange(count) / fps, result.time[-1])
    before, after, share = between(result.time, wanted)
    lens = result.intrinsics
    if len(lens) > 1:
        lens = (1 - share)[:, None, None] * lens[before] + share[:, None, None] * lens[after]
    frames = replace(
        result,
        time=wanted,
        frame_id=np.arange(count),
        intrinsics=lens,
        camera_from_world=at_times(result.time, result.camera_from_world, wanted),
        camera_observed=result.camera_observed[before] & result.camera_observed[after],
    )
    rows = np.full((len(result.person), len(result.time)), -1)
    rows[result.row_person, result.row_frame] = np.arange(len(result.row_frame))
    # a frame of the video itself needs no neighbour
    first, last = rows[:, np.where(share == 1, after, before)], rows[:, np.where(share == 0, before, after)]
    near = result.time[after] - result.time[before] <= LONGEST_GAP
    person, frame = np.nonzero((first >= 0) & (last >= 0) & (near | (share == 0) | (share == 1)))
    first, last = first[person, frame], last[person, frame]
    state = np.maximum(result.state[first], result.state[last]).astype(np.int64)
    return made_between(result, frames, frame=frame, first=first, last=last, share=share[frame], state=state)


def in_place(result: Result, vertical: int) -> Result:
    """Everybody stays above the spot where they first appear; only the axis `vertical` of the world remains free."""
    pelvis = result.joints[:, 0].astype(np.float64)
    shift = np.zeros_like(pelvis)
    for person in range(len(result.person)):
        rows = result.rows_of(person)
        if len(rows):
            shift[rows] = pelvis[rows[0]] - pelvis[rows]
    shift[:, vertical] = 0
    bodies = Bodies.of(result)
    turn = result.camera_from_world[result.row_frame, :3, :3]
    return replace(bodies, pelvis=bodies.pelvis + np.einsum("nij,nj->ni", turn, shift)).written(result)
