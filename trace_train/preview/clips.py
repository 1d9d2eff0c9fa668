"""Clips for previews, made from batches, so that what is drawn is exactly what a batch contains."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from trace_data.errors import ConfigError
from trace_data.schema.body import GENDERS
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import SequenceEntry
from trace_data.shards.reader import ShardReader
from trace_train.preview.choose import Wanted, wanted_sequences
from trace_train.streaming.batch import Batch, collate
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream, load_clip

STEPS_LOOKED_AT = 2000
"""Number of training steps searched for named sequences."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PreviewClip:
    """One clip of T frames with P people."""

    entry: SequenceEntry
    ref: ClipRef
    frame_ids: npt.NDArray[np.int64]
    """(T,) frame ids of the release."""
    images: npt.NDArray[np.uint8]
    """(T, H, W, 3) RGB."""
    image_from_frame: npt.NDArray[np.float64]
    """(T, 3, 3) px of the original frame to px of `images`, pixel centres."""
    batch: Batch
    """One row: the annotations of this clip."""
    people: tuple[str, ...]
    """Names of the P people."""

    @property
    def genders(self) -> tuple[str, ...]:
        """Genders of the P people."""
        return tuple(GENDERS[code] for code in self.batch.gender[0, : len(self.people)].tolist())

    def person(self, name: str) -> npt.NDArray[np.float64]:
        """A field of the batch, (P, T, ...)."""
        values: Tensor = getattr(self.batch, name)
        return values[0, : len(self.people)].numpy().astype(np.float64)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(P, T) whether a person is annotated in a frame."""
        flags: npt.NDArray[np.bool_] = self.person("present") > 0
        return flags

    def mask(self, name: str) -> npt.NDArray[np.bool_]:
        """(P, T) one of `PERSON_MASKS`."""
        flags: npt.NDArray[np.bool_] = self.batch.masks[name][0, : len(self.people)].numpy()
        return flags

    def joints(self) -> npt.NDArray[np.float64]:
        """(P, T, 44, 3) x, y in px of `images`, confidence."""
        joints = self.person("kp2d")
        maps = self.image_from_frame[None, :, None]
        placed = np.einsum("ptkij,ptkj->ptki", maps[..., :2, :2], joints[..., :2]) + maps[..., :2, 2]
        return np.concatenate([placed, joints[..., 2:]], axis=-1)

    def resized(self, factor: float) -> PreviewClip:
        """The clip scaled by `factor`."""
        height, width = (max(1, round(side * factor)) for side in self.images.shape[1:3])
        images = [cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in self.images]
        scale = np.array([width / self.images.shape[2], height / self.images.shape[1]])
        change = np.diag([*scale, 1.0])
        change[:2, 2] = 0.5 * scale - 0.5
        return replace(self, images=np.stack(images), image_from_frame=change @ self.image_from_frame)


def plain_clip(reader: ShardReader, ref: ClipRef, longest: int) -> PreviewClip:
    """Whole stored frames, not enlarged, with the longer side at most `longest` px. Raises ShardError."""
    entry = reader.index.sequences[ref.sequence]
    size = min(longest, max(entry.width, entry.height))
    clip = clip_of(reader, collate([load_clip(reader, ref, size)]), 0)
    # remove the letter-box borders
    scale = size / max(entry.width, entry.height)
    width, height = (max(1, round(scale * side)) for side in (entry.width, entry.height))
    left, top = (size - width) // 2, (size - height) // 2
    shift = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
    images = clip.images[:, top : top + height, left : left + width]
    return replace(clip, images=images, image_from_frame=shift @ clip.image_from_frame)


def augmented_clips(stream: TrainStream, wanted: Wanted) -> Iterator[PreviewClip]:
    """The first clips of a training run, from the stage with the longest clips.

    Raises ConfigError if no step near the start of the stage uses the named sequences; ShardError.
    """
    reader, config = stream.reader, stream.config
    rows = set(wanted_sequences(reader.index, replace(wanted, splits=("train",))))
    stage = max(range(len(config.stages)), key=lambda number: config.stages[number].frames)
    first = stream.bounds[stage - 1] if stage else 0
    last = min(stream.bounds[stage], first + STEPS_LOOKED_AT)
    steps = (step for step in range(first, last) if any(ref.sequence in rows for *_, ref in stream.positions(step)))
    clips = (
        clip_of(reader, batch, row)
        for step in steps
        for batch in map(finish, stream.batches(step, step + 1))
        for row, ref in enumerate(batch.refs)
        if ref.sequence in rows
    )
    any_shown = False
    for clip in islice(clips, wanted.clips):
        any_shown = True
        yield clip
    if not any_shown:
        raise ConfigError(
            f"training steps {first} to {last} show none of the sequences that are named",
            where=reader.store.where,
            hint="name others, or leave --augmented out",
        )


def _row(values: Any, row: int) -> Any:
    """One row of any field of a batch."""
    if isinstance(values, Mapping):
        return {name: _row(value, row) for name, value in values.items()}
    return values[row : row + 1] if isinstance(values, Tensor | tuple) else values


def clip_of(reader: ShardReader, batch: Batch, row: int) -> PreviewClip:
    """One row of a batch after `pixels.finish`, with names from the index."""
    ref = batch.refs[row]
    entry = reader.index.sequences[ref.sequence]
    own = replace(batch, **{field.name: _row(getattr(batch, field.name), row) for field in fields(batch)})
    identity = [number for number in own.identity[0].tolist() if number >= 0]
    return PreviewClip(
        entry=entry,
        ref=ref,
        frame_ids=entry.clip_ids(ref),
        images=own.images[0].numpy(),
        image_from_frame=own.crop_from_frame[0].numpy().astype(np.float64),
        batch=own,
        people=tuple(entry.people[number - entry.first_person] for number in identity),
    )
