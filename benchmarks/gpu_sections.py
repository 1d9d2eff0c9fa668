"""The sections of `gpu.py`. To add one, write a function and add it to `SECTIONS`."""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from trace_data.assets.packs import prepare_smpl
from trace_data.builder.build import build_shards
from trace_data.sample_world.bodies import write_body_models
from trace_data.sample_world.people import cast
from trace_data.sample_world.threedpw import write_sequence
from trace_data.shards.reader import ShardReader
from trace_train.build import body_layers, build_network, read_pack
from trace_train.config import Config, load_config
from trace_train.config.run import at_stage
from trace_train.network.flow import FlowProvider, NoFlow, RaftFlow
from trace_train.network.raft import Raft
from trace_train.streaming.batch import Batch
from trace_train.streaming.gpu_decoder import nvjpeg_decoder
from trace_train.streaming.pixels import finish
from trace_train.streaming.stream import TrainStream
from trace_train.training.distributed import joined
from trace_train.training.loss_module import LossModule
from trace_train.training.optimizer import build_optimizer
from trace_train.training.parameter_groups import NetworkParameters
from trace_train.training.precision import gradient_scaler, set_float32_kernels
from trace_train.training.update import Updater
from trace_train.weights.averaged import AveragedWeights

TINY_NETWORK = [
    "network.input_size=64",
    "network.width=8",
    "network.stage_blocks=1",
    "network.head_channels=16",
    "network.bird_eye_hidden=16",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all sections share."""

    device: str
    tiny: bool
    folder: Path

    @property
    def at(self) -> torch.device:
        """The device."""
        return torch.device(self.device)

    @property
    def repeats(self) -> int:
        """How often a time is taken."""
        return 1 if self.tiny else 7

    def config(self, *changes: str) -> Config:
        """Preset `trace`, or a tiny network, with two clips at least, on the device."""
        device = "cpu" if self.at.type == "cpu" else "auto"
        if self.tiny:
            stages = "{share: 0.5, clips: 2, frames: 1}, {share: 0.5, clips: 2, frames: 2}"
            words = [*TINY_NETWORK, f"stages=[{stages}]", "steps=1000"]
        else:
            words = ["evaluation.every=0"]
        return load_config("debug" if self.tiny else "trace", [*words, f"device={device}", *changes])


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    what: str
    value: float
    unit: str
    more: dict[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def prepare(setting: Setting) -> Iterator[Row]:
    """Body models, and shards of a small world."""
    folder, began = setting.folder, time.perf_counter()
    write_body_models(folder / "models")
    prepare_smpl([folder / "models"], folder / "packs", genders=("male", "female", "neutral"))
    frames, height = (8, 144) if setting.tiny else (60, 720)
    roles = cast(3, 12)
    for index in (0, 1, 2, 3, 9, 10):  # four to train with; the dataset has one of each split at least
        write_sequence(folder / "datasets" / "3DPW", 3, index, roles[index], frames=frames, height=height)
    build_shards(["3dpw"], folder / "datasets", folder / "shards", packs=folder / "packs", force=True)
    yield Row("files", time.perf_counter() - began, "s")


def wait(device: torch.device) -> None:
    """Until the GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], setting: Setting, warmup: int = 2) -> float:
    """Wall time of a call until the device is done; median."""
    for _ in range(1 if setting.tiny else warmup):
        call()
    times = []
    for _ in range(setting.repeats):
        wait(setting.at)
        began = time.perf_counter()
        call()
        wait(setting.at)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def need_cuda(setting: Setting) -> None:
    """What a CPU cannot tell fails there."""
    if setting.at.type != "cuda":
        raise RuntimeError("needs CUDA")


