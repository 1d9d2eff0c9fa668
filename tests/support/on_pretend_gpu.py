"""Trains and predicts with a tiny network on a pretend GPU; prints what the CPU waited for: FILE SHARDS PACKS RUN."""

from pretend_gpu import start

PretendGpu = start()  # before torch is imported

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from tiny_runs import tiny  # noqa: E402

from trace_train.config import Config  # noqa: E402
from trace_train.inference.predictor import Predictor  # noqa: E402
from trace_train.network.flow import RaftFlow  # noqa: E402
from trace_train.network.raft import Raft  # noqa: E402
from trace_train.streaming.pixels import finish  # noqa: E402
from trace_train.train import prepare, train  # noqa: E402
from trace_train.training.distributed import Processes, joined  # noqa: E402
from trace_train.training.loss_module import LossModule  # noqa: E402
from trace_train.training.state import RunState, new_state  # noqa: E402

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
STAGES = ["steps=4", "stages=[{share: 0.5, clips: 2, frames: 1}, {share: 0.5, clips: 2, frames: 3}]"]
LOSSES = [
    "network.motion_channels=2",
    "loss.camera_consistency=1",
    "loss.root_consistency=1",
    "supervision.center_jitter=1",
]
RELEASED = [
    "network.center_maps=raw",
    "network.world_rotation=additive",
    "network.first_motion=counted",
    "network.camera_constants=published",
    "network.flow_first_frame=self",
]
"""How networks with released weights are trained on; with fp16, as the published ones were."""
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), dtype=np.uint8)


def state_of(config: Config, shards: Path, packs: Path, device: torch.device, processes: Processes) -> RunState:
    """A new run, with RAFT of random weights."""
    inputs = prepare(config, shards, packs, False, processes, device)
    torch.manual_seed(0)
    flow = RaftFlow(Raft(iterations=2), first_frame=config.network.flow_first_frame).to(device)
    return new_state(
        inputs.config,
        LossModule(inputs.network, inputs.layer, inputs.config, flow).train(),
        inputs.parts,
        run=Path("unused"),
        device=device,
        processes=processes,
        stream=inputs.stream,
        packs=packs,
        facts={},
    )


def steps(config: Config, shards: Path, packs: Path, device: torch.device, gpu: Any) -> dict[str, Any]:
    """The loss of each step, and the waits of the last step of each stage."""
    losses, waits = [], {}
    with joined(1) as processes:
        state = state_of(config, shards, packs, device, processes)
        batches = state.stream.batches(0, config.steps)
        for step in range(config.steps):
            number, _ = state.stream.stage_at(step)
            state.enter(number)
            gpu.counted()
            batch = finish(next(batches).to(device))
            update = state.updater(batch, 1e-4, lambda *_: "")
            state.take(update)
            losses.append(update.values["total"])
            waits[f"stage {number}"] = gpu.counted()
    return {"losses": losses, "waits": waits}


def predicted(run: Path, packs: Path, device: torch.device, precision: str, gpu: Any) -> dict[str, Any]:
    """The people seen in the last of some pictures of a live camera, and its waits."""
    words = [f"precision={precision}", "tracker.keep_score=0.0001", "tracker.score=0.0001"]
    predictor = Predictor(run, packs=packs, config=words, device=device)
    stream = None
    for number, picture in enumerate(PICTURES):
        gpu.counted()
        predictor.step(picture, number / 30)
        stream = predictor._live.stream if predictor._live else None
    waits = gpu.counted()
    assert stream is not None
    seen = stream.see([*PICTURES])
    together = gpu.counted()
    if device == GPU and precision == "fp32":
        for number, picture in enumerate(PICTURES):
            cv2.imwrite(str(run / f"{number}.jpg"), picture)
        published = ["tracker.kind=published", "bn=chunk", "padding=white"]
        videos = [run / f"{number}.jpg" for number in range(len(PICTURES))]
        Predictor(run, packs=packs, config=published, device=device).run(videos)
        gpu.counted()
    joints = [float(np.abs(people.joints_2d).mean()) for people in seen]
    return {"people": [len(p) for p in seen], "joints": joints, "waits": waits, "chunk": together}


def itself(gpu: Any) -> dict[str, Any]:
    """What the device refuses and counts."""
    gpu.counted()
    there, here = torch.ones(2, 2, device=GPU), torch.ones(2, 2)
    refused = []
    tries = {
        "matrix product": lambda: there @ here,
        "assignment": lambda: there.add_(here),
        "numpy": lambda: there.numpy(),
        "fine": lambda: there * torch.tensor(2.0),  # a number
        "copied": lambda: here.pin_memory().to(GPU, non_blocking=True) + there,
    }
    for name, attempt in tries.items():
        try:
            attempt()
        except (RuntimeError, TypeError):
            refused.append(name)
    assert not gpu.counted()
    float(there.sum())
    there[there > 0]
    (there > 0).nonzero()
    there.cpu()
    here.to(GPU, non_blocking=True)
    there[there > 2] = 0.0  # filled: does not wait
    with torch.autocast("cuda", dtype=torch.bfloat16):
        half = (there @ there).dtype
    return {"refused": refused, "waits": gpu.counted(), "autocast": str(half)}


def main(shards: Path, packs: Path, run: Path) -> None:
    """All of it."""
    train_found, predict_found = {}, {}
    with PretendGpu() as gpu:
        about = itself(gpu)
        for name, device in (("fp32", GPU), ("bf16", GPU), ("fp16", GPU), ("cpu", CPU)):
            changes = [*STAGES, *LOSSES, *(RELEASED if name == "fp16" else ())]
            config = tiny(f"precision={'fp32' if name == 'cpu' else name}", *changes)
            train_found[name] = steps(config, shards, packs, device, gpu)
        whole = ["device=auto", "precision=bf16", "steps=2", "optim.accumulate=2", "evaluation.every=2"]
        whole.append("pictures_every=2")
        train(tiny(*whole), shards=shards, packs=packs, run=run)
        for name, device in (("fp32", GPU), ("bf16", GPU), ("cpu", CPU)):
            precision = "fp32" if name == "cpu" else name
            predict_found[name] = predicted(run, packs, device, precision, gpu)
    files = sorted(path.name for path in run.iterdir())
    found = {"itself": about, "train": train_found, "predict": predict_found, "files": files}
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
