"""Computes the flow of finished shards and stores it beside them, shard by shard; the shards stay as they are.

Each finished file leaves a record in `.flow/` with its hash. Started again, the pass verifies these and computes the
rest; `flow.json` is written last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trace_data.errors import AnnotationError, OutputError, ShardError
from trace_data.files import exclusive, sha256_of, write_json
from trace_data.frames.image import decode
from trace_data.progress import SILENT, Progress, counted, size_in_words
from trace_data.schema.clip import ClipRef
from trace_data.shards.entries import ShardEntry
from trace_data.shards.flow.codec import encode_flow
from trace_data.shards.flow.index import FlowEntry, FlowIndex, save_flow_index
from trace_data.shards.flow.layout import FLOW_INDEX_FILE, FLOW_STATE_FOLDER, FLOW_VERSION, SUFFIX, flow_file
from trace_data.shards.flow.writer import Fields, write_flow
from trace_data.shards.reader import ShardReader
from trace_data.text_files import content_of, parse_json
from trace_train.network.flow import CELL
from trace_train.precompute.providers import SMALLEST, FlowSource

BLOCK = 16
"""Frames whose flow is computed at a time. The frames before them that they are paired with are read once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowReport:
    """Result of a pass over a folder of shards."""

    folder: Path
    index: FlowIndex
    kept: int
    """Shards whose flow was there and as it was written."""
    computed: int
    """Shards whose flow was computed now."""
    frames: int
    """Frames of these."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object."""
        frames = sum(entry.frames for entry in self.index.shards)
        size = sum(entry.bytes for entry in self.index.shards)
        return {
            "folder": str(self.folder),
            **dataclasses.asdict(self.index.settings),
            "shards": len(self.index.shards),
            "frames": frames,
            "bytes": size,
            "bytes_per_frame": round(size / frames) if frames else 0,
            "kept": self.kept,
            "computed": self.computed,
            "frames_computed": self.frames,
            "seconds": round(self.seconds, 2),
            "frames_per_second": round(self.frames / self.seconds, 2) if self.seconds else 0.0,
        }


def add_flow(
    folder: Path, source: FlowSource, *, jobs: int = 1, force: bool = False, progress: Progress = SILENT
) -> FlowReport:
    """Compute and store the flow of all shards in a folder, on their stored frames.

    `jobs`: threads that decode and encode. `force`: replace flow that was computed otherwise. The same frames and
    settings give the same bytes, however often it was stopped; RAFT on a GPU as far as its kernels do.
    Raises ShardError when the shards are not finished or damaged, OutputError when the folder cannot be written, is in
    use, or holds flow of other settings.
    """
    began = monotonic()
    reader = ShardReader(folder)
    state = folder / FLOW_STATE_FOLDER
    with exclusive(state):
        _claim(folder, source, force=force)
        shards = reader.index.shards
        kept = {shard.file: entry for shard in shards if (entry := _finished(folder, shard)) is not None}
        waiting = [number for number, shard in enumerate(shards) if shard.file not in kept]
        progress.log(
            f"flow by {source.settings.provider.upper()} at {source.settings.height} px, strides"
            f" {', '.join(map(str, source.settings.strides))}, on {source.device.type} ·"
            f" {len(kept)} of {counted(len(shards), 'shard')} there already · goes on after any interruption"
        )
        progress.begin("add flow", sum(shard.frames for shard in shards), "frames")
        progress.skip(sum(entry.frames for entry in kept.values()))
        with ThreadPoolExecutor(jobs) as pool:
            for number in waiting:
                kept[shards[number].file] = _shard(reader, number, source, pool, folder, progress)
        size = sum(entry.bytes for entry in kept.values())
        progress.end(f"{counted(len(shards), 'shard')}, {size_in_words(size)}")
        index = FlowIndex(
            format_version=FLOW_VERSION,
            settings=source.settings,
            shards=tuple(kept[shard.file] for shard in shards),
        )
        _drop_all_but(folder, shards)
        save_flow_index(folder, index)
    return FlowReport(
        folder=folder,
        index=index,
        kept=len(shards) - len(waiting),
        computed=len(waiting),
        frames=sum(shards[number].frames for number in waiting),
        seconds=monotonic() - began,
    )


def _record(folder: Path, shard: str) -> Path:
    return folder / FLOW_STATE_FOLDER / f"{shard.removesuffix('.h5')}.json"


