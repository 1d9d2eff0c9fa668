"""The calibration of one view: an XML file of OpenCV, of pictures in their full size.

Facts: docs/reference/further-datasets.md#rich-files.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import refused
from trace_data.errors import AnnotationError
from trace_data.files import read_regular
from trace_data.schema.camera import Camera

Array = npt.NDArray[np.float64]

FULL = (4112, 3008)
"""Width and height, px, of the cameras' pictures; two cameras lay on their side."""
AGAIN = "unpack scan_calibration.zip again"
_MOST_BYTES = 1 << 20
_COEFFICIENTS = (4, 5, 8, 12)
"""How many numbers OpenCV writes for a lens."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibration:
    """One file."""

    intrinsics: Array
    """(3, 3) px of the full size."""
    camera_from_world: Array
    """(4, 4) metres; the world is the frame of camera 0."""
    distortion: Array | None
    """(5,) to (12,) see `schema.camera.Camera`; None where all are zero."""
    synthetic: bool

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the full picture, px: which side is the longer one, the principal point says."""
        return FULL if self.intrinsics[0, 2] >= self.intrinsics[1, 2] else FULL[::-1]


def read_calibration(file: Path) -> Calibration:
    """The calibration in a file. Raises AnnotationError."""
    try:
        root = ElementTree.fromstring(read_regular(file, _MOST_BYTES))
    except OSError as error:
        raise refused(error, file) from error
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: an encoding that is not known
        raise AnnotationError(f"is no readable XML: {error}", where=file, hint=AGAIN) from error
    extrinsics = np.eye(4)
    extrinsics[:3] = _matrix(root, "CameraMatrix", file, (3, 4))
    intrinsics = _matrix(root, "Intrinsics", file, (3, 3))
    if (intrinsics[2] != (0, 0, 1)).any() or (np.diag(intrinsics) <= 0).any():
        raise AnnotationError("Intrinsics is no matrix of a camera", where=file, hint=AGAIN)
    distortion = _matrix(root, "Distortion", file).reshape(-1)
    if len(distortion) not in _COEFFICIENTS:
        what = f"Distortion has {len(distortion)} numbers, expected {', '.join(map(str, _COEFFICIENTS))}"
        raise AnnotationError(what, where=file, hint=AGAIN)
    return Calibration(
        intrinsics=intrinsics,
        camera_from_world=extrinsics,
        distortion=np.pad(distortion, (0, max(0, 5 - len(distortion)))) if distortion.any() else None,
        synthetic=root.find("synthetic") is not None,
    )


def camera_of(calibration: Calibration, size: tuple[int, int], images: Path) -> Camera:
    """The camera of pictures in `size`, which may have been re-encoded smaller. Raises AnnotationError where they have
    other proportions than the full ones."""
    full = calibration.size
    if abs(size[0] * full[1] - size[1] * full[0]) > (full[0] + full[1]) / 2:  # half a pixel by rounding
        raise AnnotationError(
            f"the images have {size[0]}x{size[1]} px, which is no {full[0]}x{full[1]} px at any scale",
            where=images,
            hint="images that were cropped or turned do not fit the calibration: unpack them again",
        )
    scale = np.array(size) / full
    intrinsics = calibration.intrinsics.copy()
    intrinsics[:2] *= scale[:, None]
    intrinsics[:2, 2] += (scale - 1) / 2  # pixels are counted from the centre of the first one
    return Camera(
        width=size[0],
        height=size[1],
        intrinsics=intrinsics[None],
        camera_from_world=calibration.camera_from_world[None],
        moving=False,
        distortion=calibration.distortion,
    )


def _matrix(root: ElementTree.Element, name: str, file: Path, shape: tuple[int, int] | None = None) -> Array:
    """The numbers of an `opencv-matrix`. Raises AnnotationError."""
    node = root.find(name)
    if node is None:
        raise AnnotationError(f"has no {name}", where=file, hint=AGAIN)
    try:
        rows, columns = (int(node.findtext(key) or "") for key in ("rows", "cols"))
        values = np.array([float(word) for word in (node.findtext("data") or "").split()])
    except ValueError as error:
        raise AnnotationError(f"{name} is no matrix of numbers: {error}", where=file, hint=AGAIN) from error
    if len(values) != rows * columns or min(rows, columns) < 1 or (shape or (rows, columns)) != (rows, columns):
        wanted = f"{rows}x{columns}" if shape is None else f"{shape[0]}x{shape[1]}"
        what = f"{name} has {len(values)} numbers for {rows}x{columns}, expected {wanted}"
        raise AnnotationError(what, where=file, hint=AGAIN)
    if not np.isfinite(values).all():
        raise AnnotationError(f"{name} has NaN or infinite values", where=file, hint=AGAIN)
    return values.reshape(rows, columns)
