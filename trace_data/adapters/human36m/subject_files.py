"""The JSON files of a subject, parsed once and stored as arrays per clip.

`Human36M_subject{n}_{joint_3d,SMPL_NeuralAnnot}.json` are nested by action (2 to 16), subaction (1, 2) and 0-based
frame; `_data.json` lists images and their boxes; `_camera.json` the cameras 1 to 4. Facts:
docs/reference/datasets.md#human36m-re-packaged-files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.files import load_json
from trace_data.adapters.human36m.facts import AGAIN, file_state, numbers
from trace_data.adapters.listing import entry
from trace_data.errors import AnnotationError
from trace_data.schema.body import BodyParams
from trace_data.text_files import Each

Array = npt.NDArray[np.float64]
Clip = tuple[int, int]
"""Numbers of action and subaction."""
IMAGE = re.compile(
    r"(s_(?P<subject>\d\d)_act_(?P<action>\d\d)_subact_(?P<subaction>\d\d)_ca_(?P<camera>\d\d))_(?P<number>\d{6})\.jpe?g",
    re.IGNORECASE,
)
"""Name of an image; the number counts from 1."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameValues:
    """Values for some frames of a clip."""

    frames: npt.NDArray[np.int64]
    """(N,) frame numbers from 0, ascending."""
    values: Array
    """(N, …)."""

    def over(self, frame_ids: npt.NDArray[np.int64]) -> tuple[Array, npt.NDArray[np.bool_]]:
        """Values (T, …) of the requested frames, zero where missing, and their mask (T,)."""
        place = np.searchsorted(self.frames, frame_ids).clip(max=len(self.frames) - 1)
        known = self.frames[place] == frame_ids
        return np.where(known.reshape(-1, *(1,) * (self.values.ndim - 1)), self.values[place], 0.0), known


def subject_file(folder: Path, subject: int, *kinds: str) -> Path | None:
    """The first existing kind of file of a subject, in `annotations/` or in the dataset's folder."""
    for place in (entry(folder, "annotations", "annotation", "annots"), folder):
        if place is not None and place.is_dir():
            file = entry(place, *(f"Human36M_subject{subject}_{kind}.json" for kind in kinds))
            if file is not None:
                return file
    return None


def joints(file: Path) -> dict[Clip, FrameValues]:
    """World joints (N, 17, 3) in mm. Raises AnnotationError."""
    return _joints(file_state(file))


@lru_cache(maxsize=2)
def _joints(state: tuple[str, int, int]) -> dict[Clip, FrameValues]:
    file = Path(state[0])
    return _clips(file, (17, 3), lambda frame: frame)


def bodies(file: Path) -> dict[Clip, FrameValues]:
    """SMPL parameters (N, 85): pose, shape, translation. Raises AnnotationError."""
    return _bodies(file_state(file))


@lru_cache(maxsize=2)
def _bodies(state: tuple[str, int, int]) -> dict[Clip, FrameValues]:
    file = Path(state[0])
    return _clips(
        file, (85,), lambda frame: np.concatenate([np.ravel(frame[key]) for key in ("pose", "shape", "trans")])
    )


def body_over(file: Path | None, clip: Clip, frame_ids: npt.NDArray[np.int64]) -> tuple[BodyParams | None, Any]:
    """The body (neutral model, world) of the requested frames and its mask (T,); None without any."""
    nothing = np.zeros(len(frame_ids), bool)
    rows = None if file is None else bodies(file).get(clip)
    if rows is None or not len(rows.frames):
        return None, nothing
    values, known = rows.over(frame_ids)
    if not known.any():
        return None, nothing
    body = BodyParams(
        gender="neutral",
        pose=values[:, :72].reshape(-1, 24, 3),
        betas=values[:, 72:82],
        translation=values[:, 82:],
    )
    return body, known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """Boxes and image sizes of a clip."""

    centres: FrameValues
    """Middles (N, 2) of the boxes around its projected joints, px."""
    sizes: frozenset[tuple[int, int]]
    """Widths and heights of its images, px; empty if unknown."""


def listed_images(file: Path) -> dict[str, Listed]:
    """Content by clip (folder name in lower case). Raises AnnotationError."""
    return _listed_images(file_state(file))


@lru_cache(maxsize=1)
def _listed_images(state: tuple[str, int, int]) -> dict[str, Listed]:
    file = Path(state[0])
    content = load(file, _smaller)
    found: dict[str, dict[int, list[float]]] = {}
    sizes: dict[str, set[tuple[int, int]]] = {}
    try:
        for image in content["images"]:
            match = IMAGE.fullmatch(str(image["file_name"]).replace("\\", "/").split("/")[-1])
            if match is not None and "width" in image and "height" in image:
                sizes.setdefault(match[1].lower(), set()).add((int(image["width"]), int(image["height"])))
        names = {image["id"]: str(image["file_name"]).replace("\\", "/").split("/")[-1] for image in content["images"]}
        for entry in content["annotations"]:
            if (match := IMAGE.fullmatch(names[entry["image_id"]])) is not None:
                left, top, width, height = entry["bbox"]
                middle = [left + width / 2, top + height / 2]
                found.setdefault(match[1].lower(), {})[int(match["number"]) - 1] = middle
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"images or annotations are malformed: {error!r}", where=file, hint=AGAIN) from error
    return {
        clip: Listed(centres=_rows(frames, (2,), f"bbox of {clip}", file), sizes=frozenset(sizes.get(clip, ())))
        for clip, frames in found.items()
    }


def _smaller(entry: dict[str, Any]) -> dict[str, Any]:
    """Keep only name and size of images and boxes of annotations: a subject has nearly half a million of each."""
    for wanted in (("id", "file_name", "width", "height"), ("image_id", "bbox")):
        if wanted[1] in entry:
            return {key: entry[key] for key in wanted if key in entry}
    return entry


def load(file: Path, each: Each | None = None) -> dict[str, Any]:
    """The object in a JSON file, with every nested object replaced by `each`. Raises AnnotationError."""
    content = load_json(file, each=each, hint=AGAIN)
    if not isinstance(content, dict):
        raise AnnotationError(f"holds a {type(content).__name__}, expected an object", where=file, hint=AGAIN)
    return content


def _clips(file: Path, shape: tuple[int, ...], value: Callable[[Any], Any]) -> dict[Clip, FrameValues]:
    clips = {}
    for action, subactions in load(file).items():
        for subaction, frames in _items(subactions, f"[{action}]", file):
            key = f"[{action}][{subaction}]"
            try:
                clip = int(action), int(subaction)
                held = {int(frame): value(content) for frame, content in _items(frames, key, file)}
            except (KeyError, TypeError, ValueError) as error:
                raise AnnotationError(f"{key} is malformed: {error!r}", where=file, hint=AGAIN) from error
            clips[clip] = _rows(held, shape, key, file)
    return clips


def _items(value: Any, key: str, file: Path) -> Any:
    if not isinstance(value, dict):
        raise AnnotationError(f"{key} is a {type(value).__name__}, expected an object", where=file, hint=AGAIN)
    return value.items()


def _rows(held: dict[int, Any], shape: tuple[int, ...], key: str, file: Path) -> FrameValues:
    frames = sorted(held)
    values = [held[frame] for frame in frames]
    return FrameValues(np.array(frames, np.int64), numbers(values or np.zeros((0, *shape)), (-1, *shape), key, file))
