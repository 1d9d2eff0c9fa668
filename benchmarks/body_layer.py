"""The body layer beside smplx, in one run: time forward and backward, memory, agreement. Prints JSON lines.

    python benchmarks/body_layer.py --packs PACKS                  # CPU, 2 threads, about 2 minutes
    python benchmarks/body_layer.py --packs PACKS --device cuda --compile

Both take the same joint rotations and betas. `joints`: the 24 kinematic joints and the 37 regressed points, which
smplx finds from its vertices; `vertices`: the mesh. `backward` is forward and backward together, of the squared sum.
Runs alternate (ours, smplx, ours, ...); times on a CPU are CPU times of the whole process, medians and quartiles, so
that other work on the machine shows little; `busy` says that there was too much of it. `ratio` is smplx's median over
ours: above 1, ours is better.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import hashlib
import json
import multiprocessing
import os
import platform
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from smplx.lbs import lbs, vertices2joints
from torch import Tensor

from trace_train.body.layer import PICKED_VERTICES, BodyLayer
from trace_train.build import read_pack
from trace_train.geometry.rotations import matrix_from_axis_angle

BATCHES = (1, 60, 512)
REPEATS = {1: 101, 60: 15, 512: 7}
WHATS, PASSES = ("joints", "vertices"), ("forward", "backward")
Poser = Callable[[Tensor, Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=Path, required=True, help="folder of prepared body models")
    parser.add_argument("--pack", default="SMPL_NEUTRAL.pth")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, nargs="*", default=BATCHES)
    parser.add_argument("--compile", action="store_true", help="torch.compile our layer")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path = options.packs / options.pack
    common = {
        "bench": "body_layer",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
        "threads": options.threads,
        "compiled": options.compile,
        "torch": torch.__version__,
        "git": subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip(),
        "data": hashlib.sha256(path.read_bytes()).hexdigest()[:12],
    }
    for what in WHATS:
        posers = make_posers(read_pack(path), what, options.device, compiled=options.compile)
        for batch in options.batch:
            for direction in PASSES:
                for line in compare(posers, what, batch, direction, options.device):
                    print(json.dumps(common | line), flush=True)
        if options.device == "cpu":
            for line in memory(path, what, options.batch):
                print(json.dumps(common | line), flush=True)


def make_posers(pack: dict[str, Tensor], what: str, device: str, *, compiled: bool = False) -> dict[str, Poser]:
    """Ours and smplx's way from (N, 24, 3, 3) rotations and (N, 10) betas to (N, 61 or 6890, 3) points."""
    layer = BodyLayer(pack).to(device)
    pack = {key: value.to(device) for key, value in pack.items()}
    regressors = torch.cat([pack["J_regressor_extra9"], pack["J_regressor_h36m17"]])
    picked = pack["extra_joints_index"][:PICKED_VERTICES]
    model = [pack[key] for key in ("v_template", "shapedirs", "posedirs", "J_regressor", "kintree_table", "weights")]

    def ours(rotations: Tensor, betas: Tensor) -> Tensor:
        out = layer(rotations, betas, vertices=what == "vertices")
        return out.vertices if what == "vertices" else torch.cat([out.joints, out.joints_h36m], dim=1)

    def theirs(rotations: Tensor, betas: Tensor) -> Tensor:
        vertices, joints = lbs(betas, rotations, *model, pose2rot=False)
        if what == "vertices":
            return vertices
        return torch.cat([joints, vertices[:, picked], vertices2joints(regressors, vertices)], dim=1)

    return {"ours": torch.compile(ours) if compiled else ours, "smplx": theirs}


def inputs(batch: int, device: str, *, gradient: bool) -> tuple[Tensor, Tensor]:
    """Random rotations and betas, the same for everybody."""
    generator = torch.Generator().manual_seed(batch)
    rotations = matrix_from_axis_angle(0.5 * torch.randn(batch, 24, 3, generator=generator)).to(device)
    betas = torch.randn(batch, 10, generator=generator).to(device)
    return rotations.requires_grad_(gradient), betas.requires_grad_(gradient)


def once(poser: Poser, given: tuple[Tensor, Tensor]) -> None:
    """One forward pass, and a backward pass where the inputs ask for gradients."""
    with torch.set_grad_enabled(given[0].requires_grad):
        points = poser(*given)
        if given[0].requires_grad:
            torch.autograd.grad(points.square().sum(), given)


