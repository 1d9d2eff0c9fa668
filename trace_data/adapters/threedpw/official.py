"""The release's own annotations: `sequenceFiles/<split>/<seq>.pkl`.

The image number is the row of the arrays; `img_frame_ids` are ids of the 60 Hz recording and are not image numbers.
Bodies and joints are in the world frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trace_data.adapters.annotation_file import AnnotationFile, word
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import frame_size
from trace_data.adapters.listing import entry, is_folder, lacking, listing, numbered
from trace_data.adapters.threedpw.parts import (
    DRIFTS,
    EXACT,
    FPS,
    IMAGE,
    PAGE,
    body_of,
    everyone_present,
    image_files,
    person_of,
    provenance,
)
from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split
from trace_data.unpickle.reader import load_pickle

LAYOUT = "official (sequenceFiles)"
FOLDER = "sequenceFiles"
_SPLIT_FOLDERS: dict[Split, tuple[str, ...]] = {"train": ("train",), "val": ("validation", "val"), "test": ("test",)}


def holds(folder: Path) -> bool:
    """Whether the folder has the release's annotations."""
    annotations = entry(folder, FOLDER)
    if annotations is None or not is_folder(annotations):
        return False
    return any(
        name.endswith(".pkl") for part in listing(annotations).folders for name in listing(annotations / part).files
    )


def find(folder: Path, images: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, by name. Raises DatasetLayoutError if its folder is missing."""
    annotations = entry(entry(folder, FOLDER) or folder, *_SPLIT_FOLDERS[split])
    if annotations is None or not is_folder(annotations):
        hint = f"unpack sequenceFiles.zip of {PAGE} again"
        others = [name for names in _SPLIT_FOLDERS.values() for name in names]
        raise lacking(entry(folder, FOLDER) or folder, _SPLIT_FOLDERS[split][0], hint=hint, others=others)
    return [
        SequenceRef(
            dataset="3dpw",
            split=split,
            name=name.removesuffix(".pkl"),
            layout=LAYOUT,
            annotation=annotations / name,
            images=images / name.removesuffix(".pkl"),
            frames=len(numbered(images / name.removesuffix(".pkl"), IMAGE)),
            reads=(annotations / name,),
        )
        for name in listing(annotations).files
        if name.endswith(".pkl")
    ]


def frame_numbers(ref: SequenceRef) -> list[int] | None:
    """None: the annotated frames are known only when the file is read."""
    return None


def missing(folder: Path) -> list[Finding]:
    """Nothing in this layout is optional."""
    return []


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world frame of the release. Raises AnnotationError with file, key, found and expected."""
    try:
        content = load_pickle(ref.annotation)
    except AssetError as error:
        raise AnnotationError(error.message, where=ref.annotation, hint=error.hint) from error
    source = AnnotationFile(ref.annotation, content, PAGE)
    if (name := word(source.value("sequence"))) != ref.name:
        raise source.wrong("sequence", f"is {name!r}", f"{ref.name!r} as the file is called", "a file was renamed")
    poses = source.people("poses", (-1, 72))
    frames, people = len(poses[0]), len(poses)
    if frames == 0:
        raise source.wrong("poses", "has no frames", "at least one")
    extrinsics = source.array("cam_poses", source.value("cam_poses"), (frames, 4, 4))
    intrinsics = source.array("cam_intrinsics", source.value("cam_intrinsics"), (3, 3))
    files = image_files(source, ref, range(frames))
    width, height = frame_size(files)
    trans = source.people("trans", (frames, 3), people)
    joints = source.people("jointPositions", (frames, 72), people)
    points = source.people("poses2d", (frames, 3, 18), people, finite=False)  # see `schema.wild_points`
    valid = source.people("campose_valid", (frames,), people)
    synthetic = "synthetic" in source.content
    found = tuple(
        person_of(
            number,
            body_of(source, number, poses[number], trans[number]),
            joints[number].reshape(frames, 24, 3),
            points[number].transpose(0, 2, 1),
            valid[number] > 0,
        )
        for number in range(people)
    )
    return SequenceRecord(
        dataset=ref.dataset,
        split=ref.split,
        name=ref.name,
        frames=files,
        frame_ids=np.arange(frames, dtype=np.int64),
        fps=FPS,
        camera=Camera(
            width=width, height=height, intrinsics=intrinsics[None], camera_from_world=extrinsics, moving=True
        ),
        people=found,
        everyone_annotated=everyone_present(found),
        world_valid=synthetic,
        world_reason=EXACT if synthetic else DRIFTS,
        provenance=provenance(LAYOUT, synthetic),
    )
