"""Penn Action: `frames/<seq>/<frame>.jpg` with the release's `labels/<seq>.mat`, or with them packed into one .npz.

Facts: docs/reference/datasets.md#penn-action, docs/reference/joints.md#left-and-right-in-penn-action. One person of
each video is annotated, in 2D only. An optional `eft_annots.npz` adds body poses of some frames.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from trace_data.adapters.base import DatasetSpec, SequenceRef, dataset_folder
from trace_data.adapters.files import frame_size
from trace_data.adapters.listing import entry, is_folder, lacking, listing, numbered, numbered_files, why_empty
from trace_data.adapters.penn_action import official, packed
from trace_data.adapters.penn_action.labels import PAGE, Labels, first_pixel
from trace_data.adapters.penn_action.sides import sides_agree
from trace_data.errors import AnnotationError, ConfigError, DatasetLayoutError
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import nominal_camera
from trace_data.schema.check import SCALED
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split

SPEC = DatasetSpec(
    name="penn-action",
    folders=("Penn_Action", "penn_action", "PENN_ACTION", "PennAction", "pennaction", "Penn-Action", "penn-action"),
    splits=("train", "test"),
    page=PAGE,
    expected="Penn_Action/frames/0001/000001.jpg and Penn_Action/labels/0001.mat (or annots_train.npz)",
)
LARGEST = 640
"""Pixels of a frame's longer side in the release."""
FPS = 30.0
"""Assumed frame rate: the release does not give one, and nothing temporal is supervised."""
SIDES = "TRACE_PENN_SIDES"
"""Environment variable that sets which of each pair of columns is the right side, read when sequences are listed."""
DEFAULT_SIDES = "right-first"
SIDES_LAYOUT = {DEFAULT_SIDES: "PENN_13", "official": "PENN_13_OFFICIAL"}
"""`right-first`: order of the label files; `official`: order of the readme's list."""
PACKED = ("annots_train.npz", "annots.npz")
EFT = "eft_annots.npz"
_IMAGE = re.compile(r"(\d{6})\.jpg", re.IGNORECASE)


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, by number. Raises DatasetLayoutError, AnnotationError; ConfigError on unknown sides."""
    folder, frames = _folders(root)
    sides = _sides()
    layout, splits, annotations = _annotated(folder)
    eft = entry(folder, EFT)
    if eft is not None:
        layout += f" + {EFT}"
    if sides != DEFAULT_SIDES:
        layout += f", sides {sides}"
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=name,
            layout=layout,
            annotation=annotations[name],
            images=frames / name,
            frames=len(numbered(frames / name, _IMAGE)),
            reads=(annotations[name],) if eft is None else (annotations[name], eft),
            options=(f"sides={sides}",),
        )
        for name in sorted(splits)
        if splits[name] == split
    ]


def inspect(root: Path) -> list[Finding]:
    """Frames without labels, labels without frames, gaps in frame numbers, missing body poses."""
    folder, frames = _folders(root)
    refs = [ref for split in SPEC.splits for ref in find(root, split)]
    findings = []
    labelled = {ref.name for ref in refs}
    for name in listing(frames).folders:
        if name not in labelled:
            hint = "copy the labels of the release again"
            findings.append(Finding(severity="warning", key=f"frames/{name}", what="frames without labels", hint=hint))
    for ref in refs:
        numbers = numbered(ref.images, _IMAGE).tolist()
        if not numbers:
            what = why_empty(ref.images) or "labels without frames"
            hint = "unpack the frames of the release again"
        elif numbers != list(range(1, len(numbers) + 1)):
            gap = next(number for number in range(1, len(numbers) + 2) if number not in numbers)
            what = f"{gap:06d}.jpg is missing ({len(numbers)} frames, {numbers[0]} to {numbers[-1]})"
            hint = "copy it again"
        else:
            continue
        findings.append(Finding(severity="error", key=f"frames/{ref.name}", what=what, hint=hint))
    if entry(folder, EFT) is None:
        what, hint = (
            f"there is no {EFT}: 2D joints only, no body poses",
            "it is optional; it comes with TRACE's annotations",
        )
        findings.append(Finding(severity="warning", key=EFT, what=what, hint=hint))
    return findings


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence. Raises AnnotationError with file, key, found and expected."""
    load = official.load if ref.layout.startswith("official") else packed.load
    labels = load(ref.annotation, ref.name)
    files = _files(ref, labels)
    width, height = frame_size(list(files))
    if labels.size not in (None, (width, height)):
        raise AnnotationError(
            f"dimensions say {labels.size} px, the frames are {width}x{height}",
            where=labels.file,
            hint="the frames were scaled, or they belong to another sequence: unpack the frames of the release again",
        )
    if max(width, height) > LARGEST and not labels.synthetic:
        raise AnnotationError(
            f"the frames are {width}x{height} px, expected {LARGEST} at most", where=ref.images, hint=SCALED
        )
    count = len(files)
    eft = entry(ref.images.parent.parent, EFT)
    poses = np.zeros((count, 24, 3))
    fitted = np.zeros(count, bool)
    if eft is not None:
        poses, fitted = packed.body_poses(eft, ref.name, labels.numbers)
    sides = dict(option.split("=", 1) for option in ref.options)["sides"]
    seen = labels.points[..., 2:] > 0
    first = first_pixel(labels.points)
    points = Keypoints(layout=SIDES_LAYOUT[sides], points=np.where(seen, labels.points - (first, first, 0.0), 0.0))
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=files,
        frame_ids=labels.numbers,
        fps=FPS,
        camera=nominal_camera(width, height, moving=False),
        people=(
            Person(
                name="0",
                gender="neutral",
                present=seen.any(axis=(1, 2)) | fitted,
                keypoints2d=points,
                joints3d=None,
                body=BodyParams(
                    gender="neutral",
                    pose=poses,
                    betas=np.zeros((count, 10)),
                    translation=np.zeros((count, 3)),
                    known=frozenset({"body_pose"}),
                )
                if fitted.any()
                else None,
                body_valid=fitted,
            ),
        ),
        everyone_annotated=np.zeros(count, bool),
        world_valid=False,
        world_reason="the camera is not calibrated and does not always stand still",
        sides_agree=sides_agree(points, labels.view),
        provenance={
            "release": "synthetic sample world" if labels.synthetic else "Penn Action",
            "layout": ref.layout,
            "adapter": "penn_action 1",
            "sides": sides,
            "defects": "",
            "synthetic": "true" if labels.synthetic else "false",
        },
    )


