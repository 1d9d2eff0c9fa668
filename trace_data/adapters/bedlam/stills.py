"""Sequences of images with labels of rows, every fifth frame: for whom videos and scene descriptions are too much, or
not there (docs/reference/further-datasets.md#bedlam-as-records, layout B).

Everything is in the axes of the camera: the world of these labels is no world. Who is cut by the frame's edge has no
row, so not everyone counts as annotated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.bedlam.images import image_numbers, images_in, upright
from trace_data.adapters.bedlam.labels import AGAIN, Array, labelled_frames, labels_file
from trace_data.adapters.bedlam.motions import LARGEST_BETA
from trace_data.adapters.bedlam.rows import BodyRows, scene_rows
from trace_data.adapters.bedlam.scenes import SPEC, ScenePlace
from trace_data.adapters.listing import why_empty
from trace_data.errors import AnnotationError
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding
from trace_data.schema.frame import Frame
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord

LAYOUT = "images, labels of rows"
FPS = 30.0
"""Of frame numbers, of which every fifth is there."""
SAME_CAMERA = 1e-3
"""Pixels by which the camera may differ between people of a frame."""
STILL = 1e-4
"""Metres, and entries of rotations, by which a camera that stands still may change."""
_WORLD = "labels of rows have a world of their own for each person and frame: the world is the camera"
_IMAGES = "unpack {scene}_6fps.tar again"


def find_stills(folder: Path, scene: ScenePlace, without: Collection[str]) -> list[SequenceRef]:
    """The labelled sequences of a scene that have images, but those `without`. Raises AnnotationError."""
    labels, images = labels_file(folder, scene.name), scene.image_folders()
    if labels is None or not images:
        return []
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=scene.split,
            name=f"{scene.name}/{sequence}",
            layout=LAYOUT,
            annotation=labels,
            images=images[sequence.lower()],
            frames=len(np.intersect1d(numbers, image_numbers(images[sequence.lower()], sequence))),
            reads=(labels,),
        )
        for sequence, numbers in labelled_frames(labels).items()
        if sequence not in without and sequence.lower() in images
    ]


def inspect_stills(folder: Path, scene: ScenePlace, without: Collection[str]) -> Iterator[Finding]:
    """Images without labels, labels without images."""
    images = scene.image_folders()
    if not set(images) - {name.lower() for name in without}:
        return
    labels = labels_file(folder, scene.name)
    if labels is None:
        hint = "unpack all_npz_12_smpl_training.zip; scenes for validation have no labels there"
        yield Finding(severity="error", key=scene.name, what="images without labels", hint=hint)
        return
    try:
        frames = labelled_frames(labels)
    except AnnotationError as error:
        what = f"{error.message} ({error.where or labels})"
        yield Finding(severity="error", key=scene.name, what=what, hint=error.hint or "")
        return
    hint = _IMAGES.format(scene=scene.name)
    for sequence, numbers in frames.items():
        key = f"{scene.name}/{sequence}"
        if sequence in without:
            continue
        if sequence.lower() not in images:
            yield Finding(severity="error", key=key, what="labels without images", hint=hint)
            continue
        lost = np.setdiff1d(numbers, image_numbers(images[sequence.lower()], sequence))
        if len(lost):
            what = f"{len(lost)} of {len(numbers)} labelled frames have no image, first {sequence}_{lost[0]:04d}.png"
            what = why_empty(images[sequence.lower()]) or what
            yield Finding(severity="error", key=key, what=what, hint=hint)


def read_stills(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the axes of its camera. Raises AnnotationError."""
    scene_name, _, sequence = ref.name.rpartition("/")
    held = scene_rows(ref.annotation)
    bodies = held.sequences.get(sequence, ())
    if not bodies:
        raise AnnotationError(f"has no rows of {sequence}", where=ref.annotation, hint="trace verify-datasets bedlam")
    numbers = np.unique(np.concatenate([body.numbers for body in bodies]))
    portrait = ScenePlace(name=scene_name, folders=()).portrait
    intrinsics = _intrinsics(ref.annotation, bodies, numbers)
    frames, size = _frames(ref, sequence, numbers, intrinsics, portrait=portrait)
    good = [body for body in bodies if np.abs(body.betas).max() <= LARGEST_BETA]
    if not good:
        what = f"all {len(bodies)} bodies of {sequence} have betas beyond {LARGEST_BETA:g}"
        raise AnnotationError(what, where=ref.annotation, hint=AGAIN)
    lost = len(bodies) - len(good)
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=frames,
        frame_ids=numbers,
        fps=FPS,
        camera=Camera(
            width=size[0],
            height=size[1],
            intrinsics=intrinsics if np.ptp(intrinsics, axis=0).max() > SAME_CAMERA else intrinsics[:1],
            camera_from_world=None,
            moving=any(float(np.ptp(body.stands, axis=0).max()) > STILL for body in bodies),
        ),
        people=tuple(_person(body, numbers, size) for body in good),
        everyone_annotated=np.zeros(len(numbers), bool),
        world_valid=False,
        world_reason=_WORLD,
        remarks=(f"{lost} of {len(bodies)} bodies are left out: broken betas",) if lost else (),
        provenance={
            "release": "synthetic sample world" if held.synthetic else "BEDLAM",
            "layout": ref.layout,
            "betas": "10 of the neutral model; the 11th of the release is dropped",
            "adapter": "bedlam 1",
            "defects": "",
            "synthetic": "true" if held.synthetic else "false",
        },
    )


