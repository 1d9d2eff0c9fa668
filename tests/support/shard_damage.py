"""What may happen to the frames of a shard."""

from __future__ import annotations

from pathlib import Path

import h5py

from trace_data.shards.reader import ShardReader


def blot(shards: Path, name: str) -> None:
    """Overwrite the middle of every frame of a sequence, in place."""
    entry = next(entry for entry in ShardReader(shards).index.sequences if entry.name == name)
    file = shards / ShardReader(shards).index.shards[entry.shard].file
    with h5py.File(file) as content:
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
