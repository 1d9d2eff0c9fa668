"""RICH: one or two people in a scanned place, seen by several calibrated cameras that stand still.

Images `cam_00/00046_00.jpeg`, bodies `00046/017.pkl`, `scan_calibration/ParkingLot2/calibration/000.xml`
(docs/reference/further-datasets.md#rich-files). Each view of a sequence is one of ours, `ParkingLot2_017_burpeejump1/
cam_00`. Bodies are of SMPL-X: only their rotations are read (`smplx_bodies`). Cameras that move have no calibration and
are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import frame_size
from trace_data.adapters.listing import numbered, numbered_files
from trace_data.adapters.rich.bodies import Subject, body_frames, read_subjects
from trace_data.adapters.rich.calibration import camera_of, read_calibration
from trace_data.adapters.rich.folders import (
    CALIBRATIONS,
    SPEC,
    SequenceFiles,
    image_pattern,
    rich_folder,
    sequences_in,
)
from trace_data.adapters.smplx_bodies import APPROXIMATE, JOINTS, PELVIS, person_of
from trace_data.errors import AnnotationError
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding
from trace_data.schema.record import Person, SequenceRecord, Split

__all__ = ["SPEC", "find", "inspect", "read"]

LAYOUT = "images, body pickles, scan_calibration"
FPS = 30.0
"""Assumed, as by everybody who evaluates on it: the release does not say."""
MOVING = 10
"""The camera that was carried: it has images and no calibration."""
_WORLD = "calibrated rig: the world is the frame of camera 0, and not level"


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The calibrated views of all sequences that have bodies, by sequence and camera. Raises DatasetLayoutError."""
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=f"{place.name}/cam_{view:02d}",
            layout=LAYOUT,
            annotation=place.calibrations[view],
            images=images,
            frames=len(numbered(images, image_pattern(view))),
            options=(str(place.bodies),),
        )
        for place in sequences_in(rich_folder(root))
        if place.split == split and place.bodies is not None
        for view, images in place.views.items()
        if view in place.calibrations
    ]


def inspect(root: Path) -> list[Finding]:
    """Sequences without bodies, views without calibration or images, and frames whose image is missing."""
    return [finding for place in sequences_in(rich_folder(root)) for finding in _of_sequence(place)]


def _of_sequence(place: SequenceFiles) -> Iterator[Finding]:
    key = f"{place.split}/{place.name}"
    if place.bodies is None:
        hint = f"unpack {place.split}_body.zip of {SPEC.page}"
        yield Finding(severity="error", key=key, what="images without bodies", hint=hint)
    fitted = np.zeros(0, np.int64) if place.bodies is None else body_frames(place.bodies)
    if place.bodies is not None and not len(fitted):
        hint = f"unpack {place.split}_body.zip of {SPEC.page} again"
        yield Finding(severity="error", key=key, what="there is no frame in its folder of bodies", hint=hint)
    for view, images in place.views.items():
        own = f"{key}/cam_{view:02d}"
        if view == MOVING:
            what = "a camera that was carried, which has no calibration: not read"
            yield Finding(severity="warning", key=own, what=what)
            continue
        if view not in place.calibrations:
            what = f"there is no {CALIBRATIONS}/{place.capture}/calibration/{view:03d}.xml"
            hint = f"unpack scan_calibration.zip of {SPEC.page}"
            yield Finding(severity="error", key=own, what=what, hint=hint)
        numbers = numbered(images, image_pattern(view))
        again = f"unpack the images of {place.name} again"
        if not len(numbers):
            yield Finding(severity="error", key=own, what=place.broken.get(view, "no images"), hint=again)
            continue
        every = np.union1d(fitted, np.arange(numbers[0], numbers[-1] + 1))
        if len(lost := np.setdiff1d(every, numbers)):
            what = f"{lost[0]:05d}_{view:02d} is missing ({len(numbers)} images, {numbers[0]} to {numbers[-1]})"
            yield Finding(severity="error", key=own, what=what, hint=again)


def read(ref: SequenceRef) -> SequenceRecord:
    """One view of a sequence, in the frame of camera 0. Raises AnnotationError."""
    sequence, _, view = ref.name.rpartition("/cam_")
    calibration = read_calibration(ref.annotation)
    subjects = read_subjects(Path(ref.options[0]))
    images = numbered_files(ref.images, image_pattern(int(view)))
    if not subjects or not images:
        what = f"there are no {'images' if subjects else 'bodies'} of {ref.name}"
        where = ref.images if subjects else Path(ref.options[0])
        raise AnnotationError(what, where=where, hint="trace verify-datasets rich")
    numbers = np.array(sorted(images), np.int64)
    size = frame_size([images[number] for number in numbers.tolist()])
    camera = camera_of(calibration, size, ref.images)
    for subject in subjects:
        if len(lost := np.setdiff1d(subject.frames, numbers)):
            what = f"{len(lost)} frames with a body have no image, first {lost[0]:05d}_{view}"
            hint = f"unpack the images of {sequence} again; thin with  trace build-shards rich --every N"
            raise AnnotationError(what, where=ref.images, hint=hint)
    people = tuple(_person(subject, numbers, camera) for subject in subjects)
    seen = tuple(person for person in people if person.present.any())
    if not seen:
        hint = "a calibration of another place, or bodies of another sequence: unpack both again"
        raise AnnotationError("nobody comes into the picture", where=ref.annotation, hint=hint)
    odd = [person.name for person in people if person.name not in sequence.split("_")]
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=tuple(images[number] for number in numbers.tolist()),
        frame_ids=numbers,
        fps=FPS,
        camera=camera,
        people=seen,
        everyone_annotated=np.zeros(len(numbers), bool),
        world_valid=True,
        world_reason=("synthetic: " if calibration.synthetic else "") + _WORLD,
        remarks=tuple(f"subject {name} is not one of those that {sequence} is named after" for name in odd),
        provenance={
            "release": "synthetic sample world" if calibration.synthetic else "RICH",
            "layout": ref.layout,
            "scale": f"{size[0] / calibration.size[0]:.6g} of the calibrated size",
            "frame rate": f"{FPS:g} a second, assumed",
            **APPROXIMATE,
            "adapter": "rich 1",
            "defects": "",
            "synthetic": "true" if calibration.synthetic else "false",
        },
    )


def _person(subject: Subject, numbers: np.ndarray, camera: Camera) -> Person:
    rows = np.searchsorted(numbers, subject.frames)
    there = np.zeros(len(numbers), bool)
    there[rows] = True
    pose, pelvis = np.zeros((len(numbers), JOINTS, 3)), np.zeros((len(numbers), 3))
    pose[rows], pelvis[rows] = subject.pose, subject.translation + PELVIS
    return person_of(f"{subject.number:03d}", subject.gender, pose, pelvis, there, camera)
