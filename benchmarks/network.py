"""The network, stage by stage: parameters, arithmetic, time, memory, share of the device's peak. Prints JSON lines.

    python benchmarks/network.py                                   # a small batch on a CPU, some minutes
    python benchmarks/network.py --clips 6 --frames 10 --size 512 --device cuda --shards DIR --packs PACKS
    python benchmarks/network.py --stage flow --variant eager bf16+channels_last+compiled
    python benchmarks/network.py --clips 6 --frames 10 --size 512 --count    # only the arithmetic, in seconds

Stages are in `network_stages.py`; that of the losses, with targets and bodies, needs shards and packs and is left out
without them. A variant is `eager` or words joined by `+`: tf32 (CUDA), bf16 (autocast), channels_last, compiled.
Variants alternate within one run, so that other work on the machine meets them alike; times are medians with quartiles,
on a CPU CPU times of the process. Arithmetic is counted on tensors without content; one multiplication with its
addition is two FLOP. `mfu`: that arithmetic per second over what a matrix product of the same precision reaches on this
device, in this run. Weights are random: they change no time. When all parts were measured, lines of stage `step` add
them up twice: with flow computed in the step, and with `network.flow: stored`, which is read and moved into the crops.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import functools
import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from network_stages import STAGES, Sizes, Stage
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from trace_data.shards.flow.codec import decode_flow, encode_flow
from trace_train.network.blocks import VolumeConv
from trace_train.streaming.stored_flow import flow_in_crops

WORDS = ("tf32", "bf16", "channels_last", "compiled")
VARIANTS = {
    "cpu": ("eager", "channels_last", "bf16+channels_last"),
    "cuda": (
        "eager",
        "tf32",
        "bf16",
        "bf16+channels_last",
        "bf16+channels_last+compiled",
    ),
}
BUSY = 1.0
"""Load per core above which a line says that the machine was busy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", nargs="*", choices=STAGES)
    parser.add_argument("--variant", nargs="*", help="default: some that fit the device")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--clips", type=int, default=1)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--people", type=int, default=2, help="in each clip")
    parser.add_argument("--shards", type=Path, help="what the losses are measured on")
    parser.add_argument("--packs", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--count", action="store_true", help="only count arithmetic, and measure nothing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    variants = options.variant or VARIANTS[options.device]
    if unknown := {word for name in variants if name != "eager" for word in name.split("+")} - {*WORDS}:
        parser.error(f"unknown variant words: {', '.join(sorted(unknown))}; there are eager, {', '.join(WORDS)}")
    ready = options.shards is not None and options.packs is not None
    chosen = options.stage or [name for name, stage in STAGES.items() if ready or not stage.needs_shards]
    if not ready and (needing := [name for name in chosen if STAGES[name].needs_shards]):
        parser.error(f"{', '.join(needing)}: give --shards and --packs")
    names = ("clips", "frames", "size", "iterations", "people", "shards", "packs")
    sizes = Sizes(**{name: getattr(options, name) for name in names})
    common = {"bench": "network", **about(options), "clips": sizes.clips, "frames": sizes.frames, "size": sizes.size}
    lines = []
    for name in chosen:
        for line in measure(name, sizes, [] if options.count else variants, options.device, options.repeats):
            print(json.dumps(common | line), flush=True)
            lines.append(line)
    if not options.stage:
        for line in whole_step(lines, sizes):
            print(json.dumps(common | line), flush=True)


def whole_step(lines: list[dict[str, Any]], sizes: Sizes) -> Iterator[dict[str, Any]]:
    """The sums over all parts, of backward passes where there are some, with flow computed and with stored flow."""
    trained = {line["stage"] for line in lines if line["metric"].endswith("/backward")}
    last = [line for line in lines if line["metric"].endswith("/backward" if line["stage"] in trained else "/forward")]
    moving = stored_flow_seconds(sizes)
    for kind, variant in dict.fromkeys((line["metric"].partition("/")[0], line.get("variant")) for line in last):
        own = [line for line in last if line["metric"].startswith(kind) and line.get("variant") == variant]
        for flow in ("computed", "stored"):
            total = sum(line["value"] for line in own if flow == "computed" or line["stage"] != "flow")
            total += 1e3 * moving if (kind, flow) == ("time", "stored") else 0
            value = round(total, 3) if kind == "time" else total
            yield {"stage": "step", "metric": f"{kind}/step", "flow": flow, "value": value, "unit": own[0]["unit"]} | (
                {} if variant is None else {"variant": variant}
            )


def stored_flow_seconds(sizes: Sizes) -> float:
    """CPU time in which the stored flow of a batch is decoded and moved into its crops, on the loader's side."""
    rng = np.random.default_rng(0)
    data = encode_flow(cv2.resize(rng.normal(0, 9, (8, 14, 2)), (114, 64), interpolation=cv2.INTER_CUBIC))
    maps = np.tile(np.diag([0.8, 0.8, 1.0]), (sizes.frames, 1, 1))
    pairs = sizes.clips * (sizes.frames - 1)
    times = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(sizes.clips):
            read = [None, *(decode_flow(data, 114, 64) for _ in range(sizes.frames - 1))]
            flow_in_crops(read, maps, (1280, 720), sizes.size)
        times.append(time.process_time() - began)
    return min(times) if pairs else 0.0


def about(options: argparse.Namespace) -> dict[str, Any]:
    """Where the numbers come from."""
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
        "threads": options.threads,
        "torch": torch.__version__,
        "git": git.stdout.strip(),
    }


