"""Bodies of NeuralAnnot from `MPI-INF-3DHP_SMPL_NeuralAnnot.json`, if present: SMPL in the calibration's world.

SMPL-X fits are not read: they use another body model, and a record cannot store a root rotation alone.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import load_json
from trace_data.adapters.listing import entry
from trace_data.adapters.mpi_inf_3dhp.facts import wrong
from trace_data.schema.body import BodyParams

SMPL_FILE = "MPI-INF-3DHP_SMPL_NeuralAnnot.json"
SMPLX_FILE = "MPI-INF-3DHP_SMPLX_NeuralAnnot.json"
URL = "https://github.com/mks0601/NeuralAnnot_RELEASE"
_WIDTHS = {"pose": 72, "shape": 10, "trans": 3}


def find_bodies(places: list[Path], name: str = SMPL_FILE) -> Path | None:
    """The file of fits in one of the folders, or in their `annotations/`."""
    for place in places:
        for folder in (place, place / "annotations", place / "NeuralAnnot"):
            if (file := entry(folder, name)) is not None:
                return file
    return None


def bodies_of(
    places: list[Path], subject: int, sequence: int, rows: list[int]
) -> tuple[BodyParams, npt.NDArray[np.bool_]] | None:
    """The bodies of annotation rows (counted from 0) and their mask; None without a file or any fit.

    Raises AnnotationError if the file is invalid.
    """
    file = find_bodies(places)
    if file is None:
        return None
    state = file.stat()
    fits = _fits(file, state.st_mtime_ns, state.st_size).get(str(subject), {})
    frames = fits.get(str(sequence), {}) if isinstance(fits, dict) else {}
    if not isinstance(frames, dict):
        raise wrong(file, f"[{subject}][{sequence}]", f"is a {type(frames).__name__}", "an object with frame numbers")
    values = np.zeros((len(rows), sum(_WIDTHS.values())))
    known = np.zeros(len(rows), bool)
    for i, row in enumerate(rows):
        fit = frames.get(str(row + 1))  # frames are counted from 1
        if fit is None:
            continue
        if not isinstance(fit, np.ndarray) or fit.shape != values[i].shape or not np.isfinite(fit).all():
            key = f"[{subject}][{sequence}][{row + 1}]"
            raise wrong(file, key, "is not a fit", "pose of 72, shape of 10 and trans of 3 finite numbers")
        values[i], known[i] = fit, True
    if not known.any():
        return None
    body = BodyParams(
        gender="neutral",
        pose=values[:, :72].reshape(-1, 24, 3),
        betas=values[:, 72:82].copy(),
        translation=values[:, 82:].copy(),
    )
    return body, known


@lru_cache(maxsize=1)
def _fits(file: Path, changed: int, size: int) -> dict[str, Any]:
    """Subject, sequence and frame to the 85 numbers of a fit; a few hundred bytes per frame."""
    content = load_json(file, each=_compact, hint=f"get it from {URL}")
    if not isinstance(content, dict):
        raise wrong(file, "the file", f"holds a {type(content).__name__}", "an object", f"get it from {URL}")
    return content


def _compact(entry: dict[str, Any]) -> Any:
    """Convert a fit to one array as it is read; invalid ones are kept and reported when their frame is used."""
    if not _WIDTHS.keys() <= entry.keys():
        return entry
    try:
        return np.concatenate([np.asarray(entry[name], np.float64).reshape(-1) for name in _WIDTHS])
    except (TypeError, ValueError):
        return entry
