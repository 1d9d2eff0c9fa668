"""DynaCam: people filmed by cameras that rotate in place (`panorama`) or move (`translation`).

`annotations/{panorama,translation}_{train,val,test}.npz` and `video_frames/{panorama,translation}_{split}/<seq>/`
(docs/reference/datasets.md#dynacam). A sequence is called `panorama/<seq>` or `translation/<seq>`.
Bodies use the neutral model; `poses` has the root in the camera frame, the `world_*` arrays have it in the world.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import DatasetSpec, SequenceRef, broken_annotation
from trace_data.adapters.dynacam.annotations import AnnotatedSequence, open_annotations
from trace_data.adapters.dynacam.folders import HALVES, Subset, dataset_parts, images_in
from trace_data.adapters.dynacam.frames import FrameView, annotated_frames, shifted_by, view_of
from trace_data.adapters.dynacam.world import ROOTS_AGREE, Conventions, World, choose_world, conventions_of
from trace_data.errors import AnnotationError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.schema.body import BodyParams, Origin
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding
from trace_data.schema.record import Person, SequenceRecord, Split

SPEC = DatasetSpec(
    name="dynacam",
    folders=("DynaCam", "dynacam", "DYNACAM", "Dynacam"),
    splits=("train", "val", "test"),
    page="https://github.com/Arthur151/DynaCam",
    expected="DynaCam/annotations/{panorama,translation}_{train,val,test}.npz and "
    "DynaCam/video_frames/{panorama,translation}_{train,val,test}/<seq>/000000.{jpg,png}",
)
FPS = 30.0
FAR_FROM_HIPS = 0.5
"""Distance, m, of the projected translation from the hips above which a sequence gets a warning."""

ANOTHER_WORLD = 5.0
"""Distance, m, above which the translation must be in another unit or world."""


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split that have annotations and images, panorama first, each half by name.

    A broken annotation file is listed as a sequence. Raises DatasetLayoutError if the dataset is missing.
    """
    refs = []
    for part in dataset_parts(SPEC, root):
        if part.split != split or part.annotation is None:
            continue
        try:
            sequences = open_annotations(part.annotation).sequences
        except AnnotationError as error:
            refs.append(broken_annotation(SPEC.name, split, part.annotation, error))
            continue
        for name in sorted(sequences):
            folder = part.folder_of(name)
            if folder is not None and (images := images_in(folder)):
                refs.append(
                    SequenceRef(
                        dataset=SPEC.name,
                        split=split,
                        name=f"{part.half}/{name}",
                        layout=f"release ({part.half})",
                        annotation=part.annotation,
                        images=folder,
                        frames=len(images),
                        reads=(part.annotation,),
                    )
                )
    return refs


def inspect(root: Path) -> list[Finding]:
    """Missing parts, sequences without annotation or without images, missing images."""
    findings: list[Finding] = []
    held: dict[str, list[str]] = {}
    for part in dataset_parts(SPEC, root):
        if part.annotation is None:
            findings.append(_missing(part))
            continue
        annotated = open_annotations(part.annotation)
        if not part.folders and not part.broken:
            what = f"annotation of {len(annotated.sequences)} sequences without any images"
            hint = f"unpack video_frames/{part.name} of the release"
            findings.append(Finding(severity="error", key=f"video_frames/{part.name}", what=what, hint=hint))
            continue
        used = {part.folder_of(name) for name in annotated.sequences}
        for name in sorted({*annotated.sequences, *annotated.listed}):
            held.setdefault(f"{part.half}/{name}", []).append(part.split)
            if finding := _sequence(part, name, annotated.ids_of(name), name in annotated.sequences):
                findings.append(finding)
        findings += [
            Finding(
                severity="warning",
                key=f"video_frames/{part.name}/{name}",
                what="images without annotation",
                hint="known of the release (29 of panorama_train): they cannot be used",
            )
            for name, folder in part.folders.items()
            if folder not in used
        ]
    return findings + [
        Finding(severity="error", key=name, what=f"the sequence is in {' and '.join(splits)}")
        for name, splits in held.items()
        if len(splits) > 1
    ]


def _missing(part: Subset) -> Finding:
    """Finding for a part without annotation file: a missing part is fine, an incomplete one is not."""
    return Finding(
        severity="error" if part.folders else "warning",
        key=f"annotations/{part.name}.npz",
        what=f"is missing, with images of {len(part.folders)} sequences" if part.folders else "is not here",
        hint=f"get it from {SPEC.page}",
    )


