"""2D points that can be nowhere: a few of them are masked and said, many mean that the annotation is another one's."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from trace_data.schema.check import FAR_OUTSIDE, OUTSIDE
from trace_data.schema.record import Person, SequenceRecord

Flags = npt.NDArray[np.bool_]


def wild_points(points: npt.NDArray[np.float64], size: tuple[int, int]) -> Flags:
    """(..., K) which of the points (..., K, 3), px and confidence, count as seen and are no numbers, or lie
    `FAR_OUTSIDE` frames of `size` (width, height, px) away."""
    relative = points[..., :2] / np.array(size)
    near: Flags = ((relative >= -FAR_OUTSIDE) & (relative <= 1 + FAR_OUTSIDE)).all(axis=-1)
    wild: Flags = (points[..., 2] != 0) & ~(near & np.isfinite(points[..., 2]))
    return wild


def without_wild_points(record: SequenceRecord) -> SequenceRecord:
    """The record without its wild points, which it remarks; as it is when they are more than the share `OUTSIDE`.

    What stands at points of confidence 0 is nobody's business. Where the release does not trust a person's fit, its
    camera pose mostly, 2D points mean nothing either: there they do not count.
    """
    size = record.camera.width, record.camera.height
    wrong = [_wild_of(person, size) for person in record.people]
    seen = sum(int((_points(person)[..., 2] != 0).sum()) for person in record.people)
    counted = sum(int(flags[_trusted(person)].sum()) for person, flags in zip(record.people, wrong))
    if counted > OUTSIDE * seen:
        return record
    people = tuple(_masked(person, flags) for person, flags in zip(record.people, wrong))
    masked = sum(int(flags.sum()) for flags in wrong)
    said = f"{masked:,} of {seen:,} 2D points lie far outside the frame or are no numbers: masked"
    return dataclasses.replace(record, people=people, remarks=(*record.remarks, said) if masked else record.remarks)


def _points(person: Person) -> npt.NDArray[np.float64]:
    """(T, K, 3); no rows where they have another shape, which `check_record` reports."""
    points = np.zeros((0, 0, 3)) if person.keypoints2d is None else person.keypoints2d.points
    return points if points.ndim == 3 and points.shape[-1] == 3 else np.zeros((0, 0, 3))


def _wild_of(person: Person, size: tuple[int, int]) -> Flags:
    return wild_points(_points(person), size)


def _trusted(person: Person) -> Flags:
    """(T,) where the person's fit is trusted; everywhere when it has none."""
    frames = len(_points(person))
    whole = person.body_valid.shape == (frames,) and person.body_valid.any()
    return person.body_valid if whole else np.ones(frames, bool)


def _masked(person: Person, wrong: Flags) -> Person:
    points = _points(person)
    if person.keypoints2d is None or not len(points):
        return person
    gone = wrong | (points[..., 2] == 0)
    if not points[gone].any():  # NaN counts as something
        return person
    return dataclasses.replace(
        person,
        keypoints2d=dataclasses.replace(person.keypoints2d, points=np.where(gone[..., None], 0.0, points)),
    )
