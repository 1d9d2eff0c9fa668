"""EMDB: one person filmed by a phone that is carried along, with bodies from sensors worn under the clothes.

Images `P0/09_outdoor_walk/images/00000.jpg` and `P0_09_outdoor_walk_data.pkl` beside them
(docs/reference/further-datasets.md#emdb-files). A sequence is called `P0_09_outdoor_walk`. The videos of the release
show the annotation beside the picture and are not read. Which sequences belong to EMDB-1 and EMDB-2, the files say;
published lists of both are in `sequences`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.emdb.annotation import Annotation, read_annotation
from trace_data.adapters.emdb.folders import (
    IMAGE,
    IMAGES,
    SPEC,
    SequenceFolder,
    emdb_folder,
    participants_in,
    sequences_in,
)
from trace_data.adapters.emdb.sequences import PARTS
from trace_data.adapters.files import frame_size
from trace_data.adapters.listing import listing, numbered, numbered_files
from trace_data.errors import AnnotationError
from trace_data.geometry import project, transform
from trace_data.schema.check import SCALED
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split

__all__ = ["SPEC", "find", "inspect", "read"]

LAYOUT = "images and *_data.pkl"
FPS = 30.0
UP = (0.0, 1.0, 0.0)
PELVIS = (0.0, -0.23, 0.03)
"""Metres: about where the pelvis of SMPL bodies is at rest. A body turns about it, so it is at PELVIS + translation."""
NEAR_PELVIS = 0.25
"""Metres between that place and the projected pelvis of the release, median: shapes change it by a few centimetres."""
_WORLD = {
    True: "in EMDB-2, whose trajectories are published for evaluation",
    False: "not in EMDB-2: its trajectory is not one of those published for evaluation",
}


def find(root: Path, split: Split) -> list[SequenceRef]:
    """All sequences that have an annotation, by participant and name: the release is for testing.

    Raises DatasetLayoutError.
    """
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=place.name,
            layout=LAYOUT,
            annotation=place.annotations[0],
            images=place.images,
            frames=len(numbered(place.images, IMAGE)),
            reads=(place.annotations[0],),
        )
        for place in sequences_in(emdb_folder(root))
        if split in SPEC.splits and place.annotations
    ]


def inspect(root: Path) -> list[Finding]:
    """Sequences without annotation, with several, without images, or with missing ones; links that lead nowhere."""
    folder = emdb_folder(root)
    findings = [
        Finding(severity="error", key=f"{participant}/{name}", what=why, hint="copy the folder itself")
        for participant, place in participants_in(folder)
        for name, why in listing(place).broken.items()
    ]
    return findings + [finding for place in sequences_in(folder) for finding in _of_sequence(place)]


def _of_sequence(place: SequenceFolder) -> Iterator[Finding]:
    archive = f"unpack {place.key.partition('/')[0]} of {SPEC.page} again"
    if not place.annotations:
        yield Finding(severity="error", key=place.key, what="images without annotation (*_data.pkl)", hint=archive)
    elif len(place.annotations) > 1:
        what = f"{len(place.annotations)} annotations, of which {place.annotations[0].name} is read"
        yield Finding(severity="error", key=place.key, what=what, hint="move the others away")
    numbers = numbered(place.images, IMAGE)
    if not len(numbers):
        what = listing(place.folder).broken.get(place.images.name, "no images")
        yield Finding(severity="error", key=f"{place.key}/{IMAGES}", what=what, hint=archive)
    elif len(lost := np.setdiff1d(np.arange(numbers[-1] + 1), numbers)):
        what = f"{lost[0]:05d}.jpg is missing ({len(numbers)} images, last {numbers[-1]})"
        yield Finding(severity="error", key=f"{place.key}/{IMAGES}", what=what, hint=archive)


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world of the release, y up. Raises AnnotationError with file, key, found and expected."""
    found = read_annotation(ref.annotation, ref.name)
    frames = _images(ref, found)
    _check_pelvis(found, ref.annotation)
    odd = [key for key, names in PARTS.items() if (key in found.parts) != (ref.name in names)]
    return SequenceRecord(
        dataset=ref.dataset,
        split=ref.split,
        name=ref.name,
        frames=frames,
        frame_ids=np.arange(len(frames), dtype=np.int64),
        fps=FPS,
        camera=found.camera,
        people=(_person(ref.name.partition("_")[0], found),),
        everyone_annotated=np.zeros(len(frames), bool),
        world_valid="emdb2" in found.parts,
        world_reason=("synthetic: " if found.synthetic else "") + _WORLD["emdb2" in found.parts],
        world_up=UP,
        remarks=tuple(f"{key} is {key in found.parts}, which contradicts the published list" for key in odd),
        provenance={
            "release": "synthetic sample world" if found.synthetic else "EMDB",
            "layout": ref.layout,
            **{key: "true" if key in found.parts else "false" for key in PARTS},
            "adapter": "emdb 1",
            "defects": "",
            "synthetic": "true" if found.synthetic else "false",
        },
    )


def _person(name: str, found: Annotation) -> Person:
    """The participant, the same person in every sequence of that name."""
    return Person(
        name=name,
        gender=found.body.gender,
        present=found.good,
        keypoints2d=Keypoints(layout="SMPL_24", points=found.points, projected=True, compared_only=True),
        joints3d=None,
        body=found.body,
        body_valid=found.good.copy(),
    )


def _images(ref: SequenceRef, found: Annotation) -> tuple[Path, ...]:
    """The image of each annotated frame. Raises AnnotationError if one is missing, or of another size."""
    held, count = numbered_files(ref.images, IMAGE), len(found.good)
    if lost := [number for number in range(count) if number not in held]:
        raise AnnotationError(
            f"annotates {count} frames, {IMAGES}/ has {len(held)} images: {lost[0]:05d}.jpg is missing",
            where=ref.annotation,
            hint=f"images were lost, or are another sequence's: unpack them again ({SPEC.page})",
        )
    frames = tuple(held[number] for number in range(count))
    size, expected = frame_size(frames), (found.camera.width, found.camera.height)
    if size != expected:
        what = f"the images have {size[0]}x{size[1]} px, expected {expected[0]}x{expected[1]} by their annotation"
        raise AnnotationError(what, where=ref.images, hint=SCALED)
    return frames


def _check_pelvis(found: Annotation, file: Path) -> None:
    """Raises AnnotationError unless the body, seen by the camera, is where the release's own projection shows it.

    The pelvis needs no body model, up to the centimetres by which shapes move it; all joints are compared at depth
    `geometry`.
    """
    assert found.body.translation is not None
    good = found.good
    intrinsics, extrinsics = found.camera.per_frame(len(good))
    place = transform(extrinsics, (found.body.translation + np.array(PELVIS))[:, None])[good]
    with np.errstate(all="ignore"):  # numbers of another unit may be anything
        apart = project(intrinsics[good], place)[:, 0] - found.points[good, 0, :2]
        metres = np.linalg.norm(apart, axis=1) * place[:, 0, 2] / intrinsics[good, 0, 0]
    metres = np.where(np.isnan(metres), np.inf, metres)  # behind the camera
    if not (median := float(np.median(metres))) <= NEAR_PELVIS:
        far = f"{median:,.1f} m from" if np.isfinite(median) else "behind the camera, and not"
        raise AnnotationError(
            f"the body's pelvis is {far} where kp2d shows it (median), expected {NEAR_PELVIS} m at most",
            where=file,
            hint="camera, body and kp2d of different sequences, an inverted camera or another unit:"
            f" copy the file from the release again ({SPEC.page})",
        )