def _sequence(part: Subset, name: str, ids: npt.NDArray[np.int64] | None, has_arrays: bool) -> Finding | None:
    """Problem of one annotated sequence that file names reveal."""
    key = f"video_frames/{part.name}/{name}"
    if not has_arrays:
        what = "is in sequence_dict but has no arrays"
        return Finding(severity="warning", key=f"annotations/{part.name}.npz/{name}", what=what)
    images = images_in(part.folder_of(name))
    if name in part.broken:
        return Finding(severity="error", key=key, what=part.broken[name], hint="copy the folder itself")
    if not images:
        return Finding(
            severity="warning",
            key=key,
            what="annotation without images",
            hint="known of some releases; else unpack the frames again",
        )
    if ids is None:
        return None  # reading the sequence reports wrong frame numbers
    lost = [number for number in ids.tolist() if number not in images]
    if (shift := shifted_by(ids, images)) or len(lost) == len(ids):
        what = f"image numbers are those of the annotation {shift:+d}" if shift else "no image is annotated"
        return Finding(severity="error", key=key, what=what, hint="the frames of another sequence, or numbered anew")
    if lost:
        what = f"{len(lost)} of {len(ids)} annotated frames have no image, first {lost[0]:06d}"
        return Finding(severity="warning", key=key, what=what, hint="unpack the frames again, or go on without them")
    return None


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world of the release. Raises AnnotationError with file, key, found and expected.

    Annotated frames without an image are left out, leaving gaps in the frame numbers.
    """
    half, _, name = ref.name.partition("/")
    annotations = open_annotations(ref.annotation)
    sequence = annotations.sequence(name)
    numbers, frames = annotated_frames(sequence, ref.images)
    sequence = sequence.at(frames)
    view = view_of(sequence, tuple(numbers.values()))
    conventions = conventions_of(annotations)
    world = choose_world(sequence, conventions)
    if ANOTHER_WORLD < world.metres < np.inf:
        found = f"projects {world.metres:,.0f} m from the hips (median)"
        raise sequence.wrong("world_trans", found, f"{ANOTHER_WORLD:.0f} at most, in metres")
    count = len(view.frames)
    intrinsics = sequence.frames("camera_intrinsics", 3, 3)
    intrinsics[:, :2, 2] -= view.corner
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=view.frames,
        frame_ids=np.array(list(numbers), np.int64),
        fps=FPS,
        camera=Camera(
            width=view.width,
            height=view.height,
            intrinsics=intrinsics,
            camera_from_world=world.camera_from_world,
            moving=True,
            cropped=view.cropped,
        ),
        people=_people(sequence, view, world, conventions.origin),
        everyone_annotated=np.full(count, half == HALVES[0]),
        world_valid=world.degrees <= ROOTS_AGREE,
        world_reason=_reason(world, conventions, annotations.synthetic),
        remarks=(*_remarks(world, half), *view.remarks),
        provenance={
            "release": "synthetic sample world" if annotations.synthetic else "DynaCam",
            "layout": f"{ref.layout}, {view.words}",
            "frames without image": str(sequence.length - count),
            "adapter": "dynacam 1",
            "defects": "",
            "synthetic": "true" if annotations.synthetic else "false",
        },
    )


def _people(sequence: AnnotatedSequence, view: FrameView, world: World, origin: Origin) -> tuple[Person, ...]:
    poses, betas = sequence.people("poses", 24, 3, flat=True), sequence.people("betas", 10)
    # the camera-frame root transformed to the world: if `world_grots` disagrees, the world is not trusted
    world_from_camera = world.camera_from_world[:, :3, :3].transpose(0, 2, 1)
    poses[:, :, 0] = axis_angle_from_matrix(world_from_camera @ matrix_from_axis_angle(poses[:, :, 0]))
    frames = len(view.frames)
    return tuple(
        Person(
            name=str(identity),
            gender="neutral",
            present=np.ones(frames, bool),
            keypoints2d=view.keypoints[number],
            joints3d=None,
            body=BodyParams(
                gender="neutral",
                pose=poses[number],
                betas=betas[number],
                translation=world.translation[number],
                origin=origin,
            ),
            body_valid=np.ones(frames, bool),
        )
        for number, identity in enumerate(sequence.identities)
    )


def _reason(world: World, conventions: Conventions, synthetic: bool) -> str:
    """Why the world is supervised or not, and how the file's conventions were determined."""
    agree = "agree" if world.degrees <= ROOTS_AGREE else "disagree, so the world is not supervised"
    found = f"it projects {conventions.metres:.2f} m from the hips (median)"
    return (
        ("synthetic: camera and world are exact; " if synthetic else "")
        + f"world and camera roots {agree} ({world.degrees:.1f} degrees, median); {world.words}; world translation is "
        + ("the middle of the hips: " if conventions.origin == "hips" else "SMPL's translation: ")
        + (found if np.isfinite(conventions.metres) else "assumed, no hips are seen")
    )


def _remarks(world: World, half: str) -> tuple[str, ...]:
    remarks = []
    if world.degrees > ROOTS_AGREE:
        remarks.append(
            f"world roots are {world.degrees:.1f} degrees (median) from the camera's, expected {ROOTS_AGREE:.0f} at "
            "most: world motion is not supervised"
        )
    if world.inverted:
        remarks.append("the extrinsics are world from camera, expected camera from world: they were inverted")
    if half == HALVES[0] and not world.aligned:
        remarks.append("the plain world is used: the aligned one is missing or does not fit")
    if FAR_FROM_HIPS < world.metres < np.inf:  # behind the camera is an error of the record
        remarks.append(f"the world translation projects {world.metres:.2f} m from the hips (median)")
    return tuple(remarks)
