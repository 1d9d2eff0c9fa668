"""The packed annotations of the TRACE training code: one folder of images and one `annots_smplkps.npz`.

It has every fifth frame of the videos; the numbers in file names count these frames.
Facts: docs/reference/datasets.md#human36m-packed-files.
"""

from __future__ import annotations

import dataclasses
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import frame_size
from trace_data.adapters.human36m.calibration import (
    FIT_PX,
    CalibratedView,
    distance_px,
    locate_in_camera,
    metadata_file,
    read_metadata,
)
from trace_data.adapters.human36m.facts import (
    AGAIN,
    FPS,
    SPEC,
    SUBJECTS,
    certain,
    file_state,
    numbers,
    subjects_without_images,
)
from trace_data.adapters.human36m.packed_file import Entries, dictionary, read_entries
from trace_data.adapters.human36m.record import record_of
from trace_data.adapters.listing import entry, listing, numbered_groups, why_empty
from trace_data.adapters.units import check_unit
from trace_data.errors import AnnotationError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.schema.body import BodyParams
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import ALL_44, H36M_32, Keypoints
from trace_data.schema.record import SequenceRecord, Split

Array = npt.NDArray[np.float64]

LAYOUT = "packed (annots_smplkps.npz)"
ANNOTATIONS = ("annots_smplkps.npz", "annots.npz")
BETAS = "smpl_neutral_betas.npz"
EVERY = 5
"""Frame step of the packed images."""
_IMAGE = re.compile(r"(S\d+_[^_]+_[0-3])_(\d+)\.(?:jpe?g|png)", re.IGNORECASE)
"""Clip and number of an image."""
_CLIP = re.compile(r"S(\d+)_[^_]+_([0-3])", re.IGNORECASE)
"""Subject and camera of a clip."""


def is_here(folder: Path) -> bool:
    """Whether the dataset's folder has this layout."""
    return entry(folder, *ANNOTATIONS) is not None


def find(folder: Path, split: Split) -> list[SequenceRef]:
    """The clips of a split that have images, by name."""
    annotation = entry(folder, *ANNOTATIONS) or folder / ANNOTATIONS[0]
    images = entry(folder, "images") or folder / "images"
    extra = (entry(folder, BETAS), metadata_file(folder))
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=clip,
            layout=LAYOUT,
            annotation=annotation,
            images=images,
            frames=len(held),
            reads=(annotation, *(file for file in extra if file is not None)),
        )
        for clip, held in sorted(numbered_groups(images, _IMAGE).items())
        if int(clip.split("_")[0][1:]) in SUBJECTS[split]
    ]


def inspect(folder: Path, refs: list[SequenceRef]) -> list[Finding]:
    """Missing parts and their consequences."""
    findings = []
    if not refs:
        what = why_empty(folder / "images") or "no images"
        findings.append(Finding(severity="error", key="images", what=what, hint=f"expected {SPEC.expected}"))
    shapes = entry(folder, BETAS)
    if refs and shapes is not None:
        # the annotation itself takes minutes to read; the shapes that belong to it name the same subjects
        findings += subjects_without_images(refs, {_subject_of(key) for key in _betas(file_state(shapes))}, BETAS)
    if shapes is None:
        findings.append(
            Finding(
                severity="warning",
                key=BETAS,
                what="missing: there are no bodies, pose and shape are not supervised",
                hint="it belongs to the packed annotations",
            )
        )
    if read_metadata(folder) is None:
        findings.append(
            Finding(
                severity="warning",
                key="metadata.xml",
                what="missing: cameras are found from the joints, and each has its own world",
                hint="put metadata.xml of the release (Release-v1.2) here",
            )
        )
    return findings


def _subject_of(key: Any) -> int:
    """The subject that `S9`, 9 or `9` stands for; 0 for none."""
    digits = str(key).upper().removeprefix("S")
    return int(digits) if digits.isdecimal() else 0


