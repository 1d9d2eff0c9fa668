"""The widely used re-packaging: image folders `s_01_act_02_subact_01_ca_01` and JSON files a subject.

It has no 2D joints: they are projected from the 3D joints with its pinhole cameras. Its world is that of the release.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import frame_size
from trace_data.adapters.human36m import subject_files
from trace_data.adapters.human36m.calibration import CalibratedView, pinhole
from trace_data.adapters.human36m.facts import (
    AGAIN,
    FPS,
    SPEC,
    SUBJECTS,
    certain,
    entries,
    numbers,
    subjects_without_images,
)
from trace_data.adapters.human36m.record import record_of
from trace_data.adapters.human36m.subject_files import FrameValues, subject_file
from trace_data.adapters.listing import entry, numbered, numbered_files, why_empty
from trace_data.adapters.units import check_unit
from trace_data.errors import AnnotationError
from trace_data.geometry import project, transform, zoom
from trace_data.schema.check import SCALED
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import SequenceRecord, Split

LAYOUT = "re-packaged (image folders, JSON)"
CLIP = re.compile(r"s_(\d\d)_act_(\d\d)_subact_(\d\d)_ca_(\d\d)", re.IGNORECASE)
_IMAGES = "unpack the images again"
BOX_SHARE = 0.003
"""Tolerance (median) between centres of boxes and of projected joints, relative to the frame's long side. Boxes were
made from these joints, so the right camera gives zero, and another camera at least 20 px."""


def is_here(folder: Path) -> bool:
    """Whether the dataset's folder has this layout."""
    if any(subject_file(folder, n, "joint_3d", "camera") for subjects in SUBJECTS.values() for n in subjects):
        return True
    images = entry(folder, "images")
    return images is not None and images.is_dir() and any(CLIP.fullmatch(name) for name in entries(images))


def find(folder: Path, split: Split) -> list[SequenceRef]:
    """The clips of a split, by name."""
    images = entry(folder, "images")
    held = {} if images is None else entries(images)
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=name,
            layout=LAYOUT,
            annotation=_joint_file(folder, int(match[1])),
            images=place,
            frames=len(numbered(place, _pattern(place))),
            reads=_reads(folder, int(match[1])),
        )
        for name, place in held.items()
        if (match := CLIP.fullmatch(name)) and int(match[1]) in SUBJECTS[split]
    ]


def inspect(folder: Path, refs: list[SequenceRef]) -> list[Finding]:
    """Missing files of subjects, and what is lost by it."""
    findings = []
    for subject in sorted({int(ref.name[2:4]) for ref in refs}):
        for kind, others, severity, loss in (
            ("joint_3d", (), "error", "there are no annotations"),
            ("camera", (), "error", "its cameras are unknown"),
            ("SMPL_NeuralAnnot", ("smpl_param",), "warning", "there are no bodies: pose and shape are not supervised"),
            ("data", (), "warning", "nothing tells whether cameras and joints belong together"),
        ):
            if subject_file(folder, subject, kind, *others) is None:
                findings.append(
                    Finding(
                        severity="error" if severity == "error" else "warning",
                        key=f"annotations/Human36M_subject{subject}_{kind}.json",
                        what=f"missing: {loss}",
                        hint="download the annotations of the re-packaged release",
                    )
                )
    annotated = [n for subjects in SUBJECTS.values() for n in subjects if subject_file(folder, n, "joint_3d")]
    findings += subjects_without_images(refs, annotated, "Human36M_subject{}_joint_3d.json")
    findings += [
        Finding(severity="error", key=f"images/{ref.name}", what=why_empty(ref.images) or "no images", hint=_IMAGES)
        for ref in refs
        if ref.frames == 0
    ]
    return findings


