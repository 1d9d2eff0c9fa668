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
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef, broken_annotation
from trace_data.adapters.bedlam.frames import IMAGES_AGAIN, lost_one, shown_frames
from trace_data.adapters.bedlam.images import image_numbers
from trace_data.adapters.bedlam.labels import labels_file, points_of
from trace_data.adapters.bedlam.motions import LARGEST_BETA, read_motion
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
from trace_data.adapters.bedlam.stage import UP, body_of, camera_of, seen_by, zooms
from trace_data.adapters.bedlam.stills import LAYOUT as STILLS
from trace_data.adapters.bedlam.stills import find_stills, inspect_stills, read_stills
from trace_data.adapters.bedlam.tables import BodyRow, SceneTable, camera_table, scene_table
from trace_data.adapters.listing import why_empty
from trace_data.errors import AnnotationError
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding, Severity
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split
from trace_data.schema.thinning import kept

__all__ = ["SPEC", "find", "inspect", "read"]

LAYOUT = "videos, scene descriptions, SMPL motions"
IMAGES = "images, scene descriptions, SMPL motions"
FPS = 30.0
_MOTIONS = f"unpack smpl_ground_truth.zip as {MOTIONS}/ beside the scenes"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """The files of one sequence."""

    scene: ScenePlace
    sequence: str
    description: Path
    table: SceneTable
    camera: Path | None
    video: Path | None
    motions: tuple[Path | None, ...]
    """Of each body."""
    images: Path | None
    """Folder of images, if there are any."""
    labels: Path | None
    """2D joints of the scene."""

    @property
    def whole(self) -> bool:
        """Whether it can be read in the renderer's world. Without any motion that is the error of a video; images may
        have labels of their own."""
        moves = any(file is not None for file in self.motions)
        return self.camera is not None and (self.video is not None or (self.images is not None and moves))


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
                if parts.whole:
                    names.add(parts.sequence)
                    refs.append(_in_world(folder, parts))
        except AnnotationError as error:
            refs.append(broken_annotation(SPEC.name, split, description or folder, error))
            continue
        try:
            refs += find_stills(folder, scene, names)
        except AnnotationError as error:
            refs.append(broken_annotation(SPEC.name, split, Path(error.where or folder), error))
    return refs


def _in_world(folder: Path, parts: _Parts) -> SequenceRef:
    place, frames = parts.video or parts.images, parts.table.sequences[parts.sequence].frames
    assert place is not None
    others = (parts.camera, *parts.motions, parts.labels)
    return SequenceRef(
        dataset=SPEC.name,
        split=parts.scene.split,
        name=f"{parts.scene.name}/{parts.sequence}",
        layout=IMAGES if parts.video is None else LAYOUT,
        annotation=parts.description,
        images=place,
        frames=len(image_numbers(place, parts.sequence)) if parts.video is None else frames,
        options=(str(folder),),
        reads=(parts.description, *(file for file in others if file is not None)),
    )


