"""Camera paths that other tools wrote: TUM, COLMAP text, nerfstudio, and our own result file.

Source: docs/reference/export.md#camera-path-files. Everything is returned as `camera_from_world` with camera axes x
right, y down, z forward, and intrinsics whose first pixel has its centre at (0, 0).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from trace_data.errors import TraceError
from trace_data.frames.image_sequence import natural
from trace_data.frames.lens_forms import LensForm, colmap_lenses, nerfstudio_lens
from trace_data.results.world_placement import rigid_inverse
from trace_data.text_files import content_of, parse_json

Array = npt.NDArray[np.float64]

LARGEST = 1 << 28
"""Bytes of a file that are read at most."""
_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_EXPECTED = (
    "expected a TUM file (t tx ty tz qx qy qz qw), a COLMAP folder with images.txt, a transforms.json of nerfstudio, "
    "or a result (*.trace.npz)"
)


class CameraFileError(TraceError):
    """A file with a camera path cannot be read, or does not fit the video."""

    exit_code = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CameraFile:
    """A camera path of n frames in its own world and unit of length."""

    source: Path
    kind: str
    """"tum", "colmap", "nerfstudio" or "result"."""
    time: Array | None
    """(n,) s, increasing; None where the file has no times: then there is one camera for each frame of the video."""
    camera_from_world: Array
    """(n, 4, 4)."""
    intrinsics: Array | None
    """(1 or n, 3, 3) px, or None."""
    image_size: tuple[int, int] | None
    """Width and height of the pictures that `intrinsics` belongs to, px; None where it is not known or varies."""
    distorted: bool
    """Whether the file has a lens distortion, which is ignored."""
    up: Array | None
    """(3,) unit vector in the file's world, where the file says it."""

    def __len__(self) -> int:
        return len(self.camera_from_world)


def read_camera_file(path: Path) -> CameraFile:
    """Read a camera path; its kind is known by its contents. Raises CameraFileError."""
    if path.is_dir():
        return _colmap(path)
    if path.name in ("images.txt", "cameras.txt"):
        return _colmap(path.parent)
    if path.suffix == ".npz":
        return _result(path)
    text = _text(path)
    return _nerfstudio(path, text) if text.lstrip()[:1] == "{" else _tum(path, text)


def _tum(path: Path, text: str) -> CameraFile:
    lines = _lines(text)
    if not lines:
        raise CameraFileError(f"has no camera; {_EXPECTED}", where=path)
    values = np.array([_numbers(path, number, line.replace(",", " ").split(), 8) for number, line in lines])
    for (number, _), later in zip(lines[1:], np.diff(values[:, 0]) > 0):
        if not later:
            raise CameraFileError("the time is not later than the one before", where=f"{path}:{number}")
    rotation = _rotations(values[:, 4:], [f"{path}:{number}" for number, _ in lines])
    return _file(path, "tum", time=values[:, 0], camera_from_world=rigid_inverse(_rigid(rotation, values[:, 1:4])))


def _colmap(folder: Path) -> CameraFile:
    images, cameras = folder / "images.txt", folder / "cameras.txt"
    if not images.is_file():
        binary = (folder / "images.bin").is_file()
        raise CameraFileError(
            "holds COLMAP's binary files, expected images.txt" if binary else f"has no images.txt; {_EXPECTED}",
            where=folder,
            hint="colmap model_converter --input_path . --output_path . --output_type TXT" if binary else None,
        )
    entries = []
    for number, line in _images(_text(images)):
        words = line.split(maxsplit=9)
        if len(words) < 10:
            raise CameraFileError(
                f"{len(words)} words, expected IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME", where=f"{images}:{number}"
            )
        entries.append((natural(Path(words[9])), words[8], _numbers(images, number, words[1:8], 7), number))
    if not entries:
        raise CameraFileError("has no image", where=images)
    entries.sort(key=lambda entry: entry[0])
    values = np.array([entry[2] for entry in entries])
    rotation = _rotations(values[:, [1, 2, 3, 0]], [f"{images}:{entry[3]}" for entry in entries])
    lenses = colmap_lenses(_text(cameras), cameras, CameraFileError) if cameras.is_file() else {}
    return _file(
        folder,
        "colmap",
        camera_from_world=_rigid(rotation, values[:, 4:]),
        lenses=[lenses.get(entry[1]) for entry in entries],
    )


def _images(text: str) -> Iterator[tuple[int, str]]:
    """The lines of images, without those of their 2D points: triples of numbers, or nothing, below each image."""
    points_follow = False
    for number, line in _lines(text):
        words = line.split()
        is_points = points_follow and len(words) % 3 == 0 and all(_NUMBER.fullmatch(word) for word in words)
        if not is_points:
            yield number, line
        points_follow = not is_points


_NUMBER = re.compile(r"[-+]?[0-9.]+(e[-+]?[0-9]+)?", re.IGNORECASE)


