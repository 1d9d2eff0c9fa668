"""`annots.npz` of TRACE's published annotations: all sequences, without the frames that it considers invalid.

Root rotations and joints are in the camera frame, translations in the world. With `camera_annots.npz` next to it,
everything is transformed back to the release's world; without it, cameras are unknown and translations are unusable.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile, npz_source, word
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import Stamp, frame_size, stamp
from trace_data.adapters.listing import entry, numbered
from trace_data.adapters.threedpw.parts import (
    CAMERAS,
    DRIFTS,
    EXACT,
    FPS,
    IMAGE,
    PAGE,
    body_of,
    camera_source,
    everyone_present,
    image_files,
    no_cameras,
    person_of,
    provenance,
    scattered,
)
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera, nominal_camera
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split

Array = npt.NDArray[np.float64]

LAYOUT = "packed (annots.npz"
FILE = "annots.npz"
_SPLITS: dict[str, Split] = {"train": "train", "validation": "val", "val": "val", "test": "test"}


def holds(folder: Path) -> bool:
    """Whether the folder has these annotations."""
    return entry(folder, FILE) is not None


def find(folder: Path, images: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, by name. Raises AnnotationError."""
    file = entry(folder, FILE) or folder / FILE
    source = _parameters(file, stamp(file))
    cameras = entry(folder, CAMERAS)
    refs = []
    for key in sorted(source.content, key=str):
        name = str(key).removesuffix(".pkl")
        found = word(source.inside(key).value("split"))
        if found not in _SPLITS:
            raise source.wrong(f"the split of {key}", f"is {found!r}", ", ".join(_SPLITS))
        if _SPLITS[found] != split:
            continue
        numbers = set(_numbers(source.inside(key)))
        refs.append(
            SequenceRef(
                dataset="3dpw",
                split=split,
                name=name,
                layout=f"{LAYOUT}{f' + {cameras.name}' if cameras else ''})",
                annotation=file,
                images=images / name,
                frames=len(numbers & set(numbered(images / name, IMAGE).tolist())),
                reads=(file,) if cameras is None else (file, cameras),
            )
        )
    return refs


def frame_numbers(ref: SequenceRef) -> list[int]:
    """The frames in which somebody is annotated."""
    return _numbers(_parameters(ref.annotation, stamp(ref.annotation)).inside(f"{ref.name}.pkl"))


def missing(folder: Path) -> list[Finding]:
    """Consequences of missing optional files."""
    return [] if entry(folder, CAMERAS) is not None else [no_cameras("the world of the bodies is lost, and ")]


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence: the frames in which somebody is annotated. Raises AnnotationError."""
    key = f"{ref.name}.pkl"
    source = _parameters(ref.annotation, stamp(ref.annotation)).inside(key)
    numbers = _numbers(source)
    if not numbers:
        raise source.wrong("valid_indices", "are empty", "at least one frame")
    files = image_files(source, ref, numbers)
    camera = _camera(ref, numbers, frame_size(files))
    extrinsics = camera.per_frame(len(numbers))[1]
    of_people = source.value("valid_indices")
    places = [np.searchsorted(numbers, _indices(source, i)) for i in range(len(of_people))]
    lengths = [len(rows) for rows in places]
    poses = _people(source, "poses", lengths, (72,))
    trans = _people(source, "trans", lengths, (3,))
    observed = _observations(ref.annotation, stamp(ref.annotation))
    joints = _people(observed.inside("kp3d"), key, lengths, (24, 3))
    points = _people(observed.inside("kp2d"), key, lengths, (3, 18), finite=False)  # see `schema.wild_points`
    synthetic = "synthetic" in observed.content
    people, present = [], np.zeros((len(places), len(numbers)), bool)
    for i, rows in enumerate(places):
        present[i, rows] = True
        body, world = _in_world(body_of(source, i, poses[i], trans[i]), joints[i], extrinsics[rows], camera.known)
        assert body.translation is not None
        spread = [scattered(values, rows, len(numbers)) for values in (body.pose, body.translation, world)]
        whole = BodyParams(
            gender=body.gender,
            pose=spread[0],
            betas=np.tile(body.betas[:1], (len(numbers), 1)) if len(rows) else np.zeros((len(numbers), 10)),
            translation=spread[1],
            known=body.known,
        )
        seen = scattered(points[i].transpose(0, 2, 1), rows, len(numbers))
        people.append(person_of(i, whole, spread[2], seen, present[i]))
    exact = synthetic and camera.known
    unknown = f"there is no {CAMERAS}: the bodies stand in the camera's frame, and its motion is not known"
    return SequenceRecord(
        dataset=ref.dataset,
        split=ref.split,
        name=ref.name,
        frames=files,
        frame_ids=np.array(numbers, np.int64),
        fps=FPS,
        camera=camera,
        people=tuple(people),
        everyone_annotated=everyone_present(people),
        world_valid=exact,
        world_reason=EXACT if exact else DRIFTS if camera.known else unknown,
        provenance=provenance(ref.layout, synthetic),
    )


def _in_world(body: BodyParams, joints: Array, extrinsics: Array, known: bool) -> tuple[BodyParams, Array]:
    """A person's body and joints, transformed from the camera to the world frame if the camera is known."""
    if not known:
        parts = body.known - {"translation"}
        nowhere = np.zeros_like(body.translation)
        return BodyParams(
            gender=body.gender, pose=body.pose, betas=body.betas, translation=nowhere, known=parts
        ), joints
    world_from_camera = extrinsics[:, :3, :3].transpose(0, 2, 1)
    pose = body.pose.copy()
    pose[:, 0] = axis_angle_from_matrix(world_from_camera @ matrix_from_axis_angle(pose[:, 0]))
    moved = np.einsum("tij,tkj->tki", world_from_camera, joints - extrinsics[:, None, :3, 3])
    return BodyParams(gender=body.gender, pose=pose, betas=body.betas, translation=body.translation), moved


