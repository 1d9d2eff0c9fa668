"""Sequence rows and images to one shard file: spooled, then written in one go and renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from trace_data.errors import AnnotationError, OutputError, TraceError
from trace_data.frames import read_bytes, stored_form
from trace_data.progress import SILENT, Progress
from trace_data.schema.record import SequenceRecord
from trace_data.shards.index import SequenceEntry, ShardEntry, sha256_of
from trace_data.shards.layout import (
    FORMAT,
    FORMAT_VERSION,
    FRAME_BYTES,
    FRAME_COLUMNS,
    FRAME_OFFSET,
    LIBVER,
    PEOPLE_COLUMNS,
    PEOPLE_OFFSET,
    SEQUENCE_COLUMNS,
    SEQUENCE_NAME,
    SEQUENCE_OFFSET,
    Column,
)
from trace_data.shards.rows import SequenceRows


class ShardWriter:
    """Collects whole sequences and writes them as one shard. Use it as a context manager.

    A contiguous dataset must know its length when it is made, so images wait in an unnamed temporary file beside the
    shard: memory stays flat, and a process killed at any moment leaves at most one `.partial` behind.
    """

    def __init__(self, folder: Path, name: str, *, height: int) -> None:
        """`name`: file name without `.h5`; `height`: largest short side of a stored frame, px."""
        self.file = folder / f"{name}.h5"
        self.height = height
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__
        self._sizes: list[int] = []
        self._stored: list[tuple[int, int]] = []
        self._rows: list[SequenceRows] = []
        self._entries: list[SequenceEntry] = []

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    def add(self, record: SequenceRecord, rows: SequenceRows, progress: Progress = SILENT) -> None:
        """Append one sequence. When a frame is broken nothing of the sequence stays. Raises AnnotationError."""
        begin = self._spool.tell()
        sizes: list[int] = []
        stored: list[tuple[int, int]] = []
        try:
            for file in record.frames:
                data, original, kept = stored_form(read_bytes(file), file, self.height)
                if original != (record.camera.width, record.camera.height):
                    raise AnnotationError(
                        f"the image is {original[0]}x{original[1]}, "
                        f"the sequence {record.camera.width}x{record.camera.height}",
                        where=file,
                    )
                self._spool.write(data)
                sizes.append(len(data))
                stored.append(kept)
                progress.advance()
        except TraceError:
            self._spool.seek(begin)
            self._spool.truncate()
            raise
        self._entries.append(_entry(record, rows, len(self._sizes)))
        self._sizes += sizes
        self._stored += stored
        self._rows.append(rows)

    def close(self, dataset: str, split: str) -> tuple[ShardEntry, tuple[SequenceEntry, ...]] | None:
        """Write the shard under a temporary name and rename it; its entries, or None when no sequence was added."""
        if not self._rows:
            return None
        partial = self.file.with_name(self.file.name + ".partial")
        with h5py.File(partial, "w", libver=LIBVER) as content:
            content.attrs["format"] = np.bytes_(FORMAT)
            content.attrs["format_version"] = np.int64(FORMAT_VERSION)
            content.attrs["dataset"] = np.bytes_(dataset)
            content.attrs["split"] = np.bytes_(split)
            self._write(content)
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        entry = ShardEntry(
            file=self.file.name,
            dataset=dataset,
            split=split,
            bytes=partial.stat().st_size,
            sha256=sha256_of(partial),
            sequences=len(self._rows),
            frames=len(self._sizes),
            rows=int(sum(rows.people_a_frame.sum() for rows in self._rows)),
        )
        partial.replace(self.file)
        return entry, tuple(self._entries)

    def _write(self, content: Any) -> None:
        put(content, SEQUENCE_NAME, np.array([entry.key.encode() for entry in self._entries]))
        put(content, SEQUENCE_OFFSET, offsets([entry.frames for entry in self._entries]))
        for name, column in SEQUENCE_COLUMNS.items():
            values = [getattr(entry, name.rpartition("/")[2]) for entry in self._entries]
            put(content, name, np.array(values, column.dtype))
        per_frame = {"frames/size": [np.array(self._stored)]}
        for name in FRAME_COLUMNS:
            per_frame.setdefault(name, [rows.frames[name] for rows in self._rows if name in rows.frames])
        _columns(content, FRAME_COLUMNS, per_frame)
        _columns(content, PEOPLE_COLUMNS, {name: [r.people[name] for r in self._rows] for name in PEOPLE_COLUMNS})
        put(content, PEOPLE_OFFSET, offsets(np.concatenate([rows.people_a_frame for rows in self._rows])))
        put(content, FRAME_OFFSET, offsets(self._sizes))
        total = sum(self._sizes)
        images = content.create_dataset(FRAME_BYTES, shape=(total,), dtype="|u1", track_times=False)
        self._spool.seek(0)
        at = 0
        while block := self._spool.read(1 << 24):
            images[at : at + len(block)] = np.frombuffer(block, np.uint8)
            at += len(block)
        if at != total:
            raise OutputError(
                f"{at:,} bytes of images came back from the disk, {total:,} were written", where=self.file
            )


def put(content: Any, name: str, values: npt.NDArray[Any]) -> None:
    """One contiguous dataset without a time stamp."""
    content.create_dataset(name, data=values, track_times=False)


def offsets(lengths: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """(n + 1,) where each of n lengths begins, and where the last ends."""
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype("<i8")


def _columns(content: Any, columns: Mapping[str, Column], blocks: Mapping[str, list[npt.NDArray[Any]]]) -> None:
    for name, column in columns.items():
        values = np.concatenate(blocks[name]).astype(column.dtype)
        if values.shape[1:] != column.shape:
            raise ValueError(f"{name}: rows of shape {values.shape[1:]}, the format says {column.shape}")
        put(content, name, values)


def _entry(record: SequenceRecord, rows: SequenceRows, first_frame: int) -> SequenceEntry:
    """The sequence's entry; `shard` and `first_person` are given when the index is put together."""
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
    """(first id, step, count) of stretches with equally spaced ids; together they give back `ids` exactly."""
    runs, begin = [], 0
    breaks = np.flatnonzero(np.diff(ids, n=2)) + 2 if len(ids) > 2 else np.zeros(0, np.int64)
    for end in (*breaks.tolist(), len(ids)):
        step = int(ids[begin + 1] - ids[begin]) if end - begin > 1 else 1
        runs.append((int(ids[begin]), step, end - begin))
        begin = end
    return tuple(runs)