def read(ref: SequenceRef) -> SequenceRecord:
    """One clip, in the world of the release. Raises AnnotationError."""
    folder = ref.images.parent.parent
    subject, action, subaction, camera = (int(part) for part in ref.name.split("_")[1::2])
    rows = subject_files.joints(ref.annotation).get((action, subaction))
    if rows is None or not len(rows.frames):
        raise AnnotationError(f"has no frames under [{action}][{subaction}]", where=ref.annotation, hint=AGAIN)
    frame_ids = _frames(ref, rows)
    joints = rows.over(frame_ids)[0] / 1000
    check_unit(ref.annotation, joints)
    files = numbered_files(ref.images, _pattern(ref.images))
    frames = [files[number + 1] for number in frame_ids.tolist()]
    size = frame_size(frames)
    boxes = subject_file(folder, subject, "data")
    listed = None if boxes is None else subject_files.listed_images(boxes).get(ref.name)
    if listed is not None and listed.sizes - {size}:
        stated = ", ".join(f"{width}x{height}" for width, height in sorted(listed.sizes))
        raise AnnotationError(
            f"the frames have {size[0]}x{size[1]} px, {boxes} says {stated}", where=ref.images, hint=SCALED
        )
    view = _view(folder, subject, camera, joints, frame_ids, size, None if listed is None else listed.centres)
    assert view.camera_from_world is not None
    pixels = project(view.intrinsics, transform(view.camera_from_world, joints))
    seen = np.isfinite(pixels).all(axis=2, keepdims=True)
    points = np.where(seen, np.concatenate([pixels, np.ones_like(pixels[..., :1])], axis=2), 0.0)
    smpl = subject_file(folder, subject, "SMPL_NeuralAnnot", "smpl_param")
    body, body_valid = subject_files.body_over(smpl, (action, subaction), frame_ids)
    return record_of(
        ref,
        folder,
        subject,
        layout=LAYOUT,
        frames=frames,
        frame_ids=frame_ids,
        fps=FPS,
        size=size,
        view=view,
        keypoints2d=Keypoints(layout="H36M_17_RIGHT_FIRST", points=points, projected=True),
        joints3d=certain("H36M_17_RIGHT_FIRST", joints),
        body=body,
        body_valid=body_valid,
    )


def _joint_file(folder: Path, subject: int) -> Path:
    file = subject_file(folder, subject, "joint_3d")
    return file or folder / "annotations" / f"Human36M_subject{subject}_joint_3d.json"


def _reads(folder: Path, subject: int) -> tuple[Path, ...]:
    """All files of a subject."""
    kinds = (("joint_3d",), ("camera",), ("SMPL_NeuralAnnot", "smpl_param"), ("data",))
    files = [subject_file(folder, subject, *kind) for kind in kinds]
    return tuple(file for file in files if file is not None)


def _pattern(folder: Path) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(folder.name)}_(\d{{6}})\.jpe?g", re.IGNORECASE)


def _frames(ref: SequenceRef, rows: FrameValues) -> npt.NDArray[np.int64]:
    """The annotated frames that have an image: all, or every n-th. Raises AnnotationError when some are lost."""
    held = numbered(ref.images, _pattern(ref.images)) - 1
    shared: npt.NDArray[np.int64] = np.intersect1d(held, rows.frames)
    steps = np.diff(shared)
    step = int(steps.min()) if len(steps) else 1
    expected = rows.frames[(rows.frames % step) == (shared[0] % step)] if len(shared) else rows.frames
    if len(lost := np.setdiff1d(expected, held)):
        raise AnnotationError(
            f"{len(expected)} frames are annotated, {len(lost)} have no image, first {ref.name}_{lost[0] + 1:06d}.jpg",
            where=ref.images,
            hint="unpack the images again",
        )
    if len(gaps := np.flatnonzero(steps != step)):
        raise AnnotationError(
            f"frame {shared[gaps[0]] + step} is not annotated but those around it are", where=ref.annotation, hint=AGAIN
        )
    return shared


