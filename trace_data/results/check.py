"""What makes a result: the type and shape of every array, and what its numbers have to fulfil."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import ResultError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle, transform
from trace_data.results.result import PREDICTED, Result

Size = int | str


@dataclass(frozen=True, slots=True)
class Layout:
    """Type and shape of an array: T frames, N rows, P people, K = 1 or T; `<U` stands for text of any length."""

    dtype: str
    shape: tuple[Size, ...]


LAYOUTS: dict[str, Layout] = {
    "time": Layout("<f8", ("T",)),
    "frame_id": Layout("<i8", ("T",)),
    "image_size": Layout("<i4", (2,)),
    "intrinsics": Layout("<f8", ("K", 3, 3)),
    "camera_from_world": Layout("<f8", ("T", 4, 4)),
    "camera_observed": Layout("|b1", ("T",)),
    "up": Layout("<f8", (3,)),
    "person": Layout("<i4", ("P",)),
    "person_name": Layout("<U", ("P",)),
    "row_person": Layout("<i4", ("N",)),
    "row_frame": Layout("<i4", ("N",)),
    "state": Layout("|u1", ("N",)),
    "score": Layout("<f4", ("N",)),
    "pose": Layout("<f4", ("N", 24, 3)),
    "translation": Layout("<f4", ("N", 3)),
    "root_in_camera": Layout("<f4", ("N", 3)),
    "translation_in_camera": Layout("<f4", ("N", 3)),
    "hips_in_camera": Layout("<f4", ("N", 3)),
    "betas": Layout("<f4", ("P", 10)),
    "betas_row": Layout("<f4", ("N", 10)),
    "joints": Layout("<f4", ("N", 24, 3)),
    "joints_2d": Layout("<f4", ("N", 44, 2)),
    "box": Layout("<f4", ("N", 4)),
    "world_residual": Layout("<f4", ("N",)),
}
"""The arrays in the order of the file, after `format`, `version` and `about`."""
OPTIONAL = frozenset({"betas_row"})
MAY_BE_UNKNOWN = frozenset({"joints_2d", "box", "world_residual"})
"""Where NaN means unknown: points that are not in front of the camera have no place in the picture."""
ABOUT = {"video": dict, "options": dict, "camera": dict, "body_model": dict, "scene": dict, "warnings": list}
"""What is no text or number among the facts of a run; all of them may be missing."""
RIGID, UNIT = 1e-5, 1e-4
"""How far a rotation matrix may be from orthonormal, and a direction from length one."""
APART, TURNED = 1e-4, 1e-4
"""How far the body in the camera and the body in the world may differ, m (more at a great distance, as float32 is
coarser there) and rad."""
_REMAKE = "make it again with  trace predict"


def check_result(result: Result, where: str | Path | None = None) -> None:
    """Check every array and their agreement. Raises ResultError, which names the array; `where` names the file."""
    arrays = {name: getattr(result, name) for name in LAYOUTS if getattr(result, name) is not None}
    try:
        check_layouts({name: (array.dtype, array.shape) for name, array in arrays.items()})
        for name, array in arrays.items():
            _check_numbers(name, array)
        _check_about(result.about)
        _check_frames(result)
        _check_rows(result)
        _check_agreement(result)
    except ResultError as error:
        raise ResultError(error.message, where=where, hint=_REMAKE) from error


def check_layouts(found: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]]) -> None:
    """Check types and shapes (dtype, shape) of the arrays, by name. Raises ResultError."""
    if missing := [name for name in LAYOUTS if name not in found and name not in OPTIONAL]:
        raise ResultError(f"has no {', '.join(missing)}")
    sizes: dict[str, int] = {}
    for name, (dtype, shape) in found.items():
        layout = LAYOUTS[name]
        text = layout.dtype == "<U" and dtype.kind == "U"
        if not text and dtype != np.dtype(layout.dtype):
            raise ResultError(f"{name} has the type {dtype.str}, expected {layout.dtype}")
        fits = len(shape) == len(layout.shape)
        for length, size in zip(shape, layout.shape):
            known = size if isinstance(size, int) else sizes.setdefault(size, length)
            fits = fits and length == known
        if not fits:
            expected = ", ".join(f"{size} = {sizes[size]}" if size in sizes else str(size) for size in layout.shape)
            raise ResultError(f"{name} has the shape {shape}, expected ({expected})")
    if sizes["T"] < 1:
        raise ResultError("has no frames; a video without people has frames and no rows")
    if sizes["K"] not in (1, sizes["T"]):
        raise ResultError(f"intrinsics has {sizes['K']} matrices, expected 1 or one for each of {sizes['T']} frames")


def _check_numbers(name: str, array: npt.NDArray[Any]) -> None:
    if array.dtype.kind != "f":
        return
    wrong = np.isinf(array) if name in MAY_BE_UNKNOWN else ~np.isfinite(array)
    if wrong.any():
        first = int(np.argwhere(wrong)[0][0])
        raise ResultError(f"{name} has {int(wrong.sum()):,} values that are not finite, the first at index {first}")


def _check_about(about: Mapping[str, Any]) -> None:
    for key, kind in ABOUT.items():
        if not isinstance(found := about.get(key, kind()), kind):
            raise ResultError(f"about: {key} is a {type(found).__name__}, expected a {kind.__name__}")
    for key in ("frame_rate", "stride"):
        value = about.get("options", {}).get(key)
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < np.inf
        if value is not None and not number:
            raise ResultError(f"about: options.{key} is {str(value)[:40]!r}, expected a number above 0")


def _check_frames(result: Result) -> None:
    for name in ("time", "frame_id"):
        values = getattr(result, name)
        if (values[1:] <= values[:-1]).any():
            first = int(np.argmax(values[1:] <= values[:-1])) + 1
            raise ResultError(f"{name} does not increase at frame {first}: {values[first]} after {values[first - 1]}")
    if (result.image_size < 1).any():
        raise ResultError(f"image_size is {tuple(result.image_size.tolist())}, expected a width and a height")
    lens = result.intrinsics
    if (lens[:, (0, 1), (0, 1)] <= 0).any() or (lens[:, 2] != (0, 0, 1)).any():
        raise ResultError("intrinsics has a matrix that is no camera's: focal lengths have to be positive")
    camera = result.camera_from_world
    turn = camera[:, :3, :3]
    off = np.abs(turn @ np.swapaxes(turn, 1, 2) - np.eye(3)).max((1, 2)) > RIGID
    off |= (np.linalg.det(turn) < 0) | (camera[:, 3] != (0, 0, 0, 1)).any(1)
    if off.any():
        raise ResultError(f"camera_from_world of frame {int(np.argmax(off))} is not rigid")
    if abs(float(np.linalg.norm(result.up)) - 1) > UNIT:
        raise ResultError(f"up has length {float(np.linalg.norm(result.up)):.3g}, expected a direction of length 1")


def _check_rows(result: Result) -> None:
    if (result.person < 1).any() or (np.diff(result.person) <= 0).any():
        raise ResultError("person is not ascending from 1: identities have to differ")
    for name, count in (("row_person", len(result.person)), ("row_frame", len(result.time))):
        values = getattr(result, name)
        if ((values < 0) | (values >= count)).any():
            first = int(np.argmax((values < 0) | (values >= count)))
            raise ResultError(f"{name} of row {first} is {values[first]}, expected an index below {count}")
    key = result.row_person.astype(np.int64) * len(result.time) + result.row_frame
    if (np.diff(key) <= 0).any():
        raise ResultError(
            f"rows are not sorted by person, then frame, at row {int(np.argmax(np.diff(key) <= 0)) + 1}; a person has "
            "at most one row in a frame"
        )
    if (result.state > PREDICTED).any():
        raise ResultError(f"state is {int(result.state.max())}, expected 0 (seen), 1 (inherited) or 2 (predicted)")
    if (result.box[:, 2:] < 0).any() or (result.world_residual < 0).any():
        raise ResultError("box or world_residual is negative, expected lengths")


def _check_agreement(result: Result) -> None:
    """body in the camera = camera_from_world · body in the world; the pelvis is joint 0."""
    camera = result.camera_from_world[result.row_frame]
    pelvis = result.joints[:, 0].astype(np.float64)
    rest = pelvis - result.translation
    there = transform(camera, pelvis[:, None])[:, 0]
    apart = np.linalg.norm(there - (result.translation_in_camera + rest), axis=1)
    far = np.maximum(np.linalg.norm(pelvis, axis=1), np.linalg.norm(there, axis=1))
    expected = camera[:, :3, :3] @ matrix_from_axis_angle(result.pose[:, 0])
    found = matrix_from_axis_angle(result.root_in_camera)
    turned = np.linalg.norm(axis_angle_from_matrix(np.swapaxes(expected, 1, 2) @ found), axis=1)
    wrong = (apart > APART + 1e-6 * far) | (turned > TURNED)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ResultError(
            f"the body in the camera is not camera_from_world times the body in the world in {int(wrong.sum()):,} "
            f"rows, the first is row {row}: {1000 * apart[row]:.3g} mm and {np.degrees(turned[row]):.3g} degrees apart"
        )
