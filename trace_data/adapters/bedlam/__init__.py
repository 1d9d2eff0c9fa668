"""BEDLAM: rendered people in many scenes, before cameras that move, with exact SMPL bodies in one world.

Videos `<scene>/mp4/seq_000000.mp4`, `<scene>/be_seq.csv` and `<scene>/ground_truth/camera/seq_000000_camera.csv`,
motions `smpl_ground_truth/<subject>/<animation>/motion_seq.npz` (docs/reference/further-datasets.md#bedlam-archives).
A sequence is called `<scene>/seq_000000`. Joints come from the body models of a build; where label files lie beside the
videos, their 2D joints are kept, which verification compares with the bodies. Images may stand for a video. Sequences
without these tables and motions are read from images and label files (`stills`), in the axes of the camera.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef, broken_annotation
from trace_data.adapters.bedlam.frames import IMAGES_AGAIN, lost_one, shown_frames
from trace_data.adapters.bedlam.labels import labels_file, points_of
from trace_data.adapters.bedlam.motions import LARGEST_BETA, read_motion
from trace_data.adapters.bedlam.parts import SequenceParts, own_name, parts_again, parts_in, reference, rendered
from trace_data.adapters.bedlam.scenes import (
    DESCRIPTION,
    MOTIONS,
    SPEC,
    ScenePlace,
    bedlam_folder,
    motion_file,
    motions_folder,
    scenes_in,
)
from trace_data.adapters.bedlam.stage import body_of, camera_of, seen_by, zooms
from trace_data.adapters.bedlam.stills import LAYOUT as STILLS
from trace_data.adapters.bedlam.stills import find_stills, inspect_stills, read_stills
from trace_data.adapters.bedlam.tables import camera_table
from trace_data.adapters.listing import why_empty
from trace_data.errors import AnnotationError
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding, Severity
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split

__all__ = ["SPEC", "find", "inspect", "read"]

LAYOUT = "videos, scene descriptions, SMPL motions"
IMAGES = "images, scene descriptions, SMPL motions"
_MOTIONS = f"unpack smpl_ground_truth.zip as {MOTIONS}/ beside the scenes"


def _whole(parts: SequenceParts) -> bool:
    """Whether it can be read in the renderer's world. Without any motion that is the error of a video; images may have
    labels of their own."""
    moves = any(file is not None for file in parts.motions)
    return parts.camera is not None and (parts.video is not None or (parts.images is not None and moves))


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split that have a camera and a video or images, or else images and labels, by scene and name.

    A scene whose description, or whose labels, are broken is listed as one sequence. Raises DatasetLayoutError.
    """
    folder = bedlam_folder(root)
    refs: list[SequenceRef] = []
    for scene in scenes_in(folder):
        if scene.split != split:
            continue
        description, names = scene.below(DESCRIPTION), set()
        try:
            for parts in () if description is None else _sequences(folder, scene, description):
                if _whole(parts):
                    names.add(parts.sequence)
                    refs.append(reference(parts, SPEC.name, scene.split, folder, (LAYOUT, IMAGES)))
        except AnnotationError as error:
            refs.append(broken_annotation(SPEC.name, split, description or folder, error))
            continue
        try:
            refs += find_stills(folder, scene, names)
        except AnnotationError as error:
            refs.append(broken_annotation(SPEC.name, split, Path(error.where or folder), error))
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
        cameras=("ground_truth", "camera"),
        motion=lambda body: motion_file(motions, body.subject, body.animation),
        beside=labels_file(folder, scene.name),
    )


def inspect(root: Path) -> list[Finding]:
    """Scenes without a part, sequences with neither camera and video nor images and labels, bodies without motion."""
    folder = bedlam_folder(root)
    motions, any_videos = motions_folder(folder), False
    findings: list[Finding] = []
    for scene in scenes_in(folder):
        description, images = scene.below(DESCRIPTION), scene.image_folders()
        if description is None and not images:
            hint = f"unpack {scene.name}_gt.tar.gz, which has it"
            findings.append(Finding(severity="error", key=f"{scene.name}/{DESCRIPTION}", what="is missing", hint=hint))
            continue
        sequences = [] if description is None else list(_sequences(folder, scene, description))
        as_stills = images if labels_file(folder, scene.name) is not None else ()
        videos = [parts for parts in sequences if _whole(parts) or parts.sequence.lower() not in as_stills]
        any_videos |= bool(videos)
        findings += _of_scene(videos, motions is not None)
        findings += inspect_stills(folder, scene, [parts.sequence for parts in videos])
    if motions is None and any_videos:
        findings.append(Finding(severity="error", key=MOTIONS, what="is missing", hint=_MOTIONS))
    return findings


