"""The four cameras: from `metadata.xml` of the release, or found from points known in 3D and in 2D.

Facts: docs/reference/datasets.md#human36m-calibration-file, docs/reference/datasets.md#human36m-camera-translation.
Where sources contradict each other, the reprojection error decides: whether a rotation is meant or its transpose, and
whether the tangential term of the lens counts once, as in the release's own code, or twice, as in OpenCV's.
"""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import refused
from trace_data.adapters.human36m.facts import AGAIN, CAMERAS, entries, file_state, numbers
from trace_data.adapters.listing import entry
from trace_data.errors import AnnotationError
from trace_data.files import read_regular
from trace_data.geometry import project, transform

Array = npt.NDArray[np.float64]

PEOPLE = 11
EXTRINSIC, INTRINSIC = 6, 9
FIT_PX = 2.0
"""A camera found from points must show them this well (median)."""
LARGEST_METADATA = 1 << 24
"""Bytes of `metadata.xml`, which has some hundred thousand in the release."""
FIT_POINTS = 4000
"""So many points, evenly spread over a sequence, are enough to find a camera."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedView:
    """One camera as a record takes it."""

    intrinsics: Array
    """(3, 3) px."""
    distortion: Array | None
    """See `schema.camera.Camera`."""
    camera_from_world: Array | None
    """(4, 4) metres; None when the world is the camera's frame."""
    how: str
    """How the camera was determined."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Metadata:
    """Content of `metadata.xml`."""

    file: Path
    rotation: Array
    """(4, 11, 3, 3) rotation of each camera for each subject: Rx Ry Rz of its three angles."""
    position: Array
    """(4, 11, 3) position of each camera for each subject, metres."""
    lens: Array
    """(4, 9) focal lengths, principal point, k1, k2, k3, p1, p2."""
    clips: Mapping[tuple[int, str], tuple[int, int]]
    """(subject, action name) to the numbers of action and subaction."""

    def views(self, subject: int, camera: int) -> list[CalibratedView]:
        """All interpretations of a camera's calibration, the most likely first."""
        fx, fy, cx, cy, *coefficients = self.lens[camera]
        turn, place = self.rotation[camera, subject - 1], self.position[camera, subject - 1]
        return [
            dataclasses.replace(
                pinhole((fx, fy), (cx, cy), rotation, -rotation @ place, f"metadata.xml, {turned}, {lens}"),
                distortion=distortion,
            )
            for rotation, turned in ((turn, "R"), (turn.T, "R transposed"))
            for distortion, lens in _lenses(np.array(coefficients))
        ]


def metadata_file(folder: Path) -> Path | None:
    """The calibration in a dataset's folder or in `Release-v…` in it; None without one."""
    inner = [path for name, path in entries(folder).items() if name.startswith("release-v") and path.is_dir()]
    for place in [folder, *reversed(inner)]:
        file = entry(place, "metadata.xml")
        if file is not None:
            return file
    return None


def read_metadata(folder: Path) -> Metadata | None:
    """The calibration; None without one. Raises AnnotationError."""
    file = metadata_file(folder)
    return None if file is None else _read(file_state(file))


@lru_cache(maxsize=4)
def _read(state: tuple[str, int, int]) -> Metadata:
    file = Path(state[0])
    try:
        root = ElementTree.fromstring(read_regular(file, LARGEST_METADATA))
    except OSError as error:
        raise refused(error, file) from error
    except ElementTree.ParseError as error:
        raise AnnotationError(f"is no readable XML: {error}", where=file, hint=AGAIN) from error
    words = (root.findtext("w0") or "").strip().strip("[]").split()
    try:
        parsed = [float(word) for word in words]
    except ValueError as error:
        raise AnnotationError(f"w0 holds {error}", where=file, hint=AGAIN) from error
    w0 = numbers(parsed, (len(CAMERAS) * (PEOPLE * EXTRINSIC + INTRINSIC),), "w0", file)
    extrinsic = w0[: len(CAMERAS) * PEOPLE * EXTRINSIC].reshape(len(CAMERAS), PEOPLE, EXTRINSIC)
    return Metadata(
        file=file,
        rotation=_about(0, extrinsic[..., 0]) @ _about(1, extrinsic[..., 1]) @ _about(2, extrinsic[..., 2]),
        position=extrinsic[..., 3:] / 1000,
        lens=w0[extrinsic.size :].reshape(len(CAMERAS), INTRINSIC),
        clips=_clips(root),
    )


def _clips(root: ElementTree.Element) -> dict[tuple[int, str], tuple[int, int]]:
    """The table `mapping`: a row for each action and subaction with what the clip is called for each subject."""
    rows = [[(cell.text or "").strip() for cell in row] for row in root.iterfind("mapping/tr")]
    if not rows:
        return {}
    subjects = [int(word.lstrip("Ss")) for word in rows[0][2:] if word.lstrip("Ss").isdigit()]
    return {
        (subject, name): (int(row[0]), int(row[1]))
        for row in rows[1:]
        if len(row) > 2 and row[0].isdigit() and row[1].isdigit()
        for subject, name in zip(subjects, row[2:])
    }