def measure(name: str, sizes: Sizes, variants: list[str], device: str, repeats: int) -> Iterator[dict[str, Any]]:
    """All lines of one stage."""
    stage = STAGES[name]
    for direction in ("forward", "backward") if stage.trained else ("forward",):
        work, parameters = counted(stage, sizes, direction)
        yield {
            "stage": name,
            "metric": f"arithmetic/{direction}",
            "value": work,
            "unit": "FLOP",
            "per_frame": work / (sizes.clips * sizes.frames),
            "parameters": parameters,
        }
        calls = {variant: prepared(stage, sizes, variant, device, direction) for variant in variants}
        for call in calls.values():
            call()  # compiles, allocates, chooses kernels
        times: dict[str, list[float]] = {variant: [] for variant in variants}
        for _ in range(repeats):
            for variant, call in calls.items():
                times[variant].append(seconds(call, device))
        for variant, call in calls.items():
            middle = statistics.median(times[variant])
            peak = peak_flops("bf16" if "bf16" in variant else "tf32" if "tf32" in variant else "fp32", device)
            yield {
                "stage": name,
                "variant": variant,
                "metric": f"time/{direction}",
                "value": round(1e3 * middle, 3),
                "unit": "ms",
                "iqr": [round(1e3 * q, 3) for q in statistics.quantiles(times[variant], n=4)[::2]]
                if repeats > 2
                else [],
                "n": repeats,
                "ratio": round(statistics.median(times[variants[0]]) / middle, 3),
                "tflops": round(work / middle / 1e12, 4),
                "mfu": round(work / middle / peak, 4),
                "peak_tflops": round(peak / 1e12, 4),
                "memory": memory(call, device),
                "busy": os.getloadavg()[0] > BUSY * (os.cpu_count() or 1),
            }
        del calls


def counted(stage: Stage, sizes: Sizes, direction: str) -> tuple[int, int]:
    """FLOP of one call, and parameters. Small volumes count as a GPU convolves them; a CPU also multiplies zeros."""
    module = stage.build(sizes).train(direction == "backward")
    parameters = sum(p.numel() for p in module.parameters())
    if stage.needs_shards:  # what it computes depends on who is there
        with FlopCounterMode(display=False) as counter:
            run(module, stage.inputs(sizes), direction)
        return int(counter.get_total_flops()), parameters
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    state = {name: mode.from_tensor(value) for name, value in module.state_dict(keep_vars=True).items()}
    dense, VolumeConv.DENSE = VolumeConv.DENSE, 0
    try:
        with mode, FlopCounterMode(display=False) as counter:
            called = functools.partial(torch.func.functional_call, module, state)
            run(lambda *given: called(given), stage.inputs(sizes), direction)
    finally:
        VolumeConv.DENSE = dense
    return int(counter.get_total_flops()), parameters


def run(call: Callable[..., Any], given: tuple[Tensor, ...], direction: str) -> None:
    """One pass; backward is forward and backward together, of the sum of all outputs."""
    if direction == "forward":
        with torch.no_grad():
            call(*given)
        return
    if isinstance(call, nn.Module):
        call.zero_grad(set_to_none=True)
    given = tuple(x.detach().requires_grad_() if x.is_floating_point() else x for x in given)
    outputs = call(*given)
    sum(part.float().sum() for part in (outputs if isinstance(outputs, tuple) else (outputs,))).backward()


def prepared(stage: Stage, sizes: Sizes, variant: str, device: str, direction: str) -> Callable[[], None]:
    """One pass of a variant, ready to be called."""
    words = set(variant.split("+"))
    torch.manual_seed(0)
    module = stage.build(sizes).to(device).train(direction == "backward")
    layout = torch.channels_last if "channels_last" in words else torch.contiguous_format
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=layout)  # type: ignore[call-overload]
    given = tuple(
        x.to(device).contiguous(memory_format=layout) if x.dim() == 4 else x.to(device) for x in stage.inputs(sizes)
    )
    if "compiled" in words:
        for part in [module.get_submodule(name) for name in stage.parts] or [module]:
            part.compile()

    def call() -> None:
        kind = "cuda" if device.startswith("cuda") else "cpu"
        with precision(words), torch.autocast(kind, torch.bfloat16, enabled="bf16" in words):
            run(module, given, direction)

    return call


@contextlib.contextmanager
def precision(words: set[str]) -> Iterator[None]:
    """TF32 where it is asked for, else whole float32."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("high" if "tf32" in words else "highest")
    torch.backends.cudnn.allow_tf32 = "tf32" in words
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


def seconds(call: Callable[[], None], device: str) -> float:
    """Of the device for one call: CPU time of the process, or wall time until the GPU is done."""
    if device == "cpu":
        began = time.process_time()
        call()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def memory(call: Callable[[], None], device: str) -> int | None:
    """Bytes at the peak of one call, beyond what was held before; None where nothing tells."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    try:
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    except (OSError, AttributeError):
        return None
    before = _status("VmRSS")
    call()
    return _status("VmHWM") - before


def _status(key: str) -> int:
    found = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1]) if found else 0


@functools.cache
def peak_flops(kind: str, device: str) -> float:
    """What a large matrix product reaches, FLOP a second (on a CPU of CPU time, as the times are)."""
    side = 1024 if device == "cpu" else 8192
    dtype = torch.bfloat16 if kind == "bf16" else torch.float32
    one, other = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        with precision({kind}):
            torch.mm(one, other)

    product()
    return 2 * side**3 / min(seconds(product, device) for _ in range(9))


if __name__ == "__main__":
    main()
