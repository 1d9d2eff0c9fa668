"""Writes the flow of one shard: fields are spooled, then written in one pass and renamed."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from trace_data.files import atomic_write, sha256_of
from trace_data.shards.entries import ShardEntry
from trace_data.shards.flow.index import FlowEntry
from trace_data.shards.flow.layout import (
    FLOW_BYTES,
    FLOW_CHECKSUM,
    FLOW_FORMAT,
    FLOW_OFFSET,
    FLOW_SIZE,
    FLOW_STRIDE,
    FLOW_TABLES,
    FLOW_VERSION,
    flow_file,
)
from trace_data.shards.writer import new_hdf5, offsets, put, put_spooled

Fields = tuple[tuple[int, int], Sequence[bytes]]
"""Width and height of a frame's grid, and its encoded flow of each stride, b"" where there is none."""


def write_flow(folder: Path, shard: ShardEntry, strides: Sequence[int], frames: Iterable[Fields]) -> FlowEntry:
    """Write the flow of a shard's frames, in their order, and return its entry.

    Memory does not grow with the shard; a killed process leaves at most one `.partial` file. Raises OSError,
    OutputError.
    """
    file = folder / flow_file(shard.file)
    sizes: list[tuple[int, int]] = []
    lengths: list[list[int]] = []
    checksums: list[list[int]] = []
    with contextlib.ExitStack() as stack:
        spools = [stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in strides]
        for size, fields in frames:
            for spool, data in zip(spools, fields, strict=True):
                spool.write(data)
            sizes.append(size)
            lengths.append([len(data) for data in fields])
            checksums.append([zlib.crc32(data) for data in fields])
        with atomic_write(file) as unfinished:
            with new_hdf5(unfinished) as content:
                content.attrs["format"] = np.bytes_(FLOW_FORMAT)
                content.attrs["format_version"] = np.int64(FLOW_VERSION)
                content.attrs["shard_sha256"] = np.bytes_(shard.sha256)
                counts = np.array(lengths, np.int64).T  # strides, frames
                edges = offsets(counts.reshape(-1))
                begins = counts.shape[1] * np.arange(len(strides))[:, None]
                tables = {
                    FLOW_OFFSET: edges[np.arange(counts.shape[1] + 1) + begins],
                    FLOW_SIZE: np.array(sizes, "<i4"),
                    FLOW_STRIDE: np.array(strides, "<i4"),
                    FLOW_CHECKSUM: np.array(checksums, "<u4").T,
                }
                for name, values in tables.items():
                    put(content, name, values, FLOW_TABLES)
                put_spooled(content, FLOW_BYTES, spools, int(edges[-1]), where=file)
            return FlowEntry(
                file=file.name,
                dataset=shard.dataset,
                split=shard.split,
                bytes=unfinished.stat().st_size,
                sha256=sha256_of(unfinished),
                sequences=shard.sequences,
                frames=shard.frames,
                rows=shard.rows,
                shard_sha256=shard.sha256,
            )
