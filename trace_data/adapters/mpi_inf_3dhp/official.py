"""The official training release: `S?/Seq?/` with `annot.mat`, `camera.calibration` and videos or their images."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import gap, remark_on_length
from trace_data.adapters.listing import entry
from trace_data.adapters.mpi_inf_3dhp.assembly import CameraSequence, assemble, compare_cameras
from trace_data.adapters.mpi_inf_3dhp.calibration import Calibrated, read_calibration
from trace_data.adapters.mpi_inf_3dhp.facts import CAMERAS, SHORT, SPEC, fps_of, split_of, wrong
from trace_data.adapters.mpi_inf_3dhp.folders import recordings
from trace_data.adapters.mpi_inf_3dhp.matlab import MultiViewAnnotations, annotated_frames, read_annotations
from trace_data.adapters.mpi_inf_3dhp.neural_annot import bodies_of, find_bodies
from trace_data.adapters.mpi_inf_3dhp.pictures import (
    Pictures,
    camera_pictures,
    count,
    facts_of,
    frame_size,
    frames_of,
    image_numbers,
)
from trace_data.adapters.units import check_unit
from trace_data.defects import frames_there
from trace_data.errors import AnnotationError
from trace_data.geometry import transform
from trace_data.schema.check import SCALED
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split

VIDEOS, IMAGES = "official (annot.mat, videos)", "official (annot.mat, extracted images)"
SAMPLED = 25
"""Number of frames in which two cameras are compared."""
_NAME = re.compile(r"S(\d)_Seq(\d)_video_(\d+)")


def numbers_of(name: str) -> tuple[int, int, int]:
    """Subject, sequence and camera of a sequence's name."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise AnnotationError(f"{name!r} is no name of the form S1_Seq1_video_0", where=SPEC.name)
    return int(match[1]), int(match[2]), int(match[3])


def find(training: Path, split: Split) -> list[SequenceRef]:
    """The cameras of a split with annotation and frames. Only counts frames and reads headers of annotations."""
    refs = []
    for subject, sequence, folder in recordings(training):
        annotation = entry(folder, "annot.mat")
        if annotation is None or split_of(subject, sequence) != split:
            continue
        annotated = _annotated(annotation)
        reads = (annotation, entry(folder, "camera.calibration"), find_bodies([training, training.parent]))
        for camera, pictures in _cameras(folder):
            refs.append(
                SequenceRef(
                    dataset=SPEC.name,
                    split=split,
                    name=f"S{subject}_Seq{sequence}_video_{camera}",
                    layout=IMAGES if pictures.place.is_dir() else VIDEOS,
                    annotation=annotation,
                    images=pictures.place,
                    frames=min(count(pictures), annotated),
                    reads=tuple(file for file in reads if file is not None),
                )
            )
    return refs


def _annotated(annotation: Path) -> int:
    """Maximum number of frames to use; unbounded if the annotation does not tell, as reading it will report."""
    try:
        return annotated_frames(annotation)
    except AnnotationError:
        return sys.maxsize


def exists(training: Path) -> bool:
    """Whether an annotation of this layout comes with frames."""
    return any(entry(folder, "annot.mat") and next(_cameras(folder), None) for *_, folder in recordings(training))


def _cameras(folder: Path) -> Iterator[tuple[int, Pictures]]:
    for camera in CAMERAS:
        if (pictures := camera_pictures(folder, camera)) is not None:
            yield camera, pictures


