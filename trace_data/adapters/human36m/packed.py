"""The packed annotations of the TRACE training code: one folder of images and one `annots_smplkps.npz`.

Every fifth frame of the videos; the number in a file's name counts those. Facts: fact sheet datasets.md, section 2.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.human36m.calibration import View, placed, read_metadata
from trace_data.adapters.human36m.places import (
    AGAIN,
    FPS,
    SPEC,
    SUBJECTS,
    certain,
    child,
    file_state,
    first_size,
    listing,
    numbers,
    provenance,
)
from trace_data.errors import AnnotationError, AssetError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.safe_pickle import load_npz
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.check import Finding
from trace_data.schema.keypoints import ALL_44, H36M_32, Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split

Array = npt.NDArray[np.float64]

LAYOUT = "packed (annots_smplkps.npz)"
ANNOTATIONS = ("annots_smplkps.npz", "annots.npz")
BETAS = "smpl_neutral_betas.npz"
EVERY = 5
"""Which frames of the videos were kept."""
CANDIDATE = 1
"""Of the three poses and root rotations of an entry the one that the published loader takes."""
LIMIT_BYTES = 16 << 30
"""The annotation is one object array of all images: much larger than what else is read under a limit."""
IMAGE = re.compile(r"(S(\d+)_[^_]+_([0-3]))_(\d+)(\.jpe?g|\.png)?", re.IGNORECASE)
"""Clip, subject, camera and number of an image; keys of the annotation are called the same."""


def is_here(folder: Path) -> bool:
    """Whether the dataset's folder has this layout."""
    return child(folder, *ANNOTATIONS) is not None


def find(folder: Path, split: Split) -> list[SequenceRef]:
    """The clips of a split that have images, by name."""
    annotation = child(folder, *ANNOTATIONS) or folder / ANNOTATIONS[0]
    images = child(folder, "images") or folder / "images"
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=clip,
            layout=LAYOUT,
            annotation=annotation,
            images=images,
            frames=len(files),
        )
        for clip, files in sorted(_clips(images).items())
        if int(clip.split("_")[0][1:]) in SUBJECTS[split]
    ]


def inspect(folder: Path, refs: list[SequenceRef]) -> list[Finding]:
    """Missing parts, and what is lost by it."""
    findings = []
    if not refs:
        findings.append(Finding(severity="error", key="images", what="no images", hint=f"expected {SPEC.expected}"))
    if child(folder, BETAS) is None:
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


def read(ref: SequenceRef) -> SequenceRecord:
    """One clip, in the world of the release where it is calibrated, else in its camera's. Raises AnnotationError."""
    folder, file = ref.images.parent, ref.annotation
    match = IMAGE.fullmatch(f"{ref.name}_0")
    assert match is not None
    subject, camera = int(match[2]), int(match[3])
    entries = _annotations(file_state(file)).get(ref.name.lower())
    if entries is None:
        raise AnnotationError(f"holds no image of {ref.name}", where=file, hint=AGAIN)
    images = _clips(ref.images).get(ref.name, {})
    if lost := sorted(set(entries) - set(images)):
        raise AnnotationError(
            f"{len(entries)} frames are annotated, {len(lost)} have no image, first {ref.name}_{lost[0]}.jpg",
            where=ref.images,
            hint="copy the images again",
        )
    order = sorted(entries)
    column = _Columns(file, ref.name, [(number, entries[number]) for number in order])
    frames = [ref.images / images[number] for number in order]
    width, height = first_size(frames)
    pixels = column.points("kp2d", 32, 2)
    mono = column.points("kp3d_mono", 32, 3) if column.has("kp3d_mono") else None
    view = _view(folder, (subject, camera), mono, pixels, file)
    world_from_camera: Array = np.eye(4)
    if view.camera_from_world is not None:
        world_from_camera = np.asarray(np.linalg.inv(view.camera_from_world), np.float64)
    body = _body(folder, subject, column, world_from_camera[:3, :3])
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=tuple(frames),
        frame_ids=np.array(order, np.int64),
        fps=FPS / EVERY,
        camera=Camera(
            width=width,
            height=height,
            intrinsics=view.intrinsics[None],
            camera_from_world=None if view.camera_from_world is None else view.camera_from_world[None],
            moving=False,
            distortion=view.distortion,
        ),
        people=(
            Person(
                name=f"S{subject}",
                gender="neutral",
                present=np.ones(len(order), bool),
                keypoints2d=certain("H36M_32", pixels),
                joints3d=_joints(column, mono, world_from_camera),
                body=body,
                body_valid=np.full(len(order), body is not None),
            ),
        ),
        everyone_annotated=np.ones(len(order), bool),
        world_valid=True,
        world_reason="the camera stands still",
        provenance=provenance(folder, LAYOUT, view.how),
    )


