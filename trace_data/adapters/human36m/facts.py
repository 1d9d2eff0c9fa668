"""Facts about Human3.6M, and case-insensitive lookup in its folders."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import DatasetSpec, SequenceRef
from trace_data.adapters.files import stamp
from trace_data.adapters.listing import names_in
from trace_data.errors import AnnotationError
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Split

SPEC = DatasetSpec(
    name="h36m",
    folders=("h36m", "H36M", "human36m", "Human36M", "human3.6m", "Human3.6M", "h3.6m", "H3.6M"),
    splits=("train", "val"),
    page="http://vision.imar.ro/human3.6m/",
    expected=(
        "h36m/S1/{Videos,MyPoseFeatures}, h36m/images/s_01_act_02_subact_01_ca_01/ with "
        "h36m/annotations/Human36M_subject1_{camera,joint_3d}.json, or h36m/images/ with h36m/annots_smplkps.npz"
    ),
)
SUBJECTS: dict[Split, tuple[int, ...]] = {"train": (1, 5, 6, 7, 8), "val": (9, 11), "test": ()}
"""The subjects with released poses; those of 2, 3, 4 and 10 are kept for the benchmark server."""
CAMERAS = ("54138969", "55011271", "58860488", "60457274")
"""Serial numbers in the order of packed files (from 0) and re-packaged files (from 1)."""
FPS = 50.0
NOTE = "SYNTHETIC.txt"
"""A file that only a synthetic dataset folder has."""
AGAIN = f"copy the file from the release again ({SPEC.page})"


def subjects_without_images(refs: Iterable[SequenceRef], annotated: Collection[int], file: str) -> list[Finding]:
    """An error for each subject with released poses that `file` is about and whose images are all missing.

    None when it is about none of those that have images: then it belongs to another folder, which reading will say.
    """
    held = {int(digits[0]) for ref in refs if (digits := re.findall(r"\d+", ref.name))}
    if not held & {*annotated}:
        return []
    return [
        Finding(
            severity="error",
            key=f"S{subject}",
            what=f"{file.format(subject)} is about S{subject}, of whom there are no images",
            hint=f"unpack the images of S{subject} again; without them move its annotations away",
        )
        for subject in sorted({*annotated} - held)
        if split_of(subject) is not None
    ]


def split_of(subject: int) -> Split | None:
    """The split of a subject; None without released poses."""
    return next((split for split, subjects in SUBJECTS.items() if subject in subjects), None)


def entries(folder: Path) -> dict[str, Path]:
    """The sorted entries of a folder by lower-case name. Raises DatasetLayoutError if it cannot be read."""
    return {name.lower(): folder / name for name in sorted(names_in(folder))}


def numbers(value: Any, shape: tuple[int, ...], key: str, file: Path) -> npt.NDArray[np.float64]:
    """`value` as finite float64 of `shape` (-1 = any length). Raises AnnotationError with key, found and expected."""
    wanted = "x".join("n" if side < 0 else str(side) for side in shape)
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise AnnotationError(
            f"{key} is no array of numbers ({error}), expected {wanted}", where=file, hint=AGAIN
        ) from error
    if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape)):
        raise AnnotationError(f"{key} has shape {array.shape}, expected {wanted}", where=file, hint=AGAIN)
    if not (finite := np.isfinite(array)).all():
        raise AnnotationError(
            f"{key} has {int((~finite).sum())} NaN or infinite values, first at {np.argwhere(~finite)[0].tolist()}",
            where=file,
            hint=AGAIN,
        )
    return array


def certain(layout: str, points: npt.NDArray[np.float64], *, projected: bool = False) -> Keypoints:
    """Fully known keypoints (T, K, D)."""
    known = np.concatenate([points, np.ones((*points.shape[:2], 1))], axis=2)
    return Keypoints(layout=layout, points=known, projected=projected)


def provenance(folder: Path, layout: str, camera: str) -> dict[str, str]:
    """Provenance of a record; `camera`: how the camera was determined."""
    synthetic = (folder / NOTE).is_file()
    return {
        "release": "synthetic sample world" if synthetic else "Human3.6M",
        "layout": layout,
        "adapter": "human36m 1",
        "camera": camera,
        "defects": "",
        "synthetic": "true" if synthetic else "false",
    }


def file_state(file: Path) -> tuple[str, int, int]:
    """Cache key of a file: path, size and time. Raises AnnotationError if it is missing."""
    return str(file), *stamp(file)