def compare(posers: Mapping[str, Poser], what: str, batch: int, direction: str, device: str) -> list[dict[str, Any]]:
    """Time both in turns; two lines."""
    clock = time.process_time if device == "cpu" else functools.partial(_device_time, torch.cuda.synchronize)
    given = inputs(batch, device, gradient=direction == "backward")
    for poser in [*posers.values()] * 2:
        once(poser, given)
    differ = disagreement(posers, what, batch, device)
    cpu: dict[str, list[float]] = {name: [] for name in posers}
    wall: dict[str, list[float]] = {name: [] for name in posers}
    for _ in range(REPEATS.get(batch, 7)):
        for name, poser in posers.items():
            began, seen = clock(), time.perf_counter()
            once(poser, given)
            cpu[name].append(clock() - began)
            wall[name].append(time.perf_counter() - seen)
    medians = {name: statistics.median(times) for name, times in cpu.items()}
    return [
        {
            "variant": f"{name}/{what}/{direction}",
            "metric": "time",
            "value": round(1e3 * medians[name], 4),
            "unit": "ms",
            "iqr": [round(1e3 * quartile, 4) for quartile in statistics.quantiles(cpu[name], n=4)[::2]],
            "n": len(cpu[name]),
            "batch": batch,
            "cpu_s": round(sum(cpu[name]), 4),
            "wall_s": round(sum(wall[name]), 4),
            "rss_peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            "load1": os.getloadavg()[0],
            "busy": os.getloadavg()[0] > (os.cpu_count() or 1),
            "ratio": round(medians["smplx"] / medians[name], 2),
            "wall_ms": round(1e3 * statistics.median(wall[name]), 4),
            "wall_ratio": round(statistics.median(wall["smplx"]) / statistics.median(wall[name]), 2),
            "largest_difference_m": differ,
            **_bandwidth(medians[name], batch, what, direction, device),
        }
        for name in posers
    ]


def disagreement(posers: Mapping[str, Poser], what: str, batch: int, device: str) -> float:
    """Largest distance between the two results up to the offset between them: ours stand at the hips, smplx's not."""
    with torch.no_grad():
        ours, theirs = (poser(*inputs(batch, device, gradient=False)).double() for poser in posers.values())
    return float((ours - theirs - (ours - theirs).mean(1, keepdim=True)).abs().max())


def memory(path: Path, what: str, batches: tuple[int, ...]) -> list[dict[str, Any]]:
    """Peak of resident memory over what the process held before, each implementation in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    peaks = {}
    for name in ("ours", "smplx"):
        with spawn.Pool(1) as pool:
            peaks[name] = pool.apply(peak_memory, (path, name, what, sorted(batches)))
    return [
        {
            "variant": f"{name}/{what}/backward",
            "metric": "memory",
            "value": peak,
            "unit": "bytes",
            "n": 1,
            "batch": batch,
            "ratio": round(other / max(peak, 1), 2),
        }
        for name in peaks
        for batch, peak, other in zip(sorted(batches), peaks[name], peaks["smplx"])
    ]


def peak_memory(path: Path, name: str, what: str, batches: list[int]) -> list[int]:
    """For each batch size, ascending, the bytes a forward and backward pass adds at its peak."""
    torch.set_num_threads(1)
    poser = make_posers(read_pack(path), what, "cpu")[name]
    once(poser, inputs(1, "cpu", gradient=True))
    peaks = []
    for batch in batches:
        given = inputs(batch, "cpu", gradient=True)
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
        before = _status("VmRSS")
        once(poser, given)
        peaks.append(_status("VmHWM") - before)
    return peaks


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


def _bandwidth(seconds: float, batch: int, what: str, direction: str, device: str) -> dict[str, float]:
    """On a GPU: the bytes that must cross memory at least once (model, inputs, mesh), as a share of a plain copy's."""
    if device == "cpu" or what != "vertices" or direction != "forward":
        return {}
    needed = 4 * (217 * 20670 + 6890 * 24 + batch * (24 * 9 + 10 + 20670))
    return {"bytes_needed": needed, "share_of_copy_bandwidth": round(needed / seconds / _copy_bandwidth(), 4)}


@functools.cache
def _copy_bandwidth() -> float:
    """Bytes a second that copying 1 GiB reads and writes."""
    source = torch.empty(1 << 28, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(9):
        began = _device_time(torch.cuda.synchronize)
        target.copy_(source)
        times.append(_device_time(torch.cuda.synchronize) - began)
    return 2 * source.nbytes / statistics.median(times)


def _device_time(synchronize: Callable[[], None]) -> float:
    synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
