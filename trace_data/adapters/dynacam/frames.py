"""The images of a sequence, and the part of the full frame that they show.

The translation half was published as crops around the people, of varying size, and also circulates as full frames.
Crops are padded to frames of one size: each is placed in the top-left corner, the rest is black, and each frame's
principal point is shifted by the corner of its box. So pixels, 2D joints and camera stay consistent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trace_data.adapters.dynacam.annotations import AnnotatedSequence
from trace_data.adapters.dynacam.folders import images_in
from trace_data.errors import AnnotationError
from trace_data.files import open_regular
from trace_data.frames.image import image_size
from trace_data.schema.check import SCALED
from trace_data.schema.frame import Frame, PaddedFrame
from trace_data.schema.keypoints import Keypoints

Ints = npt.NDArray[np.int64]

HEADER = 1 << 16
SLACK = 1.0
"""Tolerance, px, between the size of a crop and its fractional box."""
CUT_OUTS = "cut-outs"
CORNER_SLACK = 2.0
"""Tolerance, px (median), between `kp2ds_crop` and `kp2ds` shifted by the corner of the box."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameView:
    """What the images of a sequence show."""

    frames: tuple[Frame, ...]
    width: int
    height: int
    """Height of all frames, px."""
    corner: npt.NDArray[np.float64]
    """(T, 2) position of the image's top-left pixel in the full frame, px."""
    keypoints: tuple[Keypoints, ...]
    """Keypoints of each person, px of the frame."""
    words: str
    cropped: bool
    """Whether the images are crops."""
    remarks: tuple[str, ...] = ()


def annotated_frames(sequence: AnnotatedSequence, folder: Path) -> tuple[dict[int, Path], Ints]:
    """Images of the annotated frames by number, and which of the sequence's frames have one. Raises AnnotationError."""
    images = images_in(folder)
    if shift := shifted_by(sequence.ids, images):
        raise AnnotationError(
            f"image numbers are those of the annotation {shift:+d} ({len(images)} images)",
            where=folder,
            hint="the frames were numbered anew: unpack them again",
        )
    frames = np.flatnonzero(np.isin(sequence.ids, np.array(list(images), np.int64)))
    if len(frames) == 0:
        raise AnnotationError(
            f"none of {len(sequence.ids)} annotated frames ({sequence.ids[0]} to {sequence.ids[-1]}) is among its "
            f"{len(images)} images" + (f" ({min(images)} to {max(images)})" if images else ""),
            where=folder,
            hint="the frames of another sequence: unpack them again",
        )
    return {number: images[number] for number in sequence.ids[frames].tolist()}, frames


def shifted_by(ids: Ints, images: dict[int, Path]) -> int:
    """Constant offset of image numbers from the annotated ones; 0 unless it is one or two for all."""
    numbers = set(images)
    return next((shift for shift in (1, -1, 2, -2) if numbers == {number + shift for number in ids.tolist()}), 0)


def view_of(sequence: AnnotatedSequence, images: Sequence[Path]) -> FrameView:
    """Whether the images show full frames or the boxes of `seq_bboxes`. Raises AnnotationError."""
    sizes = np.array([_size(image) for image in images], np.int64)
    known = sizes[:, 0] > 0
    if not known.any():
        raise AnnotationError(f"none of {len(images)} images can be opened", where=images[0], hint="copy them again")
    boxes = _boxes(sequence)
    for cut in [] if boxes is None else [boxes, _clipped(boxes, sequence)]:
        if (np.abs(sizes - (cut[:, 1] - cut[:, 0]))[known] <= SLACK).all():
            return _cut_outs(sequence, images, sizes, cut[:, 0])
        if (how := _changed(sizes[known], (cut[:, 1] - cut[:, 0])[known])) is not None:
            what = f"the images are the boxes of seq_bboxes {how}, the first {_by(sizes[known][0])} px"
            raise AnnotationError(what, where=images[0].parent, hint=SCALED)
    same = len(np.unique(sizes[known], axis=0)) == 1
    if not same if boxes is None else (boxes[:, 1] > sizes + SLACK)[known].any():
        raise _no_view(images, sizes, boxes)
    points = sequence.points()
    if same:
        return _view(images, sizes, np.zeros((len(images), 2)), points, "whole frames")
    view = _view(images, sizes, np.zeros((len(images), 2)), _inside(points, sizes), "whole frames")
    return replace(view, remarks=("images differ in size and are larger than their boxes: taken as whole frames",))


