"""The way from disk to a batch, beside the published manner and other containers, in one run. Prints JSON lines.

    python benchmarks/loader.py --work DIR                 # all that can be imported, about 8 minutes on two cores
    python benchmarks/loader.py --work DIR --variants published ours-720 --rounds 1

DIR takes about 1 GB: frames are rendered once (`loader_frames.py`), then stored once for each variant. Every variant
runs in a process of its own, one after the other, round after round; figures are medians over rounds.
`clips_per_core_s` is clips over CPU seconds of everything that process started, so other work on the machine shows
little; `busy` says that there was too much of it. `ratio` is the CPU time a clip of the published manner in a
DataLoader over this one's: above 1, this one is better.

* published: `loader_published.py` in the process; published-dataloader: the same through torch's DataLoader, one
  worker, batches of 6, which is how a trainer gets it;
* ours-720, ours-levels, ours-original: `TrainStream`, one thread, batches of 6, everything included;
* webdataset, mosaicml, litdata: `loader_others.py`, one record a clip, stacked to batches of 6;
* crop-720, crop-levels, crop-original: only what must happen to our pixels, JPEG decoding, cutting and resizing;
* decode-720, decode-levels, decode-original: only the JPEG decoding, the same frames at the same scale: the limit.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import loader_frames
import numpy as np

STORES = {"720": None, "levels": (288, 512, 720), "original": ()}
OTHERS = ("webdataset", "mosaicml", "litdata")
VARIANTS = (
    "published",
    "published-dataloader",
    *(f"ours-{name}" for name in STORES),
    *OTHERS,
    *(f"crop-{name}" for name in STORES),
    *(f"decode-{name}" for name in STORES),
)
BATCH, LENGTH, SIZE = 6, 10, 512
SEQUENCES, FRAMES = 6, 60
moved = [0]
"""Bytes of the last batch that a trainer would copy to its GPU."""
Step = Callable[[], int]
"""Makes the next piece of work and returns how many clips it was."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for frames and stores, used again if there")
    parser.add_argument("--variants", nargs="*", default=VARIANTS, choices=VARIANTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", type=int, default=24, help="clips a round, after one batch of warm-up")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.work, options.clips)))
        return
    prepare(options.work, options.variants)
    found: dict[str, list[dict[str, float]]] = {variant: [] for variant in options.variants}
    for _ in range(options.rounds):
        for variant in list(found):
            command = [sys.executable, __file__, "--work", str(options.work), "--clips", str(options.clips)]
            done = subprocess.run([*command, "--one", variant], capture_output=True, text=True, env=_environment())
            if done.returncode:
                print(f"{variant} left out: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
                del found[variant]
            else:
                found[variant].append(json.loads(done.stdout.splitlines()[-1]))
    report(found, options.work)


def _environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def prepare(work: Path, variants: list[str]) -> None:
    """Render the frames, and store them as every variant needs them."""
    import loader_others

    from trace_data.shards.entries import ShardIndex, numbered
    from trace_data.shards.index import save_index
    from trace_data.shards.levels import Storage
    from trace_data.shards.reader import ShardReader
    from trace_data.shards.rows import rows_of
    from trace_data.shards.writer import ShardWriter

    records = loader_frames.write(work / "frames", SEQUENCES, FRAMES)
    for name, heights in STORES.items():
        folder = work / name
        if (folder / "index.json").is_file():
            continue
        folder.mkdir(exist_ok=True)
        storage = Storage() if heights is None else Storage(heights=heights, raised=False)
        began = time.process_time()
        with ShardWriter(folder, "h36m-train-00000", storage=storage) as writer:
            for record in records:
                writer.add(record, rows_of(record, {}))
            closed = writer.close("h36m", "train")
        assert closed is not None
        rate = SEQUENCES * FRAMES / (time.process_time() - began)
        (folder / "rate.json").write_text(json.dumps(rate))
        sequences = numbered([closed[1]])
        save_index(ShardIndex(folder=folder, shards=(closed[0],), sequences=sequences, bad=(), settings={}))
    for name in OTHERS:
        folder = work / name
        if name in variants and not folder.exists():
            partial = work / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                getattr(loader_others, f"write_{name}")(partial, loader_others.records(ShardReader(work / "720")))
            except ImportError as error:
                print(f"{name}: {error}", file=sys.stderr)
            else:
                partial.rename(folder)


def measure(variant: str, work: Path, clips: int) -> dict[str, float]:
    """Run one variant in this process: its first batch, then `clips` clips."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    kind, _, store = variant.partition("-")
    if kind in ("ours", "crop", "decode"):
        import trace_train.streaming.stream  # noqa: F401  imports are not part of a first batch
    Path("/proc/self/clear_refs").write_text("5")  # what imports needed for a moment is not counted
    before = _peak()
    began = time.perf_counter()
    makers = {"published": published, "ours": ours, "crop": crop, "decode": decode}
    step = makers.get(kind, others)(work, store if kind in makers else variant)
    step()
    first = time.perf_counter() - began
    cpu, wall, done = _cpu(), time.perf_counter(), 0
    while done < clips:
        done += step()
    out = {
        "cpu_s": (_cpu() - cpu) / done,
        "wall_s": (time.perf_counter() - wall) / done,
        "first_batch_s": first,
        "rss_added": _peak() - before,
        "batch_bytes": moved[0],
        "load1": os.getloadavg()[0],
    }
    print(json.dumps(out))
    sys.stdout.flush()
    os._exit(0)  # loaders with threads and workers of their own may take seconds to end


def _cpu() -> float:
    """CPU seconds of this process and of every one that it started, running ones included."""
    total = time.process_time()
    tick = os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


def _peak() -> int:
    """Highest resident memory of this process since it was last asked to forget it, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


class PublishedClips:
    """The published manner as a torch data set of endless random clips."""

    def __init__(self, work: Path) -> None:
        self.records = loader_frames.write(work / "frames", SEQUENCES, FRAMES)

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, number: int) -> dict[str, Any]:
        import cv2
        import loader_published

        cv2.setNumThreads(1)
        rng = np.random.default_rng(number)
        record = self.records[int(rng.integers(len(self.records)))]
        stride = int(rng.integers(1, 5))
        start = int(rng.integers(0, len(record.frames) - (LENGTH - 1) * stride))
        return loader_published.clip(record, [start + stride * t for t in range(LENGTH)], rng)


def published(work: Path, store: str) -> Step:
    """Clip by clip in this process, or batches of a DataLoader with one worker."""
    import itertools

    clips = PublishedClips(work)
    if store != "dataloader":
        numbers = itertools.count()
        return lambda: int(bool(clips[next(numbers)]))
    from torch.utils.data import DataLoader

    batches = iter(DataLoader(clips, batch_size=BATCH, num_workers=1))  # type: ignore[arg-type]

    def step() -> int:
        batch = next(batches)
        moved[0] = sum(tensor.nbytes for tensor in batch.values())
        return len(batch["image"])

    return step


def _stream(work: Path, store: str) -> Any:
    from trace_data.shards.reader import ShardReader
    from trace_train.config import load_config
    from trace_train.streaming.stream import TrainStream

    config = load_config("trace", ["data.threads=1", "data.prefetch=1", f"network.input_size={SIZE}"])
    return TrainStream(ShardReader(work / store), config)


def ours(work: Path, store: str) -> Step:
    """Whole batches of the training stream."""
    import torch

    batches = _stream(work, store).batches(0, 10_000)

    def step() -> int:
        batch = next(batches)
        tensors = [getattr(batch, field.name) for field in dataclasses.fields(batch)] + [*batch.masks.values()]
        moved[0] = sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
        return len(batch.refs)

    return step


def crop(work: Path, store: str) -> Step:
    """Nothing but `view`, which turns an encoded frame into a crop, with what our stream gives it."""
    from unittest import mock

    from trace_data.shards import reader, view

    noted: list[tuple[Any, ...]] = []

    def note(data: bytes, *others: Any) -> Any:
        noted.append((bytes(data), *others))
        return view.view(data, *others)

    with mock.patch.object(reader, "view", note):
        batches = _stream(work, store).batches(0, 4)
        clips = sum(len(batch.refs) for batch in batches)

    def step() -> int:
        for arguments in noted:
            view.view(*arguments)
        return clips

    return step


def decode(work: Path, store: str) -> Step:
    """Nothing but `cv2.imdecode` of what our stream decodes, at the scale at which it does."""
    from unittest import mock

    from trace_data.frames.image import decode as decoder
    from trace_data.shards import view

    noted: list[tuple[bytes, int]] = []

    def note(data: bytes, where: str, reduce: int, **options: Any) -> Any:
        noted.append((data, reduce))
        return decoder(data, where, reduce, **options)

    with mock.patch.object(view, "decode", note):
        batches = _stream(work, store).batches(0, 4)
        clips = sum(len(batch.refs) for batch in batches)

    memory = np.empty(1 << 24, np.uint8)  # room for a frame of 1080p, as the stream has it

    def step() -> int:
        for data, reduce in noted:
            decoder(data, "frame", reduce, rgb=True, take=lambda _: memory)
        return clips

    return step


def others(work: Path, variant: str) -> Step:
    """Batches of six records of one of the other containers, decoded and cropped as ours are."""
    import loader_others

    from trace_data.shards.reader import ShardReader

    entry = ShardReader(work / "720").index.sequences[0]
    scale = 720 / min(entry.width, entry.height)
    stored = round(entry.width * scale), round(entry.height * scale)
    clips: Iterator[Any] = getattr(loader_others, f"read_{variant}")(work / variant)
    rng = np.random.default_rng(0)

    def step() -> int:
        np.stack([loader_others.crops(next(clips), stored, rng) for _ in range(BATCH)])
        return BATCH

    return step


def report(found: dict[str, list[dict[str, float]]], work: Path) -> None:
    """One line a variant."""
    index = work / "720" / "index.json"
    common = {
        "bench": "loader",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "git": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "data": hashlib.sha256(index.read_bytes()).hexdigest()[:12],
        "kb_a_frame": {name: round(_bytes_a_frame(work / name) / 1e3, 1) for name in STORES},
        "build_frames_per_core_s": {
            name: round(float(json.loads((work / name / "rate.json").read_text())), 1) for name in STORES
        },
    }
    medians = {
        variant: {key: statistics.median(line[key] for line in lines) for key in lines[0]}
        for variant, lines in found.items()
        if lines
    }
    baseline = medians.get("published-dataloader") or medians.get("published")
    for variant, values in medians.items():
        limit = medians.get(f"decode-{variant.partition('-')[2]}")
        times = sorted(line["cpu_s"] for line in found[variant])
        line = {
            "variant": variant,
            "ms_a_clip": round(1e3 * values["cpu_s"], 1),
            "ms_spread": [round(1e3 * times[0], 1), round(1e3 * times[-1], 1)],
            "clips_per_core_s": round(1 / values["cpu_s"], 1),
            "wall_ms_a_clip": round(1e3 * values["wall_s"], 1),
            "first_batch_s": round(values["first_batch_s"], 3),
            "batch_mb": round(values["batch_bytes"] / 1e6, 1) or None,
            "rss_added_mb": round(values["rss_added"] / 1e6),
            "ratio": round(baseline["cpu_s"] / values["cpu_s"], 1) if baseline else None,
            "share_of_decode_limit": round(limit["cpu_s"] / values["cpu_s"], 2) if limit else None,
            "busy": values["load1"] > (os.cpu_count() or 1),
        }
        print(json.dumps(common | line), flush=True)


def _bytes_a_frame(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.glob("*.h5")) / (SEQUENCES * FRAMES)


if __name__ == "__main__":
    main()
