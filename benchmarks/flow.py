"""Stored flow beside its provider run on the crops: end-point errors, bytes, CPU time. Prints JSON lines.

    python benchmarks/flow.py --shards DIR                                    # DIS
    python benchmarks/flow.py --shards DIR --flow raft --weights WEIGHTS      # on a GPU where there is one

Clips of two frames, evenly over the training sequences, in three kinds of windows: whole frames, crops around people,
and crops with a synthetic camera, as training draws them. For each stride the flow of the whole frames, stored and
moved into the windows, is compared with the same provider's on the crops of 512 px, whose px the errors are in: of maps
of 512 / 4 cells, within the frame. `variant`: short side of the pictures that the flow was computed on; `composed`: put
together from stride 1; `still`: no flow at all. Beyond the frame, in `padding`, the flow of its edge continues.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from trace_data.frames.image import decode
from trace_data.schema.clip import ClipRef
from trace_data.shards.flow.codec import decode_flow, encode_flow
from trace_data.shards.flow.layout import CELL
from trace_data.shards.reader import ShardReader
from trace_train.config import DataConfig
from trace_train.network.flow import FlowProvider, PairFlow
from trace_train.precompute.flow import picture_size
from trace_train.precompute.providers import HEIGHT, STRIDES, open_provider
from trace_train.streaming.augment import plan, whole
from trace_train.streaming.stored_flow import flow_in_crops

SIZE = 512
MODES = {
    "whole frames": None,
    "crops": DataConfig(crop_probability=1, camera_probability=0),
    "synthetic camera": DataConfig(crop_probability=1, camera_probability=1),
}
Errors = dict[tuple[str, int, str], list[npt.NDArray[np.float32]]]
Provider = PairFlow | FlowProvider


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--flow", choices=["dis", "raft"], default="dis")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--height", type=int, nargs="*", default=[HEIGHT])
    parser.add_argument("--stride", type=int, nargs="*", default=[1, max(STRIDES)])
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = open_provider(options.flow, weights=options.weights, threads=1)
    reader = ShardReader(options.shards)
    rows = [row for row, s in enumerate(reader.index.sequences) if s.split == "train" and s.frames > max(STRIDES)]
    chosen = [rows[round(at)] for at in np.linspace(0, len(rows) - 1, min(options.clips, len(rows)))]
    errors: Errors = defaultdict(list)
    sizes: list[int] = []
    seconds: list[float] = []
    for row in chosen:
        for stride in options.stride:
            _clip(reader, row, stride, options.height, source.provider, source.device, errors, sizes, seconds)
    common = {"bench": "flow", "provider": options.flow, "clips": len(chosen), "shards": str(options.shards)}
    for (mode, stride, variant), found in sorted(errors.items()):
        values = np.concatenate(found)
        line = {"windows": mode, "stride": stride, "variant": variant, "unit": "px at 512", "n": len(values)}
        line |= {"median": float(np.median(values)), "p95": float(np.quantile(values, 0.95))}
        print(json.dumps(common | {k: round(v, 3) if isinstance(v, float) else v for k, v in line.items()}))
    facts = {"bytes_per_pair": round(np.mean(sizes)), "ms_per_pair": round(1e3 * float(np.median(seconds)), 1)}
    print(json.dumps(common | facts | {"height": options.height[0]}))


def _clip(
    reader: ShardReader,
    row: int,
    stride: int,
    heights: list[int],
    provider: Provider,
    device: torch.device,
    errors: Errors,
    sizes: list[int],
    seconds: list[float],
) -> None:
    """All variants of one pair of frames."""
    entry = reader.index.sequences[row]
    frame = (entry.width, entry.height)
    ref = ClipRef(sequence=row, start=0, stride=stride, length=2)
    pictures = [
        decode(data, "frame", rgb=True)
        for data in reader.encoded(dataclasses.replace(ref, stride=1, length=stride + 1))
    ]
    pairs: dict[str, npt.NDArray[np.float32]] = {"still": np.zeros((1, 1, 2), np.float32)}
    for height in heights:
        size = picture_size(*frame, height)
        shown = np.stack([_scaled(picture, size) for picture in pictures])
        began = time.process_time()
        (flow,) = provider.pairs(torch.from_numpy(shown).to(device), [stride], 0)
        data = encode_flow(flow[0].permute(1, 2, 0).cpu().numpy())
        if height == heights[0]:
            seconds.append(time.process_time() - began)
            sizes.append(len(data))
        px = np.array(frame, np.float32) / size
        pairs[str(height)] = decode_flow(data, size[0] // CELL, size[1] // CELL) * px
        if stride > 1 and height == heights[0]:
            (steps,) = provider.pairs(torch.from_numpy(shown).to(device), [1], 0)
            pairs["composed"] = _composed(steps.permute(0, 2, 3, 1).cpu().numpy() / CELL) * CELL * px
    for mode, settings in MODES.items():
        annotations = reader.annotations(ref)
        view = whole(annotations) if settings is None else plan(annotations, np.random.default_rng(row), settings)
        if mode == "synthetic camera" and not view.camera_moves:
            continue  # the sequence's own camera moves
        crops, maps = reader.frames(ref, view.stored_windows(), SIZE)
        expected = provider(torch.from_numpy(crops)[None].to(device))[1].cpu()
        at = np.linspace(0, SIZE - 1, SIZE // 4)
        x, y = ((at - maps[0, axis, 2]) / maps[0, axis, axis] for axis in range(2))
        inside = ((y >= 0) & (y <= frame[1] - 1))[:, None] & ((x >= 0) & (x <= frame[0] - 1))
        for name, pair in pairs.items():
            moved = flow_in_crops([None, pair], maps, frame, SIZE)[1]
            away = (8 * (moved - expected)).norm(dim=0).numpy()
            errors[mode, stride, name].append(away[inside])
            if not inside.all() and name in ("still", str(heights[0])):
                errors[f"{mode}, padding", stride, name].append(away[~inside])


def _scaled(picture: npt.NDArray[np.uint8], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    smaller = size[0] < picture.shape[1]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC), np.uint8)


def _composed(steps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Flow over all steps (n, h, w, 2), in cells: each point is followed from frame to frame."""
    h, w = steps.shape[1:3]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    total = np.zeros_like(steps[0])
    for step in steps:
        at = x + total[..., 0], y + total[..., 1]
        total = total + cv2.remap(step, *at, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(total, np.float32)


if __name__ == "__main__":
    main()
