"""What must hold of the annotations of a sequence as they stand in a shard, before anything is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.geometry import project, transform
from trace_data.schema.body import GENDERS
from trace_data.schema.check import DETECTED_SHARE, EXACT_PX, LARGEST_DISTANCE
from trace_data.schema.findings import Finding, wrong
from trace_data.shards.entries import SequenceEntry
from trace_data.shards.layout import FRAME_COLUMNS, PEOPLE_COLUMNS, PEOPLE_OFFSET
from trace_data.shards.sampling.sampler import runs_of

MASK_OF = {
    "people/betas_neutral": "shape",
    "people/translation": "translation",
    "people/kp2d": "pose2d",
    "people/kp3d": "joints3d",
    "people/center": "center",
    "people/box": "center",
}
"""Column -> the mask without which its values are zero; `people/pose` has two, see `_zeros`."""
LARGEST = {
    "people/translation": LARGEST_DISTANCE,
    "people/kp3d": LARGEST_DISTANCE,
    "camera/camera_from_world": LARGEST_DISTANCE,
    "people/pose": 100.0,
    "people/betas": 100.0,
    "people/betas_neutral": 100.0,
    "people/kp2d": 1e6,
    "camera/intrinsics": 1e6,
}
"""Largest absolute value: metres, radians (fits that turn on and on included), coefficients, px."""
TOLERANCE_PX = 0.01
"""Float32 keeps a place in a frame to a thousandth of a pixel."""
LARGEST_DRIFT = 1e-3
"""A rotation in float32 differs from R Rᵀ = 1 by a millionth."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceColumns:
    """All columns of one sequence: T frames, N person-frame rows."""

    values: Mapping[str, npt.NDArray[Any]]
    """By name, T or N rows each."""
    time: npt.NDArray[np.int64]
    """(N,) frame of each row, counted in the sequence."""


def read_columns(content: Any, entry: SequenceEntry) -> SequenceColumns:
    """The columns of a sequence from a file of sound structure and tables."""
    first, end = entry.first_frame, entry.first_frame + entry.frames
    offset = content[PEOPLE_OFFSET][first : end + 1]
    values = {name: content[name][first:end] for name in FRAME_COLUMNS}
    values |= {name: content[name][offset[0] : offset[-1]] for name in PEOPLE_COLUMNS}
    return SequenceColumns(values=values, time=np.repeat(np.arange(entry.frames), np.diff(offset)))


def record_findings(columns: SequenceColumns, entry: SequenceEntry) -> list[Finding]:
    """What is wrong with the annotations of a sequence; an empty list is a clean one."""
    findings = [*_finite(columns), *_flags(columns), *_sizes(columns)]
    if findings:
        return findings  # with such values nothing can be computed
    return [
        *_zeros(columns),
        *_masks(columns, entry),
        *_camera(columns),
        *_places(columns, entry),
        *_people(columns, entry),
    ]


def reprojection(columns: SequenceColumns) -> float | None:
    """Median distance, px, of the 3D joints seen through the camera from the 2D joints; None where none has both."""
    kp2d, kp3d, time = columns.values["people/kp2d"], columns.values["people/kp3d"], columns.time
    extrinsics = columns.values["camera/camera_from_world"][time]
    pixels = project(columns.values["camera/intrinsics"][time], transform(extrinsics, kp3d[..., :3]))
    both = (kp2d[..., 2] > 0) & (kp3d[..., 3] > 0) & np.isfinite(pixels).all(axis=-1)
    both &= columns.values["frame_masks/intrinsics"][time, None] == 1
    distances = np.linalg.norm(pixels - kp2d[..., :2], axis=-1)[both]
    return float(np.median(distances)) if len(distances) else None


def reprojection_findings(median: float | None, entry: SequenceEntry) -> Iterator[Finding]:
    """Whether 2D and 3D joints lie farther apart than detections do, or projections where the data is synthetic."""
    limit = EXACT_PX if entry.synthetic else DETECTED_SHARE * max(entry.width, entry.height)
    if median is not None and median > limit:
        yield wrong("reprojection", f"3D joints meet the 2D joints at {median:.1f} px (median), expected {limit:.1f}")


def _at(columns: SequenceColumns, bad: npt.NDArray[np.bool_]) -> str:
    """Where something is wrong, from flags with a row a frame or a row a person-frame."""
    rows: npt.NDArray[np.bool_] = np.any(bad.reshape(len(bad), -1), axis=1)
    frames = columns.time[rows] if len(rows) == len(columns.time) else np.flatnonzero(rows)
    return f"in {int(rows.sum())} of {len(rows)} rows, first in frame {frames.min()}"


def _finite(columns: SequenceColumns) -> Iterator[Finding]:
    for name, values in columns.values.items():
        if values.dtype.kind == "f" and (bad := ~np.isfinite(values)).any():
            yield wrong(name, f"NaN or infinite values {_at(columns, bad)}")


def _sizes(columns: SequenceColumns) -> Iterator[Finding]:
    for name, limit in LARGEST.items():
        if (bad := np.abs(columns.values[name]) > limit).any():
            yield wrong(name, f"values beyond {limit:g} {_at(columns, bad)}")


