"""The test set: `TS?/` with `annot_data.mat` and images, or the packed `annots.npz` of the published loader.

The world is the camera frame.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import gap
from trace_data.adapters.listing import entry, why_empty
from trace_data.adapters.mpi_inf_3dhp.assembly import CameraSequence, assemble
from trace_data.adapters.mpi_inf_3dhp.facts import SPEC, TEST_FPS, wrong
from trace_data.adapters.mpi_inf_3dhp.folders import test_recordings
from trace_data.adapters.mpi_inf_3dhp.matlab import annotated_test_frames, numbers, read_test_annotations
from trace_data.adapters.mpi_inf_3dhp.packed_files import read_packed
from trace_data.adapters.mpi_inf_3dhp.pictures import count_images, frame_size, image_numbers, numbered_images
from trace_data.adapters.mpi_inf_3dhp.test_cameras import calibration_of, test_camera
from trace_data.adapters.units import check_unit
from trace_data.errors import AnnotationError
from trace_data.schema.findings import Finding
from trace_data.schema.frame import Frame
from trace_data.schema.record import SequenceRecord

Array = npt.NDArray[np.float64]

OFFICIAL, PACKED = "official test set (annot_data.mat)", "packed test set (annots.npz)"
_KEY = re.compile(r"(?:.*/)?TS(\d)/imageSequence/img_(\d+)\.jpg", re.IGNORECASE)


def find(test: Path) -> list[SequenceRef]:
    """The test subjects with an annotation."""
    packed = entry(test, "annots.npz")
    refs = []
    for number, folder in test_recordings(test):
        official = entry(folder, "annot_data.mat")
        annotation = official or packed
        if annotation is None:
            continue
        images = entry(folder, "imageSequence") or folder / "imageSequence"
        calibration = calibration_of(test, number)
        refs.append(
            SequenceRef(
                dataset=SPEC.name,
                split="test",
                name=f"TS{number}",
                layout=OFFICIAL if official else PACKED,
                annotation=annotation,
                images=images,
                reads=(annotation,) if calibration is None else (annotation, calibration),
                frames=_usable(annotation if official else None, count_images(images)),
            )
        )
    return refs


def _usable(annotation: Path | None, images: int) -> int:
    """Number of annotated images, about every tenth."""
    try:
        return images if annotation is None else min(images, annotated_test_frames(annotation))
    except AnnotationError:
        return images  # reading it reports the error


def read(ref: SequenceRef) -> SequenceRecord:
    """The annotated frames of one test subject; image `img_000001.jpg` is frame 0. Raises AnnotationError."""
    if ref.layout == OFFICIAL:
        annotations = read_test_annotations(ref.annotation)
        rows = np.flatnonzero(annotations.valid)
        points, joints, synthetic = annotations.points[rows], annotations.joints[rows], annotations.synthetic
    else:
        rows, points, joints, synthetic = _packed(ref)
    if len(rows) == 0:
        raise wrong(ref.annotation, "valid_frame", "marks no frame", "one or more annotated frames")
    check_unit(ref.annotation, joints)
    images = numbered_images(ref.images)
    lost = [int(row) + 1 for row in rows if int(row) + 1 not in images]
    if lost:
        raise AnnotationError(
            f"{len(rows)} frames are annotated, img_{lost[0]:06d}.jpg and {len(lost) - 1} more are missing",
            where=ref.images,
            hint="copy imageSequence of this test subject again",
        )
    frames: tuple[Frame, ...] = tuple(images[int(row) + 1] for row in rows)
    size = frame_size(frames)
    number = int(ref.name.removeprefix("TS"))
    calibration = calibration_of(ref.images.parent.parent, number)
    camera = test_camera(number, ref.annotation, calibration, size, points, joints)
    return assemble(
        ref,
        CameraSequence(
            person=ref.name,
            frames=frames,
            frame_ids=[int(row) for row in rows],
            fps=TEST_FPS,
            size=size,
            layout="MPI_INF_TEST_17",
            points=points,
            joints=joints,
            intrinsics=camera.intrinsics,
            distortion=camera.distortion,
            camera_from_world=None,
            world_reason="",
            body=None,
            synthetic=synthetic,
            projected=camera.calibrated,  # else the camera was found from these points
            camera=camera.how,
            remarks=camera.remarks,
        ),
    )


def _packed(ref: SequenceRef) -> tuple[npt.NDArray[np.int64], Array, Array, bool]:
    tables = _tables_of(ref.annotation)
    number = int(ref.name.removeprefix("TS"))
    if number not in tables:
        raise wrong(ref.annotation, "annots", f"is about TS{sorted(tables)}", f"images of {ref.name}/imageSequence/")
    rows, points, joints, synthetic = tables[number]
    return rows - 1, points, joints, synthetic


def _tables_of(file: Path) -> dict[int, tuple[npt.NDArray[np.int64], Array, Array, bool]]:
    state = file.stat()
    return _packed_tables(file, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1)
def _packed_tables(file: Path, changed: int, size: int) -> dict[int, tuple[npt.NDArray[np.int64], Array, Array, bool]]:
    """Test subject to image numbers, points and joints."""
    content = read_packed(file, ("annots", "synthetic"))
    by_subject: dict[int, dict[int, Any]] = {}
    for name, value in content["annots"].items():
        match = _KEY.fullmatch(str(name))
        if match is None:
            raise wrong(
                file, f"annots[{str(name)[:60]!r}]", "is no image of the test set", "TS1/imageSequence/img_….jpg"
            )
        by_subject.setdefault(int(match[1]), {})[int(match[2])] = value
    tables = {}
    for subject, entries in by_subject.items():
        ids = sorted(entries)
        arrays = []
        for key, width in (("kp2d", 2), ("kp3d", 3)):
            values = [_entry(file, f"annots[TS{subject}, {i}]", entries[i], key) for i in ids]
            arrays.append(np.stack([numbers(file, f"annots[TS{subject}] {key}", v, (17, width)) for v in values]))
        tables[subject] = (np.array(ids, np.int64), arrays[0], arrays[1], "synthetic" in content)
    return tables


def _entry(file: Path, name: str, entry: Any, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise wrong(file, name, f"has no {key}", "kp2d and kp3d of 17 joints")
    return entry[key]


def inspect(test: Path) -> list[Finding]:
    """Test subjects without annotation or images, and gaps in the images."""
    findings = []
    refs = {ref.name: ref for ref in find(test)}
    for number, folder in test_recordings(test):
        ref = refs.get(f"TS{number}")
        if ref is None:
            what, hint = "there is no annot_data.mat", f"get it from {SPEC.page}"
        elif not (images := image_numbers(ref.images)):
            what, hint = why_empty(ref.images) or "annotation without images", "unpack imageSequence again"
        elif ref.layout == OFFICIAL and (lost := gap(images)) is not None:
            what, hint = f"image {lost} is missing ({len(images)} images)", "copy imageSequence again"
        elif ref.layout == PACKED and gap(images) == 1:
            what = f"image 1 is missing, the others count from {images[0]}"
            hint = "numbered anew? then they show other frames: copy imageSequence again"
            findings.append(Finding(severity="warning", key=folder.name, what=what, hint=hint))
            continue
        else:
            continue
        findings.append(Finding(severity="error", key=folder.name, what=what, hint=hint))
    packed = next((ref.annotation for ref in refs.values() if ref.layout == PACKED), None)
    if packed is not None:
        held = {number for number, _ in test_recordings(test)}
        findings += [
            Finding(
                severity="error",
                key=f"TS{number}",
                what=f"{packed.name} is about TS{number}, of whom there are no images",
                hint="unpack this test subject again",
            )
            for number in sorted(_subjects(packed) - held)
        ]
    return findings


def _subjects(packed: Path) -> set[int]:
    """The test subjects that a packed annotation is about; none of one that cannot be read, which `read` will say."""
    try:
        return set(_tables_of(packed))
    except (AnnotationError, OSError):
        return set()