def read(ref: SequenceRef) -> SequenceRecord:
    """One clip, in the world of the release where it is calibrated, else in its camera's. Raises AnnotationError."""
    folder, file = ref.images.parent, ref.annotation
    match = _CLIP.fullmatch(ref.name)
    assert match is not None
    subject, camera = int(match[1]), int(match[2])
    rows, clip = read_entries(file_state(file)), ref.name.lower()
    if clip not in rows:
        raise AnnotationError(f"holds no image of {ref.name}", where=file, hint=AGAIN)
    entries, order = Entries(rows.of(clip)), rows.numbers(clip).tolist()
    images = _images(ref.images, ref.name)
    if lost := sorted(set(order) - set(images)):
        raise AnnotationError(
            f"{len(order)} frames are annotated, {len(lost)} have no image, first {ref.name}_{lost[0]}.jpg",
            where=ref.images,
            hint="copy the images again",
        )
    frames = [images[number] for number in order]
    pixels, mono = entries.get("kp2d"), entries.get("kp3d_mono")
    assert pixels is not None
    if mono is not None:
        check_unit(file, mono)
    view = _view(folder, (subject, camera), mono, pixels, file)
    world_from_camera: Array = np.eye(4)
    if view.camera_from_world is not None:
        world_from_camera = np.asarray(np.linalg.inv(view.camera_from_world), np.float64)
    body = _body(folder, subject, entries, file, world_from_camera[:3, :3])
    return record_of(
        ref,
        folder,
        subject,
        layout=LAYOUT,
        frames=frames,
        frame_ids=np.array(order, np.int64),
        fps=FPS / EVERY,
        size=frame_size(frames),
        view=view,
        keypoints2d=certain("H36M_32", pixels),
        joints3d=_joints(entries, mono, world_from_camera),
        body=body,
        body_valid=np.full(len(order), body is not None),
    )


def _view(folder: Path, who: tuple[int, int], mono: Array | None, pixels: Array, file: Path) -> CalibratedView:
    metadata = read_metadata(folder)
    if mono is not None:
        view = locate_in_camera(metadata, who, mono, pixels, file)
        apart = distance_px(dataclasses.replace(view, camera_from_world=None), mono, pixels)
        if not apart < FIT_PX:  # the record has the body's joints, which would not reveal it
            raise AnnotationError(
                f"the 3D joints meet the 2D joints at {apart:.1f} px (median), expected {FIT_PX}: {view.how}",
                where=file,
                hint="a stale metadata.xml, or kp2d and kp3d_mono of different frames, cameras or sides: copy them",
            )
        return view
    if metadata is None:
        raise AnnotationError(
            "has no kp3d_mono, from which the camera would be found",
            where=file,
            hint="put metadata.xml of the release (Release-v1.2) into the dataset's folder",
        )
    return metadata.views(*who)[0]


def _joints(found: Entries, mono: Array | None, world_from_camera: Array) -> Keypoints | None:
    """The body's 44 joints, aligned to the motion-capture joints of the same names; without a body the latter."""
    if mono is None:
        return None
    joints = found.get("kp3ds_smpl")
    if joints is None:
        return certain("H36M_32", transform(world_from_camera, mono))
    shared = [(ALL_44.index(name), number) for number, name in enumerate(H36M_32) if name in ALL_44]
    own, other = (list(side) for side in zip(*shared))
    apart = (mono[:, other] - joints[:, own]).mean(axis=1, keepdims=True)
    return certain("ALL_44", transform(world_from_camera, joints + apart))


def _body(folder: Path, subject: int, found: Entries, file: Path, world_from_camera: Array) -> BodyParams | None:
    """Pose and neutral shape in the world. The release does not give the body's translation."""
    shapes = entry(folder, BETAS)
    if shapes is None:
        return None
    betas = _betas(file_state(shapes))
    shape = next((betas[key] for key in (f"S{subject}", subject, str(subject)) if key in betas), None)
    if shape is None:
        held = ", ".join(map(str, betas))
        raise AnnotationError(f"has no betas of S{subject}, found {held}", where=shapes, hint=AGAIN)
    poses, roots = found.get("poses"), found.get("cam")
    if poses is None or roots is None:
        raise AnnotationError(f"poses or cam of S{subject} are missing", where=file, hint=AGAIN)
    pose = poses.reshape(-1, 24, 3)
    pose[:, 0] = axis_angle_from_matrix(world_from_camera @ matrix_from_axis_angle(roots))
    values = numbers(np.ravel(shape)[:10], (10,), f"S{subject}", shapes)
    return BodyParams(gender="neutral", pose=pose, betas=np.tile(values, (len(pose), 1)), translation=None)


def _images(folder: Path, clip: str) -> dict[int, Path]:
    """The images of a clip by number, in the folder shared by all clips, ignoring letter case."""
    names = listing(folder).files
    images: dict[int, Path] = {}
    for spelling in sorted(_spellings(names).get(clip.lower(), ()), reverse=True):
        start = f"{spelling}_"
        for place in range(bisect_left(names, start), len(names)):
            if not names[place].startswith(start):
                break
            if (match := _IMAGE.fullmatch(names[place])) is not None:
                images[int(match[2])] = folder / names[place]
    return dict(sorted(images.items()))


@lru_cache(maxsize=1)
def _spellings(names: tuple[str, ...]) -> Mapping[str, set[str]]:
    """Lower-case clip to its spellings."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in names:
        clip = name.rpartition("_")[0]
        spellings[clip.lower()].add(clip)
    return spellings


@lru_cache(maxsize=1)
def _betas(state: tuple[str, int, int]) -> Mapping[Any, Any]:
    return dictionary(Path(state[0]), "neutral_betas")
