"""Reads clips from shards: annotations, and frames decoded only at the resolution that their windows need."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, ConfigError, ShardError
from trace_data.frames.image import image_size
from trace_data.schema.clip import FRAME_MASKS, PERSON_MASKS, ClipAnnotations, ClipRef, Window
from trace_data.shards.checks.file import BROKEN, structure_findings, table_findings
from trace_data.shards.checksums import compare, of_annotations
from trace_data.shards.entries import SequenceEntry, ShardEntry
from trace_data.shards.index import load_index
from trace_data.shards.layout import (
    ANNOTATION_CHECKSUM,
    FRAME_BYTES,
    FRAME_COLUMNS,
    FRAME_OFFSET,
    FRAME_SIZE,
    IMAGE_CHECKSUM,
    PEOPLE_COLUMNS,
    PEOPLE_OFFSET,
)
from trace_data.shards.levels import level_for
from trace_data.shards.storage.store import CACHE_BYTES, Store, open_store
from trace_data.shards.view import view

Verify = Literal["first", "always", "off"]
"""When data is verified against its checksums."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Place:
    """Location of one dataset in its file."""

    at: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Shard:
    """A shard's table of contents. The file is opened for each read: no state is shared between processes or threads,
    the number of shards is not limited, a replaced or truncated file is noticed, and one that the cache has evicted
    is downloaded again."""

    store: Store
    entry: ShardEntry
    places: Mapping[str, _Place]
    frame_offset: npt.NDArray[np.int64]
    """(L, F + 1) byte offsets of each level."""
    frame_size: npt.NDArray[np.int32]
    """(L, F, 2) stored width and height, px."""
    people_offset: npt.NDArray[np.int64]
    image_checksum: npt.NDArray[np.uint32]
    """(L, F)"""
    annotation_checksum: npt.NDArray[np.uint32]
    """(F,)"""
    seen: npt.NDArray[np.bool_]
    """(L + 1, F) which images, and in the last row which annotations, have been verified."""