def _view(
    folder: Path,
    subject: int,
    camera: int,
    joints: npt.NDArray[np.float64],
    frame_ids: npt.NDArray[np.int64],
    size: tuple[int, int],
    centres: FrameValues | None,
) -> CalibratedView:
    """The camera, with the interpretation of `t` that projects the joints correctly. Raises AnnotationError."""
    file = subject_file(folder, subject, "camera")
    if file is None:
        raise AnnotationError(
            f"Human36M_subject{subject}_camera.json is missing",
            where=folder / "annotations",
            hint="download the annotations of the re-packaged release",
        )
    cameras = subject_files.load(file)
    views = _readings(file, cameras, camera)
    pixels = [_seen(view, joints) for view in views]
    outside = [1.0 - float(((seen >= 0) & (seen <= size)).all(axis=2).mean()) for seen in pixels]
    if centres is None:
        best = int(np.argmin(outside))
        if outside[best] > 0.5:
            raise AnnotationError(
                f"{outside[best]:.0%} of the joints lie outside the frame, whatever camera.t means",
                where=file,
                hint="the camera of another subject or release: download the annotations again",
            )
        return views[best]
    medians = [_from_boxes(seen, centres, frame_ids) for seen in pixels]
    best = int(np.argmin(medians))
    if not medians[best] <= (limit := BOX_SHARE * max(size)):
        others = (other for other in cameras if other.isdecimal() and int(other) != camera)
        fitting = [
            other
            for other in others
            for view in _readings(file, cameras, int(other))
            if _from_boxes(_seen(view, joints), centres, frame_ids) <= limit
        ]
        raise AnnotationError(
            f"through this camera the joints lie {medians[best]:.1f} px (median) from the boxes of the data file, "
            f"expected {limit:.1f}" + (f"; through camera {fitting[0]} they fit" if fitting else ""),
            where=file,
            hint=f"cameras were {'exchanged' if fitting else 'calibrated anew'}, or files are of different releases: "
            "download the annotations again",
        )
    middles, known = centres.over(frame_ids)
    if (factor := zoom(_middles(pixels[best])[known], middles[known])) != 1:
        wider = "wider" if factor > 1 else "closer"
        raise AnnotationError(
            f"the boxes of the data file lie {abs(factor - 1):.1%} {wider} than the joints project",
            where=file,
            hint="a focal length of another calibration: download the annotations again",
        )
    return views[best]


def _readings(file: Path, cameras: dict[str, Any], camera: int) -> list[CalibratedView]:
    """A camera with both interpretations of its `t`. Raises AnnotationError."""
    entry = cameras.get(str(camera))
    if not isinstance(entry, dict) or (lacking := {"R", "t", "f", "c"} - entry.keys()):
        what = "is missing" if not isinstance(entry, dict) else f"lacks {', '.join(sorted(lacking))}"
        raise AnnotationError(f"camera {camera} {what}", where=file, hint=AGAIN)
    shapes = {"R": (3, 3), "t": (3,), "f": (2,), "c": (2,)}
    values = {key: numbers(entry[key], shape, f"[{camera}][{key}]", file) for key, shape in shapes.items()}
    rotation, t = values["R"], values["t"] / 1000
    return [
        pinhole(values["f"], values["c"], rotation, t, "camera.t is -R C"),
        pinhole(values["f"], values["c"], rotation, -rotation @ t, "camera.t is the camera's place"),
    ]


def _from_boxes(seen: npt.NDArray[np.float64], centres: FrameValues, frame_ids: npt.NDArray[np.int64]) -> float:
    """Median distance, px, between the centres of the joints (T, 17, 2) and of the boxes; infinite without boxes."""
    middles, known = centres.over(frame_ids)
    apart = np.linalg.norm(_middles(seen) - middles, axis=1)[known]
    return float(np.median(apart)) if len(apart) else np.inf


def _middles(seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T, 2) px, of boxes about joints (T, 17, 2)."""
    middles: npt.NDArray[np.float64] = (seen.min(axis=1) + seen.max(axis=1)) / 2
    return middles


def _seen(view: CalibratedView, joints: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T, 17, 2) px; far outside the image for joints behind the camera."""
    assert view.camera_from_world is not None
    pixels = project(view.intrinsics, transform(view.camera_from_world, joints))
    return np.where(np.isfinite(pixels), pixels, -1e6)
