"""Writers of MPI-INF-3DHP's file formats; deterministic."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import scipy.io

from trace_data.files import atomic_write
from trace_data.sample_world.scene import SYNTHETIC

Array = npt.NDArray[np.float64]

_HEADER = b"MATLAB 5.0 MAT-file, trace sample world (synthetic)"
_HEADER_73 = b"MATLAB 7.3 MAT-file, trace sample world (synthetic)"


def write_calibration(file: Path, size: tuple[int, int], cameras: Mapping[int, tuple[Array, Array]]) -> None:
    """Write intrinsics (3, 3) px and camera_from_world (4, 4) metres of each camera in the release's format."""
    lines = ["Skeletool Camera Calibration File V1.0"]
    for number in sorted(cameras):
        intrinsics, extrinsics = np.eye(4), cameras[number][1].copy()
        intrinsics[:3, :3] = cameras[number][0]
        extrinsics[:3, 3] *= 1000
        lines += [
            f"name          {number}",
            "  sensor      10 10",
            f"  size        {size[0]} {size[1]}",
            "  animated    0",
            f"  intrinsic   {_row(intrinsics)} ",
            f"  extrinsic   {_row(extrinsics)} ",
            "  radial      0",
        ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="ascii")


def _row(matrix: Array) -> str:
    return " ".join(f"{value:.12g}" for value in matrix.reshape(-1))


def write_annotation(file: Path, points: Sequence[Array], joints: Sequence[Array]) -> None:
    """Write an `annot.mat`: per camera, points (F, 28, 2) px and joints (F, 28, 3) metres, camera frame."""
    frames = len(points[0])

    def cell(arrays: Sequence[Array]) -> npt.NDArray[np.object_]:
        made = np.empty((len(arrays), 1), object)
        for place, array in enumerate(arrays):
            made[place, 0] = array.reshape(frames, -1)
        return made

    content = {
        "annot2": cell(points),
        "annot3": cell([1000 * array for array in joints]),
        "univ_annot3": cell([950 * array for array in joints]),
        "cameras": np.arange(len(points), dtype=np.uint8)[None],
        "frames": np.arange(frames, dtype=np.int32)[:, None],
        "synthetic": SYNTHETIC,
    }
    buffer: Any = io.BytesIO()
    scipy.io.savemat(buffer, content, do_compression=True)
    # the header's text contains the time
    _write(file, _HEADER.ljust(116) + buffer.getvalue()[116:])


def write_test_annotation(file: Path, points: Array, joints: Array, valid: npt.NDArray[np.bool_]) -> None:
    """An `annot_data.mat` (v7.3): points (N, 17, 2) px, joints (N, 17, 3) metres of camera axes, valid (N,)."""
    frames = len(points)
    arrays = {
        "annot2": np.where(valid[:, None, None], points, 0.0)[:, None],
        "annot3": 1000 * np.where(valid[:, None, None], joints, 0.0)[:, None],
        "univ_annot3": 950 * np.where(valid[:, None, None], joints, 0.0)[:, None],
        "valid_frame": valid.astype(np.float64)[:, None],
        "activity_annotation": np.ones((frames, 1)),
        "bb_crop": np.zeros((34, frames)),
        "synthetic": np.frombuffer(SYNTHETIC.encode("utf-16-le"), np.uint16)[:, None],
    }
    with atomic_write(file) as partial:
        with h5py.File(partial, "w", userblock_size=512) as content:
            for name, array in arrays.items():
                dataset = content.create_dataset(name, data=array, track_times=False)
                dataset.attrs["MATLAB_class"] = np.bytes_("char" if name == "synthetic" else "double")
        with partial.open("r+b") as stream:
            stream.write(_HEADER_73.ljust(124) + b"\x00\x02IM")


def write_dictionaries(file: Path, **dictionaries: Mapping[str, Any]) -> None:
    """Write an .npz with each dictionary in a 0-d object array, as numpy does."""
    arrays: dict[str, Any] = {name: np.array(value, object) for name, value in dictionaries.items()}
    buffer = io.BytesIO()
    np.savez(buffer, synthetic=np.array(SYNTHETIC), **arrays)
    _write(file, buffer.getvalue())


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file."""
    _write(file, json.dumps(content).encode())


def _write(file: Path, data: bytes) -> None:
    with atomic_write(file) as partial:
        partial.write_bytes(data)
