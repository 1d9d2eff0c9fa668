"""3DPW, official release: `imageFiles/<seq>/image_00000.jpg` and `sequenceFiles/<split>/<seq>.pkl`.

Facts: fact sheet datasets.md, sections 2.3, 8 and 10. The image number is the row of the arrays; `img_frame_ids` are
ids of the 60 Hz recording and are not image numbers. Bodies and joints stand in the world frame.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import DatasetSpec, SequenceRef, dataset_folder
from trace_data.adapters.listing import Listing, is_folder, lacking, listing, near_name, numbered
from trace_data.errors import AnnotationError, AssetError
from trace_data.frames import image_size, read_bytes
from trace_data.safe_pickle import load_pickle
from trace_data.schema.body import BodyParams, Gender
from trace_data.schema.camera import Camera
from trace_data.schema.check import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split

SPEC = DatasetSpec(
    name="3dpw",
    folders=("3DPW", "3dpw", "pw3d"),
    splits=("train", "val", "test"),
    page="https://virtualhumans.mpi-inf.mpg.de/3DPW/",
    expected="3DPW/imageFiles/<seq>/image_00000.jpg and 3DPW/sequenceFiles/{train,validation,test}/<seq>.pkl",
)
FPS = 30.0
LAYOUT = "official (sequenceFiles)"
_SPLIT_FOLDER: dict[Split, str] = {"train": "train", "val": "validation", "test": "test"}
_GENDERS: dict[str, Gender] = {"m": "male", "f": "female", "n": "neutral"}
_IMAGE = re.compile(r"image_(\d{5})\.jpg")


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, by name. Raises DatasetLayoutError when folders are missing."""
    folder = _folder(root)
    annotations = folder / "sequenceFiles" / _SPLIT_FOLDER[split]
    if not is_folder(annotations):
        raise lacking(annotations.parent, annotations.name, hint=f"expected {SPEC.expected}")
    names = [name.removesuffix(".pkl") for name in listing(annotations).files if name.endswith(".pkl")]
    return [
        SequenceRef(
            dataset=SPEC.name,
            split=split,
            name=name,
            layout=LAYOUT,
            annotation=annotations / f"{name}.pkl",
            images=folder / "imageFiles" / name,
            frames=len(numbered(folder / "imageFiles" / name, _IMAGE)),
            reads=(annotations / f"{name}.pkl",),
        )
        for name in names
    ]


def inspect(root: Path) -> list[Finding]:
    """Image folders without annotation, annotations in two splits, gaps in image numbers, links that lead nowhere."""
    folder = _folder(root)
    refs = [ref for split in SPEC.splits for ref in find(root, split)]
    names = Counter(ref.name for ref in refs)
    held = listing(folder / "imageFiles")
    findings = [
        Finding(severity="error", key=name, what="the sequence is in more than one split")
        for name, count in sorted(names.items())
        if count > 1
    ]
    strays = tuple(name for name in held.folders if name not in names)
    findings += [
        Finding(
            severity="warning",
            key=f"imageFiles/{name}",
            what="images without annotation",
            hint="unpack sequenceFiles.zip again",
        )
        for name in strays
    ]
    for ref in refs:
        numbers = numbered(ref.images, _IMAGE)
        if not len(numbers):
            findings.append(_without_images(ref, held, strays))
        elif int(numbers[-1]) != len(numbers) - 1:
            gap = int(np.flatnonzero(numbers != np.arange(len(numbers)))[0])
            what = f"image_{gap:05d}.jpg is missing ({len(numbers)} images, last {numbers[-1]})"
            findings.append(Finding(severity="error", key=f"imageFiles/{ref.name}", what=what, hint="copy it again"))
    return findings


