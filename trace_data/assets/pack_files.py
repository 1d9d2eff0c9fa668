"""The pack file (docs/reference/assets.md#packed-files): layout, atomic writing, checked reading."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.assets.raw_body import BETAS, FACES, JOINTS, POSE_FEATURES, VERTICES
from trace_data.errors import AssetError, OutputError
from trace_data.files import atomic_write, open_regular
from trace_data.os_errors import in_words
from trace_data.schema.body import GENDERS
from trace_data.schema.keypoints import SMPL_PARENTS

EXTRA_JOINTS = (
    332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787,
    2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133,
)  # fmt: skip
"""Vertices of nose, eyes, ears, feet (these 11 are used) and finger tips
(docs/reference/assets.md#extra-vertex-joints)."""
LAYOUT: dict[str, tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]] = {
    "kintree_table": (((JOINTS,),), ("int64",)),
    "J_regressor_extra9": (((9, VERTICES),), ("float32",)),
    "J_regressor_h36m17": (((17, VERTICES),), ("float32",)),
    "shapedirs": (((VERTICES, 3, BETAS),), ("float32",)),
    "posedirs": (((POSE_FEATURES, 3 * VERTICES),), ("float32",)),
    "extra_joints_index": (((21,), (11,)), ("int64",)),
    "f": (((FACES, 3),), ("float32", "int64")),
    "v_template": (((VERTICES, 3),), ("float32",)),
    "J_regressor": (((JOINTS, VERTICES),), ("float32",)),
    "weights": (((VERTICES, JOINTS),), ("float32",)),
}
"""Accepted shapes and types of each key; the first of each is written."""
KID_DIRECTIONS = ("smpla_shapedirs", (VERTICES, 3, BETAS + 1))
"""The eleventh array of an `SMPLA_*.pth`."""

Arrays = dict[str, npt.NDArray[Any]]


def load_pack(path: Path) -> Arrays:
    """The arrays of a pack, made by this project or by the published packer, by key.

    Only tensors are loaded (`weights_only`). Raises AssetError with the command that prepares the pack when it is
    missing, damaged, or differs from `LAYOUT`.
    """
    arrays = read_arrays(path)
    for problem in content_problems(arrays):
        raise AssetError(problem, where=path, hint=f"prepare it again: {_command(path)}")
    return arrays


def same_pack(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> bool | None:
    """Whether the file holds exactly these arrays; None when there is none. Raises OutputError when inaccessible."""
    try:
        path.stat()
        existing = read_arrays(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OutputError(f"cannot be read: {error.strerror}", where=path, hint="give another --out") from error
    except AssetError:
        return False
    return list(existing) == list(arrays) and all(
        existing[key].dtype == value.dtype and np.array_equal(existing[key], value) for key, value in arrays.items()
    )


def pack_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """The file content: `torch.save` of a flat dict of CPU tensors, the same bytes for the same arrays."""
    import torch

    # saved to memory, because torch writes the file's name into the file
    buffer = io.BytesIO()
    torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, buffer)
    return buffer.getvalue()


def write_file(path: Path, content: bytes, *, option: str) -> None:
    """Write a file, whole or not at all. Raises OutputError when the folder or disk does not take it.

    `option`: the command-line option for another location, for the hint.
    """
    try:
        with atomic_write(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OutputError(
            f"cannot be written: {error.strerror or error}",
            where=path,
            hint=f"free some space or give another {option}",
        ) from error


def read_arrays(path: Path) -> Arrays:
    """The tensors of a pack as arrays, unchecked. Raises AssetError when the file is no pack at all."""
    import torch

    try:
        with open_regular(path) as stream:
            loaded = torch.load(stream, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise AssetError("the pack does not exist", where=path, hint=f"prepare it: {_command(path)}") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise AssetError(
            f"cannot be read as a pack: {_reason(error)}", where=path, hint=f"prepare it again: {_command(path)}"
        ) from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise AssetError("holds no dictionary of tensors", where=path, hint=f"prepare it again: {_command(path)}")
    try:
        return {str(key): value.contiguous().numpy() for key, value in loaded.items()}
    except (TypeError, RuntimeError) as error:  # sparse, quantised or of a type that NumPy lacks
        raise AssetError(
            f"holds tensors of another kind: {error}", where=path, hint=f"prepare it again: {_command(path)}"
        ) from error


def _reason(error: Exception) -> str:
    # torch's messages are long, and for files that are not torch's they are arbitrary
    if isinstance(error, OSError):
        return in_words(error)[0]
    if isinstance(error, (KeyError, EOFError, ValueError)):
        return "torch.save did not write it"
    return str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__


def layout_problems(arrays: Arrays) -> list[str]:
    """Differences from `LAYOUT` in keys, shapes or types."""
    missing = [key for key in LAYOUT if key not in arrays]
    if missing:
        return [f"lacks {', '.join(missing)}"]
    wrong = [
        f"{key} is {array.dtype} of shape {array.shape}, expected {types[0]} of shape {shapes[0]}"
        for key, (shapes, types) in LAYOUT.items()
        if (array := arrays[key]).shape not in shapes or str(array.dtype) not in types
    ]
    kid, kid_shape = KID_DIRECTIONS
    if kid in arrays and arrays[kid].shape != kid_shape:
        wrong.append(f"{kid} has shape {arrays[kid].shape}, expected {kid_shape}")
    return wrong


def content_problems(arrays: Arrays) -> list[str]:
    """Problems of layout or content, the most basic first."""
    if wrong := layout_problems(arrays):
        return wrong
    wrong = [f"{key} has values that are not finite" for key, array in arrays.items() if not np.isfinite(array).all()]
    return wrong or _wrong_values(arrays)


def _wrong_values(arrays: Arrays) -> list[str]:
    wrong = []
    if tuple(arrays["kintree_table"]) != SMPL_PARENTS:
        wrong.append(f"kintree_table is {arrays['kintree_table'].tolist()}, expected {list(SMPL_PARENTS)}")
    for key in ("f", "extra_joints_index"):
        ids = arrays[key]
        if ids.min() < 0 or ids.max() >= VERTICES or not np.array_equal(ids, np.rint(ids)):
            wrong.append(f"{key} names vertices that do not exist")
    if np.abs(arrays["weights"].sum(axis=1) - 1).max() > 1e-3 or arrays["weights"].min() < -1e-6:
        wrong.append("weights do not sum to one over the joints")
    if np.abs(arrays["J_regressor"].sum(axis=1) - 1).max() > 1e-3:
        wrong.append("J_regressor has rows that do not sum to one")
    kid, _ = KID_DIRECTIONS
    if kid in arrays and not np.array_equal(arrays[kid][..., :BETAS], arrays["shapedirs"]):
        wrong.append(f"{kid} does not extend shapedirs")
    return wrong


def _command(path: Path) -> str:
    if "smil" in path.name.lower():
        return "trace prepare-smil"
    gender = path.stem.rpartition("_")[2].lower()
    return f"trace prepare-smpl --gender {gender if gender in GENDERS else 'all'}"
