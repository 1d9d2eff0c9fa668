"""Cameras of the test set, from `test_util/camera_calibration/*.calib` or fitted to 2D points and 3D joints.

TS5 and TS6 have lens distortion (docs/reference/datasets.md#mpi-inf-3dhp-test-set).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import latin_lines, refused
from trace_data.adapters.fitted_camera import fitted_intrinsics, median_px
from trace_data.adapters.listing import below, is_folder, listing
from trace_data.adapters.mpi_inf_3dhp.facts import wrong
from trace_data.errors import AnnotationError

Array = npt.NDArray[np.float64]

LENS = np.array([-0.276859611, 0.131125256, -0.000360494, -0.001149441, -0.049318332])
"""k1, k2, p1, p2, k3 of TS5 and TS6, as public readers have them from the calibration."""
WITH_LENS = (5, 6)
FIT_PX = 2.0
"""Maximum reprojection error (median) of a calibration; above it, it belongs to another camera."""
FOUND = "found from points and joints"
_FILE = re.compile(r"ts(\d)(?:-(\d))?.*\.calib", re.IGNORECASE)
_COUNTS = {"sensorsize": 2, "focallength": 1, "pixelaspect": 1, "centeroffset": 2, "distortion": 5}
"""Keywords of the lines used, with their counts of numbers: mm, mm, 1, mm, and OpenCV's k1 k2 p1 p2 k3."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TestCamera:
    """One camera of the test set."""

    intrinsics: Array
    """(3, 3) px."""
    distortion: Array | None
    """See `schema.camera.Camera`."""
    calibrated: bool
    """Whether it comes from the calibration rather than a fit."""
    how: str
    """How it was determined."""
    remarks: tuple[str, ...] = ()


def calibration_of(test: Path, number: int) -> Path | None:
    """The calibration of test subject `number`, next to the subjects' folders; None without one."""
    place = below(test, "test_util", "camera_calibration")
    if place is None or not is_folder(place):
        return None
    for name in listing(place).files:
        match = _FILE.fullmatch(name)
        if match is not None and int(match[1]) <= number <= int(match[2] or match[1]):
            return place / name
    return None


def test_camera(
    number: int, annotation: Path, calibration: Path | None, size: tuple[int, int], points: Array, joints: Array
) -> TestCamera:
    """The camera that projects joints (T, 17, 3), metres in its axes, to points (T, 17, 2), px of frames of `size`.

    A calibration that does not fit is replaced by a fit, with a remark. Raises AnnotationError if joints are behind the
    camera.
    """
    if not (joints[..., 2] > 0).all():
        behind = np.mean(joints[..., 2] <= 0)
        raise wrong(annotation, "annot3", f"has {behind:.0%} of its joints behind the camera", "z forward")
    remarks: tuple[str, ...] = ()
    if calibration is not None:
        try:
            intrinsics, distortion = read_test_calibration(calibration, size)
            apart = median_px(intrinsics, distortion, points, joints)
            if apart <= FIT_PX:
                return TestCamera(
                    intrinsics=intrinsics, distortion=distortion, calibrated=True, how=f"calibration {calibration.name}"
                )
            said = f"shows the joints {apart:.1f} px (median) from their points"
        except AnnotationError as error:
            said = error.message
        remarks = (f"{calibration.name} {said}: the camera is found from points and joints instead",)
    lenses = [(None, FOUND)] + ([(LENS, f"{FOUND}, with the published lens")] if number in WITH_LENS else [])
    cameras = [
        TestCamera(
            intrinsics=fitted_intrinsics(points, joints, lens),
            distortion=lens,
            calibrated=False,
            how=how,
            remarks=remarks,
        )
        for lens, how in lenses
    ]
    return min(cameras, key=lambda camera: median_px(camera.intrinsics, camera.distortion, points, joints))


def read_test_calibration(file: Path, size: tuple[int, int]) -> tuple[Array, Array | None]:
    """Intrinsics (3, 3), px of frames of `size`, and distortion in a `.calib` file. Raises AnnotationError."""
    try:
        lines = latin_lines(file)
    except OSError as error:
        raise refused(error, file) from error
    values: dict[str, Array] = {}
    for number, line in enumerate(lines, start=1):
        word, *rest = line.split() or [""]
        if (count := _COUNTS.get(word.lower())) is not None:
            values.setdefault(word.lower(), _numbers(file, number, word, rest, count))
    return _camera(file, values, size)


def _numbers(file: Path, line: int, word: str, rest: list[str], count: int) -> Array:
    try:
        numbers = np.array([float(part) for part in rest])
    except ValueError as error:
        raise wrong(file, f"line {line}, {word},", f"has {error}", f"{count} numbers") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise wrong(file, f"line {line}, {word},", f"has {len(numbers)} numbers", f"{count} finite ones")
    return numbers


def _camera(file: Path, values: Mapping[str, Array], size: tuple[int, int]) -> tuple[Array, Array | None]:
    if lost := [word for word in ("sensorsize", "focallength") if word not in values]:
        raise wrong(file, "the file", f"has no {' and no '.join(lost)}", "a camera calibration of the test set")
    if not (values["sensorsize"] > 0).all():
        raise wrong(file, "sensorSize", f"is {values['sensorsize'].tolist()}", "mm")
    px = np.array(size) / values["sensorsize"]  # px per mm
    focal = values["focallength"][0] * px[0] * np.array([1.0, values.get("pixelaspect", np.ones(1))[0]])
    centre = np.array(size) / 2 + values.get("centeroffset", np.zeros(2)) * px
    intrinsics = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])
    lens = values.get("distortion", np.zeros(5))
    return intrinsics, lens if lens.any() else None