def _flags(columns: SequenceColumns) -> Iterator[Finding]:
    for name, values in columns.values.items():
        limit = len(GENDERS) if name == "people/gender" else 2
        if values.dtype.kind == "u" and (bad := values >= limit).any():
            yield wrong(name, f"values up to {values.max()}, expected below {limit}, {_at(columns, bad)}")


def _zeros(columns: SequenceColumns) -> Iterator[Finding]:
    values = columns.values
    root, limbs = values["masks/root_rotation"] == 1, values["masks/body_pose"] == 1
    parts = {name: (values[name], values[f"masks/{mask}"] == 1) for name, mask in MASK_OF.items()}
    parts["people/pose"] = values["people/pose"], np.stack([root, *[limbs] * 23], axis=1)
    parts["people/betas"] = values["people/betas"], root | limbs
    for name, (array, mask) in parts.items():
        bad = (array != 0) & ~mask.reshape(*mask.shape, *(1,) * (array.ndim - mask.ndim))
        if bad.any():
            yield wrong(name, f"values where their mask is 0, {_at(columns, bad)}")


def _masks(columns: SequenceColumns, entry: SequenceEntry) -> Iterator[Finding]:
    values = columns.values
    for mask, confidence in (("pose2d", values["people/kp2d"][..., 2]), ("joints3d", values["people/kp3d"][..., 3])):
        if (bad := (confidence < 0) | (confidence > 1)).any():
            yield wrong(MASK_COLUMN[mask], f"confidences outside 0 to 1, {_at(columns, bad)}")
        if (bad := (values[f"masks/{mask}"] == 1) != (confidence > 0).any(axis=1)).any():
            yield wrong(f"masks/{mask}", f"says other than the confidences, {_at(columns, bad)}")
    world = values["masks/world"] == 1
    if (bad := world & ~((values["masks/root_rotation"] == 1) & entry.world_valid)).any():
        yield wrong("masks/world", f"1 without a body or where the sequence has no valid world, {_at(columns, bad)}")


MASK_COLUMN = {mask: name for name, mask in MASK_OF.items()}


def _camera(columns: SequenceColumns) -> Iterator[Finding]:
    intrinsics, extrinsics = columns.values["camera/intrinsics"], columns.values["camera/camera_from_world"]
    rotation = extrinsics[:, :3, :3].astype(np.float64)
    drift = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
    if (bad := (drift > LARGEST_DRIFT) | (np.linalg.det(rotation) < 0)).any():
        yield wrong("camera/camera_from_world", f"no rotation (R Rᵀ is off by {drift.max():.2g}) {_at(columns, bad)}")
    if (bad := (extrinsics[:, 3] != (0, 0, 0, 1))).any():
        yield wrong("camera/camera_from_world", f"the last row is not 0 0 0 1 {_at(columns, bad)}")
    focal = intrinsics[:, (0, 1), (0, 1)]
    if (bad := (intrinsics[:, 2] != (0, 0, 1)).any(axis=1) | (focal <= 0).any(axis=1)).any():
        yield wrong("camera/intrinsics", f"no pinhole camera {_at(columns, bad)}")


def _places(columns: SequenceColumns, entry: SequenceEntry) -> Iterator[Finding]:
    known = columns.values["masks/center"] == 1
    center, box = columns.values["people/center"], columns.values["people/box"]
    low, high = box[:, :2], box[:, 2:]
    edge = np.array([entry.width, entry.height]) - 0.5 + TOLERANCE_PX
    outside = (low < -0.5 - TOLERANCE_PX) | (high > edge) | (low > high)
    if (bad := outside.any(axis=1) & known).any():
        yield wrong("people/box", f"outside the picture or inside out, {_at(columns, bad)}")
    off = (center < low - TOLERANCE_PX) | (center > high + TOLERANCE_PX)
    if (bad := off.any(axis=1) & known).any():
        yield wrong("people/center", f"outside its box, {_at(columns, bad)}")


def _people(columns: SequenceColumns, entry: SequenceEntry) -> Iterator[Finding]:
    """Whether the ranges of the index are those of the masks, and nobody changes sex on the way."""
    values = columns.values
    for number, (name, listed) in enumerate(zip(entry.people, entry.usable)):
        rows = values["people/person"] == number
        if len(set(values["people/gender"][rows].tolist())) > 1:
            yield wrong("people/gender", f"person {name} has several")
        centred, body, joints = (values[f"masks/{mask}"][rows] == 1 for mask in ("center", "root_rotation", "joints3d"))
        # where a person has no trusted body at all, the index alone says whether one was asked for
        choices = [centred & (body | joints)] if body.any() else [centred, centred & joints]
        ranges = []
        for flags in choices:
            usable = np.zeros(entry.frames, bool)
            usable[columns.time[rows]] = flags
            ranges.append(tuple(runs_of(usable)))
        if listed not in ranges:
            yield wrong("usable", f"person {name} is usable in frames {listed}, the masks say {ranges[0]}")
