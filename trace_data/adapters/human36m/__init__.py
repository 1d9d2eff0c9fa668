"""Human3.6M in three layouts: official archives, the widely used re-packaging, the packed files of TRACE's training.

Facts: docs/reference/datasets.md#human36m, docs/reference/joints.md#human36m-skeleton-of-32-joints. One person, four
calibrated static cameras.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from trace_data.adapters.base import SequenceRef, dataset_folder
from trace_data.adapters.human36m import official, packed, repackaged
from trace_data.adapters.human36m.facts import NOTE, SPEC, SUBJECTS
from trace_data.defects import lost
from trace_data.errors import DatasetLayoutError
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split

__all__ = ["SPEC", "find", "frame_file", "inspect", "read"]

LAYOUTS: tuple[ModuleType, ...] = (official, repackaged, packed)
"""In order of preference if a folder has several."""
CLIPS = {subject: 120 for subjects in SUBJECTS.values() for subject in subjects} | {11: 119}
"""Number of clips per subject: 15 actions, twice, by 4 cameras; one video of subject 11 is damaged."""


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, in a fixed order, except those known to be lost. Raises DatasetLayoutError."""
    folder = _folder(root)
    return [ref for ref in _layouts(folder)[0].find(folder, split) if lost(SPEC.name, ref.name) is None]


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence. Raises AnnotationError with file, key, found and expected."""
    layout = next(layout for layout in LAYOUTS if ref.layout == layout.LAYOUT)
    record: SequenceRecord = layout.read(ref)
    return record


def frame_file(ref: SequenceRef, number: int) -> Path:
    """Path of a frame's image, relative to the dataset's folder, used if the video is missing."""
    return official.frame_file(ref, number)


def inspect(root: Path) -> list[Finding]:
    """Missing or superfluous parts of the folder; a synthetic one need not be complete."""
    folder = _folder(root)
    chosen, *others = _layouts(folder)
    refs = [ref for split in SPEC.splits for ref in chosen.find(folder, split)]
    findings: list[Finding] = chosen.inspect(folder, refs)
    findings += [
        Finding(
            severity="warning",
            key="layout",
            what=f"there is also {other.LAYOUT}, which is not read",
            hint="keep each layout in a folder of its own",
        )
        for other in others
    ]
    findings += [
        Finding(severity="warning", key=ref.name, what=f"left out: {defect.reason} ({defect.source})")
        for ref in refs
        if (defect := lost(SPEC.name, ref.name)) is not None
    ]
    if not (folder / NOTE).is_file():
        findings += _incomplete(refs)
    return findings


def _incomplete(refs: list[SequenceRef]) -> list[Finding]:
    held = [int(ref.name.split("_")[1] if ref.name[1] == "_" else ref.name.split("_")[0][1:]) for ref in refs]
    return [
        Finding(
            severity="warning",
            key=f"S{subject}",
            what=f"{held.count(subject)} clips, the whole release has {expected}",
            hint="go on without them, or download the rest",
        )
        for subject, expected in CLIPS.items()
        if held.count(subject) < expected
    ]


def _folder(root: Path) -> Path:
    inside = ("Videos", "Images", "MyPoseFeatures", "Poses_D3_Positions")  # MPI-INF-3DHP has an S1 too
    marks = [f"S{subject}/{name}" for subject in CLIPS for name in inside] + list(packed.ANNOTATIONS[:1])
    marks += [f"{place}Human36M_subject{subject}_camera.json" for subject in CLIPS for place in ("", "annotations/")]
    return dataset_folder(SPEC, root, marks)


def _layouts(folder: Path) -> list[ModuleType]:
    layouts = [layout for layout in LAYOUTS if layout.is_here(folder)]
    if not layouts:
        raise DatasetLayoutError(
            "none of the known layouts: neither S*/Videos, nor images/s_…, nor annots_smplkps.npz",
            where=folder,
            hint=f"expected {SPEC.expected}",
        )
    return layouts
