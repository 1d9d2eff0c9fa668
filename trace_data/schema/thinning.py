"""Subsets of a record's frames. Frame ids stay, so speeds do too."""

from __future__ import annotations

import dataclasses
from itertools import compress

import numpy as np
import numpy.typing as npt

from trace_data.schema.body import BodyParams
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord

Flags = npt.NDArray[np.bool_]


def thinned(record: SequenceRecord, every: int) -> SequenceRecord:
    """A record with frames 0, `every`, 2 `every`, …, which keep their ids."""
    return record if every == 1 else kept(record, np.arange(len(record.frames)) % every == 0)


def kept(record: SequenceRecord, chosen: Flags) -> SequenceRecord:
    """A record with the frames for which `chosen` (T,) is True; they keep their ids.

    `fps` counts frame ids and so stays: velocities keep their value in m/s.
    """

    def of_frames(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return array[chosen] if len(array) == len(chosen) else array  # one matrix may stand for all frames

    extrinsics = record.camera.camera_from_world
    return dataclasses.replace(
        record,
        frames=tuple(compress(record.frames, chosen)),
        frame_ids=record.frame_ids[chosen],
        camera=dataclasses.replace(
            record.camera,
            intrinsics=of_frames(record.camera.intrinsics),
            camera_from_world=None if extrinsics is None else of_frames(extrinsics),
        ),
        people=tuple(_person(person, chosen) for person in record.people),
        everyone_annotated=record.everyone_annotated[chosen],
    )


def _person(person: Person, chosen: Flags) -> Person:
    return dataclasses.replace(
        person,
        present=person.present[chosen],
        keypoints2d=_points(person.keypoints2d, chosen),
        joints3d=_points(person.joints3d, chosen),
        body=_body(person.body, chosen),
        body_valid=person.body_valid[chosen],
    )


def _points(keypoints: Keypoints | None, chosen: Flags) -> Keypoints | None:
    return None if keypoints is None else dataclasses.replace(keypoints, points=keypoints.points[chosen])


def _body(body: BodyParams | None, chosen: Flags) -> BodyParams | None:
    if body is None:
        return None
    translation = None if body.translation is None else body.translation[chosen]
    return dataclasses.replace(body, pose=body.pose[chosen], betas=body.betas[chosen], translation=translation)