@dataclass(slots=True, kw_only=True, eq=False)
class Trainer:
    """A training step on its device, without checkpoints and logs."""

    config: Config
    module: LossModule
    updater: Updater
    averaged: AveragedWeights
    batch: Batch

    @classmethod
    def of(
        cls, setting: Setting, config: Config, device: torch.device, stage: int = -1, *, contiguous: bool = False
    ) -> Trainer:
        """The step of a stage (default: the last), with RAFT of random weights where the preset has RAFT.
        `contiguous`: convolutions are not in the layout channels-last."""
        config = at_stage(config.model_copy(update={"stages": (config.stages[stage],)}), 0)
        set_float32_kernels(config, device)
        torch.manual_seed(0)
        network = build_network(config.network).to(device)
        if contiguous:
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        flow: FlowProvider = NoFlow()
        if config.network.flow == "raft":
            raft = Raft(iterations=config.network.flow_iterations)
            flow = RaftFlow(raft, first_frame=config.network.flow_first_frame).to(device)
        layer = body_layers(setting.folder / "packs", device=device)["neutral"]
        module = LossModule(network, layer, config, flow).train()
        parts = NetworkParameters(network)
        groups = parts.groups(config.optim)
        parts.apply(groups)
        with joined(1) as processes:
            updater = Updater(
                loss_module=module,
                optimizer=build_optimizer(groups, config.optim),
                scaler=gradient_scaler(config, device),
                processes=processes,
            )
        last = config.steps - 1
        stream = TrainStream(ShardReader(setting.folder / "shards"), config, device)
        batch = finish(next(iter(stream.batches(last, last + 1))).to(device))
        averaged = AveragedWeights(network, 0.999)
        return cls(config=config, module=module, updater=updater, averaged=averaged, batch=batch)

    def step(self, batch: Batch | None = None) -> dict[str, float]:
        """One update with its average; the loss and the norm of the gradient."""
        update = self.updater(batch or self.batch, 1e-6, lambda *_: "")
        self.averaged.update(self.module.network, 0)
        return {"loss": update.values["total"], "norm": update.norm}


def agreement(setting: Setting) -> Iterator[Row]:
    """The same step on CPU and device, and in half precision."""
    small = [] if setting.tiny else ["network.flow=none", *TINY_NETWORK]
    stages = [] if setting.tiny else ["stages=[{clips: 2, frames: 4}]"]

    def of(precision: str, device: torch.device) -> dict[str, float]:
        config = setting.config(f"precision={precision}", *small, *stages)
        return Trainer.of(setting, config, device).step()

    truth = of("fp32", torch.device("cpu"))
    for precision in ("fp32", "bf16") if setting.tiny else ("fp32", "bf16", "fp16"):
        for name, value in of(precision, setting.at).items():
            difference = abs(value - truth[name]) / abs(truth[name])
            yield Row(f"{name} in {precision}", difference, "of the CPU's", {"value": value, "on the CPU": truth[name]})


def peaks(setting: Setting) -> dict[str, float]:
    """FLOP a second of a large matrix product, by precision."""
    side = 256 if setting.tiny else 8192
    found = {}
    for name, dtype, tf32 in (
        ("fp32", torch.float32, False),
        ("tf32", torch.float32, True),
        ("bf16", torch.bfloat16, False),
    ):
        one, other = (torch.randn(side, side, device=setting.at).to(dtype) for _ in range(2))
        torch.backends.cuda.matmul.allow_tf32 = tf32
        found[name] = 2 * side**3 / seconds(lambda a=one, b=other: torch.mm(a, b), setting)  # type: ignore[misc]
    torch.backends.cuda.matmul.allow_tf32 = False
    return found


def ceilings(setting: Setting) -> Iterator[Row]:
    """What the device reaches at best: matrix products, and copies in its memory."""
    for name, peak in peaks(setting).items():
        yield Row(f"matrix product, {name}", peak / 1e12, "TFLOP/s")
    source = torch.empty((1 << 18) if setting.tiny else (1 << 28), device=setting.at)
    target = torch.empty_like(source)
    yield Row("copy in memory", 2 * source.nbytes / seconds(lambda: target.copy_(source), setting) / 1e9, "GB/s")