def _of_scene(sequences: list[SequenceParts], has_motions: bool) -> Iterator[Finding]:
    for parts in sequences:
        key = parts.key
        if parts.camera is None:
            hint = f"unpack {parts.scene.name}_gt.tar.gz again"
            yield Finding(severity="error", key=key, what="has no ground_truth/camera/*_camera.csv", hint=hint)
        if parts.video is None and parts.images is None:
            hint = f"unpack {parts.scene.name}_mp4.tar, or its images (_6fps)"
            yield Finding(severity="error", key=key, what="has no video in mp4/", hint=hint)
        elif (
            parts.video is None
            and parts.images is not None
            and (lost_image := lost_one(parts.images, parts.sequence)) is not None
        ):
            what = why_empty(parts.images) or f"image {lost_image} is missing"
            yield Finding(severity="error", key=key, what=what, hint=IMAGES_AGAIN)
        if has_motions and (lost := parts.without_motion):
            first = f"{lost[0].subject}/{lost[0].animation}"
            what = f"{len(lost)} of {len(parts.motions)} bodies have no motion file, first {first}"
            severity: Severity = "error" if len(lost) == len(parts.motions) else "warning"
            yield Finding(severity=severity, key=key, what=what, hint=_MOTIONS)


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world of the renderer, or in the axes of its camera. Raises AnnotationError."""
    if ref.layout == STILLS:
        return read_stills(ref)
    folder = Path(ref.options[0])
    parts = parts_again(ref, scenes_in(folder), partial(_sequences, folder), _whole)
    assert parts.camera is not None
    cameras = camera_table(parts.camera, parts.sequence, parts.rows.frames)
    portrait, count = parts.scene.portrait, parts.rows.frames
    camera = camera_of(cameras, parts.table.size, portrait, parts.camera)
    frames, there = shown_frames(parts.video, parts.images, parts.sequence, camera, count, portrait=portrait)
    people, everyone, remarks = _people(parts, camera, count)
    if zooms(cameras) and "zoom" not in parts.scene.name.lower():
        remarks.append("the focal length changes in a scene that is not called zoom")
    return rendered(
        ref,
        parts,
        frames=frames,
        there=there,
        camera=camera,
        people=people,
        everyone=everyone,
        remarks=remarks,
        release="BEDLAM",
        provenance={"betas": "10 of the neutral model; the 11th of the release is dropped"},
    )


def _people(parts: SequenceParts, camera: Camera, frames: int) -> tuple[list[Person], npt.NDArray[np.bool_], list[str]]:
    """Those who are in the picture at least once; in which frames (T,) nobody else is; and remarks.

    Everything visible is a body of the description, so somebody is missing only where a body cannot be read.
    """
    everyone = np.ones(frames, bool)
    people: list[Person] = []
    lost: list[str] = []
    short = 0
    names: Counter[str] = Counter()
    for row, file in zip(parts.rows.bodies, parts.motions):
        motion = None if file is None else read_motion(file)
        if motion is None or np.abs(motion.betas).max() > LARGEST_BETA:
            lost.append(f"{row.subject}/{row.animation}" + ("" if motion is None else " (broken betas)"))
            continue
        body, there = body_of(row, motion, frames)
        seen, beside = seen_by(camera, body)
        everyone &= there & ~beside
        short = max(short, int((~there).sum()))
        if (seen & there).any():
            person = _person(own_name(row, names), body, seen & there)
            if parts.beside is not None and person.name == row.subject:
                points = points_of(parts.beside, parts.sequence, row.subject, frames)
                person = replace(person, keypoints2d=None if points is None else _seen(points, person.present))
            people.append(person)
    if lost:
        if len(lost) == len(parts.motions):
            what = f"none of its {len(lost)} bodies can be read, first {lost[0]}"
            raise AnnotationError(what, where=parts.description, hint=_MOTIONS)
        everyone[:] = False
    elif parts.motions and not people:
        what = f"none of its {len(parts.motions)} bodies comes into the picture"
        raise AnnotationError(what, where=parts.camera, hint="camera and bodies of different scenes, or other units")
    remarks = [f"{len(lost)} of {len(parts.motions)} bodies are left out, first {lost[0]}"] if lost else []
    if short > 1:  # the last row of a motion is missing in the release itself
        remarks.append(f"a motion ends {short} frames before the video")
    return people, everyone, remarks


def _person(name: str, body: BodyParams, present: npt.NDArray[np.bool_]) -> Person:
    return Person(
        name=name,
        gender=body.gender,
        present=present,
        keypoints2d=None,
        joints3d=None,
        body=body,
        body_valid=present.copy(),
    )


def _seen(points: Keypoints, present: npt.NDArray[np.bool_]) -> Keypoints:
    """The points where the person counts as seen."""
    return replace(points, points=np.where(present[:, None, None], points.points, 0.0))
