"""The motion of one person: `motion_seq.npz` with SMPL parameters, y up, about the point where the person stands.

Facts: docs/reference/further-datasets.md#bedlam-motion-file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, AssetError
from trace_data.schema.body import GENDERS, Gender
from trace_data.unpickle.reader import load_npz, to_array

Array = npt.NDArray[np.float64]

FPS = 30
BETAS = (10, 11)
"""How many coefficients a file of SMPL motions may have; the 11th, of neutral ones, is one more component."""
LARGEST_BETA = 10.0
"""Beyond it a fit is broken (docs/reference/further-datasets.md#bedlam-defects)."""
FARTHEST = 50.0
"""Metres from its stage's middle within which a motion stays."""
SMPLX = 165
_KEYS = ("poses", "trans", "betas", "gender", "mocap_frame_rate")
_AGAIN = "unpack smpl_ground_truth.zip again"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MotionRows:
    """N rows of a motion."""

    gender: Gender
    pose: npt.NDArray[np.float64]
    """(N, 24, 3) axis-angle, radians."""
    translation: npt.NDArray[np.float64]
    """(N, 3) metres, what is added to the posed vertices."""
    betas: npt.NDArray[np.float64]
    """(10,)."""
    dropped: int
    """Number of coefficients behind these."""


def read_motion(file: Path) -> MotionRows:
    """A motion file. Raises AnnotationError."""
    held, poses, translation = motion_arrays(file, _AGAIN)
    if poses.shape[1] != 72:
        what = f"poses has {poses.shape[1]} columns, expected SMPL's 72"
        hint = "these are motions of SMPL-X: get smpl_ground_truth.zip" if poses.shape[1] == SMPLX else _AGAIN
        raise AnnotationError(what, where=file, hint=hint)
    if lost := [key for key in ("betas", "gender") if key not in held]:
        raise AnnotationError(f"has no {', '.join(lost)}", where=file, hint=_AGAIN)
    try:
        betas = to_array(held["betas"], name="betas", shape=(None,), where=file)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=_AGAIN) from error
    if len(betas) not in BETAS:
        what = f"betas has {len(betas)} values, expected 10 or 11"
        raise AnnotationError(what, where=file, hint="of another body model: get smpl_ground_truth.zip")
    return MotionRows(
        gender=_gender(held["gender"], file),
        pose=poses.reshape(-1, 24, 3),
        translation=translation,
        betas=betas[:10],
        dropped=len(betas) - 10,
    )


def motion_arrays(file: Path, again: str) -> tuple[Mapping[str, Any], Array, Array]:
    """What a motion of any body model holds, its `poses` (N, any) and its `trans` (N, 3). Raises AnnotationError, with
    the hint `again`."""
    try:
        held = load_npz(file, only=_KEYS)
        if lost := [key for key in ("poses", "trans") if key not in held]:
            raise AnnotationError(f"has no {', '.join(lost)}", where=file, hint=again)
        poses = to_array(held["poses"], name="poses", shape=(None, None), where=file)
        translation = to_array(held["trans"], name="trans", shape=(len(poses), 3), where=file)
        rate = to_array(held.get("mocap_frame_rate", FPS), name="mocap_frame_rate", shape=(), where=file)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=again) from error
    if len(translation) and (most := float(np.abs(translation).max())) > FARTHEST:
        what = f"trans leads {most:,.0f} m away from where it begins, expected {FARTHEST:.0f} at most"
        raise AnnotationError(what, where=file, hint="millimetres taken for metres")
    if rate.item() != FPS:
        raise AnnotationError(f"mocap_frame_rate is {rate.item():g}, expected {FPS}", where=file, hint=again)
    return held, poses, translation


def _gender(value: Any, file: Path) -> Gender:
    """That of the body model, which is the file's `gender`; `gender_sub` is the person's."""
    word = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    word = word.decode("latin1") if isinstance(word, bytes) else str(word)
    for gender in GENDERS:
        if word.strip().lower() == gender:
            return gender
    raise AnnotationError(f"gender is {word!r}, expected {', '.join(GENDERS)}", where=file, hint=_AGAIN)