def _claim(folder: Path, source: FlowSource, *, force: bool) -> None:
    """Begin a pass, or go on with one of the same settings. Raises OutputError when there is another."""
    file = folder / FLOW_STATE_FOLDER / "settings.json"
    now = dataclasses.asdict(source.settings) | {"format_version": FLOW_VERSION, "strides": [*source.settings.strides]}
    try:
        before = parse_json(content_of(file, error=OutputError), where=file, error=OutputError)
    except FileNotFoundError:
        before = None
    except OutputError:
        before = {}  # half a record: as if it were of another pass
    if before == now:
        return
    if before is not None and not force:
        changed = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
        raise OutputError(
            "the folder holds flow that was computed otherwise: "
            + ", ".join(f"{key} {(before or {}).get(key)}, now {now[key]}" for key in changed),
            where=folder,
            hint="give the same options, or --force to compute it anew",
        )
    (folder / FLOW_INDEX_FILE).unlink(missing_ok=True)
    _drop_all_but(folder, ())
    write_json(file, now)


def _drop_all_but(folder: Path, shards: Sequence[ShardEntry]) -> None:
    """Remove flow of shards that are no more."""
    known = {flow_file(shard.file) for shard in shards}
    for file in folder.glob(f"*{SUFFIX}"):
        if file.name not in known:
            file.unlink()
            _record(folder, file.name.removesuffix(SUFFIX)).unlink(missing_ok=True)


def _finished(folder: Path, shard: ShardEntry) -> FlowEntry | None:
    """The entry of an earlier run, if it is of this shard and the file's hash still matches; else None."""
    file = _record(folder, shard.file)
    try:
        entry = FlowEntry(**parse_json(content_of(file, error=OutputError), where=file, error=OutputError))
        same = (entry.file, entry.shard_sha256) == (flow_file(shard.file), shard.sha256)
        return entry if same and sha256_of(folder / entry.file) == entry.sha256 else None
    except (OSError, OutputError, TypeError):
        return None  # no record, half a record, or a damaged file: all are mended by computing it again


def _shard(
    reader: ShardReader, number: int, source: FlowSource, pool: ThreadPoolExecutor, folder: Path, progress: Progress
) -> FlowEntry:
    """Compute and write the flow of one shard, and record it."""
    shard = reader.index.shards[number]
    sequences = [row for row, entry in enumerate(reader.index.sequences) if entry.shard == number]
    fields = (field for row in sequences for field in _sequence(reader, row, source, pool, progress))
    entry = write_flow(folder, shard, source.settings.strides, fields)
    write_json(_record(folder, shard.file), dataclasses.asdict(entry))
    return entry


def picture_size(width: int, height: int, short: int) -> tuple[int, int]:
    """Width and height, px, of the picture that the flow of a frame is computed on: multiples of 8 px, whose short side
    is `short`. Smaller frames are enlarged, as crops of them are for the network."""
    scale = short / min(width, height)
    wide, high = (max(SMALLEST, CELL * round(side * scale / CELL)) for side in (width, height))
    return wide, high


def _sequence(
    reader: ShardReader, row: int, source: FlowSource, pool: ThreadPoolExecutor, progress: Progress
) -> Iterator[Fields]:
    """The encoded flow of each frame of a sequence. Raises ShardError."""
    entry, strides = reader.index.sequences[row], source.settings.strides
    size = picture_size(entry.width, entry.height, source.settings.height)
    reach, in_fp16 = strides[-1], source.device.type == "cuda"
    for begin in range(0, entry.frames, BLOCK):
        first, end = max(0, begin - reach), min(begin + BLOCK, entry.frames)
        ref = ClipRef(sequence=row, start=first, stride=1, length=end - first)
        images, _ = reader.stored(ref, min(entry.width, entry.height), source.settings.height)
        try:
            pictures = np.stack([*pool.map(lambda data: _picture(data, size), images)])
        except AnnotationError as error:
            raise ShardError(
                f"a frame of {entry.key} does not decode: {error.message}",
                where=reader.store.name(reader.index.shards[entry.shard].file),
                hint=reader.store.repair_hint,
            ) from error
        frames = torch.from_numpy(pictures).to(source.device)
        with torch.autocast(source.device.type, dtype=torch.float16, enabled=in_fp16):
            flows = source.provider.pairs(frames, strides, begin - first)
        fields: list[list[bytes]] = []
        for flow in flows:  # the first frames of a sequence have none
            encoded = [*pool.map(encode_flow, flow.permute(0, 2, 3, 1).cpu().numpy())]
            fields.append([b""] * (end - begin - len(encoded)) + encoded)
        for at in range(end - begin):
            yield (size[0] // CELL, size[1] // CELL), [of_stride[at] for of_stride in fields]
        progress.advance(end - begin)


def _picture(data: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A stored frame, decoded and scaled to a size."""
    picture = decode(data, "frame", rgb=True, strict=True)
    smaller = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)
