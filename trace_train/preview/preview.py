"""Previews of shards: a page that plays clips, or a contact sheet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from trace_data.assets.pack_files import write_file
from trace_data.assets.pack_picture import check_picture_name, encoded
from trace_data.files import writable_folder
from trace_data.progress import SILENT, Progress, counted
from trace_data.shards.index import check_index
from trace_data.shards.reader import ShardReader
from trace_data.shards.storage.store import JOIN, Store, as_store
from trace_train.config import Config
from trace_train.preview.bodies import BodyPainter
from trace_train.preview.choose import Wanted, choose_clips
from trace_train.preview.clips import PreviewClip, augmented_clips, plain_clip
from trace_train.preview.page import QUALITY, page_clip, page_text
from trace_train.preview.sheet import Picture, compose, sheet_row
from trace_train.streaming.stream import TrainStream

LONGEST = 640
"""Maximum longer side of a frame on the page, px."""
PICTURE_BYTES = 6_500_000
"""Maximum size of all encoded frames; base64 adds a third on the page, and bodies a fifth of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewReport:
    """Result of a preview."""

    page: Path | None
    sheet: Path | None
    bytes: int
    """Size of the page."""
    clips: tuple[dict[str, Any], ...]
    """Sequence, frame ids, people and size of each clip."""
    synthetic: bool
    bodies: bool
    """Whether bodies were drawn."""
    augmented: bool
    notes: tuple[str, ...]
    """Notes under the title of the page."""


def preview(
    shards: Path | str | Store,
    *,
    packs: Path | None,
    wanted: Wanted,
    page: Path | None = None,
    sheet: Path | None = None,
    augmented: Config | None = None,
    progress: Progress = SILENT,
) -> PreviewReport:
    """Show clips on a page (.html), on a contact sheet (.jpg or .png), or both.

    `packs`: body models; without them only joints are drawn. `augmented`: configuration of a training run, whose
    batches are shown instead of whole frames. Raises ConfigError, ShardError, AssetError, OutputError.
    """
    if sheet is not None:
        check_picture_name(sheet)
    for place in (page, sheet):
        if place is not None:
            writable_folder(place.parent)  # fails now rather than after drawing
    store = as_store(shards)
    index = check_index(store)
    reader = ShardReader(store)
    stream = None if augmented is None else TrainStream(reader, augmented)
    painter = None if packs is None else BodyPainter(packs, index)
    on_page: list[dict[str, Any]] = []
    on_sheet: list[list[tuple[str, Picture]]] = []
    drawn: list[dict[str, Any]] = []
    progress.begin("preview", wanted.clips, "clips")
    for clip in _clips(reader, stream, wanted):
        overlays: list[Picture | None] = [None] * len(clip.images) if painter is None else painter.overlays(clip)
        if page is not None:
            on_page.append(page_clip(clip, overlays))
        if sheet is not None:
            on_sheet.append(sheet_row(clip, overlays))
        drawn.append(_told(clip))
        progress.advance(detail=clip.entry.name)
    progress.end(counted(len(drawn), "clip"))
    notes = _notes(reader, stream, painter)
    content = b""
    if page is not None:
        title = f"Preview of {_name(store)}{', as the network sees it' if augmented else ''}"
        content = page_text(title=title, notes=notes, clips=on_page).encode(errors="backslashreplace")
        write_file(page, content, option="--page")
    if sheet is not None:
        write_file(sheet, encoded(compose(on_sheet), sheet), option="--sheet")
    return PreviewReport(
        page=page,
        sheet=sheet,
        bytes=len(content),
        clips=tuple(drawn),
        synthetic=any(clip["synthetic"] for clip in drawn),
        bodies=painter is not None,
        augmented=augmented is not None,
        notes=notes,
    )


def _name(store: Store) -> str:
    """The last part of the place of each set."""
    return ", ".join(place.rstrip("/").rpartition("/")[2] for place in store.lasting.split(JOIN))


def _clips(reader: ShardReader, stream: TrainStream | None, wanted: Wanted) -> Iterator[PreviewClip]:
    if stream is not None:
        yield from augmented_clips(stream, wanted)
        return
    refs = choose_clips(reader.index, wanted)
    for ref in refs:
        yield fitted(plain_clip(reader, ref, LONGEST), PICTURE_BYTES / len(refs))


def fitted(clip: PreviewClip, room: float) -> PreviewClip:
    """The clip, downscaled if its frames would take more than `room` bytes, estimated from one frame."""
    middle = clip.images[len(clip.images) // 2]
    _, data = cv2.imencode(".jpg", middle, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    share = room / (len(data) * len(clip.images))
    return clip.resized(math.sqrt(share)) if share < 1 else clip


def _told(clip: PreviewClip) -> dict[str, Any]:
    return {
        "sequence": clip.entry.key,
        "frame_ids": clip.frame_ids.tolist(),
        "people": list(clip.people),
        "size": list(clip.images.shape[2:0:-1]),
        "synthetic": clip.entry.synthetic,
    }


def _notes(reader: ShardReader, stream: TrainStream | None, painter: BodyPainter | None) -> tuple[str, ...]:
    """Notes for the reader of the page."""
    index = reader.index
    frames = sum(entry.frames for entry in index.shards)
    notes = [f"{len(index.sequences):,} sequences with {frames:,} frames in {len(index.shards):,} shards."]
    if stream is None:
        notes[0] += " Whole frames, made smaller for this page where they are larger."
    else:
        config = stream.config
        notes[0] += (
            f" Shown are the first clips of training with preset {config.preset} and seed {config.seed}: cut, mirrored,"
            f" coloured, covered and sized ({config.network.input_size} px) as the network gets them."
        )
        notes += [f"{note[:1].upper()}{note[1:]}." for note in stream.notes]
    if index.synthetic:
        notes.append("Synthetic: nobody was filmed. Numbers measured on this data say nothing of the real datasets.")
    if painter is None:
        notes.append("There are no body models, so only joints are drawn: trace prepare-smpl --gender all --source DIR")
    elif painter.others:
        names = ", ".join(sorted(painter.others))
        notes.append(f"Bodies are drawn with other models than these shards were built with: {names}.")
    return tuple(notes)
