"""How long a run waits before it knows its first clip: three million frames in 3,000 sequences. Prints one JSON line.

    python benchmarks/start.py [--frames 3000000]

The index is made up (gaps in frame ids, people who come and go), written to a temporary folder, and opened anew: time
to read it, to find all valid clips of ten frames at strides 1 to 4, to draw one; memory that this adds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np

from trace_data.shards.entries import SequenceEntry, ShardEntry, ShardIndex
from trace_data.shards.index import load_index, save_index
from trace_data.shards.sampling.sampler import ClipSampler, clip_table

DATASETS = ("3dpw", "h36m", "mpi-inf-3dhp", "penn-action")
LENGTH = 1000
SEQUENCES_A_SHARD = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=3_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, options.frames // LENGTH)
        before = resident()
        began = time.perf_counter()
        index = load_index(folder)
        loaded = time.perf_counter()
        tables = {
            name: clip_table(index, length=10, strides=(1, 2, 3, 4), split="train", datasets=[name])
            for name in DATASETS
        }
        found = time.perf_counter()
        sampler = ClipSampler(tables, seed=0)
        drawing = time.perf_counter()
        for position in range(1000):
            sampler.clip(0, position)
        drawn = time.perf_counter()
        line = {
            "bench": "start",
            "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
            "frames": options.frames,
            "clips": len(sampler),
            "index_mb": round((folder / "index.json").stat().st_size / 1e6, 2),
            "read_index_s": round(loaded - began, 3),
            "find_clips_s": round(found - loaded, 3),
            "draw_a_clip_us": round(1e3 * (drawn - drawing), 1),
            "added_mb": round((resident() - before) / 1e6),
            "busy": os.getloadavg()[0] > (os.cpu_count() or 1),
        }
    print(json.dumps(line))


def write(folder: Path, sequences: int) -> None:
    """An index without shards."""
    rng = np.random.default_rng(0)
    shards = [
        ShardEntry(
            file=f"{number:05d}.h5", dataset=DATASETS[number % 4], split="train", bytes=1 << 29, sha256=64 * "0",
            sequences=SEQUENCES_A_SHARD, frames=SEQUENCES_A_SHARD * LENGTH, rows=SEQUENCES_A_SHARD * LENGTH,
        )
        for number in range(-(-sequences // SEQUENCES_A_SHARD))
    ]  # fmt: skip
    entries = []
    for number in range(sequences):
        shard = number // SEQUENCES_A_SHARD
        gap = int(rng.integers(1, 5)) if number % 5 == 0 else 1
        edges = np.unique(rng.integers(0, LENGTH, 8))
        present = tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2]))
        entries.append(
            SequenceEntry(
                dataset=shards[shard].dataset, split="train", name=f"{number:05d}", shard=shard,
                first_frame=number % SEQUENCES_A_SHARD * LENGTH, frames=LENGTH, people=("0", "1"),
                first_person=2 * number, fps=25.0, width=1920, height=1080, moving=False, world_valid=True,
                world_reason="", synthetic=True, frame_id_runs=((0, 1, 500), (499 + gap, 1, 500)),
                usable=(((0, LENGTH),), present), provenance={"synthetic": "true"},
            )
        )  # fmt: skip
    save_index(ShardIndex(folder=folder, shards=tuple(shards), sequences=tuple(entries), bad=(), settings={}))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
