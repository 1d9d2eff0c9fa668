"""The packed training layout of the published code: `annots_video.npz` and `video_frames/S?_Seq?_video_?/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.adapters.base import SequenceRef
from trace_data.adapters.files import Stamp, stamp
from trace_data.adapters.listing import entry, why_empty
from trace_data.adapters.mpi_inf_3dhp.assembly import CameraSequence, assemble, compare_cameras
from trace_data.adapters.mpi_inf_3dhp.facts import CAMERAS, SPEC, fps_of, split_of, wrong
from trace_data.adapters.mpi_inf_3dhp.folders import children
from trace_data.adapters.mpi_inf_3dhp.matlab import numbers
from trace_data.adapters.mpi_inf_3dhp.neural_annot import bodies_of, find_bodies
from trace_data.adapters.mpi_inf_3dhp.official import SAMPLED, numbers_of
from trace_data.adapters.mpi_inf_3dhp.packed_files import read_packed
from trace_data.adapters.mpi_inf_3dhp.pictures import count_images, frame_size, numbered_images
from trace_data.adapters.packed_rows import PackedRows
from trace_data.adapters.units import check_unit
from trace_data.errors import AnnotationError
from trace_data.geometry import transform
from trace_data.schema.findings import Finding
from trace_data.schema.frame import Frame
from trace_data.schema.record import SequenceRecord, Split
from trace_data.unpickle.machine import DROPPED

Array = npt.NDArray[np.float64]

LAYOUT = "packed (annots_video.npz)"
ANNOTATIONS, FRAMES = ("annots_video.npz", "annots.npz"), "video_frames"
_FOLDER = re.compile(r"S([1-8])_Seq([12])_video_(\d+)", re.IGNORECASE)
_IMAGE = re.compile(r"(S[1-8]_Seq[12]_video_\d+)_F(\d+)\.jpg")
_VIDEO = re.compile(r"(S[1-8])/(Seq[12])/imageSequence/(video_\d+)\.avi")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Packed:
    """The whole file; the rows of images are on disk."""

    rows: PackedRows
    """28 points (px) and 28 joints (metres, camera axes) of each image."""
    cameras: Mapping[str, Any]
    """Camera of each clip, as in the file."""
    synthetic: bool


def exists(training: Path) -> bool:
    """Whether an annotation of this layout and a folder of frames exist."""
    return entry(training, *ANNOTATIONS) is not None and entry(training, FRAMES) is not None


def find(training: Path, split: Split) -> list[SequenceRef]:
    """The image folders of a split. Counts images without opening the annotation."""
    annotation = entry(training, *ANNOTATIONS)
    frames = entry(training, FRAMES)
    if annotation is None or frames is None:
        return []
    fits = find_bodies([training, training.parent])
    refs = []
    for folder in children(frames):
        match = _FOLDER.fullmatch(folder.name)
        if not match or int(match[3]) not in CAMERAS or split_of(int(match[1]), int(match[2])) != split:
            continue
        name = f"S{match[1]}_Seq{match[2]}_video_{int(match[3])}"
        refs.append(
            SequenceRef(
                dataset=SPEC.name,
                split=split,
                name=name,
                layout=LAYOUT,
                annotation=annotation,
                images=folder,
                frames=count_images(folder, f"{name}_F"),
                reads=(annotation,) if fits is None else (annotation, fits),
            )
        )
    return sorted(refs, key=lambda ref: numbers_of(ref.name))


def read(ref: SequenceRef) -> SequenceRecord:
    """One camera of one recording, in the world of its calibration. Raises AnnotationError."""
    subject, sequence, camera = numbers_of(ref.name)
    packed = read_file(ref.annotation)
    if ref.name not in packed.rows:
        raise wrong(ref.annotation, "annots", f"has no image of {ref.name}", f"those in {ref.images}")
    intrinsics, extrinsics = _camera(ref.annotation, ref.name, packed.cameras)
    ids, (points, joints) = packed.rows.numbers(ref.name).tolist(), _split(packed.rows.of(ref.name))
    check_unit(ref.annotation, joints)
    images = numbered_images(ref.images, f"{ref.name}_F")
    # missing images keep their index: the handling of defects decides whether this is an error
    frames: tuple[Frame, ...] = tuple(images.get(i, ref.images / f"{ref.name}_F{i:06d}.jpg") for i in ids)
    places = [ref.annotation.parent, ref.annotation.parent.parent]
    return assemble(
        ref,
        CameraSequence(
            person=f"S{subject}",
            frames=frames,
            frame_ids=ids,
            fps=fps_of(subject, sequence),
            size=frame_size(frames),
            layout="MPI_INF_28",
            points=points,
            joints=joints,
            intrinsics=intrinsics,
            camera_from_world=extrinsics,
            world_reason=_compared(ref, packed, camera),
            body=bodies_of(places, subject, sequence, ids),
            synthetic=packed.synthetic,
        ),
    )


def _compared(ref: SequenceRef, packed: Packed, camera: int) -> str:
    own = packed.rows.numbers(ref.name)
    for other in CAMERAS:
        name = f"{ref.name.rsplit('_', 1)[0]}_{other}"
        if other == camera or name not in packed.rows:
            continue
        _, mine, theirs = np.intersect1d(own, packed.rows.numbers(name), return_indices=True)
        if len(mine):
            chosen = np.linspace(0, len(mine) - 1, SAMPLED).astype(int)
            worlds = [
                transform(
                    np.linalg.inv(_camera(ref.annotation, clip, packed.cameras)[1]),
                    _split(packed.rows.of(clip, places[chosen]))[1],
                )
                for clip, places in ((ref.name, mine), (name, theirs))
            ]
            return compare_cameras(ref.annotation, (camera, other), (worlds[0], worlds[1]))
    return ""


def _split(rows: Array) -> tuple[Array, Array]:
    """(T, 28, 2) points and (T, 28, 3) joints."""
    return rows[:, :56].reshape(-1, 28, 2), rows[:, 56:].reshape(-1, 28, 3)


def read_file(file: Path) -> Packed:
    """Read `annots_video.npz`, cached because it serves all sequences. Raises AnnotationError."""
    return _read_file(file, stamp(file))


@lru_cache(maxsize=1)
def _read_file(file: Path, _: Stamp) -> Packed:
    rows = PackedRows(28 * 5)

    def take(key: Any, value: Any) -> Any:
        match = _IMAGE.fullmatch(key) if isinstance(key, str) and isinstance(value, dict) else None
        if match is None:
            return value
        try:
            rows.add(match[1], int(match[2]), _joined(file, key, value))
        except AnnotationError as error:
            rows.refuse(match[1], error)
        return DROPPED

    content = read_packed(file, ("annots", "cam_info", "synthetic"), take)
    for name in content["annots"]:
        raise wrong(file, f"annots[{str(name)[:60]!r}]", "is no image name", "S1_Seq1_video_0_F000000.jpg")
    return Packed(rows=rows, cameras=content.get("cam_info", {}), synthetic="synthetic" in content)


def _joined(file: Path, name: str, held: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """(140,) the points and joints of an image. `smpl_theta` and `smpl_beta` are for SMPL-X and not used."""
    if not {"kp2d", "kp3d"} <= held.keys():
        raise wrong(file, f"annots[{name!r}]", "has no kp2d and kp3d", "both, of 28 joints")
    shapes = (("kp2d", (28, 2)), ("kp3d", (28, 3)))
    parts = [numbers(file, f"annots[{name!r}] {key}", held[key], shape).reshape(-1) for key, shape in shapes]
    return np.concatenate(parts).astype(np.float32)


def _camera(file: Path, name: str, cameras: Mapping[str, Any]) -> tuple[Array, Array]:
    """Intrinsics (3, 3) px and camera_from_world (4, 4) metres of a clip."""
    if name not in cameras:
        raise wrong(file, "cam_info", f"has no camera {name}", "one for every video of annots")
    value = cameras[name]
    try:
        raw = value["intrinsics"], value["extrinsics"][0], value["extrinsics"][1]
    except (TypeError, KeyError, IndexError) as error:
        raise wrong(
            file, f"cam_info[{name!r}]", "has no intrinsics and extrinsics", "[fx, fy, cx, cy] and [R, T]"
        ) from error
    shapes = ((4,), (3, 3), (3,))
    fx_fy_cx_cy, rotation, shift = (
        numbers(file, f"cam_info[{name!r}]", np.squeeze(part), shape) for part, shape in zip(raw, shapes)
    )
    intrinsics, extrinsics = np.eye(3), np.eye(4)
    intrinsics[(0, 1), (0, 1)], intrinsics[:2, 2] = fx_fy_cx_cy[:2], fx_fy_cx_cy[2:]
    extrinsics[:3, :3], extrinsics[:3, 3] = rotation, shift
    return intrinsics, extrinsics


def inspect(training: Path) -> list[Finding]:
    """Videos whose images do not match the list of frames in the file, and folders without annotation."""
    annotation = entry(training, *ANNOTATIONS)
    folders = {ref.name: ref for split in SPEC.splits for ref in find(training, split)}
    if annotation is None or not folders:
        return []
    try:
        kept = read_packed(annotation, ("frame_info",))["frame_info"]
    except (AnnotationError, OSError) as error:
        hint = error.hint if isinstance(error, AnnotationError) else None
        return [Finding(severity="error", key=annotation.name, what=str(error).split("\n")[0], hint=hint or "")]
    findings, listed = [], set()
    for video, ids in kept.items():
        match = _VIDEO.fullmatch(str(video))
        name = "_".join(match.groups()) if match else str(video)
        listed.add(name)
        have = folders[name].frames if name in folders else 0
        if ids and have < len(ids):
            place = folders[name].images if name in folders else None
            what = f"{have} images, {len(ids)} annotated frames" if have else "annotation without images"
            what = (why_empty(place) if place is not None and not have else "") or what
            hint = "extract the frames of this video again"
            findings.append(Finding(severity="error", key=f"{FRAMES}/{name}", what=what, hint=hint))
    findings += [
        Finding(severity="warning", key=f"{FRAMES}/{name}", what="images without annotation", hint="pack them again")
        for name in folders
        if name not in listed
    ]
    return findings
