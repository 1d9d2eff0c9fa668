"""Writes a shard file: rows and images are spooled, then written in one pass and renamed."""

from __future__ import annotations

import contextlib
import io
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, OutputError, TraceError
from trace_data.files import atomic_write, sha256_of
from trace_data.frames.image import ORIGINAL_QUALITY, check_decodes, encode, image_size, read_bytes, scaled
from trace_data.frames.video import PaddedPicture, Picture, TurnedPicture, contents
from trace_data.progress import SILENT, Progress
from trace_data.schema.record import SequenceRecord
from trace_data.shards.checksums import of_annotations, of_values
from trace_data.shards.entries import SequenceEntry, ShardEntry
from trace_data.shards.layout import (
    ANNOTATION_CHECKSUM,
    FORMAT,
    FORMAT_VERSION,
    FRAME_BYTES,
    FRAME_COLUMNS,
    FRAME_OFFSET,
    FRAME_SIZE,
    IMAGE_CHECKSUM,
    LIBVER,
    PEOPLE_COLUMNS,
    PEOPLE_OFFSET,
    SEQUENCE_COLUMNS,
    SEQUENCE_NAME,
    SEQUENCE_OFFSET,
    TABLE_CHECKSUM,
    TABLES,
    Column,
)
from trace_data.shards.levels import Storage, enlargement
from trace_data.shards.rows import SequenceRows
from trace_data.workers import in_order


