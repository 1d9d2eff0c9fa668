"""Frames a second of prediction by stage, and memory.

    python benchmarks/predict.py [--preset debug] [--frames 64] [--size 1280x720] [--chunk 8 1] [--people 3]
                                 [--device cpu] [--video FILE] [--json]

Stages: decode (of --video, else of JPEG files made here), prepare (padding and resizing), flow, backbone, head (all of
the network after the backbone), people (peaks and bodies), track, camera (its path), write (rows), other (lens, cuts).
The network has random weights, and so many people are drawn into its centre map. Flow by RAFT has random weights too.
Times are those of one process, after one chunk for warming up; on a GPU each stage waits for the device.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from trace_data.assets.packs import prepare_smpl
from trace_data.frames.footage import open_footage
from trace_data.results.writer import ResultWriter
from trace_data.sample_world.bodies import write_body_models
from trace_train.build import body_layers, build_network
from trace_train.config import load_config, prediction_config
from trace_train.inference import stream as streaming
from trace_train.inference.camera.camera_path import CameraPath
from trace_train.inference.cuts import CutDetector
from trace_train.inference.lens_change import PaddedSquare
from trace_train.inference.letterbox import Letterbox
from trace_train.inference.stream import NetworkStream
from trace_train.inference.tracking.build import build_tracker
from trace_train.inference.video_state import VideoState, rows_of
from trace_train.network.flow import DisFlow, FlowProvider, NoFlow, RaftFlow
from trace_train.network.outputs import Maps
from trace_train.network.raft import Raft
from trace_train.training.precision import autocast_dtype

NETWORK = ("decode", "prepare", "flow", "backbone", "head")


class Clock:
    """Seconds by stage. A stage inside of another one is taken off it."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.spent = device, defaultdict[str, float](float)
        self._inside = [0.0]

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        def timed(*arguments: Any, **named: Any) -> Any:
            begin = self.now()
            self._inside.append(0.0)
            try:
                return function(*arguments, **named)
            finally:
                passed = self.now() - begin
                self.spent[name] += passed - self._inside.pop()
                self._inside[-1] += passed

        return timed

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def crowd(maps: Maps, people: int) -> Maps:
    """The same maps with so many peaks that hardly move."""
    heat = maps.center_3d.fill_(-9.0)
    side = heat.shape[-1]
    for number in range(people):
        heat[:, heat.shape[1] // 3, side // 2, (number + 1) * side // (people + 1)] = 4.0
        maps.camera[:, :, heat.shape[1] // 3, side // 2, (number + 1) * side // (people + 1)] = torch.tensor(
            [0.4, 0.0, 2 * (number + 1) / (people + 1) - 1], device=heat.device
        )[:, None].T
    return maps


def measure(arguments: argparse.Namespace, chunk: int, packs: Path, folder: Path) -> dict[str, Any]:
    """Predict a video once."""
    device = torch.device(arguments.device)
    config, settings = load_config(arguments.preset), prediction_config([f"chunk={chunk}"])
    torch.manual_seed(0)
    network = build_network(config.network).to(device).eval()
    flow: FlowProvider = NoFlow(config.network.motion_channels)
    if config.network.flow == "raft":
        flow = RaftFlow(Raft(iterations=config.network.flow_iterations), first_frame="zero").to(device)
    elif config.network.flow == "dis":
        flow = DisFlow()
    footage = open_footage([arguments.video or stills(arguments, folder)], frame_rate=None if arguments.video else 30)
    size = footage.facts.size
    lens = PaddedSquare(*size).intrinsics
    clock = Clock(device)
    network.backbone.forward = clock.around("backbone", network.backbone.forward)  # type: ignore[method-assign]
    whole = clock.around("head", network.forward)
    network.forward = lambda *a, **k: crowd(whole(*a, **k), arguments.people)  # type: ignore[method-assign]
    regress = network.regress

    def steady(maps: Maps, frame: Tensor, zyx: Tensor) -> Any:
        people = regress(maps, frame, zyx)
        people.camera.copy_(people.camera_coarse)
        return people

    network.regress = steady  # type: ignore[method-assign]
    stream = NetworkStream(
        network,
        flow,
        body_layers(packs, ("neutral",), device)["neutral"],
        Letterbox(width=size[0], height=size[1], size=config.network.input_size),
        threshold=0.2,
        dtype=autocast_dtype(settings, device),
    )
    stream.prepared = clock.around("prepare", stream.prepared)  # type: ignore[method-assign]
    stream.flow_of = clock.around("flow", stream.flow_of)  # type: ignore[method-assign]
    streaming.detect = clock.around("people", streaming.detect)
    tracker, camera = build_tracker(settings.tracker), CameraPath(settings.world, PaddedSquare(*size), lens)
    tracker.step = clock.around("track", tracker.step)  # type: ignore[method-assign]
    camera.step = clock.around("camera", camera.step)  # type: ignore[method-assign]
    state = VideoState(stream, tracker, camera, CutDetector(settings.cuts), lens)
    frames = footage.frames()
    take = clock.around("decode", lambda: [f for f, _ in zip(frames, range(chunk))])
    add, out = clock.around("other", state.add), folder / f"{chunk}.trace.npz"
    with ResultWriter(out, about={}, image_size=size, intrinsics=lens, force=True) as writer:
        write = clock.around("write", lambda settled: (rows := rows_of(settled)) and writer.add_rows(rows))
        count = 0
        while len(some := take()) == chunk and count < arguments.frames + chunk:
            if count == chunk:
                clock.spent.clear()
            for frame in some:
                writer.add_frame(frame.time, frame.number)
            write(add([frame.time for frame in some], [frame.pixels for frame in some]))
            count += chunk
    spent, measured = dict(clock.spent), count - chunk
    total = sum(spent.values())
    outside = total - sum(spent.get(name, 0) for name in NETWORK)
    gpu = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return {
        "preset": arguments.preset,
        "chunk": chunk,
        "frames": measured,
        "people": arguments.people,
        "device": str(device),
        "precision": str(stream.dtype),
        "size": list(size),
        "frames_per_second": measured / total,
        "stages": {name: measured / seconds for name, seconds in spent.items()},
        "share_outside_the_network": outside / total,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "gpu_memory": gpu,
    }


def stills(arguments: argparse.Namespace, folder: Path) -> Path:
    """A folder of pictures with details."""
    place = folder / "stills"
    if not place.is_dir():
        place.mkdir()
        width, height = map(int, arguments.size.split("x"))
        draw = np.random.default_rng(0)
        coarse = draw.integers(0, 255, (height // 8 + 8, width // 8 + 8, 3), dtype=np.uint8)
        ground = cv2.resize(coarse, (width + 64, height + 64), interpolation=cv2.INTER_CUBIC)
        for number in range(arguments.frames + 2 * max(arguments.chunk)):
            at = number % 64
            cv2.imwrite(str(place / f"{number:05d}.jpg"), ground[at : at + height, at : at + width])
    return place


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="debug")
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--size", default="1280x720")
    parser.add_argument("--chunk", type=int, nargs="+", default=[8])
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--video", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="trace-benchmark-") as temporary:
        folder = Path(temporary)
        write_body_models(folder / "models")
        prepare_smpl([folder / "models"], folder / "packs", genders=("neutral",))
        found = [measure(arguments, chunk, folder / "packs", folder) for chunk in arguments.chunk]
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found:
        outside = f"{one['share_outside_the_network']:.1%} outside the network"
        print(f"{one['preset']}, chunks of {one['chunk']}: {one['frames_per_second']:.2f} frames/s, {outside}")
        for name, speed in one["stages"].items():
            print(f"  {name:<10} {speed:12,.1f} frames/s")
        print(f"  memory     {one['memory'] / 1e6:12,.0f} MB")


if __name__ == "__main__":
    main()
