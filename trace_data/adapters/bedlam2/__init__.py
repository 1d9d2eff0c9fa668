"""BEDLAM2: rendered people before cameras that are carried, pushed and zoomed, exactly known.

Videos `<scene>/mp4/seq_000000.mp4`, `<scene>/be_seq.csv`, `<scene>/ground_truth/meta_exr_csv/seq_000000_camera.csv`,
motions `motions_npz_training/<body>_<motion>.npz` (docs/reference/further-datasets.md#bedlam2). Tables, geometry and
frames are BEDLAM's. Bodies are of SMPL-X: only their rotations are read (`smplx_bodies`). Motions of the people for
testing are withheld: where one is missing, not everybody counts as annotated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef, broken_annotation
from trace_data.adapters.bedlam.frames import IMAGES_AGAIN, lost_one, shown_frames
from trace_data.adapters.bedlam.images import image_numbers
from trace_data.adapters.bedlam.parts import SequenceParts, own_name, parts_again, parts_in, reference, rendered
from trace_data.adapters.bedlam.scenes import DESCRIPTION, ScenePlace
from trace_data.adapters.bedlam.stage import camera_of, reaching, staged
from trace_data.adapters.bedlam.tables import BodyRow, CameraTable, camera_table
from trace_data.adapters.bedlam2.motions import read_rotations
from trace_data.adapters.bedlam2.scenes import (
    GET_NAMES,
    MOTIONS,
    NAMES,
    SPEC,
    bedlam2_folder,
    is_portrait,
    motions_folder,
    names_file,
    scenes_of,
)
from trace_data.adapters.listing import entry, is_folder, listing, why_empty
from trace_data.adapters.smplx_bodies import APPROXIMATE, PELVIS, person_of
from trace_data.errors import AnnotationError
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding, Severity
from trace_data.schema.record import Person, SequenceRecord, Split

__all__ = ["SPEC", "find", "inspect", "read"]

LAYOUT = "videos, scene descriptions, SMPL-X motions"
IMAGES = "images, scene descriptions, SMPL-X motions"
SENSOR_MM = (36.0, 20.25)
"""Width and height of the sensor that the makers' own script takes for granted."""
SAME_MM = 0.01
CAMERAS = ("ground_truth", "meta_exr_csv")
_MOTIONS = f"unpack b2_motions_npz_training.tar as {MOTIONS}/ beside the scenes"


