"""`vibe_db/3dpw_{train,val,test}_db.pt`: a row a person and frame, as VIBE made them and TRACE was trained with.

Roots and joints are turned into the camera's frame and stand anywhere in it: the translation that was added is one of
the world. Here the joints are put where they meet their 2D points. Neck and head top in 2D are copies of the nose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile, npz_source, word
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import Stamp, frame_size, stamp
from trace_data.adapters.listing import entry, numbered
from trace_data.adapters.threedpw.parts import (
    BETAS,
    FPS,
    IMAGE,
    PAGE,
    camera_source,
    detected,
    everyone_present,
    image_files,
    no_cameras,
    provenance,
    scattered,
)
from trace_data.adapters.threedpw.placement import solve_translation
from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.body import BodyParams, BodyPart
from trace_data.schema.camera import Camera, nominal_camera
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import LSP_14, Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split
from trace_data.schema.wild_points import wild_points
from trace_data.unpickle.reader import load_pickle

Array = npt.NDArray[np.float64]

LAYOUT = "packed (vibe_db"
FOLDERS = ("vibe_db", "data/vibe_db")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
FROM_NOSE = [LSP_14.index("Neck_LSP"), LSP_14.index("Head_top")]
_COLUMNS = ("vid_name", "frame_id", "joints2D", "joints3D", "pose", "valid")
_LSP_ROWS = {14: slice(0, 14), 49: slice(25, 39)}
"""Number of joints to those that are the 14: alone, or in the 49 that SPIN's family uses."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Database:
    """The columns used of a file, and the rows of each person."""

    source: AnnotationFile
    rows: Mapping[str, Mapping[int, npt.NDArray[np.int64]]]
    """Sequence to person to rows, in frame order."""


def holds(folder: Path) -> bool:
    """Whether the folder has one of these files."""
    return any(_file(folder, split) is not None for split in SPLITS)


def find(folder: Path, images: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, by name; none if its file is missing. Raises AnnotationError."""
    file = _file(folder, split)
    if file is None:
        return []
    extra = [found for name in ("camera_annots.npz", BETAS) if (found := entry(folder, name)) is not None]
    database = _database(file, stamp(file))
    return [
        SequenceRef(
            dataset="3dpw",
            split=split,
            name=name,
            layout=" + ".join([LAYOUT, *(found.name for found in extra)]) + ")",
            annotation=file,
            images=images / name,
            frames=len(set(_numbers(database, name)) & set(numbered(images / name, IMAGE).tolist())),
            reads=(file, *extra),
        )
        for name in sorted(database.rows)
    ]


def frame_numbers(ref: SequenceRef) -> list[int]:
    """The frames in which somebody is annotated."""
    return _numbers(_database(ref.annotation, stamp(ref.annotation)), ref.name)


def missing(folder: Path) -> list[Finding]:
    """Consequences of missing optional files."""
    findings = [] if camera_source(folder) is not None else [no_cameras("")]
    if entry(folder, BETAS) is None:
        what, hint = f"there is no {BETAS}: shapes are not supervised", "it comes with TRACE's annotations"
        findings.append(Finding(severity="warning", key=BETAS, what=what, hint=hint))
    findings += [
        Finding(severity="warning", key="vibe_db", what=f"there is no {_name(split)}: no sequences of {split}")
        for split in SPLITS
        if _file(folder, split) is None
    ]
    return findings


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the camera's frame. Raises AnnotationError."""
    database = _database(ref.annotation, stamp(ref.annotation))
    numbers = _numbers(database, ref.name)
    files = image_files(database.source, ref, numbers)
    folder = ref.images.parent.parent
    camera = _camera(folder, ref.name, frame_size(files))
    people = [
        _person(database.source, number, rows, numbers, camera, _betas(folder, ref.name, number))
        for number, rows in sorted(database.rows[ref.name].items())
    ]
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
        world_valid=False,
        world_reason="the bodies stand in the camera's frame, and its motion is not in these files",
        provenance=provenance(ref.layout, "synthetic" in database.source.content),
    )


def _person(
    source: AnnotationFile,
    number: int,
    rows: npt.NDArray[np.int64],
    numbers: list[int],
    camera: Camera,
    betas: Array | None,
) -> Person:
    frames = len(numbers)
    places = np.searchsorted(numbers, source.content["frame_id"][rows])
    points = _lsp(source, "joints2D", rows, 3, finite=False)  # see `schema.wild_points`
    points[:, FROM_NOSE] = 0.0
    points = detected(points)
    sane = np.where(wild_points(points, (camera.width, camera.height))[..., None], 0.0, points)
    trusted = source.array("valid", source.content["valid"][rows], (len(rows),)) > 0
    joints = solve_translation(_lsp(source, "joints3D", rows, 3), sane, camera.intrinsics[0])
    joints[~trusted] = 0.0
    pose = source.array("pose", source.content["pose"][rows], (len(rows), 72)).reshape(-1, 24, 3)
    known: frozenset[BodyPart] = frozenset({"root_rotation", "body_pose"})
    return Person(
        name=str(number),
        gender="neutral",
        present=scattered(np.ones(len(rows)), places, frames) > 0,
        keypoints2d=Keypoints(layout="LSP_14", points=scattered(points, places, frames)),
        joints3d=Keypoints(layout="LSP_14", points=scattered(joints, places, frames)),
        body=BodyParams(
            gender="neutral",
            pose=scattered(pose, places, frames),
            betas=np.zeros((frames, 10)) if betas is None else np.tile(betas, (frames, 1)),
            translation=np.zeros((frames, 3)),
            known=known if betas is None else known | {"shape"},
        ),
        body_valid=scattered(trusted.astype(np.float64), places, frames) > 0,
    )


