"""3DPW: `imageFiles/<seq>/image_00000.jpg` with the release's annotations, or annotations repackaged from them.

Facts: docs/reference/datasets.md#3dpw, docs/reference/joints.md#neck-and-head-top-in-databases-of-3dpw. A folder may
have several kinds of annotations: the release's own are preferred, then `annots.npz`, then `vibe_db/`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np

from trace_data.adapters.base import DatasetSpec, SequenceRef, dataset_folder
from trace_data.adapters.listing import Listing, entry, is_folder, lacking, listing, near_name, numbered
from trace_data.adapters.threedpw import annots, official, vibe
from trace_data.adapters.threedpw.parts import IMAGE, PAGE
from trace_data.errors import DatasetLayoutError
from trace_data.schema.findings import Finding
from trace_data.schema.record import SequenceRecord, Split

SPEC = DatasetSpec(
    name="3dpw",
    folders=("3DPW", "3dpw", "pw3d"),
    splits=("train", "val", "test"),
    page=PAGE,
    expected="3DPW/imageFiles/<seq>/image_00000.jpg and 3DPW/sequenceFiles/{train,validation,test}/<seq>.pkl",
)
_LAYOUTS: tuple[ModuleType, ...] = (official, annots, vibe)
"""Modules with `holds`, `find`, `read`, `frame_numbers` and `missing`, in order of preference."""


def find(root: Path, split: Split) -> list[SequenceRef]:
    """The sequences of a split, by name. Raises DatasetLayoutError if folders are missing, AnnotationError."""
    folder, images = _folders(root)
    refs: list[SequenceRef] = _layout_of(folder).find(folder, images, split)
    return refs


def inspect(root: Path) -> list[Finding]:
    """Image folders without annotation, sequences in two splits, missing images, missing optional files."""
    folder, images = _folders(root)
    layout = _layout_of(folder)
    refs = [ref for split in SPEC.splits for ref in find(root, split)]
    names = Counter(ref.name for ref in refs)
    held = listing(images)
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
        numbers = numbered(ref.images, IMAGE)
        if not len(numbers):
            findings.append(_without_images(ref, held, strays))
            continue
        annotated = layout.frame_numbers(ref)
        lost = np.setdiff1d(np.arange(len(numbers)) if annotated is None else annotated, numbers)
        if len(lost):
            what = f"image_{lost[0]:05d}.jpg is missing ({len(numbers)} images, last {numbers[-1]})"
            findings.append(Finding(severity="error", key=f"imageFiles/{ref.name}", what=what, hint="copy it again"))
    return findings + list(layout.missing(folder))


def _without_images(ref: SequenceRef, held: Listing, strays: tuple[str, ...]) -> Finding:
    """Why a sequence has no images: a broken link, another folder name, or no folder."""
    what, hint = "annotation without images", "unpack imageFiles.zip again"
    if ref.name in held.broken:
        what, hint = held.broken[ref.name], "copy the folder itself"
    elif (near := near_name(ref.name, strays)) is not None:
        what = f"annotation without images, but imageFiles/{near} has no annotation"
        hint = "a folder was renamed: give it the name of its sequence file again"
    return Finding(severity="error", key=f"imageFiles/{ref.name}", what=what, hint=hint)


def read(ref: SequenceRef) -> SequenceRecord:
    """One sequence. Raises AnnotationError with file, key, found and expected."""
    layout = next(layout for layout in _LAYOUTS if ref.layout.startswith(layout.LAYOUT))
    record: SequenceRecord = layout.read(ref)
    return record


def _folders(root: Path) -> tuple[Path, Path]:
    """The dataset's folder and that of its images."""
    folder = dataset_folder(SPEC, root, ("sequenceFiles", "imageFiles"))
    images = entry(folder, "imageFiles")
    if images is None or not is_folder(images):
        hint = f"unpack imageFiles.zip of {PAGE} there"
        raise lacking(folder, "imageFiles", hint=hint, others=("sequenceFiles",))
    return folder, images


def _layout_of(folder: Path) -> ModuleType:
    for layout in _LAYOUTS:
        if layout.holds(folder):
            return layout
    near = near_name("sequenceFiles", listing(folder).folders)
    raise DatasetLayoutError(
        "there is no sequenceFiles/<split>/<seq>.pkl in it, nor annots.npz or vibe_db/3dpw_train_db.pt"
        + (f"; is {near} one of them?" if near not in (None, "sequenceFiles", "imageFiles") else ""),
        where=folder,
        hint=f"unpack sequenceFiles.zip of {PAGE} there",
    )
