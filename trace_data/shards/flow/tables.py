"""The tables of a file of flow, and whether it is what the layout says."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import numpy.typing as npt

from trace_data.schema.findings import Finding, wrong
from trace_data.shards.checks.file import Shape, attribute, attribute_findings, dataset_findings
from trace_data.shards.checksums import of_values
from trace_data.shards.entries import SequenceEntry
from trace_data.shards.flow.codec import decode_flow
from trace_data.shards.flow.index import FlowEntry, FlowIndex
from trace_data.shards.flow.layout import (
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
        yield wrong(
            FLOW_STRIDE, f"strides {stride} in {len(offset)} rows, the index has {list(index.settings.strides)}"
        )
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


def field_findings(content: h5py.File) -> Iterator[Finding]:
    """What is wrong with the fields themselves, in a file of sound tables."""
    tables, values = read_tables(content), content[FLOW_BYTES]
    for row, stride in enumerate(tables.stride):
        for frame, (begin, end) in enumerate(zip(tables.offset[row, :-1].tolist(), tables.offset[row, 1:].tolist())):
            if begin == end:
                continue
            data = values[begin:end].tobytes()
            try:
                decode_flow(data, *tables.size[frame].tolist())
            except ValueError as error:
                yield wrong(f"frame {frame}, stride {stride}", str(error))
            else:
                if zlib.crc32(data) != tables.checksum[row, frame]:
                    yield wrong(f"frame {frame}, stride {stride}", "the bytes are not those of their CRC-32")