def _intrinsics(file: Path, bodies: Sequence[BodyRows], numbers: Array) -> Array:
    """(T, 3, 3) of the frames, in the project's pixels, of which the first is 0. Everybody in a frame has the same."""
    found = np.full((len(numbers), 3, 3), np.nan)
    for body in bodies:
        rows = np.searchsorted(numbers, body.numbers)
        apart = np.abs(found[rows] - body.intrinsics).max(axis=(1, 2))
        if (odd := apart > SAME_CAMERA).any():  # NaN is not
            what = f"cam_int of {body.name} in frame {body.numbers[odd.argmax()]} is not that of others in the frame"
            raise AnnotationError(what, where=file, hint=AGAIN)
        found[rows] = body.intrinsics
    found[:, :2, 2] -= 0.5  # the renderer's pixels begin at their corners
    return found


def _frames(
    ref: SequenceRef, sequence: str, numbers: Array, intrinsics: Array, *, portrait: bool
) -> tuple[tuple[Frame, ...], tuple[int, int]]:
    """The frames, upright, and their size, which is twice the way to the principal point. Raises AnnotationError."""
    images = images_in(ref.images, sequence)
    if lost := [number for number in numbers.tolist() if number not in images]:
        what = f"{len(numbers)} frames are labelled, {sequence}_{lost[0]:04d}.png and {len(lost) - 1} more are missing"
        scene = ref.name.rpartition("/")[0]
        raise AnnotationError(what, where=ref.images, hint=_IMAGES.format(scene=scene))
    width, height = np.rint(2 * intrinsics[0, :2, 2] + 1).astype(int).tolist()
    if (height > width) != portrait:
        what = f"cam_int is of frames of {width}x{height} px, in a scene that is {'' if portrait else 'not '}a closeup"
        raise AnnotationError(what, where=ref.annotation, hint="labels of another scene, or one that was renamed")
    files = [images[number] for number in numbers.tolist()]
    return upright(files, (width, height), portrait=portrait), (width, height)


def _person(body: BodyRows, numbers: Array, size: tuple[int, int]) -> Person:
    rows, frames = np.searchsorted(numbers, body.numbers), len(numbers)
    present = np.zeros(frames, bool)
    present[rows] = True

    def spread(values: Array) -> Array:
        found = np.zeros((frames, *values.shape[1:]))
        found[rows] = values
        return found

    points = body.points - 0.5
    inside = ((points >= -0.5) & (points < np.array(size) - 0.5)).all(axis=-1, keepdims=True)
    return Person(
        name=body.name,
        gender="neutral",
        present=present,
        keypoints2d=Keypoints(
            layout="SMPL_24",
            points=spread(np.concatenate([np.where(inside, points, 0.0), inside], axis=-1)),
            projected=True,
        ),
        joints3d=None,
        body=BodyParams(
            gender="neutral",
            pose=spread(body.pose),
            betas=spread(body.betas),
            translation=spread(body.translation),
        ),
        body_valid=present.copy(),
    )