def _lsp(source: AnnotationFile, key: str, rows: npt.NDArray[np.int64], width: int, *, finite: bool = True) -> Array:
    """(N, 14, width) joints of the rows, for any joint set of the column."""
    column = source.content[key]
    if column.ndim != 3 or column.shape[1] not in _LSP_ROWS:
        raise source.wrong(key, f"has shape {column.shape}", "n x 14 or 49 joints x coordinates")
    chosen = column[rows][:, _LSP_ROWS[column.shape[1]]]
    return source.array(key, chosen, (len(rows), 14, width), finite=finite).copy()


def _camera(folder: Path, name: str, size: tuple[int, int]) -> Camera:
    source = camera_source(folder)
    if source is None:
        return nominal_camera(*size, moving=True)
    intrinsics = source.inside("intrinsics")
    matrix = intrinsics.array(f"intrinsics[{name!r}]", intrinsics.value(name), (3, 3))
    return Camera(width=size[0], height=size[1], intrinsics=matrix[None], camera_from_world=None, moving=True)


def _betas(folder: Path, name: str, number: int) -> Array | None:
    """(10,) of the neutral body of a person, by its number in the sequence; None without the file."""
    file = entry(folder, BETAS)
    if file is None:
        return None
    source = npz_source(file, PAGE, ("neutral_betas",)).inside("neutral_betas")
    key = f"{name}.pkl"
    return source.array(f"{key}[{number}]", source.of_person(key, number), (10,))


def _numbers(database: Database, name: str) -> list[int]:
    frames = database.source.content["frame_id"]
    rows = np.concatenate(list(database.rows[name].values()))
    return sorted(set(frames[rows].tolist()))


def _name(split: Split) -> str:
    return f"3dpw_{split}_db.pt"


def _file(folder: Path, split: Split) -> Path | None:
    """The file of a split: in the dataset's folder, in a subfolder, or in a folder next to it."""
    for place in (folder, folder.parent):
        held = entry(place, *FOLDERS)
        if held is not None and (found := entry(held, _name(split))) is not None:
            return found
    return entry(folder, _name(split))


@lru_cache(maxsize=3)
def _database(file: Path, _: Stamp) -> Database:
    """A file without its image features, cached for its next sequence. Raises AnnotationError."""
    try:
        content = load_pickle(file)
    except AssetError as error:
        raise AnnotationError(error.message, where=file, hint=error.hint) from error
    whole = AnnotationFile(file, content, PAGE)
    columns = {key: _column(whole, key) for key in _COLUMNS}
    lengths = {key: len(column) if column.ndim else 0 for key, column in columns.items()}
    if len(set(lengths.values())) != 1 or not lengths["frame_id"]:
        raise whole.wrong("the columns", f"have {lengths} rows", "the same number of rows, one or more")
    frames = whole.array("frame_id", columns["frame_id"], (-1,))
    columns["frame_id"] = frames.astype(np.int64)
    if (columns["frame_id"] != frames).any() or (frames < 0).any():
        raise whole.wrong("frame_id", "holds what is no image number", "whole numbers from 0")
    kept = AnnotationFile(file, columns | ({"synthetic": ""} if "synthetic" in whole.content else {}), PAGE)
    return Database(source=kept, rows=_rows(kept))


def _column(source: AnnotationFile, key: str) -> npt.NDArray[Any]:
    try:
        return np.asarray(source.value(key))
    except ValueError as error:
        raise source.wrong(key, f"is no array ({error})", "one row a person and frame") from error


def _rows(source: AnnotationFile) -> dict[str, dict[int, npt.NDArray[np.int64]]]:
    """Sequence to person to rows, from names like `downtown_walking_00_1`."""
    names, which = np.unique([word(name) for name in source.content["vid_name"]], return_inverse=True)
    frames = source.content["frame_id"]
    rows_of: dict[str, dict[int, npt.NDArray[np.int64]]] = {}
    for i, name in enumerate(names.tolist()):
        sequence, _, person = name.rpartition("_")
        if not sequence or not person.isdecimal():
            raise source.wrong("vid_name", f"holds {name!r}", "names of a sequence and a person, as in `walking_00_1`")
        rows = np.flatnonzero(which == i)
        rows = rows[np.argsort(frames[rows], kind="stable")]
        if (np.diff(frames[rows]) == 0).any():
            raise source.wrong("frame_id", f"repeats for {name}", "each frame of a person once")
        rows_of.setdefault(sequence, {})[int(person)] = rows
    return rows_of
