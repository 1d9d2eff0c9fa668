"""MATLAB files of the release: `annot.mat` (v5, cells of 14 cameras) and `annot_data.mat` (v7.3, which is HDF5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import refused
from trace_data.adapters.hdf5 import Hdf5Arrays, read_hdf5
from trace_data.adapters.matlab5 import matlab_shapes, read_matlab
from trace_data.adapters.mpi_inf_3dhp.facts import RECORDED, wrong
from trace_data.errors import AnnotationError
from trace_data.files import open_regular

Array = npt.NDArray[np.float64]

_AGAIN = "copy the file from the release again"
_TEST_KEYS = ("annot2", "annot3", "valid_frame", "synthetic")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MultiViewAnnotations:
    """Annotations of all cameras in one `annot.mat`. Arrays of a camera are checked on access."""

    file: Path
    frames: int
    cameras: tuple[int, ...]
    synthetic: bool
    cells: Mapping[str, Sequence[Any]]

    def of_camera(self, camera: int) -> tuple[Array, Array]:
        """(F, 28, 2) px and (F, 28, 3) metres of camera axes. Raises AnnotationError."""
        if camera not in self.cameras:
            raise wrong(self.file, "cameras", f"is {list(self.cameras)}", f"camera {camera} among them")
        place = self.cameras.index(camera)
        shaped = []
        for key, width in (("annot2", 2), ("annot3", 3)):
            cell = self.cells[key][place]
            array = numbers(self.file, f"{key}{{{place + 1}}}", cell, (self.frames, 28 * width))
            shaped.append(array.reshape(-1, 28, width))
        return shaped[0], shaped[1] / 1000


def read_annotations(file: Path) -> MultiViewAnnotations:
    """Read an `annot.mat`; the last one is cached, because it serves all cameras. Raises AnnotationError."""
    return _read_annotations(file, *_state(file))


def annotated_frames(file: Path) -> int:
    """The number of frames in an `annot.mat`, from its headers only. Raises AnnotationError."""
    _state(file)
    shapes = matlab_shapes(file, hint=_AGAIN)
    if "frames" not in shapes:
        raise wrong(file, "frames", "is missing", f"the keys of the release, found {', '.join(shapes)}")
    return math.prod(shapes["frames"])


def _state(file: Path) -> tuple[int, int]:
    try:
        state = file.stat()
        with open_regular(file):
            return state.st_mtime_ns, state.st_size
    except FileNotFoundError as error:
        raise AnnotationError("the annotation is missing", where=file, hint="get it again from the release") from error
    except OSError as error:
        raise refused(error, file) from error


@lru_cache(maxsize=1)
def _read_annotations(file: Path, changed: int, size: int) -> MultiViewAnnotations:
    names = ["annot2", "annot3", "cameras", "frames", "synthetic"]
    content = read_matlab(file, names, hint=_AGAIN)
    if lost := [name for name in names[:4] if name not in content]:
        raise wrong(file, ", ".join(lost), "missing", f"{', '.join(names[:4])} as in the release")
    frames = numbers(file, "frames", content["frames"], None).reshape(-1)
    if not np.array_equal(frames, np.arange(len(frames))):
        first = frames[0] if len(frames) else np.nan
        raise wrong(file, "frames", f"starts with {first:g} and has {len(frames)} entries", "0, 1, 2, …, one a frame")
    cameras = tuple(int(camera) for camera in numbers(file, "cameras", content["cameras"], None).reshape(-1))
    cells = {}
    for key in ("annot2", "annot3"):
        cell = content[key]
        if not isinstance(cell, np.ndarray) or cell.dtype != object or cell.size != len(cameras):
            kind = f"has type {getattr(cell, 'dtype', type(cell).__name__)} and shape {np.shape(cell)}"
            raise wrong(file, key, kind, f"a cell array of {RECORDED} cameras")
        cells[key] = list(cell.reshape(-1))
    return MultiViewAnnotations(
        file=file, frames=len(frames), cameras=cameras, synthetic="synthetic" in content, cells=cells
    )


def annotated_test_frames(file: Path) -> int:
    """The number of annotated frames in an `annot_data.mat`. Raises AnnotationError."""
    return int((_test_arrays(file)["valid_frame"] > 0).sum())


def _test_arrays(file: Path) -> Hdf5Arrays:
    _state(file)
    return read_hdf5(file, _TEST_KEYS, hint=_AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TestSetAnnotations:
    """Annotations of the N frames of an `annot_data.mat`."""

    points: Array
    """(N, 17, 2) px."""
    joints: Array
    """(N, 17, 3) metres of camera axes."""
    valid: npt.NDArray[np.bool_]
    """(N,) whether each frame is annotated."""
    synthetic: bool


def read_test_annotations(file: Path) -> TestSetAnnotations:
    """Read an `annot_data.mat`. Raises AnnotationError."""
    raw = _test_arrays(file)
    valid = numbers(file, "valid_frame", raw["valid_frame"], None).reshape(-1) > 0
    points = _by_frame(file, "annot2", raw["annot2"], len(valid), 2)
    joints = _by_frame(file, "annot3", raw["annot3"], len(valid), 3)
    for key, array in (("annot2", points), ("annot3", joints)):
        numbers(file, key, array[valid], None)  # invalid frames may contain anything
    return TestSetAnnotations(points=points, joints=joints / 1000, valid=valid, synthetic="synthetic" in raw)


def _by_frame(file: Path, key: str, value: npt.NDArray[Any], frames: int, width: int) -> Array:
    """(N, 17, width), whatever the order of axes in the file."""
    if value.shape[:2] == (width, 17):
        value = value.transpose()
    shapes = {(frames, 1, 17, width), (frames, 17, width)}
    if value.shape not in shapes:
        raise wrong(file, key, f"has shape {value.shape}", f"{frames} x 1 x 17 x {width}")
    array: Array = value.reshape(frames, 17, width).astype(np.float64)
    return array


def numbers(file: Path, key: str, value: Any, shape: tuple[int, ...] | None) -> Array:
    """`value` as finite float64 of `shape` (None: any). Raises AnnotationError that names `key`."""
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        found = "holds structs or cells" if array.dtype.kind == "O" else f"is of type {array.dtype}"
        raise wrong(file, key, found, "numbers")
    if shape is not None and array.shape != shape:
        raise wrong(file, key, f"has shape {array.shape}", " x ".join(map(str, shape)))
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        first = np.argwhere(~np.isfinite(array))[0].tolist()
        count = int((~np.isfinite(array)).sum())
        raise wrong(file, key, f"has {count} NaN or infinite values, first at {first}", "finite numbers")
    return array
