"""What all layouts of 3DPW share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.annotation_file import AnnotationFile, npz_source, word
from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import Stamp, stamp
from trace_data.adapters.listing import entry, numbered_files
from trace_data.schema.body import BodyParams, Gender
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person

PAGE = "https://virtualhumans.mpi-inf.mpg.de/3DPW/"
FPS = 30.0
EXACT = "synthetic: camera and world are exact"
DRIFTS = "the camera moves and its extrinsics drift: world-frame motion is not supervised"
CAMERAS = "camera_annots.npz"
BETAS = "smpl_neutral_betas.npz"
IMAGE = re.compile(r"image_(\d{5})\.jpg", re.IGNORECASE)
_GENDERS: dict[str, Gender] = {
    "m": "male", "male": "male", "f": "female", "female": "female", "n": "neutral", "neutral": "neutral",
}  # fmt: skip


def image_files(source: AnnotationFile, ref: SequenceRef, numbers: Sequence[int]) -> tuple[Path, ...]:
    """The images of the numbered frames. Raises AnnotationError if one is missing."""
    held = numbered_files(ref.images, IMAGE)
    if lost := sorted(set(numbers) - set(held)):
        raise source.wrong(
            "poses",
            f"annotate {len(numbers)} frames",
            f"as many images in {ref.images}: it has {len(held)}, image_{lost[0]:05d}.jpg is missing",
            "images were lost, or they belong to another sequence: copy imageFiles again",
        )
    return tuple(held[number] for number in numbers)


def body_of(
    source: AnnotationFile, number: int, poses: npt.NDArray[np.float64], translation: npt.NDArray[np.float64]
) -> BodyParams:
    """The body of a person with the keys `genders` and `betas`, from (T, 72) and (T, 3). Raises AnnotationError."""
    gender = word(source.of_person("genders", number)).strip().lower()
    if gender not in _GENDERS:
        raise source.wrong(f"genders[{number}]", f"is {gender[:20]!r}", "m or f")
    key = f"betas[{number}]"
    shape = source.array(key, source.of_person("betas", number), None).reshape(-1)
    if len(shape) < 10:
        raise source.wrong(key, f"has {len(shape)} coefficients", "10 or more")
    frames = len(poses)
    return BodyParams(
        gender=_GENDERS[gender],
        pose=poses.reshape(frames, 24, 3),
        betas=np.broadcast_to(shape[:10], (frames, 10)).copy(),
        translation=translation,
    )


def detected(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(T, K, 3) points for a record: zero without confidence, confidences clipped to 1."""
    seen = points[..., 2:] > 0
    found: npt.NDArray[np.float64] = np.where(seen, np.clip(points, None, (np.inf, np.inf, 1.0)), 0.0)
    return found


def scattered(values: npt.NDArray[np.float64], places: npt.NDArray[np.int64], frames: int) -> npt.NDArray[np.float64]:
    """(frames, ...) with the rows of `values` at their frames and zeros elsewhere."""
    whole = np.zeros((frames, *values.shape[1:]))
    whole[places] = values
    return whole


def camera_source(folder: Path) -> AnnotationFile | None:
    """Intrinsics and extrinsics of all sequences by name; None if the file is missing. Raises AnnotationError."""
    file = entry(folder, CAMERAS)
    return None if file is None else _cameras(file, stamp(file))


@lru_cache(maxsize=1)
def _cameras(file: Path, _: Stamp) -> AnnotationFile:
    return npz_source(file, PAGE, ("intrinsics", "extrinsics"))


def no_cameras(also: str) -> Finding:
    """Consequences of missing cameras."""
    return Finding(
        severity="warning",
        key=CAMERAS,
        what=f"there is no {CAMERAS}: {also}3D joints cannot be compared with the pictures",
        hint="it comes with TRACE's annotations",
    )


def person_of(
    number: int,
    body: BodyParams,
    joints: npt.NDArray[np.float64],
    points: npt.NDArray[np.float64],
    trusted: npt.NDArray[np.bool_],
) -> Person:
    """A person with the release's own joints: `joints` (T, 24, 3) metres, `points` (T, 18, 3) as detected, and (T,)
    where the release trusts its fit."""
    points = detected(points)
    known = np.concatenate([joints, np.ones((*joints.shape[:2], 1))], axis=2)
    return Person(
        name=str(number),
        gender=body.gender,
        present=trusted | (points[..., 2] > 0).any(axis=1),
        keypoints2d=Keypoints(layout="COCO_18", points=points),
        joints3d=Keypoints(layout="SMPL_24", points=np.where(trusted[:, None, None], known, 0.0)),
        body=body,
        body_valid=trusted,
    )


def everyone_present(people: Sequence[Person]) -> npt.NDArray[np.bool_]:
    """(T,) where all people of a sequence are annotated: who is left out of a frame may stand in it all the same."""
    return np.asarray(np.all([person.present for person in people], axis=0))


def provenance(layout: str, synthetic: bool) -> dict[str, str]:
    """Of a record."""
    return {
        "release": "synthetic sample world" if synthetic else "3DPW",
        "layout": layout,
        "adapter": "threedpw 1",
        "defects": "",
        "synthetic": "true" if synthetic else "false",
    }
