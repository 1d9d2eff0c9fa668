"""The annotation of one sequence, `P0_09_outdoor_walk_data.pkl`: a pickle of plain containers and arrays.

Facts: docs/reference/further-datasets.md#emdb-files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile, word
from trace_data.adapters.emdb.folders import SPEC
from trace_data.adapters.emdb.sequences import PARTS
from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.body import GENDERS, BodyParams, Gender
from trace_data.schema.camera import Camera
from trace_data.unpickle.reader import load_pickle

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Annotation:
    """What the file says of a sequence of n frames."""

    parts: frozenset[str]
    """Keys of `PARTS` that it belongs to."""
    good: npt.NDArray[np.bool_]
    """(n,) False where the person is out of view or hidden entirely, as the makers saw it."""
    camera: Camera
    body: BodyParams
    """In the world; where it is not good it may be anything finite."""
    points: Array
    """(n, 24, 3) the body's joints projected by the makers, px, and confidence: 1 in good frames, else all 0."""
    synthetic: bool


def read_annotation(file: Path, name: str) -> Annotation:
    """The annotation of the sequence `name`. Raises AnnotationError with file, key, found and expected."""
    try:
        source = AnnotationFile(file, load_pickle(file), SPEC.page)
    except AssetError as error:
        raise AnnotationError(error.message, where=file, hint=error.hint) from error
    if (said := word(source.value("name"))).lower() != name.lower():
        raise source.wrong("name", f"is {said[:60]!r}", f"{name!r} by its folders", "a folder or a file was renamed")
    frames = _whole(source, "n_frames")
    good = source.array("good_frames_mask", source.value("good_frames_mask"), (frames,))
    if not np.isin(good, (0, 1)).all():
        raise source.wrong("good_frames_mask", "has other values than True and False", "one of them for each frame")
    if not good.any():
        raise source.wrong("good_frames_mask", f"is False in all {frames} frames", "frames that can be used")
    points = source.array("kp2d", source.value("kp2d"), (frames, 24, -1), finite=False)  # see `schema.wild_points`
    if points.shape[2] not in (2, 3):  # documented with 2 numbers, read by the makers as if there might be more
        raise source.wrong("kp2d", f"has {points.shape[2]} numbers for each joint", "x and y")
    seen = good[:, None, None] > 0
    return Annotation(
        parts=frozenset(key for key in PARTS if _flag(source, key)),
        good=good > 0,
        camera=_camera(source.inside("camera"), frames),
        body=_body(source.inside("smpl"), _gender(source), good > 0),
        points=np.where(seen, np.concatenate([points[..., :2], np.ones((frames, 24, 1))], axis=2), 0.0),
        synthetic="synthetic" in source.content,
    )


def _whole(source: AnnotationFile, key: str) -> int:
    """A positive whole number."""
    value = source.array(key, source.value(key), ()).item()
    if value < 1 or value != int(value):
        raise source.wrong(key, f"is {value:g}", "a positive whole number")
    return int(value)


def _flag(source: AnnotationFile, key: str) -> bool:
    value = source.array(key, source.value(key), ()).item()
    if value not in (0, 1):
        raise source.wrong(key, f"is {value:g}", "True or False")
    return value == 1


def _gender(source: AnnotationFile) -> Gender:
    said = word(source.value("gender")).strip().lower()
    for gender in GENDERS:
        if said == gender:
            return gender
    raise source.wrong("gender", f"is {said[:20]!r}", ", ".join(GENDERS))


def _camera(source: AnnotationFile, frames: int) -> Camera:
    return Camera(
        width=_whole(source, "width"),
        height=_whole(source, "height"),
        intrinsics=source.array("intrinsics", source.value("intrinsics"), (3, 3))[None],
        camera_from_world=source.array("extrinsics", source.value("extrinsics"), (frames, 4, 4)),
        moving=True,
    )


def _body(source: AnnotationFile, gender: Gender, good: npt.NDArray[np.bool_]) -> BodyParams:
    def rows(key: str, width: int) -> Array:
        values = source.array(key, source.value(key), (len(good), width), finite=good[:, None])
        return np.where(np.isfinite(values), values, 0.0)

    betas = source.array("betas", source.value("betas"), None)
    if betas.size != 10:
        raise source.wrong("betas", f"has shape {betas.shape}", "10 coefficients for all frames")
    pose = np.concatenate([rows("poses_root", 3), rows("poses_body", 69)], axis=1)
    return BodyParams(
        gender=gender,
        pose=pose.reshape(-1, 24, 3),
        betas=np.tile(betas.reshape(10), (len(good), 1)),
        translation=rows("trans", 3),
    )