def _sequences(
    folder: Path, scene: ScenePlace, description: Path, names: Sequence[str] | None = None
) -> Iterator[_Parts]:
    """The sequences of a scene, by name, or those with these names."""
    table, images = scene_table(description), scene.image_folders()
    motions, labels = motions_folder(folder), labels_file(folder, scene.name)
    for name in sorted(table.sequences) if names is None else names:
        bodies = table.sequences[name].bodies
        yield _Parts(
            scene=scene,
            sequence=name,
            description=description,
            table=table,
            camera=scene.below("ground_truth", "camera", f"{name}_camera.csv"),
            video=scene.below("mp4", f"{name}.mp4"),
            images=images.get(name.lower()),
            motions=tuple(motion_file(motions, body.subject, body.animation) for body in bodies),
            labels=labels,
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
        videos = [parts for parts in sequences if parts.whole or parts.sequence.lower() not in as_stills]
        any_videos |= bool(videos)
        findings += _of_scene(videos, motions is not None)
        findings += inspect_stills(folder, scene, [parts.sequence for parts in videos])
    if motions is None and any_videos:
        findings.append(Finding(severity="error", key=MOTIONS, what="is missing", hint=_MOTIONS))
    return findings


def _of_scene(sequences: list[_Parts], has_motions: bool) -> Iterator[Finding]:
    for parts in sequences:
        key = f"{parts.scene.name}/{parts.sequence}"
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
        if has_motions and (lost := _without_motion(parts)):
            what = f"{len(lost)} of {len(parts.motions)} bodies have no motion file, first {lost[0]}"
            severity: Severity = "error" if len(lost) == len(parts.motions) else "warning"
            yield Finding(severity=severity, key=key, what=what, hint=_MOTIONS)


def _without_motion(parts: _Parts) -> list[str]:
    bodies = parts.table.sequences[parts.sequence].bodies
    return [f"{body.subject}/{body.animation}" for body, file in zip(bodies, parts.motions) if file is None]


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world of the renderer, or in the axes of its camera. Raises AnnotationError."""
    if ref.layout == STILLS:
        return read_stills(ref)
    parts = _parts_of(ref)
    assert parts.camera is not None
    rows = parts.table.sequences[parts.sequence]
    cameras = camera_table(parts.camera, parts.sequence, rows.frames)
    camera = camera_of(cameras, parts.table.size, parts.scene.portrait, parts.camera)
    frames, there = shown_frames(
        parts.video, parts.images, parts.sequence, camera, rows.frames, portrait=parts.scene.portrait
    )
    people, everyone, remarks = _people(parts, camera, rows.frames)
    if zooms(cameras) and "zoom" not in parts.scene.name.lower():
        remarks.append("the focal length changes in a scene that is not called zoom")
    record = SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=frames,
        frame_ids=np.arange(rows.frames, dtype=np.int64),
        fps=FPS,
        camera=camera,
        people=tuple(people),
        everyone_annotated=everyone,
        world_valid=True,
        world_reason=("synthetic: " if parts.table.synthetic else "") + "rendered: one exact world for all, metres",
        world_up=UP,
        remarks=tuple(remarks),
        provenance={
            "release": "synthetic sample world" if parts.table.synthetic else "BEDLAM",
            "layout": ref.layout,
            "betas": "10 of the neutral model; the 11th of the release is dropped",
            "adapter": "bedlam 1",
            "defects": "",
            "synthetic": "true" if parts.table.synthetic else "false",
        },
    )
    return record if there.all() else kept(record, there)


def _parts_of(ref: SequenceRef) -> _Parts:
    """The files of a sequence that `find` saw. Raises AnnotationError when one is gone."""
    scene_name, _, sequence = ref.name.rpartition("/")
    folder, table = Path(ref.options[0]), scene_table(ref.annotation)
    scene = next((scene for scene in scenes_in(folder) if scene.name == scene_name), None)
    if scene is not None and sequence in table.sequences:
        [parts] = _sequences(folder, scene, ref.annotation, [sequence])
        if parts.whole:
            return parts
    raise AnnotationError(f"{ref.name} is no longer there", where=ref.annotation, hint="trace verify-datasets bedlam")


def _people(parts: _Parts, camera: Camera, frames: int) -> tuple[list[Person], npt.NDArray[np.bool_], list[str]]:
    """Those who are in the picture at least once; in which frames (T,) nobody else is; and remarks.

    Everything visible is a body of the description, so somebody is missing only where a body cannot be read.
    """
    everyone = np.ones(frames, bool)
    people: list[Person] = []
    lost: list[str] = []
    short = 0
    names: Counter[str] = Counter()
    for row, file in zip(parts.table.sequences[parts.sequence].bodies, parts.motions):
        motion = None if file is None else read_motion(file)
        if motion is None or np.abs(motion.betas).max() > LARGEST_BETA:
            lost.append(f"{row.subject}/{row.animation}" + ("" if motion is None else " (broken betas)"))
            continue
        body, there = body_of(row, motion, frames)
        seen, beside = seen_by(camera, body)
        everyone &= there & ~beside
        short = max(short, int((~there).sum()))
        if (seen & there).any():
            person = _person(_own_name(row, names), body, seen & there)
            if parts.labels is not None and person.name == row.subject:
                points = points_of(parts.labels, parts.sequence, row.subject, frames)
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


def _own_name(row: BodyRow, names: Counter[str]) -> str:
    """The subject, which is the same person in every sequence; a second one of it in a sequence gets a number."""
    names[row.subject] += 1
    return row.subject if names[row.subject] == 1 else f"{row.subject}#{names[row.subject]}"
