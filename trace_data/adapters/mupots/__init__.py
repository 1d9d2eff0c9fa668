"""MuPoTS-3D, a test set: two or three people before a camera that stands still, as `TS1/{img_000000.jpg, annot.mat}`.

Facts: docs/reference/further-datasets.md#mupots-3d. The release has no cameras, so they are found from 2D points and 3D
joints. Not everybody who is visible is annotated, and nobody in every frame.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from trace_data.adapters.base import DatasetSpec, SequenceRef, dataset_folder
from trace_data.adapters.files import frame_size
from trace_data.adapters.fitted_camera import MIDDLE, fitted_intrinsics, median_px
from trace_data.adapters.listing import entry, is_folder, listing, numbered, numbered_files, why_empty
from trace_data.adapters.mupots.annotations import (
    PAGE,
    Array,
    Flags,
    SequenceAnnotations,
    annotated_frames,
    read_annotations,
    read_occlusion,
    wrong,
)
from trace_data.adapters.units import check_unit
from trace_data.errors import AnnotationError
from trace_data.schema.camera import Camera
from trace_data.schema.check import DETECTED_SHARE
from trace_data.schema.findings import Finding
from trace_data.schema.keypoints import Keypoints
from trace_data.schema.record import Person, SequenceRecord, Split

__all__ = ["SPEC", "find", "inspect", "read"]

SEQUENCES = 20
SPEC = DatasetSpec(
    name="mupots",
    folders=("MultiPersonTestSet", "MuPoTS", "MuPoTS-3D", "mupots", "mupots-3d", "MuPoTS_3D"),
    splits=("test",),
    page=PAGE,
    expected="MultiPersonTestSet/TS1/{img_000000.jpg, annot.mat, occlusion.mat} to TS20",
)
LAYOUT = "official test set (annot.mat)"
FPS = 30.0
"""Assumed: the release does not say."""
OCCLUDED = 0.5
"""Confidence of a 2D point that the release calls occluded: its place is that of the projected joint."""
PROJECTED_PX = 1.0
"""Distance, px, median, up to which 2D points count as projections through the camera that was found."""
PELVIS = 14
ONE_FACTOR = 0.01
"""Share of a body's size by which it may differ from one factor times the universal one."""
_LABELS, _OCCLUSION = "annot.mat", "occlusion.mat"
_FOLDER = re.compile(r"TS(\d{1,2})", re.IGNORECASE)
_IMAGE = re.compile(r"img_(\d{6})\.jpg", re.IGNORECASE)
_AGAIN = f"unpack MultiPersonTestSet.zip of {PAGE} again"


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences that have labels, by number; all belong to the split `test`. Raises DatasetLayoutError."""
    refs, places = [], list(_sequences(root))
    for name, folder in places if split == "test" else ():
        if (labels := entry(folder, _LABELS)) is None:
            continue
        occlusion = entry(folder, _OCCLUSION)
        refs.append(
            SequenceRef(
                dataset=SPEC.name,
                split=split,
                name=name,
                layout=LAYOUT,
                annotation=labels,
                images=folder,
                frames=len(numbered(folder, _IMAGE)),
                reads=(labels,) if occlusion is None else (labels, occlusion),
            )
        )
    return refs


def _sequences(root: Path) -> Iterator[tuple[str, Path]]:
    """Name and folder of each sequence on disk, by number."""
    folder = dataset_folder(SPEC, root, [f"TS{number}/{_LABELS}" for number in range(1, SEQUENCES + 1)])
    held = listing(folder)
    names = {int(match[1]): name for name in (*held.broken, *held.folders) if (match := _FOLDER.fullmatch(name))}
    for number, name in sorted(names.items()):
        yield f"TS{number}", folder / name


def inspect(root: Path) -> list[Finding]:
    """Sequences without labels, and annotated frames without an image."""
    return [finding for name, folder in _sequences(root) for finding in _of_sequence(name, folder)]


def _of_sequence(name: str, folder: Path) -> Iterator[Finding]:
    if not is_folder(folder):
        yield Finding(severity="error", key=name, what=why_empty(folder), hint=_AGAIN)
        return
    if entry(folder, _OCCLUSION) is None:
        what = f"there is no {_OCCLUSION}: every joint in the frame counts as visible"
        yield Finding(severity="warning", key=name, what=what, hint=_AGAIN)
    labels = entry(folder, _LABELS)
    if labels is None:
        yield Finding(severity="error", key=name, what=f"there is no {_LABELS}", hint=_AGAIN)
        return
    try:
        frames = annotated_frames(labels)
    except AnnotationError as error:
        yield Finding(severity="error", key=name, what=f"{error.message} ({labels})", hint=error.hint or "")
        return
    images = numbered(folder, _IMAGE)
    if len(lost := np.setdiff1d(np.arange(frames), images)):
        what = f"img_{lost[0]:06d}.jpg is missing ({len(images)} images, {frames} annotated frames)"
        hint = f"images count from 0; numbered anew, they show other frames: {_AGAIN}"
        yield Finding(severity="error", key=name, what=what, hint=hint)


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence in the axes of its camera. Raises AnnotationError."""
    held = read_annotations(ref.annotation)
    frames = _frames(ref, len(held.valid))
    size = frame_size(frames)
    intrinsics, apart = _camera(ref.annotation, held, size)
    occlusion = entry(ref.images, _OCCLUSION)
    hidden = np.zeros(held.points.shape[:-1], bool) if occlusion is None else read_occlusion(occlusion, held.valid)
    seen = ((held.points >= 0) & (held.points < size)).all(axis=-1) & held.valid[..., None]
    confidence = np.where(hidden, OCCLUDED, 1.0) * seen
    names = [f"{ref.name}/{column}" for column in range(held.valid.shape[1])]
    factors = {name: _universal(held, column) for column, name in enumerate(names) if held.valid[:, column].any()}
    return SequenceRecord(
        dataset=SPEC.name,
        split=ref.split,
        name=ref.name,
        frames=frames,
        frame_ids=np.arange(len(frames), dtype=np.int64),
        fps=FPS,
        camera=Camera(width=size[0], height=size[1], intrinsics=intrinsics[None], camera_from_world=None, moving=False),
        people=tuple(
            _person(held, column, name, confidence[:, column], projected=apart <= PROJECTED_PX)
            for column, name in enumerate(names)
            if name in factors
        ),
        everyone_annotated=np.zeros(len(frames), bool),
        world_valid=False,
        world_reason="no extrinsics: the world is the camera, and where is up is not known",
        remarks=tuple(
            f"univ_annot3 of {name} is not its annot3 times one factor: no universal joints are derived"
            for name, factor in factors.items()
            if factor is None
        ),
        provenance={
            "release": "synthetic sample world" if held.synthetic else "MuPoTS-3D",
            "layout": ref.layout,
            "camera": f"found from points and joints, which meet at {apart:.2f} px (median)",
            "frame rate": f"{FPS:g} a second, assumed",
            "universal": ", ".join(f"{name} {factor:.6f}" for name, factor in factors.items() if factor is not None),
            "adapter": "mupots 1",
            "defects": "",
            "synthetic": "true" if held.synthetic else "false",
        },
    )