class ShardReader:
    """Random access to the clips of a folder or URL of shards.

    Picklable and thread-safe. Every process opens a shard on first use.
    """

    def __init__(
        self,
        location: Path | str | Store,
        *,
        cache: Path | None = None,
        cache_bytes: int = CACHE_BYTES,
        verify: Verify = "first",
    ) -> None:
        """`cache`, `cache_bytes`: local folder for the shards of a URL and its limit, see `store.open_store`.

        `verify`: whether data is verified against its checksums the `first` time in this process, `always`, or never
        (`off`). A shard's tables are verified whenever it is opened. Raises ShardError if there are no finished shards,
        ConfigError for a URL without cache.
        """
        if verify not in get_args(Verify):
            raise ConfigError(f"verify is {verify!r}, expected one of {', '.join(get_args(Verify))}")
        self.verify = verify
        if isinstance(location, Path | str):
            location = open_store(location, cache=cache, cache_bytes=cache_bytes)
        self.store = location
        self.index = load_index(self.store)
        self._shards: dict[int, _Shard] = {}
        self._sequences: list[list[SequenceEntry]] = [[] for _ in self.index.shards]
        for entry in self.index.sequences:
            self._sequences[entry.shard].append(entry)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_shards": {}}

    @property
    def synthetic(self) -> bool:
        """Whether any sequence comes from the sample world."""
        return self.index.synthetic

    def prefetch(self, refs: Sequence[ClipRef]) -> None:
        """Download the shards of clips in the background, in the order of their use. No-op for local shards."""
        if self.store.remote:
            shards = dict.fromkeys(self.index.sequences[ref.sequence].shard for ref in refs)
            self.store.prefetch([self.index.shards[shard] for shard in shards])

    def annotations(self, ref: ClipRef) -> ClipAnnotations:
        """Annotations of the clip, with all people who are present in any of its frames. Raises ShardError."""
        entry, shard, frames = self._locate(ref)
        first, last = int(frames[0]), int(frames[-1])
        with self.store.open(shard.entry) as stream:
            every = {name: _read(shard, stream.fileno(), name, first, last + 1) for name in FRAME_COLUMNS}
            low, high = int(shard.people_offset[first]), int(shard.people_offset[last + 1])
            rows = {name: _read(shard, stream.fileno(), name, low, high) for name in PEOPLE_COLUMNS}
        if (new := self._unseen(shard, -1, frames)) is not None:
            edges = shard.people_offset[first : last + 2] - low
            found = of_annotations(every | rows, edges, (new - first).tolist())
            self._compare(shard, -1, new, found, shard.annotation_checksum)
        per_frame = {name: values[frames - first] for name, values in every.items()}
        for name, values in (per_frame | rows).items():
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ShardError(
                    f"{name} has NaN or infinite values in {entry.key}, frames {ref.start} and after",
                    where=self.store.name(shard.entry.file),
                    hint=self.store.repair_hint,
                )
        counts = shard.people_offset[frames + 1] - shard.people_offset[frames]
        taken = np.concatenate([np.arange(shard.people_offset[f], shard.people_offset[f + 1]) for f in frames]) - low
        return clip_annotations(entry, per_frame, {name: values[taken] for name, values in rows.items()}, counts)

    def encoded(self, ref: ClipRef, level: int = -1) -> list[bytes]:
        """The encoded image of each frame, by default of the largest level; b"" where the level is empty.

        Adjacent frames are read at once. Raises ShardError.
        """
        _, shard, frames = self._locate(ref)
        return self._encoded(shard, level, frames)

    def stored(self, ref: ClipRef, side: float, size: int) -> tuple[list[bytes], npt.NDArray[np.float64]]:
        """The encoded images, and their scales (T, 2): stored px per frame px along x and y.

        They are of the smallest level with full detail for a window of `side` frame px shown at `size` px. Raises
        ShardError.
        """
        images, _, scales = self._stored(*self._locate(ref), side, size)
        return images, scales

    def frames(
        self, ref: ClipRef, windows: Sequence[Window], size: int, out: npt.NDArray[np.uint8] | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
        """The crops (T, size, size, 3) uint8 RGB of the windows, black outside the frame, and their exact maps
        (T, 3, 3) from px of the frame to px of the crop, see `view.view`.

        `out`: array for the pixels, allocated by default. Raises ShardError.
        """
        if len(windows) != ref.length:
            raise ValueError(f"{len(windows)} windows for {ref.length} frames")
        entry, shard, frames = self._locate(ref)
        images, sizes, scales = self._stored(entry, shard, frames, min(window.side for window in windows), size)
        if out is None:
            out = np.empty((ref.length, size, size, 3), np.uint8)
        maps = np.empty((ref.length, 3, 3))
        for t, (data, window) in enumerate(zip(images, windows)):
            try:
                maps[t] = view(data, scales[t], window, out[t], (int(sizes[t, 0]), int(sizes[t, 1])))
            except AnnotationError as error:
                raise ShardError(
                    f"frame {ref.start + t * ref.stride} of {entry.key} does not decode: {error.message}",
                    where=self.store.name(shard.entry.file),
                    hint=self.store.repair_hint,
                ) from error
        return out, maps

    def _stored(
        self, entry: SequenceEntry, shard: _Shard, frames: npt.NDArray[np.int64], side: float, size: int
    ) -> tuple[list[bytes], npt.NDArray[np.int32], npt.NDArray[np.float64]]:
        """As `stored`, with the (T, 2) width and height of each image between."""
        sizes = shard.frame_size[:, frames]
        scales = sizes / np.array([entry.width, entry.height])  # level, frame, axis
        level = level_for(scales.min(axis=(1, 2)).tolist(), side, size)
        return self._encoded(shard, level, frames), sizes[level], scales[level]

    def _locate(self, ref: ClipRef) -> tuple[SequenceEntry, _Shard, npt.NDArray[np.int64]]:
        """The sequence's entry, its shard, and the clip's frame indices within the shard."""
        entry = self.index.sequences[ref.sequence]
        end = ref.start + (ref.length - 1) * ref.stride
        if ref.start < 0 or ref.length < 1 or ref.stride < 1 or end >= entry.frames:
            raise IndexError(f"{ref} leaves {entry.key}, which has {entry.frames} frames")
        if entry.shard not in self._shards:
            self._shards[entry.shard] = _open(self.store, self.index.shards[entry.shard], self._sequences[entry.shard])
        frames = entry.first_frame + ref.start + ref.stride * np.arange(ref.length, dtype=np.int64)
        return entry, self._shards[entry.shard], frames

    def _encoded(self, shard: _Shard, level: int, frames: npt.NDArray[np.int64]) -> list[bytes]:
        with self.store.open(shard.entry) as stream:
            images = _encoded(shard, stream.fileno(), level, frames)
        level %= len(shard.frame_size)
        if (new := self._unseen(shard, level, frames)) is not None:
            by_frame = dict(zip(frames.tolist(), images))
            checksums = np.array([zlib.crc32(by_frame[frame]) for frame in new.tolist()], np.uint32)
            self._compare(shard, level, new, checksums, shard.image_checksum[level])
            for frame in new.tolist():
                self._check_size(shard, level, frame, by_frame[frame])
        return images

    def _unseen(self, shard: _Shard, row: int, frames: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """The frames still to be verified against their checksums; None if there are none."""
        if self.verify == "off":
            return None
        new = frames if self.verify == "always" else frames[~shard.seen[row, frames]]
        return new if len(new) else None

    def _compare(
        self,
        shard: _Shard,
        row: int,
        frames: npt.NDArray[np.int64],
        found: npt.NDArray[np.uint32],
        expected: npt.NDArray[np.uint32],
    ) -> None:
        """Raises ShardError at the first frame whose checksum differs; the others need no second look."""
        compare(
            frames,
            found,
            expected[frames],
            dataset="the annotations" if row < 0 else f"{FRAME_BYTES}: level {row}",
            where=self.store.name(shard.entry.file),
            hint=self.store.repair_hint,
        )
        shard.seen[row, frames] = True

    def _check_size(self, shard: _Shard, level: int, frame: int, image: bytes) -> None:
        """Raises ShardError if an image's header gives another size than the table, before memory is allocated."""
        expected = tuple(shard.frame_size[level, frame].tolist())
        try:
            size = image_size(image, "frame", whole=False) if image else (0, 0)
        except AnnotationError as error:
            what = error.message
        else:
            if size == expected:
                return
            what = f"the image is {size[0]}x{size[1]} px, expected {expected[0]}x{expected[1]}"
        raise ShardError(
            f"{FRAME_SIZE}: frame {frame} of the shard, level {level}: {what}",
            where=self.store.name(shard.entry.file),
            hint=self.store.repair_hint,
        )


def _encoded(shard: _Shard, descriptor: int, level: int, frames: npt.NDArray[np.int64]) -> list[bytes]:
    begins, ends = shard.frame_offset[level, frames], shard.frame_offset[level, frames + 1]
    base = shard.places[FRAME_BYTES].at
    if int(ends[-1] - begins[0]) == int((ends - begins).sum()):
        block = _pread(shard, descriptor, int(ends[-1] - begins[0]), base + int(begins[0]))
        return [block[b - begins[0] : e - begins[0]] for b, e in zip(begins, ends)]
    return [_pread(shard, descriptor, int(e - b), base + int(b)) for b, e in zip(begins, ends)]


def clip_annotations(
    entry: SequenceEntry,
    per_frame: Mapping[str, npt.NDArray[Any]],
    rows: Mapping[str, npt.NDArray[Any]],
    people_a_frame: npt.NDArray[np.int64],
) -> ClipAnnotations:
    """T frames of a sequence as a clip: their `FRAME_COLUMNS`, and those `PEOPLE_COLUMNS` rows that are theirs."""
    frames = len(people_a_frame)
    times = np.repeat(np.arange(frames), people_a_frame)
    people, person = np.unique(rows["people/person"], return_inverse=True)

    def spread(name: str) -> npt.NDArray[Any]:
        column = PEOPLE_COLUMNS[name]
        out = np.zeros((len(people), frames, *column.shape), column.dtype)
        out[person, times] = rows[name]
        return out

    present = np.zeros((len(people), frames), bool)
    present[person, times] = True
    return ClipAnnotations(
        dataset=entry.dataset,
        moving=entry.moving,
        frame_ids=per_frame["frame_id"],
        fps=entry.fps,
        width=entry.width,
        height=entry.height,
        intrinsics=per_frame["camera/intrinsics"],
        camera_from_world=per_frame["camera/camera_from_world"],
        identity=people.astype(np.int64) + entry.first_person,
        gender=spread("people/gender").max(axis=1, initial=0),
        present=present,
        pose=spread("people/pose"),
        betas=spread("people/betas"),
        betas_neutral=spread("people/betas_neutral"),
        translation=spread("people/translation"),
        kp2d=spread("people/kp2d"),
        kp3d=spread("people/kp3d"),
        center=spread("people/center"),
        box=spread("people/box"),
        masks={
            **{name: spread(f"masks/{name}").astype(bool) for name in PERSON_MASKS},
            **{name: per_frame[f"frame_masks/{name}"].astype(bool) for name in FRAME_MASKS},
        },
    )


def _read(shard: _Shard, descriptor: int, name: str, low: int, high: int) -> npt.NDArray[Any]:
    """Rows low..high of a dataset, in a single read."""
    place = shard.places[name]
    shape = (high - low, *place.shape[1:])
    row = place.dtype.itemsize * math.prod(place.shape[1:])
    data = _pread(shard, descriptor, (high - low) * row, place.at + low * row)
    return np.frombuffer(data, place.dtype).reshape(shape)


def _pread(shard: _Shard, descriptor: int, count: int, at: int) -> bytes:
    data = os.pread(descriptor, count, at)
    if len(data) != count:  # a call reads up to 2 GiB, far above a clip, so the file was truncated
        raise ShardError(
            f"the shard has {os.fstat(descriptor).st_size:,} bytes, expected {shard.entry.bytes:,}",
            where=shard.store.name(shard.entry.file),
            hint=shard.store.repair_hint,
        )
    return data


def _open(store: Store, entry: ShardEntry, sequences: Sequence[SequenceEntry]) -> _Shard:
    """Read a shard's table of contents. Raises ShardError when the file is not the one the index describes."""
    where = store.name(entry.file)
    with store.open(entry) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size != entry.bytes:
            raise ShardError(
                f"the shard has {size:,} bytes, expected {entry.bytes:,}", where=where, hint=store.repair_hint
            )
        try:
            # without locks: many network file systems have none, and finished shards are never modified
            with h5py.File(str(stream.name), "r", locking=False) as content:
                if wrong := structure_findings(content, entry) or table_findings(content, entry, sequences):
                    raise ShardError(f"{wrong[0].key}: {wrong[0].what}", where=where, hint=store.repair_hint)
                return _contents(store, entry, content)
        except BROKEN as error:
            raise ShardError(f"not readable as a shard: {error}", where=where, hint=store.repair_hint) from error


def _contents(store: Store, entry: ShardEntry, content: h5py.File) -> _Shard:
    names = (FRAME_BYTES, *FRAME_COLUMNS, *PEOPLE_COLUMNS)
    return _Shard(
        store=store,
        entry=entry,
        places={
            name: _Place(at=content[name].id.get_offset() or 0, dtype=content[name].dtype, shape=content[name].shape)
            for name in names
        },
        frame_offset=content[FRAME_OFFSET][:],
        frame_size=content[FRAME_SIZE][:],
        people_offset=content[PEOPLE_OFFSET][:],
        image_checksum=content[IMAGE_CHECKSUM][:],
        annotation_checksum=content[ANNOTATION_CHECKSUM][:],
        seen=np.zeros((len(content[FRAME_SIZE]) + 1, entry.frames), bool),
    )