def _nerfstudio(path: Path, text: str) -> CameraFile:
    content = parse_json(text, where=path, error=CameraFileError)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise CameraFileError("has no `frames`, expected a transforms.json of nerfstudio", where=path)
    ordered = sorted(range(len(frames)), key=lambda k: natural(Path(_entry(path, frames[k], k, "file_path", str))))
    poses = [_pose(path, frames[k], k) for k in ordered]
    return _file(
        path,
        "nerfstudio",
        camera_from_world=rigid_inverse(np.array(poses) @ _OPENGL),
        lenses=[nerfstudio_lens(content | frames[k], f"{path}: frames[{k}]", CameraFileError) for k in ordered],
    )


def _pose(path: Path, entry: Any, index: int) -> Array:
    """(4, 4) world_from_camera, with OpenGL axes, of a frame."""
    where = f"{path}: frames[{index}]"
    try:
        given = np.array(_entry(path, entry, index, "transform_matrix", list), np.float64)
    except (ValueError, TypeError) as error:
        raise CameraFileError("transform_matrix is no matrix of numbers", where=where) from error
    if given.shape not in ((4, 4), (3, 4)) or not np.isfinite(given).all():
        raise CameraFileError(f"transform_matrix has shape {given.shape}, expected (4, 4), finite", where=where)
    matrix = np.eye(4)
    matrix[:3] = given[:3]
    turn = matrix[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0:
        raise CameraFileError("transform_matrix holds no rotation", where=where)
    return matrix


def _entry(path: Path, entry: Any, index: int, key: str, kind: type) -> Any:
    value = entry.get(key) if isinstance(entry, dict) else None
    if not isinstance(value, kind):
        raise CameraFileError(f"has no `{key}`", where=f"{path}: frames[{index}]")
    return value


def _result(path: Path) -> CameraFile:
    from trace_data.results.file import read_result

    result = read_result(path)
    width, height = result.image_size.tolist()
    lenses = [LensForm(matrix=matrix, size=(width, height), distorted=False) for matrix in result.intrinsics]
    return _file(
        path, "result", time=result.time, camera_from_world=result.camera_from_world, lenses=lenses, up=result.up
    )


def _file(
    source: Path,
    kind: str,
    *,
    camera_from_world: Array,
    time: Array | None = None,
    lenses: Sequence[LensForm | None] = (),
    up: Array | None = None,
) -> CameraFile:
    """`lenses`: of every frame, None where it is not known; one for all if they are the same."""
    known = [lens for lens in lenses if lens is not None]
    whole = bool(known) and len(known) == len(lenses)
    shared = whole and all(np.array_equal(lens.matrix, known[0].matrix) for lens in known)
    sizes = {lens.size for lens in known} if whole else set()
    size = sizes.pop() if len(sizes) == 1 else None
    return CameraFile(
        source=source,
        kind=kind,
        time=time,
        camera_from_world=camera_from_world,
        intrinsics=np.stack([lens.matrix for lens in (known[:1] if shared else known)]) if whole else None,
        image_size=None if size is None else (int(size[0]), int(size[1])),
        distorted=any(lens.distorted for lens in known),
        up=up,
    )


def _text(file: Path) -> str:
    try:
        return content_of(file, error=CameraFileError, limit_bytes=LARGEST).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise CameraFileError(f"does not exist; {_EXPECTED}", where=file) from error
    except UnicodeDecodeError as error:
        raise CameraFileError(f"is no text; {_EXPECTED}", where=file) from error


def _lines(text: str) -> list[tuple[int, str]]:
    """Numbers and contents of the lines that are neither empty nor comments."""
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [(number, line) for number, line in lines if line and not line.startswith("#")]


def _numbers(file: Path, line: int, words: Sequence[str], count: int | None) -> list[float]:
    """Finite numbers of a line, `count` of them."""
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        raise CameraFileError(f"is no line of numbers ({error}); {_EXPECTED}", where=f"{file}:{line}") from error
    if count is not None and len(values) != count:
        raise CameraFileError(f"{len(values)} numbers, expected {count}; {_EXPECTED}", where=f"{file}:{line}")
    if not np.isfinite(values).all():
        raise CameraFileError("a number is not finite", where=f"{file}:{line}")
    return values


def _rotations(quaternions: Array, places: Sequence[str]) -> Array:
    """Quaternions (n, 4) x y z w to rotations (n, 3, 3)."""
    for place, length in zip(places, np.linalg.norm(quaternions, axis=1)):
        if abs(length - 1) > 0.01:
            raise CameraFileError(f"the quaternion has length {length:.3g}, expected 1", where=place)
    rotations: Array = Rotation.from_quat(quaternions).as_matrix()
    return rotations


def _rigid(rotation: Array, translation: Array) -> Array:
    """(n, 4, 4)."""
    matrices = np.tile(np.eye(4), (len(rotation), 1, 1))
    matrices[:, :3, :3], matrices[:, :3, 3] = rotation, translation
    return matrices
