"""Reads the stored flow of clips."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from trace_data.errors import ShardError
from trace_data.schema.clip import ClipRef
from trace_data.schema.findings import Finding, wrong
from trace_data.shards.checks.file import BROKEN, Shape, attribute, attribute_findings, dataset_findings
from trace_data.shards.checksums import of_values
from trace_data.shards.entries import SequenceEntry
from trace_data.shards.flow.codec import decode_flow
from trace_data.shards.flow.index import FlowEntry, FlowIndex, add_flow_command, load_flow_index
from trace_data.shards.flow.layout import (
    CELL,
    FLOW_BYTES,
    FLOW_CHECKSUM,
    FLOW_FORMAT,
    FLOW_OFFSET,
    FLOW_SIZE,
    FLOW_STRIDE,
    FLOW_TABLES,
    FLOW_VERSION,
)
from trace_data.shards.layout import TABLE_CHECKSUM
from trace_data.shards.reader import ShardReader

LARGEST_GRID = 1 << 13
"""Cells along a side: frames of JPEG's largest side give as many. A field's memory is allocated by its table."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FlowTables:
    """A file's table of contents."""

    at: int
    """Where its bytes begin in the file."""
    offset: npt.NDArray[np.int64]
    """(K, F + 1)"""
    size: npt.NDArray[np.int32]
    """(F, 2) cells."""
    stride: tuple[int, ...]
    checksum: npt.NDArray[np.uint32]
    """(K, F)"""
    seen: npt.NDArray[np.bool_]
    """(K, F) which fields have been verified."""


class FlowReader:
    """Stored flow of the clips of a `ShardReader`. Picklable and thread-safe as it is."""

    def __init__(self, reader: ShardReader) -> None:
        """Raises NoStoredFlowError when these shards have none, ShardError when it is damaged or of other shards."""
        self._reader = reader
        self.index: FlowIndex = load_flow_index(reader.store, reader.index.shards)
        self._files: dict[int, FlowTables] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    @property
    def facts(self) -> dict[str, Any]:
        """What a run's checkpoint keeps of its flow: how it was computed, and a hash of all of it."""
        digest = hashlib.sha256("".join(entry.sha256 for entry in self.index.shards).encode()).hexdigest()
        return {"flow": asdict(self.index.settings), "flow_sha256": digest}

    def check_strides(self, strides: Sequence[int]) -> None:
        """Raises ShardError when flow of one of these strides is not stored."""
        settings = self.index.settings
        if missing := sorted(set(strides) - set(settings.strides)):
            wanted = sorted({*strides, *settings.strides})
            options = "".join(f" --stride {stride}" for stride in wanted)
            raise ShardError(
                f"flow is stored for strides {', '.join(map(str, settings.strides)) or 'of none of the sets'}, not for"
                f" {', '.join(map(str, missing))}",
                where=self._reader.store.where,
                hint=f"trace add-flow DIR --flow {settings.provider}{options} --force, or fewer data.strides",
            )

    def pairs(self, ref: ClipRef, *, before: bool = False) -> list[npt.NDArray[np.float32] | None]:
        """Flow from frame t - 1 of the clip to frame t, for each t; None for the first frame.

        Each (h, w, 2): x and y in px of the original frame, on an even grid over the whole of frame t - 1, at the
        centres of its cells. `before`: the first frame's flow too, from the frame `ref.stride` before it, which must
        exist. Raises ShardError.
        """
        entry = self._reader.index.sequences[ref.sequence]
        end = ref.start + (ref.length - 1) * ref.stride
        if ref.start < (ref.stride if before else 0) or ref.length < 1 or ref.stride < 1 or end >= entry.frames:
            raise IndexError(f"{ref} leaves {entry.key}, which has {entry.frames} frames")
        self.check_strides([ref.stride])
        file = self.index.shards[entry.shard]
        tables = self._tables(entry.shard, file)
        row = tables.stride.index(ref.stride)
        frames = (entry.first_frame + ref.start + ref.stride * np.arange(ref.length))[0 if before else 1 :]
        flow: list[npt.NDArray[np.float32] | None] = [] if before else [None]
        with self._reader.store.open(file) as stream:
            for frame in frames.tolist():
                begin, end = tables.offset[row, frame : frame + 2].tolist()
                data = os.pread(stream.fileno(), end - begin, tables.at + begin)
                flow.append(self._field(tables, row, frame, data, entry, file))
        return flow

    def _field(
        self, tables: FlowTables, row: int, frame: int, data: bytes, entry: SequenceEntry, file: FlowEntry
    ) -> npt.NDArray[np.float32]:
        """One field in px of the original frame. Raises ShardError."""
        verify = self._reader.verify
        if verify == "always" or (verify == "first" and not tables.seen[row, frame]):
            if zlib.crc32(data) != tables.checksum[row, frame]:
                raise self._broken(file, f"the flow to frame {frame} of the shard changed since it was written")
            tables.seen[row, frame] = True
        width, height = tables.size[frame].tolist()
        try:
            flow = decode_flow(data, width, height)
        except ValueError as error:
            raise self._broken(file, f"{FLOW_BYTES}: frame {frame} of the shard: {error}") from error
        return flow * np.array([entry.width / (CELL * width), entry.height / (CELL * height)], np.float32)

    def _broken(self, file: FlowEntry, what: str) -> ShardError:
        store = self._reader.store
        return ShardError(what, where=store.name(file.file), hint=_mended(store.where, self.index, remote=store.remote))

    def _tables(self, shard: int, file: FlowEntry) -> FlowTables:
        if shard not in self._files:
            store = self._reader.store
            with store.open(file) as stream:
                size = os.fstat(stream.fileno()).st_size
                if size != file.bytes:
                    raise self._broken(file, f"the file has {size:,} bytes, expected {file.bytes:,}")
                try:
                    with h5py.File(str(stream.name), "r", locking=False) as content:
                        sequences = [s for s in self._reader.index.sequences if s.shard == shard]
                        if found := flow_findings(content, file, self.index, sequences):
                            raise self._broken(file, f"{found[0].key}: {found[0].what}")
                        self._files[shard] = read_tables(content)
                except BROKEN as error:
                    raise self._broken(file, f"not readable as flow: {error}") from error
        return self._files[shard]


