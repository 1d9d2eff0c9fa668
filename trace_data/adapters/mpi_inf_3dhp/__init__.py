"""MPI-INF-3DHP: the official release with videos or extracted images, its test set, and both as published code packs
them.

Facts: docs/reference/datasets.md#mpi-inf-3dhp. A sequence is one camera of one recording, `S1_Seq1_video_0`, or
a test subject, `TS1`. Frame ids are rows of the annotation, counted from 0. The world is that of the calibration.
"""

from __future__ import annotations

from pathlib import Path

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.mpi_inf_3dhp import official, packed, test_set
from trace_data.adapters.mpi_inf_3dhp.facts import SPEC
from trace_data.adapters.mpi_inf_3dhp.folders import folders
from trace_data.adapters.mpi_inf_3dhp.neural_annot import SMPLX_FILE, URL, find_bodies
from trace_data.errors import DatasetLayoutError
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split

__all__ = ["SPEC", "find", "frame_file", "inspect", "read"]

_READERS = {
    official.VIDEOS: official.read,
    official.IMAGES: official.read,
    packed.LAYOUT: packed.read,
    test_set.OFFICIAL: test_set.read,
    test_set.PACKED: test_set.read,
}


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, in order, from the official release or, without it, from packed annotations.

    Raises DatasetLayoutError if there is neither.
    """
    place = folders(root)
    if split == "test":
        return [] if place.test is None else test_set.find(place.test)
    if official.exists(place.training):
        return official.find(place.training, split)
    if not packed.exists(place.training) and (place.test is None or not test_set.find(place.test)):
        raise DatasetLayoutError(
            "no annotation of any known layout with its frames", where=place.training, hint=f"expected {SPEC.expected}"
        )
    return packed.find(place.training, split)


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world of its calibration. Raises AnnotationError with file, key, found and expected."""
    return _READERS[ref.layout](ref)


def frame_file(ref: SequenceRef, number: int) -> Path:
    """Path of a frame's image, relative to the dataset's folder, used if the video is missing."""
    recording = ref.annotation.parent  # S1/Seq1, in the dataset's folder or in one of its own there
    names = {name.lower() for name in SPEC.folders}
    dataset = next((above for above in recording.parents if above.name.lower() in names), recording.parent.parent)
    return recording.relative_to(dataset) / "imageFrames" / ref.images.stem / f"frame_{number + 1:06d}.jpg"


def inspect(root: Path) -> list[Finding]:
    """Missing parts, mismatched numbers of frames and annotations, gaps in image numbers, fits of another model."""
    place = folders(root)
    findings = official.inspect(place.training)
    if not official.exists(place.training):
        findings += packed.inspect(place.training)
    elif packed.exists(place.training):
        what = "the official release and packed annotations are both here: the packed ones are not read"
        findings.append(Finding(severity="warning", key=SPEC.name, what=what))
    if place.test is not None:
        findings += test_set.inspect(place.test)
    places = [place.training, place.dataset]
    if find_bodies(places) is None and (fits := find_bodies(places, SMPLX_FILE)) is not None:
        what = "fits of SMPL-X are not read: their pose and shape are of another body model than SMPL"
        findings.append(Finding(severity="warning", key=fits.name, what=what, hint=f"get the SMPL fits from {URL}"))
    return findings