def read(ref: SequenceRef) -> SequenceRecord:
    """One camera of one recording, in the world of its calibration. Raises AnnotationError."""
    subject, sequence, camera = numbers_of(ref.name)
    folder = ref.annotation.parent
    calibration = entry(folder, "camera.calibration") or folder / "camera.calibration"
    cameras = read_calibration(calibration)
    if camera not in cameras:
        raise wrong(calibration, "the file", f"has cameras {sorted(cameras)}", f"camera {camera} among them")
    annotations = read_annotations(ref.annotation)
    points, joints = annotations.of_camera(camera)
    check_unit(ref.annotation, joints)
    pictures = camera_pictures(folder, camera)
    if pictures is None:
        raise AnnotationError("the frames are gone", where=ref.images, hint="copy them again")
    there = frames_there(SPEC.name, ref.name, annotations.frames)
    frames, rows = frames_of(pictures, there)
    if not pictures.place.is_dir() and len(rows) < there - SHORT:
        expected = f"the {annotations.frames} of {ref.annotation.name}"
        hint = "it was cut short or belongs to another sequence: copy it again"
        raise wrong(pictures.place, "the video", f"has {len(rows)} frames", expected, hint)
    if not rows:
        raise AnnotationError(f"none of its frames is among the {annotations.frames} annotated ones", where=ref.images)
    size = frame_size(frames)
    if size != cameras[camera].size:
        expected = "{}x{} as calibrated".format(*cameras[camera].size)
        raise wrong(ref.images, "the frames", f"have {size[0]}x{size[1]} px", expected, SCALED)
    base = folder.parent.parent
    return assemble(
        ref,
        CameraSequence(
            person=f"S{subject}",
            frames=frames,
            frame_ids=rows,
            fps=fps_of(subject, sequence),
            size=size,
            layout="MPI_INF_28",
            points=points[rows],
            joints=joints[rows],
            intrinsics=cameras[camera].intrinsics,
            camera_from_world=cameras[camera].camera_from_world,
            world_reason=_compared(calibration, annotations, cameras, camera),
            body=bodies_of([base, base.parent], subject, sequence, rows),
            synthetic=annotations.synthetic,
            remarks=remark_on_length(rows, annotations.frames),
        ),
    )


def _compared(file: Path, annotations: MultiViewAnnotations, cameras: dict[int, Calibrated], camera: int) -> str:
    """Why there is no world, from a comparison with the first other camera; empty if they agree."""
    other = next((c for c in annotations.cameras if c != camera and c in cameras), None)
    if other is None:
        return ""
    rows = np.linspace(0, annotations.frames - 1, SAMPLED).astype(int)
    worlds = [
        transform(np.linalg.inv(cameras[number].camera_from_world), annotations.of_camera(number)[1][rows])
        for number in (camera, other)
    ]
    return compare_cameras(file, (camera, other), (worlds[0], worlds[1]))


def inspect(training: Path) -> list[Finding]:
    """Missing parts of a recording, and mismatched numbers of frames."""
    findings = []
    for subject, sequence, folder in recordings(training):
        key = f"S{subject}/Seq{sequence}"
        cameras = dict(_cameras(folder))
        annotation = entry(folder, "annot.mat")
        if annotation is None and not cameras:
            continue
        if annotation is None:
            findings.append(_error(key, f"{len(cameras)} cameras without annot.mat", "get annot.mat of this sequence"))
            continue
        if entry(folder, "camera.calibration") is None:
            findings.append(_error(key, "there is no camera.calibration", f"get it from {SPEC.page}"))
        if not cameras:
            hint = "unpack its videos into imageSequence/"
            findings.append(Finding(severity="warning", key=key, what="annotation without frames", hint=hint))
            continue
        try:
            annotated = annotated_frames(annotation)
        except AnnotationError as error:
            findings.append(_error(f"{key}/annot.mat", error.message, error.hint or ""))
            continue
        for camera, pictures in cameras.items():
            found = _counted(f"S{subject}_Seq{sequence}_video_{camera}", pictures, annotated)
            if found:
                findings.append(_error(f"{key} camera {camera}", *found))
    return findings


def _counted(name: str, pictures: Pictures, annotated: int) -> tuple[str, str] | None:
    """What is wrong with the number of a camera's frames, and how to fix it."""
    if pictures.place.is_dir():
        images = image_numbers(pictures.place, pictures.prefix)
        lost = gap(images)
        if lost is None:
            return None
        return f"image {lost} is missing ({len(images)} images, last {images[-1]})", "extract the video again"
    try:
        frames = facts_of(pictures.place).frames
    except AnnotationError as error:
        return error.message, error.hint or "copy it again"
    if frames >= frames_there(SPEC.name, name, annotated) - SHORT:
        return None
    return (
        f"{pictures.place.name} has {frames} frames, annot.mat {annotated}",
        "the video was cut short or belongs to another sequence: copy it again",
    )


def _error(key: str, what: str, hint: str) -> Finding:
    return Finding(severity="error", key=key, what=what, hint=hint)
