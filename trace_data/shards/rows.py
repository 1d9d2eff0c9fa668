"""Convert a sequence record to the columns of a shard. People absent from a frame have no row for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.geometry import project, transform
from trace_data.schema.body import GENDERS, NOTHING_ADDED, Completed
from trace_data.schema.keypoints import TORSO
from trace_data.schema.record import Person, SequenceRecord
from trace_data.shards.layout import PEOPLE_COLUMNS
from trace_data.shards.sampling.sampler import runs_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SequenceRows:
    """The columns of one sequence, without its images."""

    frames: Mapping[str, npt.NDArray[Any]]
    """Per-frame columns, T rows each."""
    people: Mapping[str, npt.NDArray[Any]]
    """Person-frame columns, ordered by frame, then by person."""
    people_a_frame: npt.NDArray[np.int64]
    """(T,) number of people rows of each frame."""
    usable: tuple[tuple[tuple[int, int], ...], ...]
    """For each person the ranges of usable frames: visible, and known in 3D if it is known in 3D anywhere."""


def rows_of(record: SequenceRecord, completed: Mapping[str, Completed]) -> SequenceRows:
    """Columns of a record that passed `check_record`; `completed` by person name (nothing is added for others)."""
    frames = len(record.frames)
    intrinsics, extrinsics = record.camera.per_frame(frames)
    blocks = [
        _person(person, number, record.world_valid, completed.get(person.name, NOTHING_ADDED))
        for number, person in enumerate(record.people)
    ]
    for block, whose in zip(blocks, record.people):
        block.update(where_seen(block, record, whose))
    usable = [_usable(person, block) for person, block in zip(record.people, blocks)]
    present = np.array([person.present for person in record.people], bool).reshape(len(blocks), frames)
    # rows frame by frame: all people of frame 0, then of frame 1, ...
    time, person = np.nonzero(present.T)
    return SequenceRows(
        frames={
            "frame_id": record.frame_ids,
            "camera/intrinsics": intrinsics,
            "camera/camera_from_world": extrinsics,
            "frame_masks/everyone_annotated": record.everyone_annotated,
            "frame_masks/intrinsics": np.full(frames, record.camera.known),
        },
        people={
            name: np.stack([block[name] for block in blocks])[person, time].astype(column.dtype)
            if blocks
            else np.zeros((0, *column.shape), column.dtype)
            for name, column in PEOPLE_COLUMNS.items()
        },
        people_a_frame=present.sum(axis=0, dtype=np.int64),
        usable=tuple(tuple(runs_of(flags)) for flags in usable),
    )


def _usable(person: Person, block: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """(T,) where the person is usable. Joints without a body suffice, since fits often exist for every n-th frame."""
    flags: npt.NDArray[np.bool_] = person.present & block["masks/center"]
    if person.body is None or "root_rotation" not in person.body.known:
        return flags  # sparse poses (Penn Action) are used where they exist, but clips do not depend on them
    known: npt.NDArray[np.bool_] = person.body_valid | block["masks/joints3d"]
    return flags & known


def _person(person: Person, number: int, world_valid: bool, added: Completed) -> dict[str, npt.NDArray[Any]]:
    """All columns of one person over all T frames; zero where the mask is False."""
    frames = len(person.present)
    points = person.keypoints2d
    kp2d = np.zeros((frames, 44, 3)) if points is None or not points.built else points.to_44()
    kp3d = np.zeros((frames, 44, 4)) if person.joints3d is None else person.joints3d.to_44()
    if added.joints3d is not None:  # the body model fills only joints that the release lacks
        kp3d = np.where((kp3d[..., 3:] == 0) & person.body_valid[:, None, None], added.joints3d, kp3d)
    known = frozenset() if person.body is None else person.body.known
    root, limbs, shape, stands = (
        person.body_valid if part in known else np.zeros(frames, bool)
        for part in ("root_rotation", "body_pose", "shape", "translation")
    )
    neutral = shape if added.betas_neutral is not None else np.zeros(frames, bool)

    def masked(values: npt.NDArray[np.float64] | None, mask: npt.NDArray[np.bool_], *shape: int) -> npt.NDArray[Any]:
        kept = np.zeros((frames, *shape)) if values is None else values
        return np.where(mask.reshape(*mask.shape, *(1,) * (kept.ndim - mask.ndim)), kept, 0.0)

    parameters = person.body
    translation = added.translation
    if translation is None and parameters is not None and parameters.origin == "model":
        translation = parameters.translation
    placed = stands if translation is not None else np.zeros(frames, bool)
    return {
        "people/person": np.full(frames, number),
        "people/gender": np.full(frames, GENDERS.index(person.gender)),
        "people/pose": masked(
            None if parameters is None else parameters.pose, np.stack([root, *[limbs] * 23], axis=1), 24, 3
        ),
        "people/betas": masked(None if parameters is None else parameters.betas, shape, 10),
        "people/betas_neutral": masked(added.betas_neutral, neutral, 10),
        "people/translation": masked(translation, placed, 3),
        "people/kp2d": kp2d,
        "people/kp3d": kp3d,
        "masks/pose2d": np.any(kp2d[..., 2] > 0, axis=1),
        "masks/joints3d": np.any(kp3d[..., 3] > 0, axis=1),
        "masks/root_rotation": root,
        "masks/body_pose": limbs,
        "masks/shape": neutral,
        "masks/translation": placed,
        "masks/world": root & placed & world_valid,
    }


def where_seen(
    block: Mapping[str, npt.NDArray[Any]], record: SequenceRecord, person: Person
) -> dict[str, npt.NDArray[Any]]:
    """The columns `people/center`, `people/box` and `masks/center` of a person: its location in the picture.

    The centre is the mean of the torso joints if two are inside the frame, else of any three joints or more. Joints are
    annotated in 2D, else projected by a known camera (docs/reference/joints.md#centre-of-a-person); where neither is
    known, points that are for this alone stand in.
    """
    intrinsics, extrinsics = record.camera.per_frame(len(record.frames))
    in_camera = transform(extrinsics, block["people/kp3d"][..., :3])
    projected = project(intrinsics, in_camera, record.camera.distortion)
    annotated = block["masks/pose2d"][:, None]
    points = np.where(annotated[..., None], block["people/kp2d"][..., :2], projected)
    projectable = (block["people/kp3d"][..., 3] > 0) & record.camera.known
    known = np.where(annotated, block["people/kp2d"][..., 2] > 0, projectable)
    if person.keypoints2d is not None and person.keypoints2d.place_only:
        about, unknown = person.keypoints2d.to_44(), ~np.any(known, axis=1)[:, None]
        points = np.where(unknown[:, :, None], about[..., :2], points)
        known = np.where(unknown, about[..., 2] > 0, known)
    seen = known & _inside(points, record)
    torso = np.zeros_like(seen)
    torso[:, TORSO] = seen[:, TORSO]
    averaged = np.where(torso.sum(axis=1, keepdims=True) >= 2, torso, seen)
    centred = (torso.sum(axis=1) >= 2) | (seen.sum(axis=1) > 2)
    count = np.maximum(averaged.sum(axis=1, keepdims=True), 1)
    center = np.where(averaged[..., None], points, 0.0).sum(axis=1) / count
    low = np.where(seen[..., None], points, np.inf).min(axis=1)
    high = np.where(seen[..., None], points, -np.inf).max(axis=1)
    return {
        "people/center": np.where(centred[:, None], center, 0.0),
        "people/box": np.where(centred[:, None], np.concatenate([low, high], axis=1), 0.0),
        "masks/center": centred,
    }


def _inside(points: npt.NDArray[np.float64], record: SequenceRecord) -> npt.NDArray[np.bool_]:
    """(T, K) whether a point is inside the frame, whose edges are half a pixel outside the outermost pixel centres."""
    edges = points + 0.5
    inside: npt.NDArray[np.bool_] = np.all(
        (edges >= 0) & (edges <= (record.camera.width, record.camera.height)), axis=-1
    )
    return inside