def steps(setting: Setting) -> Iterator[Row]:
    """A whole training step: flow, network, losses, backward, optimiser, average; memory and MFU."""
    ceiling = peaks(setting)
    variants = [
        ("fp32", "fp32", False, False),
        ("bf16, contiguous", "bf16", True, False),
        ("bf16", "bf16", False, False),
        ("bf16, compiled", "bf16", False, not setting.tiny),
    ]
    work: float | None = None
    for name, precision, contiguous, compiled in variants:
        config = setting.config(f"precision={precision}")
        trainer = Trainer.of(setting, config, setting.at, contiguous=contiguous)
        if work is None:
            with FlopCounterMode(display=False) as counter:
                trainer.step()
            work = float(counter.get_total_flops())
        if compiled:
            trainer.module.network.compile(dynamic=False)
        yield measured(name, trainer, work, ceiling["bf16" if precision == "bf16" else "fp32"], setting)
    for number, stage in enumerate(setting.config().stages[:-1]):
        trainer = Trainer.of(setting, setting.config("precision=bf16"), setting.at, number)
        yield measured(f"bf16, stage {stage.name or number}", trainer, None, 0.0, setting)


def measured(name: str, trainer: Trainer, work: float | None, peak: float, setting: Setting) -> Row:
    """Time of a trainer's step."""
    cuda = setting.at.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    taken = seconds(trainer.step, setting)
    more: dict[str, Any] = {"clips/s": len(trainer.batch.refs) / taken}
    if cuda:
        more["GB"] = torch.cuda.max_memory_allocated() / 1e9
    if work is not None:
        more |= {"TFLOP": work / 1e12, "MFU": work / taken / peak}
    return Row(name, 1e3 * taken, "ms", more)


def loader(setting: Setting) -> Iterator[Row]:
    """Batches to the device, alone and while the network trains."""
    config = setting.config("precision=bf16", "network.flow=none")
    trainer = Trainer.of(setting, config, setting.at)
    stream = TrainStream(ShardReader(setting.folder / "shards"), config, setting.at)
    count = 3 if setting.tiny else 30
    first = config.steps - count
    trainer.step()
    for name, train in (("batches alone", False), ("while training", True)):
        batches = stream.batches(first, config.steps)
        finish(next(batches).to(setting.at))
        waited, began = 0.0, time.perf_counter()
        for _ in range(count - 1):
            asked = time.perf_counter()
            batch = finish(next(batches).to(setting.at))
            waited += time.perf_counter() - asked
            if train:
                trainer.step(batch)
        wait(setting.at)
        taken = time.perf_counter() - began
        clips = (count - 1) * len(batch.refs)
        yield Row(name, clips / taken, "clips/s", {"share waited": waited / taken} if train else {})


def copies(setting: Setting) -> Iterator[Row]:
    """A batch's pixels to the device, from pageable and page-locked memory."""
    shape = (2, 2, 64, 64, 3) if setting.tiny else (6, 10, 512, 512, 3)
    pixels = torch.zeros(shape, dtype=torch.uint8)
    named = {"pageable": pixels}
    if setting.at.type == "cuda":
        named["page-locked"] = pixels.pin_memory()
    for name, memory in named.items():
        taken = seconds(lambda m=memory: m.to(setting.at, non_blocking=True, copy=True), setting)  # type: ignore[misc]
        yield Row(name, memory.nbytes / taken / 1e9, "GB/s", {"ms": 1e3 * taken})


def waits(setting: Setting) -> Iterator[Row]:
    """How often torch says that a step lets the CPU wait for the GPU; tests/train/training/test_pretend_gpu.py allows
    one."""
    need_cuda(setting)
    trainer = Trainer.of(setting, setting.config("precision=bf16"), setting.at)
    trainer.step()
    trainer.step()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            trainer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = Counter(f"{Path(w.filename).name}:{w.lineno}" for w in said if "synchroniz" in str(w.message))
    yield Row("in a step", float(sum(found.values())), "waits", dict(found))