def _whole(parts: SequenceParts) -> bool:
    """Whether it can be read."""
    return parts.camera is not None and (parts.video is not None or parts.images is not None)


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences that have a camera and a video or images, by scene and name; all are for training.

    A scene whose description is broken is listed as one sequence. Raises DatasetLayoutError.
    """
    folder, refs = bedlam2_folder(root), []
    for scene in scenes_of(folder) if split in SPEC.splits else ():
        description = scene.below(DESCRIPTION)
        try:
            found = () if description is None else _sequences(folder, scene, description)
            refs += [reference(parts, SPEC.name, "train", folder, (LAYOUT, IMAGES)) for parts in found if _whole(parts)]
        except AnnotationError as error:
            refs.append(broken_annotation(SPEC.name, split, description or folder, error))
    return refs


def _sequences(
    folder: Path, scene: ScenePlace, description: Path, names: Sequence[str] | None = None
) -> Iterator[SequenceParts]:
    """The sequences of a scene, by name, or those with these names. Raises AnnotationError."""
    motions = motions_folder(folder)
    return parts_in(
        scene,
        description,
        names,
        cameras=CAMERAS,
        motion=lambda body: None if motions is None else entry(motions, f"{_motion_of(body)}.npz"),
        beside=names_file(folder),
    )


def _motion_of(body: BodyRow) -> str:
    return f"{body.subject}_{body.animation}"


def inspect(root: Path) -> list[Finding]:
    """Scenes without description, sequences without camera or frames, cameras without rows, bodies without motion."""
    folder = bedlam2_folder(root)
    findings, names, scenes = [], names_file(folder), scenes_of(folder)
    if names is None:
        findings.append(Finding(severity="error", key=NAMES, what="is missing", hint=GET_NAMES))
    if motions_folder(folder) is None and scenes:
        findings.append(Finding(severity="error", key=MOTIONS, what="is missing", hint=_MOTIONS))
    for scene in scenes:
        description = scene.below(DESCRIPTION)
        if description is None:
            hint = f"unpack the ground truth of {scene.name}, which has it"
            findings.append(Finding(severity="error", key=f"{scene.name}/{DESCRIPTION}", what="is missing", hint=hint))
            continue
        parts = list(_sequences(folder, scene, description))
        findings += [finding for one in parts for finding in _of_sequence(one, motions_folder(folder) is not None)]
        findings += _without_rows(scene, {one.sequence.lower() for one in parts})
    return findings


def _of_sequence(parts: SequenceParts, has_motions: bool) -> Iterator[Finding]:
    if parts.camera is None:
        what, hint = f"has no {'/'.join(CAMERAS)}/*_camera.csv", f"unpack the ground truth of {parts.scene.name} again"
        yield Finding(severity="error", key=parts.key, what=what, hint=hint)
    if parts.video is None and parts.images is None:
        hint = f"download mp4/ of {parts.scene.name}, or its images"
        yield Finding(severity="error", key=parts.key, what="has no video in mp4/", hint=hint)
    elif parts.video is None and parts.images is not None and (lost := _lost_image(parts.images, parts.sequence)):
        yield Finding(severity="error", key=parts.key, what=lost, hint=IMAGES_AGAIN)
    if has_motions and (missing := parts.without_motion):
        what = f"{len(missing)} of {len(parts.motions)} bodies have no motion file, first {_motion_of(missing[0])}"
        severity: Severity = "error" if len(missing) == len(parts.motions) else "warning"
        hint = "motions of the people for testing are withheld; others:  " + _MOTIONS
        yield Finding(severity=severity, key=parts.key, what=what, hint=hint)


def _lost_image(images: Path, sequence: str) -> str:
    """What is wrong with a folder of images; "" for nothing."""
    number = lost_one(images, sequence)
    if number is None and not len(image_numbers(images, sequence)):
        number = 0
    return "" if number is None else why_empty(images) or f"image {number} is missing"


def _without_rows(scene: ScenePlace, described: set[str]) -> Iterator[Finding]:
    """Sequences that have a camera, and that the description does not mention."""
    folder = scene.below(*CAMERAS)
    if folder is None or not is_folder(folder):
        return
    held = [name.removesuffix("_camera.csv") for name in listing(folder).files if name.endswith("_camera.csv")]
    if lost := [name for name in held if name.lower() not in described]:
        what = f"{len(lost)} of {len(held)} cameras belong to no sequence of {DESCRIPTION}, first {lost[0]}"
        yield Finding(severity="warning", key=scene.name, what=what, hint="not read: nothing says who is there")


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world of the renderer. Raises AnnotationError."""
    folder = Path(ref.options[0])
    parts = parts_again(ref, scenes_of(folder), partial(_sequences, folder), _whole)
    assert parts.camera is not None
    if parts.beside is None:
        raise AnnotationError(f"there is no {NAMES}", where=folder, hint=GET_NAMES)
    portrait, count = is_portrait(parts.beside, parts.scene.name), parts.rows.frames
    cameras = camera_table(parts.camera, parts.sequence, count)
    _check_sensor(cameras, parts.camera)
    camera = camera_of(cameras, parts.table.size, portrait, parts.camera)
    frames, there = shown_frames(parts.video, parts.images, parts.sequence, camera, count, portrait=portrait)
    people, everyone = _people(parts, camera, count)
    lost, bodies = parts.without_motion, len(parts.motions)
    return rendered(
        ref,
        parts,
        frames=frames,
        there=there,
        camera=camera,
        people=people,
        everyone=everyone,
        remarks=[f"{len(lost)} of {bodies} bodies are left out: no motion, first {_motion_of(lost[0])}"]
        if lost
        else [],
        release="BEDLAM2",
        provenance=APPROXIMATE,
    )


def _check_sensor(cameras: CameraTable, file: Path) -> None:
    """Raises AnnotationError where the sensor is another one than that of the release."""
    odd = np.abs(cameras.sensor - SENSOR_MM).max(axis=1) > SAME_MM
    if odd.any():
        frame = int(odd.argmax())
        width, height = cameras.sensor[frame]
        what = f"frame {frame}: the sensor has {width:g}x{height:g} mm, expected {SENSOR_MM[0]:g}x{SENSOR_MM[1]:g}"
        raise AnnotationError(what, where=file, hint="of another camera, or of a release that is not known here")


def _people(parts: SequenceParts, camera: Camera, frames: int) -> tuple[tuple[Person, ...], npt.NDArray[np.bool_]]:
    """Those who are in the picture at least once; and in which frames (T,) nobody else may be.

    Everything visible is a body of the description: somebody is missing where a body has no motion, or where it reaches
    into the picture with fewer joints than make a person.
    """
    everyone, people = np.full(frames, None not in parts.motions), []
    names: Counter[str] = Counter()
    for row, file in zip(parts.rows.bodies, parts.motions):
        if file is None:
            continue
        found = staged(row, *read_rotations(file), frames)
        pelvis = found.translation + found.turned @ np.array(PELVIS)
        person = person_of(own_name(row, names), "neutral", found.pose, pelvis, found.there, camera)
        front, beside = reaching(camera, pelvis)
        everyone &= found.there & (person.present | ~(front | beside))
        if person.present.any():
            people.append(person)
    if parts.motions and not any(parts.motions):
        what = f"none of its {len(parts.motions)} bodies has a motion, first {_motion_of(parts.without_motion[0])}"
        raise AnnotationError(what, where=parts.description, hint=_MOTIONS)
    if parts.motions and not people:
        what = f"none of its {len(parts.motions)} bodies comes into the picture"
        raise AnnotationError(what, where=parts.camera, hint="camera and bodies of different scenes, or other units")
    return tuple(people), everyone