def _folders(root: Path) -> tuple[Path, Path]:
    """The dataset's folder and that of its frames."""
    folder = dataset_folder(SPEC, root, ("labels", "frames/0001", "annots_train.npz"))
    frames = entry(folder, "frames")
    if frames is None or not is_folder(frames):
        raise lacking(folder, "frames", hint=f"unpack the release of {PAGE} there", others=("labels",))
    return folder, frames


def _annotated(folder: Path) -> tuple[str, dict[str, Split], dict[str, Path]]:
    """The layout, and the sequences with their splits and annotation files. The release's own labels are preferred."""
    labels = entry(folder, "labels")
    if labels is not None and is_folder(labels) and (files := official.label_files(labels)):
        return "official (labels)", official.splits(labels), files
    file = entry(folder, *PACKED)
    if file is None:
        raise DatasetLayoutError(
            f"there is neither labels/0001.mat nor {' or '.join(PACKED)} in it",
            where=folder,
            hint=f"expected {SPEC.expected}; get it from {PAGE}",
        )
    splits = packed.splits(file)
    return f"packed ({file.name})", splits, dict.fromkeys(splits, file)


def _sides() -> str:
    sides = os.environ.get(SIDES, "") or DEFAULT_SIDES
    if sides not in SIDES_LAYOUT:
        raise ConfigError(
            f"unknown sides {sides!r}",
            where=SIDES,
            hint=f"sides are {', '.join(SIDES_LAYOUT)}; without the variable they are {DEFAULT_SIDES}",
        )
    return sides


def _files(ref: SequenceRef, labels: Labels) -> tuple[Path, ...]:
    """The frames of the labels. Raises AnnotationError if some are missing."""
    held = numbered_files(ref.images, _IMAGE)
    if lost := [number for number in labels.numbers.tolist() if number not in held]:
        raise AnnotationError(
            f"{len(labels.numbers)} frames are labelled, {ref.images} has {len(held)}: {lost[0]:06d}.jpg is missing",
            where=labels.file,
            hint="frames were lost, or they belong to another sequence: unpack the frames of the release again",
        )
    return tuple(held[number] for number in labels.numbers.tolist())
