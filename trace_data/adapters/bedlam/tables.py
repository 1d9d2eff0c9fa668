"""The two tables of a scene: who stands where (`be_seq.csv`), and the camera of each frame.

Positions are in centimetres and angles in degrees, in the axes of the renderer: X forward, Y right, Z up
(docs/reference/further-datasets.md#bedlam-scene-description).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import Stamp, refused, stamp
from trace_data.errors import AnnotationError
from trace_data.text_files import content_of

SYNTHETIC = "trace sample world"
"""Begins the free comment of a scene that was drawn by `make-sample`; its `width` and `height` follow."""
SIZE = (1280, 720)
"""Width and height, px, of the renderer's frames, before portrait ones are set upright."""
AGAIN = "unpack <scene>_gt.tar.gz again"
_BODIES = ("Type", "Body", "X", "Y", "Z", "Yaw", "Pitch", "Roll", "Comment")
_CAMERA = ("x", "y", "z", "yaw", "pitch", "roll", "focal_length", "sensor_width", "sensor_height", "hfov")
_MOST_BYTES = 1 << 28


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRow:
    """One person of a sequence."""

    subject: str
    animation: str
    position: tuple[float, float, float]
    """X, Y, Z, cm."""
    yaw: float
    """Degrees."""
    start: int
    """Row of the motion that is shown in frame 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSequence:
    """One sequence of a scene."""

    frames: int
    bodies: tuple[BodyRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTable:
    """The content of `be_seq.csv`."""

    sequences: Mapping[str, SceneSequence]
    size: tuple[int, int]
    """Width and height of the renderer's frames, px."""
    synthetic: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraTable:
    """The camera of a sequence over T frames, as written."""

    position: npt.NDArray[np.float64]
    """(T, 3) X, Y, Z, cm."""
    yaw: npt.NDArray[np.float64]
    pitch: npt.NDArray[np.float64]
    roll: npt.NDArray[np.float64]
    """(T,) degrees."""
    focal: npt.NDArray[np.float64]
    """(T,) mm."""
    sensor: npt.NDArray[np.float64]
    """(T, 2) width and height of the sensor, mm, of the camera as it stands: in portrait scenes on its side."""
    hfov: npt.NDArray[np.float64]
    """(T,) degrees over the sensor's width, rounded."""


def scene_table(file: Path) -> SceneTable:
    """The scene's people, read once per process while the file stays as it is. Raises AnnotationError."""
    return _scene_table(file, stamp(file))


@lru_cache(maxsize=64)
def _scene_table(file: Path, _: Stamp) -> SceneTable:
    size, synthetic = SIZE, False
    name = ""
    frames: dict[str, int] = {}
    bodies: dict[str, list[BodyRow]] = {}
    for where, row in _rows(file, _BODIES):
        remark = _comment(row["Comment"])
        if row["Type"] == "Comment" and row["Comment"].startswith(SYNTHETIC):
            synthetic = True
            size = (_whole(remark, "width", where), _whole(remark, "height", where))
        elif row["Type"] == "Group":
            name = remark.get("sequence_name", "")
            if not re.fullmatch(r"[\w.-]+", name) or name in frames:
                what = f"sequence_name is {name!r}, expected a name of its own"
                raise AnnotationError(what, where=where, hint=AGAIN)
            frames[name], bodies[name] = _whole(remark, "frames", where), []
            if frames[name] < 1:
                raise AnnotationError(f"frames is {frames[name]}, expected 1 or more", where=where, hint=AGAIN)
        elif row["Type"] == "Body":
            if not name:
                raise AnnotationError("a Body before the first Group", where=where, hint=AGAIN)
            bodies[name].append(_body(row, remark, where))
        elif row["Type"] != "Comment":
            what = f"Type is {row['Type']!r}, expected Comment, Group or Body"
            raise AnnotationError(what, where=where, hint=AGAIN)
    sequences = {name: SceneSequence(frames=frames[name], bodies=tuple(bodies[name])) for name in frames}
    return SceneTable(sequences=sequences, size=size, synthetic=synthetic)