def _mended(where: str, index: FlowIndex, *, remote: bool) -> str:
    if remote:
        return "upload the folder again, flow.json last"
    return f"{add_flow_command(where, index.settings)}  computes again what is damaged"


def read_tables(content: h5py.File) -> FlowTables:
    """The tables of an open file without findings."""
    return FlowTables(
        at=content[FLOW_BYTES].id.get_offset() or 0,
        offset=content[FLOW_OFFSET][:],
        size=content[FLOW_SIZE][:],
        stride=tuple(content[FLOW_STRIDE][:].tolist()),
        checksum=content[FLOW_CHECKSUM][:],
        seen=np.zeros(content[FLOW_CHECKSUM].shape, bool),
    )


def flow_findings(
    content: h5py.File, file: FlowEntry, index: FlowIndex, sequences: Sequence[SequenceEntry]
) -> list[Finding]:
    """What is wrong with an open file of flow: attributes, datasets, tables among themselves and beside the indexes.

    `sequences`: those of the shard, in order.
    """
    strides = len(index.settings.strides)
    expected: dict[str, tuple[str, Shape]] = {
        FLOW_BYTES: ("|u1", (None,)),
        FLOW_OFFSET: ("<i8", (None, file.frames + 1)),
        FLOW_SIZE: ("<i4", (file.frames, 2)),
        FLOW_STRIDE: ("<i4", (None,)),
        FLOW_CHECKSUM: ("<u4", (None, file.frames)),
    }
    attributes = {"format": FLOW_FORMAT, "format_version": FLOW_VERSION, "shard_sha256": file.shard_sha256}
    findings = [
        *attribute_findings(content, attributes, "the file"),
        *dataset_findings(content, expected, "a file of flow"),
    ]
    return findings or list(_table_findings(content, index, sequences))


def _table_findings(content: h5py.File, index: FlowIndex, sequences: Sequence[SequenceEntry]) -> Iterator[Finding]:
    tables = {name: content[name][:] for name in FLOW_TABLES}
    for name, values in tables.items():
        if of_values(values) != attribute(content[name], TABLE_CHECKSUM):
            yield wrong(name, "the values changed: their CRC-32 is another")
            return
    offset, size, stride = tables[FLOW_OFFSET], tables[FLOW_SIZE], tables[FLOW_STRIDE].tolist()
    if not set(index.settings.strides) <= set(stride) or not len(stride) == len(offset) == len(tables[FLOW_CHECKSUM]):
        yield wrong(FLOW_STRIDE, f"strides {stride} in {len(offset)} rows, the index has {list(index.settings.strides)}")
        return
    back_to_back = (offset[1:, 0] == offset[:-1, -1]).all() and offset[0, 0] == 0
    if (offset[:, 1:] < offset[:, :-1]).any() or not back_to_back or offset[-1, -1] != content[FLOW_BYTES].shape[0]:
        yield wrong(FLOW_OFFSET, "fields do not lie back to back, or do not end with the bytes")
        return
    if (size < 1).any() or (size > LARGEST_GRID).any():
        yield wrong(FLOW_SIZE, "a grid without cells, or larger than any frame's")
    age = np.concatenate([np.arange(sequence.frames) for sequence in sequences])
    there = np.diff(offset, axis=1) > 0
    if (there != (age >= np.array(stride)[:, None])).any():
        yield wrong(FLOW_OFFSET, "a pair of frames has no flow, or a first frame of a sequence has some")