def pinhole(
    focal: Sequence[float] | Array, centre: Sequence[float] | Array, rotation: Array, translation: Array, how: str
) -> CalibratedView:
    """A camera without a lens, from camera_from_world's rotation (3, 3) and translation (3,), metres."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    intrinsics = np.array([[focal[0], 0, centre[0]], [0, focal[1], centre[1]], [0, 0, 1.0]])
    return CalibratedView(intrinsics=intrinsics, distortion=None, camera_from_world=matrix, how=how)


def locate_in_camera(
    metadata: Metadata | None, who: tuple[int, int], joints: Array, pixels: Array | None, file: Path
) -> CalibratedView:
    """The view of joints (T, K, 3) in a camera's own frame and, if known, their pixels.

    `who`: subject and number of the camera. Raises AnnotationError if there are neither a calibration nor pixels.
    """
    if metadata is None:
        if pixels is None:
            raise AnnotationError("the camera is unknown without 2D joints", where=file, hint=_GET_METADATA)
        return fitted_view(joints, pixels, file)
    views = [view for view in metadata.views(*who) if "transposed" not in view.how]
    if pixels is None:
        return views[0]
    errors = [distance_px(dataclasses.replace(view, camera_from_world=None), joints, pixels) for view in views]
    return views[int(np.argmin(errors))]


def best_view(views: Sequence[CalibratedView], joints: Array, pixels: Array) -> CalibratedView:
    """The view with the smallest reprojection error of world joints (T, K, 3), pixels (T, K, 2); the first if tied."""
    some = slice(None, None, max(1, len(joints) // 50))
    errors = [distance_px(view, joints[some], pixels[some]) for view in views]
    return views[int(np.argmin(errors))]


def distance_px(view: CalibratedView, joints: Array, pixels: Array) -> float:
    """Median reprojection error, px, of joints (T, K, 3); large for joints behind the camera."""
    locate_in_camera = joints if view.camera_from_world is None else transform(view.camera_from_world, joints)
    apart = np.linalg.norm(project(view.intrinsics, locate_in_camera, view.distortion) - pixels, axis=-1)
    return round(float(np.median(np.where(np.isfinite(apart), apart, np.inf))), 4)


def fitted_view(joints: Array, pixels: Array, file: Path) -> CalibratedView:
    """Fit a camera, including distortion, that projects points (T, K, 3), metres in its own frame, to pixels (T, K, 2).

    Raises AnnotationError if no camera fits.
    """
    from scipy.optimize import least_squares

    points, seen = joints.reshape(-1, 3), pixels.reshape(-1, 2)
    chosen = np.linspace(0, len(points) - 1, min(len(points), FIT_POINTS)).astype(int)
    points, seen = points[chosen], seen[chosen]
    ahead = points[:, 2] > 0.1
    points, seen = points[ahead], seen[ahead]
    if len(points) < 12:
        raise AnnotationError(
            "the 3D joints do not lie before the camera, so that it cannot be found", where=file, hint=_GET_METADATA
        )

    def camera(values: Array) -> tuple[Array, Array]:
        fx, fy, cx, cy = 1000 * values[:4]
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), _lenses(values[4:])[0][0]

    def errors(values: Array) -> Array:
        intrinsics, distortion = camera(values)
        apart: Array = project(intrinsics, points, distortion) - seen
        return apart.reshape(-1)

    plane = points[:, :2] / points[:, 2:]
    start = [np.polyfit(plane[:, axis], seen[:, axis], 1) for axis in (0, 1)]
    begin = np.array([start[0][0], start[1][0], start[0][1], start[1][1], 0, 0, 0, 0, 0])
    begin[:4] /= 1000
    solution = least_squares(errors, begin, method="lm", max_nfev=200)
    intrinsics, distortion = camera(solution.x)
    median = float(np.median(np.linalg.norm(solution.fun.reshape(-1, 2), axis=1)))
    if not median < FIT_PX:
        raise AnnotationError(
            f"no camera sees the 3D joints at the 2D joints: {median:.1f} px apart (median), expected {FIT_PX}",
            where=file,
            hint=_GET_METADATA,
        )
    return CalibratedView(
        intrinsics=intrinsics, distortion=distortion, camera_from_world=None, how="found from 3D and 2D joints"
    )


_GET_METADATA = "put metadata.xml of the release (Release-v1.2) into the dataset's folder"


def _lenses(coefficients: Array) -> list[tuple[Array, str]]:
    """k1, k2, k3, p1, p2 in OpenCV's order, in two interpretations.

    The release's code adds x (p1 y + p2 x) + p2 r², OpenCV twice the first part: in OpenCV's model the release's lens
    has half the tangential coefficients, and the other half as thin-prism coefficients.
    """
    k1, k2, k3, p1, p2 = coefficients
    own = np.array([k1, k2, p1 / 2, p2 / 2, k3, 0, 0, 0, p2 / 2, 0, p1 / 2, 0])
    return [(own, "lens of the release's code"), (np.array([k1, k2, p1, p2, k3]), "lens of OpenCV")]


def _about(axis: int, angle: Array) -> Array:
    """(..., 3, 3) rotations by angles (...) about one axis."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn = np.zeros((*angle.shape, 3, 3))
    turn[..., axis, axis] = 1
    turn[..., one, one] = turn[..., two, two] = np.cos(angle)
    turn[..., two, one], turn[..., one, two] = np.sin(angle), -np.sin(angle)
    return turn
