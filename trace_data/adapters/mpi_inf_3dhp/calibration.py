"""Reads `camera.calibration`: for each camera a name, and lines of a keyword followed by numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import latin_lines, refused
from trace_data.adapters.mpi_inf_3dhp.facts import wrong
from trace_data.errors import AnnotationError

_COUNTS = {"intrinsic": 16, "extrinsic": 16, "size": 2, "radial": 1}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """One calibrated camera."""

    size: tuple[int, int]
    """Width and height of its frames, px."""
    intrinsics: npt.NDArray[np.float64]
    """(3, 3) px."""
    camera_from_world: npt.NDArray[np.float64]
    """(4, 4) metres."""


def read_calibration(file: Path) -> dict[int, Calibrated]:
    """The cameras of a calibration by number. Raises AnnotationError naming the wrong line."""
    try:
        lines = latin_lines(file)
    except FileNotFoundError as error:
        raise AnnotationError(
            "the calibration is missing", where=file, hint="get camera.calibration of this sequence"
        ) from error
    except OSError as error:
        raise refused(error, file) from error
    cameras: dict[int, dict[str, list[float]]] = {}
    current: dict[str, list[float]] = {}
    for number, line in enumerate(lines, start=1):
        word, *values = line.split() or [""]
        if word.lower() == "name":
            if len(values) != 1 or not values[0].isdigit():
                raise wrong(file, f"line {number}", f"is {line.strip()[:40]!r}", "name and a camera's number")
            current = cameras.setdefault(int(values[0]), {})
        elif word.lower() in _COUNTS:
            current[word.lower()] = _numbers(file, number, word, values)
    if not cameras:
        raise wrong(file, "the file", "has no line that starts with name", "a Skeletool camera calibration")
    return {camera: _camera(file, camera, parts) for camera, parts in cameras.items()}


def _numbers(file: Path, line: int, word: str, values: list[str]) -> list[float]:
    expected = _COUNTS[word.lower()]
    try:
        numbers = [float(value) for value in values]
    except ValueError as error:
        raise wrong(file, f"line {line}, {word},", f"has {error}", f"{expected} numbers") from error
    if len(numbers) < expected or not np.isfinite(numbers).all():
        raise wrong(file, f"line {line}, {word},", f"has {len(numbers)} numbers", f"{expected} finite ones")
    return numbers[:expected]


def _camera(file: Path, camera: int, parts: dict[str, list[float]]) -> Calibrated:
    if lost := [word for word in ("size", "intrinsic", "extrinsic") if word not in parts]:
        raise wrong(file, f"camera {camera}", f"has no {' and no '.join(lost)}", "size, intrinsic and extrinsic")
    intrinsics = np.reshape(parts["intrinsic"], (4, 4))[:3, :3]
    extrinsics = np.reshape(parts["extrinsic"], (4, 4)).copy()
    rotation = extrinsics[:3, :3]
    drift = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if drift > 1e-3 or np.linalg.det(rotation) < 0:
        raise wrong(
            file, f"camera {camera}, extrinsic,", f"is no rotation (by {drift:.2g})", "world to camera, row-major"
        )
    extrinsics[:3, 3] /= 1000
    width, height = parts["size"]
    return Calibrated(size=(int(width), int(height)), intrinsics=intrinsics, camera_from_world=extrinsics)
