"""The format of stored flow: names, types and shapes (docs/stored-flow.md#the-format).

Beside each shard `NAME.h5` stands `NAME.flow.h5`, an HDF5 file of the same kind. With the shard's F frames and K
strides it holds

    flow/bytes   uint8 (total)      encoded flow, back to back: all of the first stride, then of the next
    flow/offset  int64 (K, F + 1)   the flow to frame f of stride k is bytes[offset[k, f] : offset[k, f + 1]], encoded
                                    as in `codec`
    flow/size    int32 (F, 2)       width and height of its grid, in cells of 8 px of the picture it was computed on
    flow/stride  int32 (K)          the strides s, rising: the flow leads from frame f - s of the sequence to frame f
    crc32/flow   uint32 (K, F)      CRC-32 of each

The first s frames of a sequence have no flow of stride s: no bytes. Each table has an attribute `crc32` of its bytes.
"""

from __future__ import annotations

FLOW_FORMAT = "trace-flow"
FLOW_VERSION = 1
FLOW_INDEX_FILE = "flow.json"
FLOW_STATE_FOLDER = ".flow"
"""Folder beside the shards with the records of `trace add-flow`; only needed to go on with it."""
SUFFIX = ".flow.h5"

FLOW_BYTES = "flow/bytes"
FLOW_OFFSET = "flow/offset"
FLOW_SIZE = "flow/size"
FLOW_STRIDE = "flow/stride"
FLOW_CHECKSUM = "crc32/flow"
FLOW_TABLES = (FLOW_OFFSET, FLOW_SIZE, FLOW_STRIDE, FLOW_CHECKSUM)

CELL = 8
"""Side of a cell of the grid, px of the picture that the flow was computed on."""


def flow_file(shard: str) -> str:
    """Name of the file with the flow of a shard, given the shard's."""
    return shard.removesuffix(".h5") + SUFFIX
