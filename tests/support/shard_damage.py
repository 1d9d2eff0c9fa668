"""What may happen to the frames of a shard."""

from __future__ import annotations

import hashlib
import json
import zlib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from trace_data.shards.checksums import of_annotations, of_values
from trace_data.shards.layout import FRAME_COLUMNS, PEOPLE_COLUMNS, TABLES
from trace_data.shards.reader import ShardReader


def blot(shards: Path, name: str) -> None:
    """Overwrite the middle of every frame of a sequence, in place."""
    entry = next(entry for entry in ShardReader(shards).index.sequences if entry.name == name)
    file = shards / ShardReader(shards).index.shards[entry.shard].file
    with h5py.File(file, "r", locking=False) as content:  # as the reader does, which may have it open
        base = content["frames/bytes"].id.get_offset()
        offset = content["frames/offset"][:]
    with file.open("r+b") as stream:
        for level in offset:
            for frame in range(entry.first_frame, entry.first_frame + entry.frames):
                stream.seek(int(base + (level[frame] + level[frame + 1]) // 2))
                stream.write(b"\xff\xd9" * 8)


def first_of(shards: Path) -> str:
    """A training sequence."""
    return next(entry.name for entry in ShardReader(shards).index.sequences if entry.split == "train")


def reseal(content: Any) -> None:
    """Give a changed shard the checksums of what it holds now, as whoever crafts one would."""
    with suppress(KeyError, ValueError, IndexError, TypeError, OSError):
        edges, data = content["frames/offset"][:], content["frames/bytes"][:].tobytes()
        content["crc32/images"][...] = [[zlib.crc32(data[a:b]) for a, b in pairwise(row)] for row in edges]
        columns = {name: content[name][:] for name in (*FRAME_COLUMNS, *PEOPLE_COLUMNS)}
        offset = content["people/offset"][:]
        content["crc32/annotations"][...] = of_annotations(columns, offset, range(len(offset) - 1))
    for name in TABLES:
        if isinstance(content.get(name), h5py.Dataset):
            content[name].attrs["crc32"] = np.uint32(of_values(content[name][:]))


def relabel(folder: Path, file: str, *, dataset: str | None = None, split: str | None = None) -> None:
    """Put a whole shard into another dataset or split, in itself and in the index."""
    new = {key: value for key, value in (("dataset", dataset), ("split", split)) if value is not None}
    with h5py.File(folder / file, "r+") as content:
        for key, value in new.items():
            content.attrs[key] = np.bytes_(value)
        names = [name.decode().rpartition("/")[2] for name in content["sequence/name"][:]]
        place = [content.attrs[key].decode() for key in ("dataset", "split")]
        keys = ["/".join([*place, name]).encode() for name in names]
        kind = content["sequence/name"].dtype
        del content["sequence/name"]
        content.create_dataset("sequence/name", data=np.array(keys, f"S{max(map(len, keys))}"), dtype=None)
        assert content["sequence/name"].dtype.kind == kind.kind
    index = json.loads((folder / "index.json").read_text())
    number = next(i for i, entry in enumerate(index["shards"]) if entry["file"] == file)
    data = (folder / file).read_bytes()
    index["shards"][number] |= new | {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    for sequence in index["sequences"]:
        if sequence["shard"] == number:
            sequence |= new
    (folder / "index.json").write_text(json.dumps(index))
