"""Motions in AMASS files: SMPL+H (`*_poses.npz`) and SMPL-X (`*_stageii.npz`), z up, at any rate.

Facts: docs/reference/further-datasets.md#amass. Whose motion it was, their gender and shape, is not read: pose and path
of the pelvis are what other bodies move with, and what a prior is fitted to.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, AssetError, ConfigError
from trace_data.geometry import axis_angle_from_matrix, matrix_from_axis_angle
from trace_data.unpickle.reader import load_npz, to_array

Array = npt.NDArray[np.float64]

ENDINGS = ("_poses.npz", "_stageii.npz")
"""Of the files that hold a motion, the body nearest to SMPL first. Others, as `shape.npz`, hold none."""
COLUMNS = {156: "SMPL+H", 165: "SMPL-X"}
"""Numbers of a frame's pose. Both begin with the root and 21 joints of the body, whose parents are SMPL's."""
BODY = 22
"""Joints taken over; SMPL's other two, the hands, have no counterpart and stay at rest."""
RATES = ("mocap_framerate", "mocap_frame_rate")
"""The two names of the rate."""
EDGE = 1.0
"""Seconds at either end of a file in which people stand with their arms out to be calibrated: not used."""
USUAL_RATES = (1.0, 1000.0)
"""Frames a second."""
FARTHEST, MOST_TURNED = 1000.0, 30.0
"""Metres from the origin, and radians about an axis, that a frame has at most."""
Y_UP_FROM_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_AGAIN = "unpack the archive again, or leave this file out of the folder"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """N >= 2 frames of a recorded motion. World: metres, y up."""

    rate: float
    """Frames a second."""
    pose: Array
    """(N, 24, 3) axis-angle, radians; the root is the orientation in the world, the hands (22, 23) are at rest."""
    path: Array
    """(N, 3) the pelvis, but for a constant: where it is in the body at rest, only the body model knows."""

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return (len(self.path) - 1) / self.rate

    def at(self, times: Array) -> tuple[Array, Array]:
        """Joint rotations (T, 24, 3, 3) and path (T, 3) at `times` (T) seconds from the first frame.

        Between two frames a joint turns evenly about one axis, and the path is straight.
        """
        place = np.clip(times * self.rate, 0, len(self.path) - 1)
        before = np.minimum(place.astype(np.int64), len(self.path) - 2)
        share = place - before
        begin, end = (matrix_from_axis_angle(self.pose[frames]) for frames in (before, before + 1))
        way = axis_angle_from_matrix(np.swapaxes(begin, -1, -2) @ end)
        rotations: Array = begin @ matrix_from_axis_angle(share[:, None, None] * way)
        path: Array = self.path[before] + share[:, None] * (self.path[before + 1] - self.path[before])
        return rotations, path


def motion_files(folder: Path) -> list[Path]:
    """The files below a folder that hold a motion, sorted; linked folders are entered.

    Of a motion that is there for both bodies, SMPL+H's file. Raises ConfigError when there is none, OSError.
    """
    found: dict[Path, Path] = {}
    been: set[Path] = set()
    for here, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        place = Path(here)
        if place.resolve() in been:  # a link that leads back
            folders.clear()
            continue
        been.add(place.resolve())
        for ending in ENDINGS:
            for name in names:
                if name.lower().endswith(ending) and not name.startswith("._"):
                    found.setdefault(place / name[: -len(ending)], place / name)
    if not found:
        raise ConfigError(
            f"holds no motion, expected files of AMASS called {' or '.join('*' + ending for ending in ENDINGS)}",
            where=folder,
            hint="unpack an archive of AMASS into it (SMPL+H or SMPL-X): trace docs datasets/amass",
        )
    return sorted(found.values())


def fingerprint(files: Sequence[Path], folder: Path) -> str:
    """A hash of the names and sizes of files below a folder."""
    content = "\n".join(f"{file.relative_to(folder).as_posix()} {file.stat().st_size}" for file in files)
    return sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def _refuse(error: OSError) -> NoReturn:
    raise error


def read_amass(file: Path) -> Recording:
    """The motion in a file. Raises AnnotationError."""
    try:
        held = load_npz(file, only=("poses", "trans", *RATES))
        if lost := [key for key in ("poses", "trans") if key not in held]:
            raise AnnotationError(f"has no {', '.join(lost)}", where=file, hint=_AGAIN)
        poses = to_array(held["poses"], name="poses", shape=(None, None), where=file)
        if poses.shape[1] not in COLUMNS:
            known = " or ".join(f"{columns} ({body})" for columns, body in COLUMNS.items())
            raise AnnotationError(f"poses has {poses.shape[1]} columns, expected {known}", where=file, hint=_AGAIN)
        if len(poses) < 2:
            raise AnnotationError(f"poses has {len(poses)} frames, expected 2 or more", where=file, hint=_AGAIN)
        trans = to_array(held["trans"], name="trans", shape=(len(poses), 3), where=file)
        for name, values, most in (("poses", poses, MOST_TURNED), ("trans", trans, FARTHEST)):
            if (found := float(np.abs(values).max())) > most:
                unit, hint = ("radians", "degrees") if name == "poses" else ("metres", "millimetres")
                what = f"{name} goes to {found:,.0f}, expected {unit}, {most:,.0f} at most"
                raise AnnotationError(what, where=file, hint=f"{hint} taken for {unit}, or broken: leave the file out")
        rate = _rate(held, file)
    except AssetError as error:
        raise AnnotationError(error.message, where=error.where or file, hint=_AGAIN) from error
    pose = np.zeros((len(poses), 24, 3))
    pose[:, :BODY] = poses[:, : 3 * BODY].reshape(-1, BODY, 3)
    pose[:, 0] = axis_angle_from_matrix(Y_UP_FROM_Z_UP @ matrix_from_axis_angle(pose[:, 0]))
    return Recording(rate=rate, pose=pose, path=trans @ Y_UP_FROM_Z_UP.T)


def _rate(held: dict[str, npt.NDArray[Any]], file: Path) -> float:
    rates = {name: to_array(held[name], name=name, where=file).ravel().tolist() for name in RATES if name in held}
    found = {rate for values in rates.values() for rate in values}
    low, high = USUAL_RATES
    if len(found) != 1 or not low <= min(found) <= high:
        said = ", ".join(f"{name} {values}" for name, values in rates.items()) or f"no {' or '.join(RATES)}"
        raise AnnotationError(f"has {said}, expected one rate, {low:g} to {high:,g}", where=file, hint=_AGAIN)
    return float(found.pop())
