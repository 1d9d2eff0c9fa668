"""The same clips from the containers that others use: webdataset, MosaicML Streaming, LitData.

One record is one clip: ten JPEGs as the shards at 720 px hold them, and their joints. None of the three can give a clip
that starts at any frame without storing it again, so clips here do not overlap. Decoding and cropping are ours for
everybody; what differs is how the bytes come.
"""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trace_data.schema.clip import ClipRef, Window
from trace_data.shards.reader import ShardReader
from trace_data.shards.view import view

LENGTH, SIZE = 10, 512
Record = dict[str, bytes]


def records(reader: ShardReader) -> Iterator[Record]:
    """Every clip of ten adjacent frames, back to back, as bytes by name."""
    for row, entry in enumerate(reader.index.sequences):
        for start in range(0, entry.frames - LENGTH + 1, LENGTH):
            ref = ClipRef(sequence=row, start=start, stride=1, length=LENGTH)
            joints = np.ascontiguousarray(reader.annotations(ref).kp2d)
            record = {f"frame{t}.jpg": data for t, data in enumerate(reader.encoded(ref))}
            yield record | {"joints.bin": joints.tobytes(), "size.bin": np.array([entry.width, entry.height]).tobytes()}


def crops(record: Record, stored: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(T, 512, 512, 3): the whole frame half of the time, else a square around a person."""
    width, height = np.frombuffer(record["size.bin"], np.int64)
    joints = np.frombuffer(record["joints.bin"], np.float32).reshape(-1, LENGTH, 44, 3)
    side = float(max(width, height))
    window = Window(left=(width - side) / 2, top=(height - side) / 2, side=side)
    if rng.random() < 0.5:
        xy = joints[rng.integers(len(joints)), :, :, :2].reshape(-1, 2)
        low, high = xy.min(0), xy.max(0)
        side = float((high - low).max() * rng.uniform(1.4, 3.0))
        left, top = (low + high) / 2 - side / 2
        window = Window(left=left, top=top, side=side)
    out = np.empty((LENGTH, SIZE, SIZE, 3), np.uint8)
    for t in range(LENGTH):
        view(record[f"frame{t}.jpg"], np.array(stored) / (width, height), window, out[t])
    return out


def write_webdataset(folder: Path, clips: Iterable[Record]) -> None:
    """One tar; plain tarfile writes it as webdataset's own writer does."""
    with tarfile.open(folder / "clips.tar", "w") as tar:
        for number, record in enumerate(clips):
            for name, data in record.items():
                info = tarfile.TarInfo(f"{number:06d}.{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def read_webdataset(folder: Path) -> Iterator[Record]:
    """Clips for ever, shuffled through webdataset's buffer."""
    import webdataset

    data = webdataset.WebDataset(str(folder / "clips.tar"), shardshuffle=False).shuffle(100).repeat()
    for record in data:
        yield {name: value for name, value in record.items() if not name.startswith("__")}


def write_mosaicml(folder: Path, clips: Iterable[Record]) -> None:
    """An MDS folder."""
    streaming = _streaming()
    clips = list(clips)
    with streaming.MDSWriter(out=str(folder), columns=dict.fromkeys(clips[0], "bytes")) as writer:
        for record in clips:
            writer.write(record)


def read_mosaicml(folder: Path) -> Iterator[Record]:
    """Clips for ever, shuffled by MosaicML's default."""
    streaming = _streaming()
    streaming.base.util.clean_stale_shared_memory()
    data = streaming.StreamingDataset(local=str(folder), shuffle=True, batch_size=6)
    while True:
        yield from data


def _streaming() -> Any:
    """MosaicML Streaming imports torchvision, which beside another torch misses operators that nobody here calls."""
    import torch

    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _kept.append(library)
    import streaming

    return streaming


_kept: list[Any] = []  # a library's definitions go when it goes


def write_litdata(folder: Path, clips: Iterable[Record]) -> None:
    """An optimised folder, written by one worker."""
    from litdata import optimize

    shutil.rmtree(folder, ignore_errors=True)
    optimize(fn=_same, inputs=list(clips), output_dir=str(folder), chunk_bytes="64MB", num_workers=1, verbose=False)


def _same(record: Record) -> Record:
    return record


def read_litdata(folder: Path) -> Iterator[Record]:
    """Clips for ever, shuffled by LitData's default."""
    from litdata import StreamingDataset

    data = StreamingDataset(str(folder), shuffle=True)
    while True:
        yield from data
