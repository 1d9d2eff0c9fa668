"""Known defects of the datasets, stored as data: one file per dataset, one entry per defect, with reason and source.

They are applied when a sequence is read, recorded in its provenance and counted in reports, and can be switched off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.geometry import project, transform
from trace_data.schema.camera import Camera
from trace_data.schema.keypoints import LAYOUTS, Keypoints
from trace_data.schema.record import Person, SequenceRecord
from trace_data.schema.thinning import kept
from trace_data.text_files import parse_yaml

Effect = Literal["sequence", "frames", "body", "joints3d", "everyone", "shift"]
"""What is unusable: the sequence (not listed at all), some frames, the body, the 3D joints, or the flag that everyone
is annotated. `shift` loses nothing: positions are corrected by a translation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defect:
    """One known defect."""

    sequences: tuple[str, ...]
    """Names of the sequences concerned; `*` matches any text."""
    frames: tuple[int, int] | None
    """First and last frame id concerned; None for all."""
    effect: Effect
    reason: str
    source: str
    """Who reported it."""
    shift: tuple[float, float, float] | None = None
    """Metres, world: the correction that effect `shift` adds to positions."""

    def concerns(self, record: SequenceRecord) -> npt.NDArray[np.bool_]:
        """(T,) whether each frame of a record is concerned."""
        if not any(fnmatchcase(record.name, pattern) for pattern in self.sequences):
            return np.zeros(len(record.frame_ids), bool)
        first, last = self.frames or (0, np.iinfo(np.int64).max)
        flags: npt.NDArray[np.bool_] = (record.frame_ids >= first) & (record.frame_ids <= last)
        return flags


@lru_cache(maxsize=8)
def known_defects(dataset: str) -> tuple[Defect, ...]:
    """The known defects of a dataset, () for one without a file. Raises ConfigError on a malformed file."""
    file = resources.files("trace_data.defects").joinpath(f"{dataset}.yaml")
    if not file.is_file():
        return ()
    entries = parse_yaml(file.read_bytes(), where=str(file), error=ConfigError)
    return tuple(_defect(entry, str(file)) for entry in entries)


def _defect(entry: Any, where: str) -> Defect:
    try:
        frames, shift = entry.pop("frames", None), entry.pop("shift", None)
        defect = Defect(
            sequences=tuple(entry.pop("sequences")),
            frames=None if frames is None else (frames[0], frames[1]),
            shift=None if shift is None else (shift[0], shift[1], shift[2]),
            **entry,
        )
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ConfigError(f"malformed defect {entry!r}: {error}", where=where) from error
    if defect.effect not in get_args(Effect):
        raise ConfigError(f"unknown effect {defect.effect!r}, expected {', '.join(get_args(Effect))}", where=where)
    if (defect.effect == "shift") != (defect.shift is not None):
        raise ConfigError("effect `shift` and a value `shift` belong together", where=where)
    return defect


def lost(dataset: str, name: str) -> Defect | None:
    """The defect that makes a whole sequence unusable; None when there is none."""
    return next(
        (
            defect
            for defect in known_defects(dataset)
            if defect.effect == "sequence" and any(fnmatchcase(name, pattern) for pattern in defect.sequences)
        ),
        None,
    )


def frames_there(dataset: str, name: str, frames: int) -> int:
    """How many of a sequence's ids 0 to `frames` - 1 the release has: the last ones may be known to be missing."""
    ranges = [
        defect.frames
        for defect in known_defects(dataset)
        if defect.effect == "frames" and defect.frames and any(fnmatchcase(name, p) for p in defect.sequences)
    ]
    return min([first for first, last in ranges if first < frames <= last + 1], default=frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """A defect that was applied to a record."""

    reason: str
    effect: Effect
    frames: int
    """Number of frames concerned."""


def without_defects(record: SequenceRecord, defects: Sequence[Defect]) -> SequenceRecord:
    """The record with known defects removed, and noted in its provenance."""
    return take_out(record, defects)[0]


def take_out(record: SequenceRecord, defects: Sequence[Defect]) -> tuple[SequenceRecord, tuple[Applied, ...]]:
    """The record without these defects, and what was applied."""
    applied = []
    for defect in defects:
        wrong = defect.concerns(record)
        if defect.effect == "sequence" or not wrong.any():
            continue
        applied.append(Applied(reason=defect.reason, effect=defect.effect, frames=int(wrong.sum())))
        if defect.effect == "frames":
            record = kept(record, ~wrong)
        elif defect.effect == "everyone":
            record = replace(record, everyone_annotated=record.everyone_annotated & ~wrong)
        elif defect.shift is not None:
            move = np.where(wrong[:, None], defect.shift, 0.0)
            record = replace(record, people=tuple(_moved(person, move, record.camera) for person in record.people))
        else:
            people = tuple(_person(person, wrong, defect.effect) for person in record.people)
            record = replace(record, people=people)
    if applied:
        said = "; ".join(f"{entry.reason} ({entry.frames} frames: {entry.effect})" for entry in applied)
        record = replace(record, provenance={**record.provenance, "defects": said})
    return record, tuple(applied)


def _person(person: Person, wrong: npt.NDArray[np.bool_], effect: Effect) -> Person:
    if effect == "body":
        return replace(person, body_valid=person.body_valid & ~wrong)
    joints = person.joints3d
    if joints is None:
        return person
    points = np.where(wrong[:, None, None], 0.0, joints.points)
    return replace(person, joints3d=Keypoints(layout=joints.layout, points=points))


def _moved(person: Person, move: npt.NDArray[np.float64], camera: Camera) -> Person:
    """The person moved by (T, 3) metres. A 2D point follows the 3D joint of its name, or becomes missing."""
    joints, points, body = person.joints3d, person.keypoints2d, person.body
    if body is not None and body.translation is not None:
        body = replace(body, translation=body.translation + move)
    if joints is None:
        return replace(person, body=body, keypoints2d=None)
    known = joints.points[..., 3:] > 0
    moved = np.where(known, joints.points + np.append(move, np.zeros((len(move), 1)), axis=1)[:, None], 0.0)
    if points is not None:
        points = Keypoints(layout=points.layout, points=_followed(points, joints, moved, camera))
    return replace(person, body=body, keypoints2d=points, joints3d=Keypoints(layout=joints.layout, points=moved))


def _followed(
    points: Keypoints, joints: Keypoints, moved: npt.NDArray[np.float64], camera: Camera
) -> npt.NDArray[np.float64]:
    """2D points (T, K, 3) after their joints have moved to (T, K', 4); frames without motion are unchanged."""
    intrinsics, extrinsics = camera.per_frame(len(moved))
    names = LAYOUTS[joints.layout]
    out = points.points.copy()
    still = (moved == joints.points).all(axis=(1, 2))
    for number, name in enumerate(LAYOUTS[points.layout]):
        if name not in names:
            out[~still, number] = 0.0
            continue
        ends = np.stack([joints.points[:, names.index(name)], moved[:, names.index(name)]], axis=1)
        before, after = np.moveaxis(project(intrinsics, transform(extrinsics, ends[..., :3]), camera.distortion), 1, 0)
        seen = (points.points[:, number, 2] > 0) & (ends[:, 0, 3] > 0) & np.isfinite(after).all(axis=1)
        out[~still & ~seen, number] = 0.0
        chosen = ~still & seen
        out[chosen, number, :2] += (after - before)[chosen]
    return out