def _body(row: Mapping[str, str], remark: Mapping[str, str], where: str) -> BodyRow:
    subject, _, animation = row["Body"].rpartition("_")
    if not re.fullmatch(r"[\w-]+", subject) or not re.fullmatch(r"\w+", animation):  # they name files
        raise AnnotationError(f"Body is {row['Body']!r}, expected <subject>_<animation>", where=where, hint=AGAIN)
    x, y, z, yaw = (_number(row, key, where) for key in ("X", "Y", "Z", "Yaw"))
    for key in ("Pitch", "Roll"):
        if row[key] and _number(row, key, where) != 0:
            what = f"{key} is {row[key]}, expected 0: bodies stand upright"
            raise AnnotationError(what, where=where, hint="of a release that is not known here")
    start = _whole(remark, "start_frame", where) if "start_frame" in remark else 0
    return BodyRow(subject=subject, animation=animation, position=(x, y, z), yaw=yaw, start=start)


def camera_table(file: Path, sequence: str, frames: int) -> CameraTable:
    """The camera of a sequence of so many frames. Raises AnnotationError."""
    values = []
    for number, (where, row) in enumerate(_rows(file, ("name", *_CAMERA))):
        expected = f"{sequence}_{number:04d}"
        if row["name"].rpartition(".")[0] != expected:
            what = f"name is {row['name']!r}, expected {expected}.png"
            raise AnnotationError(what, where=where, hint=f"rows of another sequence, or a lost one: {AGAIN}")
        values.append([_number(row, key, where) for key in _CAMERA])
    if len(values) != frames:
        what = f"has {len(values)} rows, {frames} frames are in be_seq.csv"
        raise AnnotationError(what, where=file, hint=AGAIN)
    table = np.array(values)
    if (table[:, 6:] <= 0).any():
        odd = int((table[:, 6:] <= 0).any(axis=1).argmax())
        raise AnnotationError(f"focal length or sensor of frame {odd} is not positive", where=file, hint=AGAIN)
    return CameraTable(
        position=table[:, :3], yaw=table[:, 3], pitch=table[:, 4], roll=table[:, 5], focal=table[:, 6],
        sensor=table[:, 7:9], hfov=table[:, 9],
    )  # fmt: skip


def _rows(file: Path, columns: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Each row with its place, cells without blanks around them. Raises AnnotationError."""
    try:
        text = content_of(file, error=AnnotationError, limit_bytes=_MOST_BYTES).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise refused(error, file) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"byte {error.start:,} is not UTF-8 text", where=file, hint=AGAIN) from error
    if "\0" in text:
        raise AnnotationError("holds zero bytes, expected a table", where=file, hint=AGAIN)
    lines = csv.reader(text.splitlines())
    try:
        header = [cell.strip() for cell in next(lines, [])]
        if lost := [name for name in columns if name not in header]:
            raise AnnotationError(f"has no column {', '.join(lost)}", where=file, hint=AGAIN)
        for cells in lines:
            where = f"{file} line {lines.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(header):
                raise AnnotationError(f"has {len(cells)} cells, expected {len(header)}", where=where, hint=AGAIN)
            yield where, {name: cell.strip() for name, cell in zip(header, cells)}
    except csv.Error as error:
        raise AnnotationError(f"cannot be read as CSV: {error}", where=file, hint=AGAIN) from error


def _comment(text: str) -> dict[str, str]:
    """The values in `key=value;key=value`."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def _number(row: Mapping[str, str], key: str, where: str) -> float:
    try:
        value = float(row[key])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{key} is {row[key]!r}, expected a number", where=where, hint=AGAIN)
    return value


def _whole(remark: Mapping[str, str], key: str, where: str) -> int:
    text = remark.get(key, "")
    if not re.fullmatch(r"\d{1,9}", text):
        raise AnnotationError(f"{key} is {text!r}, expected a whole number", where=where, hint=AGAIN)
    return int(text)