def _changed(sizes: Ints, boxes: npt.NDArray[np.float64]) -> str | None:
    """How crops of sizes (N, 2) were changed after cutting boxes (N, 2) of several sizes; None if no change is seen."""
    if (boxes < 1).any() or len(np.unique(boxes, axis=0)) == 1:
        return None
    if (np.abs(sizes - boxes[:, ::-1]) <= SLACK).all():
        return "turned sideways"
    factor = float(np.median(sizes / boxes))
    return f"scaled by {factor:.2f}" if (np.abs(sizes - factor * boxes) <= SLACK + 1).all() else None


def _cut_outs(
    sequence: AnnotatedSequence, images: Sequence[Path], sizes: Ints, corner: npt.NDArray[np.float64]
) -> FrameView:
    whole = sequence.points()
    moved = replace(whole, points=whole.points - np.pad(corner, ((0, 0), (0, 1)))[:, None])
    if "kp2ds_crop" in sequence:
        given = sequence.points("kp2ds_crop")
        if given.layout == whole.layout:
            both = (given.points[..., 2] > 0) & (whole.points[..., 2] > 0)
            apart = np.linalg.norm(given.points - moved.points, axis=-1)[both]
            apart = apart[np.isfinite(apart)]
            if len(apart) and np.median(apart) > CORNER_SLACK:
                what = f"lies {np.median(apart):.1f} px (median) from kp2ds moved into the box"
                raise sequence.wrong("kp2ds_crop", what, f"{CORNER_SLACK:.0f} at most")
        moved = given
    return _view(images, sizes, corner, _inside(moved, sizes), CUT_OUTS)


def _inside(points: Keypoints, sizes: Ints) -> Keypoints:
    """Hide points outside their image, including those in the black padding."""
    places = points.points[..., :2]
    inside = ((places >= -0.5) & (places <= sizes[:, None] - 0.5)).all(axis=-1) & (points.points[..., 2] > 0)
    return replace(points, points=np.where(inside[..., None], points.points, 0.0))


def _view(
    images: Sequence[Path], sizes: Ints, corner: npt.NDArray[np.float64], points: Keypoints, kind: str
) -> FrameView:
    known = sizes[sizes[:, 0] > 0]
    width, height = (int(side) for side in known.max(axis=0))
    same = bool((known == (width, height)).all())
    return FrameView(
        frames=tuple(images) if same else tuple(PaddedFrame(image, width, height) for image in images),
        width=width,
        height=height,
        corner=corner,
        keypoints=tuple(replace(points, points=person) for person in points.points),
        words=f"{kind} of one size" if same else f"{kind} of different sizes, padded",
        cropped=kind == CUT_OUTS,
    )


def _boxes(sequence: AnnotatedSequence) -> npt.NDArray[np.float64] | None:
    """(T, 2, 2) left top and right bottom, rounded to whole px of the full frame; None without boxes."""
    if "seq_bboxes" not in sequence:
        return None
    return np.trunc(sequence.frames("seq_bboxes", 2, 2, flat=True))


def _clipped(boxes: npt.NDArray[np.float64], sequence: AnnotatedSequence) -> npt.NDArray[np.float64]:
    """The boxes clipped to the full frame, whose centre is the principal point."""
    whole = 2 * sequence.frames("camera_intrinsics", 3, 3)[:, None, :2, 2]
    return np.clip(boxes, 0, whole)


def _size(image: Path) -> tuple[int, int]:
    """Image size from the header; (0, 0) for a broken image, which is reported when all images are read."""
    try:
        with open_regular(image) as stream:
            return image_size(stream.read(HEADER), image, whole=False)
    except (AnnotationError, OSError):
        return 0, 0


def _no_view(images: Sequence[Path], sizes: Ints, boxes: npt.NDArray[np.float64] | None) -> AnnotationError:
    """Why the images are neither full frames nor the boxes, by the first image that shows it."""
    known = np.flatnonzero(sizes[:, 0] > 0).tolist()
    hint = "images of another sequence or of another size: unpack the frames again"
    if boxes is None:
        odd = next(i for i in known if (sizes[i] != sizes[known[0]]).any())
        what = (
            f"is {_by(sizes[odd])} px, the first of the sequence {_by(sizes[known[0]])}; "
            "there is no seq_bboxes that would say what part of a frame they show"
        )
        return AnnotationError(what, where=images[odd], hint=hint)
    odd = next(i for i in known if (boxes[i, 1] > sizes[i] + SLACK).any())
    what = (
        f"is {_by(sizes[odd])} px: neither its box of seq_bboxes ({_by(boxes[odd, 1] - boxes[odd, 0])}), nor large "
        f"enough to hold it (it reaches {_by(boxes[odd, 1])})"
    )
    return AnnotationError(what, where=images[odd], hint=hint)


def _by(size: npt.NDArray[np.number]) -> str:
    return f"{size[0]:.0f}x{size[1]:.0f}"