class ShardWriter:
    """Collects whole sequences and writes them as one shard. Use it as a context manager.

    A contiguous dataset needs its length at creation, so images are spooled to unnamed temporary files beside the
    shard, one per level: memory use is constant, and a killed process leaves at most one `.partial` file.
    """

    def __init__(self, folder: Path, name: str, *, storage: Storage) -> None:
        """`name`: file name without `.h5`."""
        self.file = folder / f"{name}.h5"
        self.storage = storage
        self.enlarged = enlargement(np.zeros((0, 4)), 1.0)
        """Counts of crops by enlargement, see `levels.ENLARGEMENT_BINS`."""
        levels = max(1, len(storage.heights))
        self._spools = [tempfile.TemporaryFile(dir=folder) for _ in range(levels)]  # noqa: SIM115  see __exit__
        self._lengths: list[list[int]] = []  # encoded bytes of each level, for each frame
        self._sizes: list[list[tuple[int, int]]] = []
        self._checksums: list[list[int]] = []
        self._rows: list[SequenceRows] = []
        self._entries: list[SequenceEntry] = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for spool in self._spools:
            spool.close()

    def add(self, record: SequenceRecord, rows: SequenceRows, progress: Progress = SILENT) -> None:
        """Append one sequence, or nothing of it when a frame is broken. Raises AnnotationError."""
        begins = [spool.tell() for spool in self._spools]
        boxes = rows.people["people/box"][rows.people["masks/center"] > 0]
        camera = record.camera
        sides = self.storage.sides(camera.width, camera.height, boxes)
        lengths: list[list[int]] = []
        sizes: list[list[tuple[int, int]]] = []
        checksums: list[list[int]] = []
        try:
            levels_of = partial(stored_levels, sides=sides, expected=(camera.width, camera.height))
            for levels in in_order(levels_of, contents(record.frames)):
                for spool, (data, _) in zip(self._spools, levels):
                    spool.write(data)
                lengths.append([len(data) for data, _ in levels])
                sizes.append([size for _, size in levels])
                checksums.append([zlib.crc32(data) for data, _ in levels])
                progress.wrote(sum(lengths[-1]))
                progress.advance()
        except TraceError:
            for spool, begin in zip(self._spools, begins):
                spool.seek(begin)
                spool.truncate()
            raise
        largest = next((side for side in reversed(sides) if side is not None), min(camera.width, camera.height))
        self.enlarged = self.enlarged + enlargement(boxes, largest / min(camera.width, camera.height))
        self._entries.append(entry_of(record, rows, first_frame=len(self._sizes)))
        self._lengths += lengths
        self._sizes += sizes
        self._checksums += checksums
        self._rows.append(rows)

    def close(self, dataset: str, split: str) -> tuple[ShardEntry, tuple[SequenceEntry, ...]] | None:
        """Write the shard under a temporary name and rename it. Returns its entries; None if no sequence was added."""
        if not self._rows:
            return None
        with atomic_write(self.file) as unfinished:
            with new_hdf5(unfinished) as content:
                content.attrs["format"] = np.bytes_(FORMAT)
                content.attrs["format_version"] = np.int64(FORMAT_VERSION)
                content.attrs["dataset"] = np.bytes_(dataset)
                content.attrs["split"] = np.bytes_(split)
                self._write(content)
            entry = ShardEntry(
                file=self.file.name,
                dataset=dataset,
                split=split,
                bytes=unfinished.stat().st_size,
                sha256=sha256_of(unfinished),
                sequences=len(self._rows),
                frames=len(self._sizes),
                rows=int(sum(rows.people_a_frame.sum() for rows in self._rows)),
            )
        return entry, tuple(self._entries)

    def _write(self, content: Any) -> None:
        put(content, SEQUENCE_NAME, np.array([entry.key.encode(errors="backslashreplace") for entry in self._entries]))
        put(content, SEQUENCE_OFFSET, offsets([entry.frames for entry in self._entries]))
        for name, column in SEQUENCE_COLUMNS.items():
            values = [getattr(entry, name.rpartition("/")[2]) for entry in self._entries]
            put(content, name, np.array(values, column.dtype))
        columns = _columns(FRAME_COLUMNS, {name: [r.frames[name] for r in self._rows] for name in FRAME_COLUMNS})
        columns |= _columns(PEOPLE_COLUMNS, {name: [r.people[name] for r in self._rows] for name in PEOPLE_COLUMNS})
        for name in columns:
            put(content, name, columns[name])
        people = offsets(np.concatenate([rows.people_a_frame for rows in self._rows]))
        put(content, PEOPLE_OFFSET, people)
        put(content, ANNOTATION_CHECKSUM, of_annotations(columns, people, range(len(people) - 1)).astype("<u4"))
        put(content, IMAGE_CHECKSUM, np.array(self._checksums, "<u4").T)
        lengths = np.array(self._lengths, np.int64).T  # levels, frames
        edges = offsets(lengths.reshape(-1))
        put(content, FRAME_OFFSET, edges[np.arange(lengths.shape[1] + 1) + lengths.shape[1] * _column(len(lengths))])
        put(content, FRAME_SIZE, np.array(self._sizes, "<i4").swapaxes(0, 1))
        put_spooled(content, FRAME_BYTES, self._spools, int(edges[-1]), where=self.file)


@contextlib.contextmanager
def new_hdf5(file: Path) -> Iterator[Any]:
    """A new HDF5 file, open for writing in the block. Raises OSError after it, as on a full disk."""
    with file.open("x+b", buffering=0) as stream:
        sink = _Sink(stream)
        with h5py.File(sink, "w", libver=LIBVER) as content:
            yield content
        if sink.error is not None:
            raise sink.error


class _Sink:
    """A file for HDF5 that never reports an error, because the library crashes while cleaning up on a full disk.

    The first error is kept; later writes are discarded.
    """

    def __init__(self, stream: io.FileIO) -> None:
        self.error: OSError | None = None
        self._stream = stream
        self.seek, self.tell, self.read, self.readinto = stream.seek, stream.tell, stream.read, stream.readinto

    def write(self, data: Any) -> int:
        """Write all of `data` at the current position."""
        view = memoryview(data)
        rest = view
        while rest and self.error is None:
            try:
                rest = rest[self._stream.write(rest) :]
            except OSError as error:
                self.error = error
        return len(view)

    def truncate(self, size: int) -> int:
        """HDF5's last call; a no-op after an error."""
        return size if self.error is not None else self._stream.truncate(size)

    def flush(self) -> None:
        """A no-op: writes are not buffered."""


def _column(count: int) -> npt.NDArray[np.int64]:
    return np.arange(count, dtype=np.int64)[:, None]