def _without_images(ref: SequenceRef, held: Listing, strays: tuple[str, ...]) -> Finding:
    """Why a sequence has no images: a broken link, an empty folder, another name, or nothing at all."""
    key = f"imageFiles/{ref.name}"
    if ref.name in held.broken:
        return Finding(severity="error", key=key, what=held.broken[ref.name], hint="copy the folder itself")
    near = near_name(ref.name, strays)
    if near is None:
        return Finding(severity="error", key=key, what="annotation without images", hint="unpack imageFiles.zip again")
    return Finding(
        severity="error",
        key=key,
        what=f"annotation without images, but imageFiles/{near} has no annotation",
        hint="a folder was renamed: give it the name of its sequence file again",
    )


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the world frame of the release. Raises AnnotationError with file, key, found and expected."""
    try:
        content = load_pickle(ref.annotation)
    except AssetError as error:
        raise AnnotationError(error.message, where=ref.annotation, hint=error.hint) from error
    if not isinstance(content, Mapping):
        raise AnnotationError(f"holds a {type(content).__name__}, expected a dict", where=ref.annotation)
    source = _Source(ref.annotation, content)
    if (name := _word(source.value("sequence"))) != ref.name:
        raise source.wrong("sequence", f"is {name!r}", f"{ref.name!r} as the file is called", "a file was renamed")
    poses = source.people("poses", (-1, 72))
    frames, people = len(poses[0]), len(poses)
    if frames == 0:
        raise source.wrong("poses", "has no frames", "at least one")
    camera = _camera(source, ref, frames)
    columns = {
        "trans": source.people("trans", (frames, 3), people),
        "joints": source.people("jointPositions", (frames, 72), people),
        "points": source.people("poses2d", (frames, 3, 18), people),
        "valid": source.people("campose_valid", (frames,), people),
    }
    synthetic = "synthetic" in content
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=tuple(ref.images / f"image_{number:05d}.jpg" for number in range(frames)),
        frame_ids=np.arange(frames, dtype=np.int64),
        fps=FPS,
        camera=camera,
        people=tuple(
            _person(source, ref, i, poses[i], {name: column[i] for name, column in columns.items()})
            for i in range(people)
        ),
        everyone_annotated=np.ones(frames, bool),
        world_valid=synthetic,
        world_reason=(
            "synthetic: camera and world are exact"
            if synthetic
            else "the camera moves and its extrinsics drift: world-frame motion is not supervised"
        ),
        provenance={
            "release": "synthetic sample world" if synthetic else "3DPW",
            "layout": LAYOUT,
            "adapter": "threedpw 1",
            "defects": "",
            "synthetic": "true" if synthetic else "false",
        },
    )


def _folder(root: Path) -> Path:
    folder = dataset_folder(SPEC, root, ("sequenceFiles", "imageFiles"))
    for part in ("sequenceFiles", "imageFiles"):
        if not is_folder(folder / part):
            raise lacking(folder, part, hint=f"unpack {part}.zip of {SPEC.page} there")
    return folder


def _word(value: Any) -> str:
    """Text however Python 2 stored it: str, bytes, 0-d array."""
    item = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    return item.decode("latin1") if isinstance(item, bytes) else str(item)


class _Source:
    """An annotation file's content, read key by key with everything checked."""

    def __init__(self, file: Path, content: Mapping[str, Any]) -> None:
        self.file = file
        self.content = content

    def wrong(self, key: str, found: str, expected: str, hint: str | None = None) -> AnnotationError:
        return AnnotationError(
            f"{key} {found}, expected {expected}",
            where=self.file,
            hint=hint or f"copy the file from the release again ({SPEC.page})",
        )

    def value(self, key: str) -> Any:
        if key not in self.content:
            raise self.wrong(key, "is missing", f"the keys of the release, found {', '.join(map(str, self.content))}")
        return self.content[key]

    def of_person(self, key: str, number: int) -> Any:
        """What the sequence under `key` holds for one person."""
        value = self.value(key)
        try:
            return value[number]
        except (TypeError, LookupError) as error:
            raise self.wrong(key, f"is a {type(value).__name__} without [{number}]", "one entry a person") from error

    def array(self, key: str, value: Any, shape: tuple[int, ...] | None) -> npt.NDArray[np.float64]:
        """`value` as float64 of `shape` (-1 = any length, None = any shape), finite."""
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise self.wrong(key, f"is no array of numbers ({error})", f"shape {shape or 'of any kind'}") from error
        if shape is None:
            shape = (-1,) * array.ndim
        if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape)):
            raise self.wrong(key, f"has shape {array.shape}", "x".join("n" if n < 0 else str(n) for n in shape))
        if not np.isfinite(array).all():
            first = np.argwhere(~np.isfinite(array))[0].tolist()
            raise self.wrong(key, f"has {int((~np.isfinite(array)).sum())} NaN or infinite values, first at {first}",
                             "finite numbers")  # fmt: skip
        return array

    def people(self, key: str, shape: tuple[int, ...], count: int | None = None) -> list[npt.NDArray[np.float64]]:
        """A list with one array a person."""
        value = self.value(key)
        if not isinstance(value, (list, tuple)) or (count is not None and len(value) != count) or not len(value):
            found = f"is a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")
            raise self.wrong(key, found, f"a list of {count or 'one or more'} people")
        return [self.array(f"{key}[{i}]", item, shape) for i, item in enumerate(value)]