def _frames(ref: SequenceRef, annotated: int) -> tuple[Path, ...]:
    """The image of each annotated frame, counted from 0."""
    images = numbered_files(ref.images, _IMAGE)
    if lost := [number for number in range(annotated) if number not in images]:
        what = f"{annotated} frames are annotated, img_{lost[0]:06d}.jpg and {len(lost) - 1} more are missing"
        raise AnnotationError(what, where=ref.images, hint=_AGAIN)
    return tuple(images[number] for number in range(annotated))


def _camera(file: Path, held: SequenceAnnotations, size: tuple[int, int]) -> tuple[Array, float]:
    """The intrinsics (3, 3) px that one camera has for all people and frames, and how well they project, px."""
    if not held.valid.any():
        raise wrong(file, "isValidFrame", "is 0 everywhere", "annotated frames")
    for column in range(held.valid.shape[1]):
        check_unit(file, held.joints[held.valid[:, column], column])
    points, joints = held.points[held.valid], held.joints[held.valid]
    if not (joints[..., 2] > 0).all():
        raise wrong(
            file, "annot3", f"has {np.mean(joints[..., 2] <= 0):.0%} of its joints behind the camera", "z ahead"
        )
    intrinsics = fitted_intrinsics(points, joints)
    middle = median_px(
        intrinsics, None, points[:, MIDDLE], joints[:, MIDDLE]
    )  # sides that are exchanged are told later
    if middle > DETECTED_SHARE * max(size):
        what = f"no camera shows annot3 at annot2: the best one is {middle:.1f} px off (median)"
        hint = f"2D and 3D joints of different sequences or frames: {_AGAIN}"
        raise AnnotationError(what, where=file, hint=hint)
    return intrinsics, median_px(intrinsics, None, points, joints)


def _person(held: SequenceAnnotations, column: int, name: str, confidence: Array, *, projected: bool) -> Person:
    present: Flags = held.valid[:, column]
    shown = np.where((confidence > 0)[..., None], held.points[:, column], 0.0)
    known = np.broadcast_to(present[:, None, None], (*confidence.shape, 1))
    return Person(
        name=name,
        gender="neutral",
        present=present,
        keypoints2d=Keypoints(
            layout="MuPoTS_17", points=np.concatenate([shown, confidence[..., None]], axis=2), projected=projected
        ),
        joints3d=Keypoints(layout="MuPoTS_17", points=np.concatenate([held.joints[:, column], known], axis=2)),
        body=None,
        body_valid=np.zeros(len(present), bool),
    )


def _universal(held: SequenceAnnotations, column: int) -> float | None:
    """How many times as large as the person its universal joints are, about the pelvis; None if by no one factor."""
    own, other = (joints[held.valid[:, column], column] for joints in (held.joints, held.universal))
    own, other = own - own[:, [PELVIS]], other - other[:, [PELVIS]]
    length = float((own * own).sum())
    factor = float((own * other).sum()) / length
    left = float(np.square(other - factor * own).sum()) / length
    return factor if left <= ONE_FACTOR**2 * factor**2 else None
