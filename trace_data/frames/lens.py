"""The lens: from options, an intrinsics file, the phone's record, EXIF, or an assumed field of view.

Matrices are about upright pixels, with the centre of the first pixel at (0, 0), as OpenCV has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.errors import ConfigError
from trace_data.frames.lens_forms import LensForm, colmap_lenses, nerfstudio_lens, pinhole
from trace_data.schema.camera import NOMINAL_VIEW
from trace_data.text_files import content_of, parse_json, parse_yaml

PHONE, EXIF = "the phone's lens record", "EXIF"
_DIAGONAL_35MM = math.hypot(36, 24)
"""Millimetres: 43.27."""
_FORMS = (
    "expected a 3x3 matrix, a line 'fx fy cx cy', COLMAP's cameras.txt, nerfstudio's transforms.json, or OpenCV's YAML"
    " with camera_matrix"
)
_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What a file says of the lens that it was taken with."""

    focal_px: float
    """Pixels."""
    source: str
    focal_35mm: float
    """Millimetres on a 35 mm camera with the same view over the diagonal."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChosenLens:
    """The intrinsics to predict with."""

    matrix: npt.NDArray[np.float64]
    """(3, 3) px."""
    source: str
    """In words, for the terminal and the result."""


def lens_of_35mm(focal_35mm: float, size: tuple[int, int], source: str) -> Lens:
    """The lens by its 35 mm equivalent; `size`: (width, height) px of the picture.

    The equivalent is about the diagonal of the full sensor. Cropping for 16:9 and stabilisation make it wrong by up to
    a tenth.
    """
    return Lens(focal_px=focal_35mm * math.hypot(*size) / _DIAGONAL_35MM, source=source, focal_35mm=focal_35mm)


def choose_lens(
    size: tuple[int, int],
    *,
    focal: float | None = None,
    focal_mm: float | None = None,
    fov: float | None = None,
    intrinsics: Path | None = None,
    camera: tuple[npt.NDArray[np.float64], str] | None = None,
    lens: Lens | None = None,
) -> ChosenLens:
    """Intrinsics for upright frames of `size` (width, height) px.

    The first of these that is given: one of the options, the matrix of a camera file with its source, the file's own
    lens, and a field of view of 50 degrees over the longer side. Options: `focal` in px, `focal_mm` as its 35 mm
    equivalent, `fov` in degrees over the longer side, `intrinsics` as a file of `read_intrinsics`. Raises ConfigError
    when several options are given or one is impossible.
    """
    options = {"--focal": focal, "--focal-mm": focal_mm, "--fov": fov, "--intrinsics": intrinsics}
    given = [name for name, value in options.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} say the same thing twice", hint=f"give {given[0]} alone")
    if intrinsics is not None:
        return ChosenLens(matrix=read_intrinsics(intrinsics, size), source=f"--intrinsics {intrinsics}")
    if focal is not None:
        return _pinhole(_positive(focal, "--focal", 1e7), size, f"--focal {focal:g}")
    if focal_mm is not None:
        found = lens_of_35mm(_positive(focal_mm, "--focal-mm", 1e4), size, "")
        return _pinhole(found.focal_px, size, f"--focal-mm {focal_mm:g}, as on a 35 mm camera")
    if fov is not None:
        angle = np.radians(_positive(fov, "--fov", 180))
        return _pinhole(_focal_of_view(angle, size), size, f"--fov {fov:g}, degrees over the longer side")
    if camera is not None:
        return ChosenLens(matrix=_checked(camera[0], size, camera[1]), source=camera[1])
    if lens is not None:
        return _pinhole(lens.focal_px, size, f"{lens.source}: {lens.focal_35mm:g} mm as on a 35 mm camera")
    degrees = np.degrees(NOMINAL_VIEW)
    return _pinhole(_focal_of_view(NOMINAL_VIEW, size), size, f"assumed: {degrees:g} degrees over the longer side")


def _focal_of_view(angle: float, size: tuple[int, int]) -> float:
    return float(max(size) / 2 / np.tan(angle / 2))


def _positive(value: float, option: str, most: float) -> float:
    if not 0 < value < most:
        raise ConfigError(f"{value:g}, expected a number above 0 and below {most:g}", where=option)
    return value


def _pinhole(focal: float, size: tuple[int, int], source: str) -> ChosenLens:
    matrix = pinhole(focal, focal, (size[0] - 1) / 2, (size[1] - 1) / 2)
    return ChosenLens(matrix=matrix, source=source)


def read_intrinsics(file: Path, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """(3, 3) px for upright frames of `size` (width, height) px.

    The file: nine numbers of a matrix, the four of "fx fy cx cy" (both as OpenCV counts pixels), COLMAP's
    `cameras.txt` with one camera, nerfstudio's `transforms.json`, or YAML as OpenCV and ROS write it. Where the file
    names another size of the same shape, the matrix is scaled. Distortion is passed over; fisheye lenses are refused.
    Raises ConfigError.
    """
    try:
        content = content_of(file, error=ConfigError, limit_bytes=_MOST_BYTES)
    except FileNotFoundError as error:
        raise ConfigError("no such file", where=file, hint="give --intrinsics an existing file") from error
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    if text.lstrip().startswith("{"):
        lens = _of_nerfstudio(parse_json(text, where=file, error=ConfigError), file, size)
        matrix, stated = lens.matrix, lens.size
    elif "camera_matrix" in text or text.startswith("%YAML"):
        matrix, stated = _of_yaml(text, file)
    elif re.search(r"^\s*\d+\s+[A-Z]", text, re.MULTILINE):
        lens = _of_colmap(text, file)
        matrix, stated = lens.matrix, lens.size
    else:
        matrix, stated = _of_numbers(text, file), None
    return _checked(_scaled(matrix, stated, size, file), size, file)


def _of_numbers(text: str, file: Path) -> npt.NDArray[np.float64]:
    lines = [line.partition("#")[0] for line in text.splitlines()]
    try:
        numbers = [float(word) for line in lines for word in re.sub(r"[\[\],;]", " ", line).split()]
    except ValueError as error:
        raise ConfigError(f"holds something else than numbers: {_FORMS}", where=file) from error
    if len(numbers) == 4:
        return pinhole(*numbers)
    if len(numbers) == 9:
        return np.array(numbers).reshape(3, 3)
    raise ConfigError(f"{len(numbers):,} numbers: {_FORMS}", where=file)


def _of_colmap(text: str, file: Path) -> LensForm:
    lenses = list(colmap_lenses(text, file, ConfigError).values())
    if len(lenses) != 1:
        raise ConfigError(
            f"{len(lenses)} cameras, expected one", where=file, hint="keep the line of this video's camera"
        )
    return lenses[0]


def _of_nerfstudio(found: Any, file: Path, size: tuple[int, int]) -> LensForm:
    content = found if isinstance(found, Mapping) else {}
    frames = content.get("frames")
    own = [frame for frame in frames if isinstance(frame, Mapping)] if isinstance(frames, list) else []
    lenses = [nerfstudio_lens({**content, **entry}, file, ConfigError, size) for entry in own or [{}]]
    known = [lens for lens in lenses if lens is not None]
    if not known:
        raise ConfigError(f"no fl_x in it: {_FORMS}", where=file)
    if any(not np.array_equal(lens.matrix, known[0].matrix) or lens.size != known[0].size for lens in known):
        raise ConfigError("the frames have several lenses, expected one", where=file)
    return known[0]


def _number(found: Mapping[str, Any], key: str, file: Path) -> float:
    value = found.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise ConfigError(f"{key} is {value!r:.40}, expected a positive number", where=file)
    return float(value)


def _of_yaml(text: str, file: Path) -> tuple[npt.NDArray[np.float64], tuple[float, float] | None]:
    # OpenCV begins with a directive that YAML writes otherwise, and names the type of its matrices
    plain = re.sub(r"!!opencv-\S+", "", re.sub(r"^%YAML[^\n]*\n(---[^\n]*\n)?", "", text))
    found = parse_yaml(plain, where=file, error=ConfigError)
    matrix = found.get("camera_matrix") if isinstance(found, Mapping) else None
    data = matrix.get("data") if isinstance(matrix, Mapping) else matrix
    try:
        numbers = np.asarray(data, np.float64).reshape(3, 3)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"camera_matrix holds no 3x3 numbers: {_FORMS}", where=file) from error
    if "image_width" not in found or "image_height" not in found:
        return numbers, None
    return numbers, (_number(found, "image_width", file), _number(found, "image_height", file))


def _scaled(
    matrix: npt.NDArray[np.float64], stated: tuple[float, float] | None, size: tuple[int, int], file: Path
) -> npt.NDArray[np.float64]:
    """The matrix for frames of `size` where the file is about pictures of another size and the same shape."""
    if stated is None or stated == size:
        return matrix
    if min(stated) <= 0:
        raise ConfigError(f"is about pictures of {stated[0]:g}x{stated[1]:g} px", where=file)
    across, down = size[0] / stated[0], size[1] / stated[1]
    if abs(across / down - 1) > 0.01:
        raise ConfigError(
            f"is about pictures of {stated[0]:g}x{stated[1]:g} px, the frames are {size[0]}x{size[1]} px, upright",
            where=file,
            hint="calibrate with frames of this video" + (", as they are shown" if stated == size[::-1] else ""),
        )
    # scaling keeps the corner of the first pixel where it is, not its centre
    change = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
    return change @ matrix


def _checked(matrix: npt.NDArray[np.float64], size: tuple[int, int], where: Path | str) -> npt.NDArray[np.float64]:
    """Raises ConfigError unless it is the matrix of a pinhole that looks into the picture."""
    found = np.asarray(matrix, np.float64)
    if found.shape != (3, 3) or not np.isfinite(found).all() or np.abs(found[2] - (0, 0, 1)).max() > 1e-6:
        raise ConfigError("no matrix of a camera: the last row is 0 0 1, expected with finite numbers", where=where)
    fx, fy, cx, cy = found[0, 0], found[1, 1], found[0, 2], found[1, 2]
    if not (fx > 0 and fy > 0 and abs(found[1, 0]) < 1e-6 * fy):
        raise ConfigError(f"focal lengths {fx:g} and {fy:g} px, expected positive ones without rotation", where=where)
    if not (0 <= cx <= size[0] - 1 and 0 <= cy <= size[1] - 1):
        raise ConfigError(
            f"the principal point ({cx:g}, {cy:g}) lies outside the frames of {size[0]}x{size[1]} px",
            where=where,
            hint="calibrate with frames of this video, upright",
        )
    return found