class _Columns:
    """Entries of the images of one clip, read key by key as arrays over its frames."""

    def __init__(self, file: Path, clip: str, entries: list[tuple[int, Mapping[str, Any]]]) -> None:
        self.file = file
        self.clip = clip
        self.entries = entries

    def has(self, key: str) -> bool:
        """Whether all entries have the key."""
        return all(key in entry for _, entry in self.entries)

    def points(self, key: str, count: int, width: int) -> Array:
        """(T, count, width). Raises AnnotationError that names the image."""
        rows = [self._array(number, entry, key) for number, entry in self.entries]
        for (number, _), row in zip(self.entries, rows):
            if row.size != count * width:
                raise self._wrong(number, key, f"holds {row.size} numbers, expected {count}x{width}")
        return np.stack([row.reshape(count, width) for row in rows])

    def candidate(self, key: str) -> Array:
        """(T, n): the chosen candidate of (3, n) ones."""
        rows = [self._array(number, entry, key) for number, entry in self.entries]
        for (number, _), row in zip(self.entries, rows):
            if row.ndim != 2 or len(row) <= CANDIDATE or row.shape[1] != rows[0].shape[1]:
                raise self._wrong(number, key, f"has shape {row.shape}, expected 3xn")
        return np.stack([row[CANDIDATE] for row in rows])

    def _array(self, number: int, entry: Mapping[str, Any], key: str) -> Array:
        name = f"{self.clip}_{number}.jpg: {key}"
        if key not in entry:
            raise self._wrong(number, key, f"is missing, found {', '.join(map(str, entry))}")
        try:
            shape = np.shape(entry[key])
        except ValueError as error:
            raise self._wrong(number, key, f"is no array ({error})") from error
        return numbers(entry[key], shape, name, self.file)

    def _wrong(self, number: int, key: str, found: str) -> AnnotationError:
        return AnnotationError(f"{self.clip}_{number}.jpg: {key} {found}", where=self.file, hint=AGAIN)


def _view(folder: Path, who: tuple[int, int], mono: Array | None, pixels: Array, file: Path) -> View:
    metadata = read_metadata(folder)
    if mono is not None:
        return placed(metadata, who, mono, pixels, file)
    if metadata is None:
        raise AnnotationError(
            "has no kp3d_mono, from which the camera would be found",
            where=file,
            hint="put metadata.xml of the release (Release-v1.2) into the dataset's folder",
        )
    return metadata.views(*who)[0]


def _joints(column: _Columns, mono: Array | None, world_from_camera: Array) -> Keypoints | None:
    """The body's 44 joints, put where the motion capture's joints of the same names stand; else those themselves."""
    if mono is None:
        return None
    if not column.has("kp3ds_smpl"):
        return certain("H36M_32", transform(world_from_camera, mono))
    joints = column.points("kp3ds_smpl", 44, 3)
    shared = [(ALL_44.index(name), number) for number, name in enumerate(H36M_32) if name in ALL_44]
    own, other = (list(side) for side in zip(*shared))
    apart = (mono[:, other] - joints[:, own]).mean(axis=1, keepdims=True)
    return certain("ALL_44", transform(world_from_camera, joints + apart))


def _body(folder: Path, subject: int, column: _Columns, world_from_camera: Array) -> BodyParams | None:
    """Pose and neutral shape in the world. Where the body's origin stands the release does not say."""
    file = child(folder, BETAS)
    if file is None:
        return None
    betas = _betas(file_state(file))
    shape = next((betas[key] for key in (f"S{subject}", subject, str(subject)) if key in betas), None)
    if shape is None:
        raise AnnotationError(f"has no betas of S{subject}, found {', '.join(map(str, betas))}", where=file, hint=AGAIN)
    poses, roots = column.candidate("poses"), column.candidate("cam")
    frames = len(poses)
    if poses.shape[1] not in (66, 72) or roots.shape[1] != 3:
        raise AnnotationError(
            f"poses and cam of {column.clip} hold {poses.shape[1]} and {roots.shape[1]} numbers, not 66 or 72 and 3",
            where=column.file,
            hint=AGAIN,
        )
    pose = np.zeros((frames, 24, 3))
    pose[:, : poses.shape[1] // 3] = poses.reshape(frames, -1, 3)
    pose[:, 0] = axis_angle_from_matrix(world_from_camera @ matrix_from_axis_angle(roots))
    values = numbers(np.ravel(shape)[:10], (10,), f"S{subject}", file)
    return BodyParams(gender="neutral", pose=pose, betas=np.tile(values, (frames, 1)), translation=None)


def _clips(images: Path) -> dict[str, dict[int, str]]:
    """Clip to number to file name. Raises AnnotationError when the folder cannot be read."""
    try:
        return _grouped(listing(images))
    except OSError as error:
        raise AnnotationError(f"the folder of images cannot be read: {error.strerror}", where=images) from error


@lru_cache(maxsize=1)
def _grouped(names: tuple[str, ...]) -> dict[str, dict[int, str]]:
    clips: dict[str, dict[int, str]] = {}
    for name in names:
        if (match := IMAGE.fullmatch(name)) is not None and match[5]:
            clips.setdefault(match[1], {})[int(match[4])] = name
    return clips


@lru_cache(maxsize=1)
def _annotations(state: tuple[str, int, int]) -> dict[str, dict[int, Mapping[str, Any]]]:
    """Clip in lower case to number to entry."""
    file = Path(state[0])
    held = _dictionary(file, "annots")
    clips: dict[str, dict[int, Mapping[str, Any]]] = {}
    for name, entry in held.items():
        if (match := IMAGE.fullmatch(str(name))) is None or not isinstance(entry, Mapping):
            raise AnnotationError(f"entry {name!r} is not that of an image", where=file, hint=AGAIN)
        clips.setdefault(match[1].lower(), {})[int(match[4])] = entry
    return clips


@lru_cache(maxsize=1)
def _betas(state: tuple[str, int, int]) -> Mapping[Any, Any]:
    return _dictionary(Path(state[0]), "neutral_betas")


def _dictionary(file: Path, key: str) -> Mapping[Any, Any]:
    """The dict in a 0-d object array of a .npz file. Raises AnnotationError."""
    try:
        arrays = load_npz(file, limit_bytes=LIMIT_BYTES)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=error.hint) from error
    if key not in arrays:
        raise AnnotationError(f"has no {key}, found {', '.join(arrays)}", where=file, hint=AGAIN)
    value = arrays[key]
    held = value.item() if value.ndim == 0 else value
    if not isinstance(held, Mapping):
        raise AnnotationError(f"{key} is a {type(held).__name__}, expected a dict", where=file, hint=AGAIN)
    return held