def _camera(ref: SequenceRef, numbers: list[int], size: tuple[int, int]) -> Camera:
    width, height = size
    source = camera_source(ref.annotation.parent)
    if source is None:
        return nominal_camera(width, height, moving=True)
    intrinsics = source.inside("intrinsics")
    matrix = intrinsics.array(f"intrinsics[{ref.name!r}]", intrinsics.value(ref.name), (3, 3))
    extrinsics = source.inside("extrinsics")
    poses = extrinsics.array(f"extrinsics[{ref.name!r}]", extrinsics.value(ref.name), (-1, 4, 4))
    if numbers[-1] >= len(poses):
        raise source.wrong(
            f"extrinsics[{ref.name!r}]", f"are of {len(poses)} frames", f"{numbers[-1] + 1} or more, as {FILE} counts"
        )
    return Camera(width=width, height=height, intrinsics=matrix[None], camera_from_world=poses[numbers], moving=True)


def _people(
    source: AnnotationFile, key: str, lengths: list[int], shape: tuple[int, ...], *, finite: bool = True
) -> list[Array]:
    """One array per person with the given numbers of rows."""
    value = source.value(key)
    if not isinstance(value, (list, tuple)) or len(value) != len(lengths):
        raise source.wrong(key, f"is a {type(value).__name__}", f"a list of {len(lengths)} people")
    return [source.array(f"{key}[{i}]", value[i], (length, *shape), finite=finite) for i, length in enumerate(lengths)]


def _indices(source: AnnotationFile, number: int) -> npt.NDArray[np.int64]:
    """The frames in which a person is annotated."""
    key = f"valid_indices[{number}]"
    found = source.array(key, source.of_person("valid_indices", number), (-1,))
    indices = found.astype(np.int64)
    if (indices != found).any() or (np.diff(indices, prepend=-1) <= 0).any():
        raise source.wrong(key, "are not increasing", "frame numbers from 0, each once, in order")
    return indices


def _numbers(source: AnnotationFile) -> list[int]:
    """The frames in which anybody is annotated, in order."""
    people = source.value("valid_indices")
    count = len(people) if isinstance(people, (list, tuple)) else 0
    if count == 0:
        raise source.wrong("valid_indices", f"is a {type(people).__name__}", "a list of one or more people")
    return sorted(set(np.concatenate([_indices(source, i) for i in range(count)]).tolist()))


@lru_cache(maxsize=1)
def _parameters(file: Path, _: Stamp) -> AnnotationFile:
    """Bodies and splits of all sequences, cached."""
    return npz_source(file, PAGE, ("params",)).inside("params")


@lru_cache(maxsize=1)
def _observations(file: Path, _: Stamp) -> AnnotationFile:
    """Joints of all sequences; global rotations are not read, as they follow from the poses."""
    return npz_source(file, PAGE, ("kp2d", "kp3d", "synthetic"))