def _camera(source: _Source, ref: SequenceRef, frames: int) -> Camera:
    extrinsics = source.array("cam_poses", source.value("cam_poses"), (frames, 4, 4))
    intrinsics = source.array("cam_intrinsics", source.value("cam_intrinsics"), (3, 3))
    numbers = numbered(ref.images, _IMAGE)
    if lost := np.setdiff1d(np.arange(frames), numbers).tolist():
        raise source.wrong(
            "poses",
            f"annotate {frames} frames",
            f"as many images in {ref.images}: it has {len(numbers)}, image_{lost[0]:05d}.jpg is missing",
            "images were lost, or they belong to another sequence: copy imageFiles again",
        )
    width, height = _frame_size(ref, frames)
    return Camera(width=width, height=height, intrinsics=intrinsics[None], camera_from_world=extrinsics, moving=True)


def _frame_size(ref: SequenceRef, frames: int) -> tuple[int, int]:
    """From the first whole image: broken ones are for whoever reads all images, so that all are found at once."""
    for number in range(frames):
        file = ref.images / f"image_{number:05d}.jpg"
        try:
            return image_size(read_bytes(file), file)
        except AnnotationError as error:
            broken = error
    raise broken


def _person(
    source: _Source,
    ref: SequenceRef,
    number: int,
    poses: npt.NDArray[np.float64],
    columns: Mapping[str, npt.NDArray[np.float64]],
) -> Person:
    frames = len(poses)
    letter = _word(source.of_person("genders", number))[:1].lower()
    if letter not in _GENDERS:
        raise source.wrong(f"genders[{number}]", f"is {letter!r}", "m or f")
    shape = source.array(f"betas[{number}]", source.of_person("betas", number), None).reshape(-1)
    if len(shape) < 10:
        raise source.wrong(f"betas[{number}]", f"has {len(shape)} coefficients", "10 or more")
    points = columns["points"].transpose(0, 2, 1)
    # a frame in which nobody was detected is all zeros; a lone zero confidence marks a missing joint
    seen = points[..., 2:] > 0
    points = np.where(seen, np.clip(points, None, (np.inf, np.inf, 1.0)), 0.0)
    trusted = columns["valid"] > 0
    joints = columns["joints"].reshape(frames, 24, 3)
    gender = _GENDERS[letter]
    return Person(
        name=str(number),
        gender=gender,
        present=trusted | seen.any(axis=(1, 2)),
        keypoints2d=Keypoints(layout="COCO_18", points=points),
        joints3d=Keypoints(
            layout="SMPL_24",
            points=np.where(trusted[:, None, None], np.concatenate([joints, np.ones((frames, 24, 1))], axis=2), 0.0),
        ),
        body=BodyParams(
            gender=gender,
            pose=poses.reshape(frames, 24, 3),
            betas=np.broadcast_to(shape[:10], (frames, 10)).copy(),
            translation=columns["trans"],
        ),
        body_valid=trusted,
    )
