"""Reads the stored flow of clips."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from trace_data.errors import ShardError
from trace_data.schema.clip import ClipRef
from trace_data.shards.checks.file import BROKEN
from trace_data.shards.entries import SequenceEntry
from trace_data.shards.flow.codec import decode_flow
from trace_data.shards.flow.index import FlowEntry, FlowIndex, add_flow_command, load_flow_index
from trace_data.shards.flow.layout import CELL, FLOW_BYTES
from trace_data.shards.flow.tables import FlowTables, flow_findings, read_tables
from trace_data.shards.reader import ShardReader


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