def nvjpeg(setting: Setting) -> Iterator[Row]:
    """Decoding on the GPU beside the CPU, and how far they differ."""
    import cv2

    need_cuda(setting)
    decoder = nvjpeg_decoder(setting.at)
    if decoder is None:
        raise RuntimeError("torchvision has no nvJPEG here")
    files = sorted((setting.folder / "datasets").rglob("*.jpg"))[:60]
    encoded = [file.read_bytes() for file in files]

    def on_cpu() -> list[Any]:
        return [np.asarray(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR))[..., ::-1] for one in encoded]

    for name, call in (("nvJPEG", lambda: decoder(encoded)), ("one CPU core", on_cpu)):
        yield Row(name, len(encoded) / seconds(call, setting), "frames/s")
    pairs = zip(decoder(encoded), on_cpu(), strict=True)
    worst = max(float((a.cpu().float() - torch.from_numpy(b.copy()).float()).abs().mean()) for a, b in pairs)
    yield Row("mean difference of the worst frame", worst, "of 255")


def parts(setting: Setting) -> Iterator[Row]:
    """The network part by part (`network.py`)."""
    import network
    from network_stages import STAGES, Sizes

    tiny = setting.tiny
    clips, frames, size = (1, 2, 64) if tiny else (6, 10, 512)
    sizes = Sizes(clips=clips, frames=frames, size=size, iterations=20, people=2)
    kind = setting.at.type
    variants = ["eager"] if tiny else ["eager", "bf16", "bf16+channels_last"]
    for name in ["regressors"] if tiny else [name for name, stage in STAGES.items() if not stage.needs_shards]:
        for line in network.measure(name, sizes, variants, kind, 2 if tiny else 5):
            if line["metric"].startswith("time/"):
                more = {key: line[key] for key in ("tflops", "mfu", "memory")}
                direction = line["metric"].partition("/")[2]
                yield Row(f"{name}, {direction}, {line['variant']}", line["value"], "ms", more)


def prediction(setting: Setting) -> Iterator[Row]:
    """Frames a second of prediction (`predict.py`)."""
    import predict

    for chunk in (2,) if setting.tiny else (1, 8, 32):
        given = argparse.Namespace(
            preset="debug" if setting.tiny else "trace",
            device=setting.device,
            frames=2 if setting.tiny else 64,
            size="128x96" if setting.tiny else "1280x720",
            chunk=[chunk],
            people=2,
            video=None,
        )
        folder = setting.folder / f"predict-{chunk}"
        folder.mkdir()
        found = predict.measure(given, chunk, setting.folder / "packs", folder)
        more = {"outside the network": found["share_outside_the_network"], "precision": found["precision"]}
        if found["gpu_memory"]:
            more["GB"] = found["gpu_memory"] / 1e9
        yield Row(f"chunks of {chunk}", found["frames_per_second"], "frames/s", more)


def body(setting: Setting) -> Iterator[Row]:
    """The body layer beside smplx (`body_layer.py`)."""
    import body_layer

    pack: dict[str, Tensor] = read_pack(setting.folder / "packs" / "SMPL_NEUTRAL.pth")
    batches: Sequence[int] = (1,) if setting.tiny else (1, 60, 512, 4096)
    for what in ("joints",) if setting.tiny else body_layer.WHATS:
        for compiled in (False,) if setting.tiny else (False, True):
            posers = body_layer.make_posers(pack, what, setting.device, compiled=compiled)
            for batch in batches:
                for direction in body_layer.PASSES:
                    ours = islice(body_layer.compare(posers, what, batch, direction, setting.device), 1)
                    for line in ours:
                        wanted = ("ratio", "largest_difference_m", "share_of_copy_bandwidth")
                        more = {key.replace("_", " "): line[key] for key in wanted if key in line}
                        name = f"{what}, {direction}, {batch} bodies{', compiled' if compiled else ''}"
                        yield Row(name, line["value"], "ms", more)


SECTIONS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "agreement": agreement,
    "waits": waits,
    "ceilings": ceilings,
    "steps": steps,
    "loader": loader,
    "copies": copies,
    "nvjpeg": nvjpeg,
    "prediction": prediction,
    "body": body,
    "parts": parts,
}
"""In the order of their worth."""
