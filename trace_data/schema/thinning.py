"""Fewer frames of a sequence, without a change of its speed."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from trace_data.schema.body import BodyParams
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord


def thinned(record: SequenceRecord, every: int) -> SequenceRecord:
    """The frames 0, `every`, 2 `every`, … of a record, with their own ids.

    `fps` stays: it counts frame ids, so what is divided by the time between two ids keeps its value in m/s.
    """
    if every == 1:
        return record
    frames = len(record.frames)

    def kept(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return array[::every] if len(array) == frames else array  # one matrix may stand for all frames

    extrinsics = record.camera.camera_from_world
    return dataclasses.replace(
        record,
        frames=record.frames[::every],
        frame_ids=record.frame_ids[::every],
        camera=dataclasses.replace(
            record.camera,
            intrinsics=kept(record.camera.intrinsics),
            camera_from_world=None if extrinsics is None else kept(extrinsics),
        ),
        people=tuple(_person(person, every) for person in record.people),
        everyone_annotated=record.everyone_annotated[::every],
    )


def _person(person: Person, every: int) -> Person:
    return dataclasses.replace(
        person,
        present=person.present[::every],
        keypoints2d=_points(person.keypoints2d, every),
        joints3d=_points(person.joints3d, every),
        body=_body(person.body, every),
        body_valid=person.body_valid[::every],
    )


def _points(keypoints: Keypoints | None, every: int) -> Keypoints | None:
    return None if keypoints is None else dataclasses.replace(keypoints, points=keypoints.points[::every])


def _body(body: BodyParams | None, every: int) -> BodyParams | None:
    if body is None:
        return None
    return dataclasses.replace(
        body, pose=body.pose[::every], betas=body.betas[::every], translation=body.translation[::every]
    )