def stored_levels(
    content: Path | Picture | PaddedPicture | TurnedPicture, *, sides: Sequence[int | None], expected: tuple[int, int]
) -> list[tuple[bytes, tuple[int, int]]]:
    """(bytes, size) of a frame at each level; an image file's own bytes when `sides` is empty.

    `expected`: width and height of the sequence's frames. Raises AnnotationError.
    """
    data: bytes | npt.NDArray[np.uint8]
    if isinstance(content, Path):
        where, data = str(content), read_bytes(content)
        original = image_size(data, content)
    else:
        where, data = str(content.frame), content.pixels
        original = (data.shape[1], data.shape[0])
    if original != expected:
        raise AnnotationError(
            f"the image is {original[0]}x{original[1]}, the sequence {expected[0]}x{expected[1]}", where=where
        )
    if sides:
        return scaled(data, where, sides)
    if not isinstance(data, bytes):
        return [(encode(data, ORIGINAL_QUALITY), original)]
    check_decodes(data, where, original)
    return [(data, original)]


def put(content: Any, name: str, values: npt.NDArray[Any], tables: Sequence[str] = TABLES) -> None:
    """Write one contiguous dataset without a time stamp; with a checksum if it is one of the tables."""
    written = content.create_dataset(name, data=values, track_times=False)
    if name in tables:
        written.attrs[TABLE_CHECKSUM] = np.uint32(of_values(values))


def put_spooled(content: Any, name: str, spools: Sequence[IO[bytes]], count: int, *, where: Path) -> None:
    """Write one dataset of `count` bytes, all of each spool back to back. Raises OutputError when some are lost."""
    written = content.create_dataset(name, shape=(count,), dtype="|u1", track_times=False)
    at = 0
    for spool in spools:
        spool.seek(0)
        while block := spool.read(1 << 24):
            written[at : at + len(block)] = np.frombuffer(block, np.uint8)
            at += len(block)
    if at != count:
        raise OutputError(f"{at:,} bytes came back from the disk, {count:,} were written", where=where)


def offsets(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """(n + 1,) cumulative offsets of n lengths."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype("<i8")


def _columns(
    columns: Mapping[str, Column], blocks: Mapping[str, list[npt.NDArray[Any]]]
) -> dict[str, npt.NDArray[Any]]:
    found = {name: np.concatenate(blocks[name]).astype(column.dtype) for name, column in columns.items()}
    for name, column in columns.items():
        if found[name].shape[1:] != column.shape:
            raise ValueError(f"{name}: rows of shape {found[name].shape[1:]}, the format says {column.shape}")
    return found


def entry_of(record: SequenceRecord, rows: SequenceRows, *, first_frame: int = 0) -> SequenceEntry:
    """The sequence's entry; `shard` and `first_person` are set when the index is assembled."""
    return SequenceEntry(
        dataset=record.dataset,
        split=record.split,
        name=record.name,
        shard=0,
        first_frame=first_frame,
        frames=len(record.frames),
        people=tuple(person.name for person in record.people),
        first_person=0,
        fps=float(record.fps),
        width=record.camera.width,
        height=record.camera.height,
        moving=record.camera.moving,
        world_valid=record.world_valid,
        world_reason=record.world_reason,
        synthetic=record.provenance.get("synthetic") == "true",
        frame_id_runs=id_runs(record.frame_ids),
        usable=rows.usable,
        provenance=dict(record.provenance),
    )


def id_runs(ids: npt.NDArray[np.int64]) -> tuple[tuple[int, int, int], ...]:
    """(first id, step, count) of runs of equally spaced ids, a lossless encoding of `ids`."""
    runs, begin = [], 0
    breaks = np.flatnonzero(np.diff(ids, n=2)) + 2 if len(ids) > 2 else np.zeros(0, np.int64)
    for end in (*breaks.tolist(), len(ids)):
        step = int(ids[begin + 1] - ids[begin]) if end - begin > 1 else 1
        runs.append((int(ids[begin]), step, end - begin))
        begin = end
    return tuple(runs)
