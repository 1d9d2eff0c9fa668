"""How fast `trace verify-datasets` looks at each file, depth by depth. Prints one JSON line.

    python benchmarks/verify.py [--files 100000] [--frames 40000] [--jobs 2] [--rounds 3]

layout: a tree of 3DPW with `--files` empty images in sequences of a thousand. A million takes about 20 s to make and
200 MB of a file system's tables:  python benchmarks/verify.py --files 1000000
content and geometry: sequences of 100 real images of 1280 x 720 px, `--frames` in all, in the system's memory; with one
process and with `--jobs`, in turns, the fastest of `--rounds` each; then once more with nothing changed. Each runs in
a process of its own, whose largest memory is told. `speedup` is the time of one process over that of `--jobs`; the
start of workers, about a second, is in it, so take many frames. `cpu_s` is what all processes used together: equal
sums mean that nothing but cores is short.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

LENGTH = 1000
"""Images of a sequence of the empty tree."""
REAL_LENGTH = 100
SIZE = (1280, 720)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--frames", type=int, default=40_000)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=4, metavar=("ROOT", "DEPTH", "JOBS", "STATE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    with tempfile.TemporaryDirectory() as name:
        empty, real = Path(name, "empty"), Path(name, "real")
        began = time.perf_counter()
        empty_tree(empty, options.files)
        made = time.perf_counter() - began
        real_tree(real, options.frames)
        runs = {"layout": apart(empty, "layout", 1, "-")}
        rounds = [
            {jobs: apart(real, "content", jobs, "-") for jobs in sorted({1, options.jobs})}
            for _ in range(options.rounds)
        ]
        fastest = {jobs: min((found[jobs] for found in rounds), key=lambda run: run["s"]) for jobs in rounds[0]}
        runs |= {f"content, {jobs} jobs": run for jobs, run in fastest.items()}
        runs["geometry"] = apart(real, "geometry", options.jobs, "-")
        state = str(Path(name, "state.jsonl"))
        apart(real, "content", options.jobs, state)
        runs["content, nothing changed"] = apart(real, "content", options.jobs, state)
    line = {
        "bench": "verify",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "files": options.files,
        "frames": options.frames,
        "made_tree_s": round(made, 1),
        **runs,
        "speedup": round(fastest[1]["s"] / fastest[options.jobs]["s"], 2),
        "busy": os.getloadavg()[0] > (os.cpu_count() or 1),
    }
    print(json.dumps(line))


def apart(root: Path, depth: str, jobs: int, state: str) -> dict[str, Any]:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--one", str(root), depth, str(jobs), state]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found


def one(root: str, depth: str, jobs: str, state: str) -> dict[str, Any]:
    """Verify, and tell what it took."""
    from trace_data.verify.datasets import verify_datasets

    began = time.perf_counter()
    report = verify_datasets(
        ["3dpw"], Path(root), depth=depth, jobs=int(jobs), state=None if state == "-" else Path(state)
    )  # type: ignore[arg-type]
    seconds = time.perf_counter() - began
    frames = report.datasets[0].frames
    assert report.ok, report.datasets[0].problems
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "s": round(seconds, 2),
        "cpu_s": round(sum(usage.ru_utime + usage.ru_stime for usage in used), 2),
        "files_per_s": round(frames / seconds),
        "largest_mb": round(max(usage.ru_maxrss for usage in used) / 1000),
    }


def empty_tree(root: Path, files: int) -> None:
    """3DPW with empty images and annotations: layout never opens them."""
    for number in range(max(files // LENGTH, 3)):
        name = f"walk_{number:05d}"
        split = ("train", "validation", "test")[number % 3]
        annotations = root / "3DPW" / "sequenceFiles" / split
        annotations.mkdir(parents=True, exist_ok=True)
        (annotations / f"{name}.pkl").touch()
        images = root / "3DPW" / "imageFiles" / name
        images.mkdir(parents=True)
        for frame in range(LENGTH):
            os.close(os.open(f"{images}/image_{frame:05d}.jpg", os.O_CREAT | os.O_WRONLY))  # 10 times faster than touch


def real_tree(root: Path, frames: int) -> None:
    """3DPW with images that decode and somebody who rests; the images of a sequence are one file with many names."""
    rng = np.random.default_rng(0)
    for number in range(max(frames // REAL_LENGTH, 3)):
        name = f"walk_{number:05d}"
        split = ("train", "validation", "test")[number % 3]
        images = root / "3DPW" / "imageFiles" / name
        images.mkdir(parents=True)
        noise = rng.integers(0, 256, (SIZE[1] // 4, SIZE[0] // 4, 3), dtype=np.uint8)
        first = images / "image_00000.jpg"
        cv2.imwrite(str(first), cv2.resize(noise, SIZE))
        for frame in range(1, REAL_LENGTH):
            os.link(first, images / f"image_{frame:05d}.jpg")
        annotations = root / "3DPW" / "sequenceFiles" / split
        annotations.mkdir(parents=True, exist_ok=True)
        (annotations / f"{name}.pkl").write_bytes(pickle.dumps(annotation(name), protocol=2))


def annotation(name: str) -> dict[str, Any]:
    """One person, five metres in front of a camera that rests."""
    frames = REAL_LENGTH
    joints = np.random.default_rng(1).uniform(-0.8, 0.8, (24, 3)) + np.array([0, 0, 5.0])
    return {
        "sequence": name,
        "poses": [np.zeros((frames, 72))],
        "betas": [np.zeros(10)],
        "trans": [np.zeros((frames, 3))],
        "genders": ["m"],
        "jointPositions": [np.tile(joints.reshape(72), (frames, 1))],
        "poses2d": [np.zeros((frames, 3, 18))],
        "campose_valid": [np.ones(frames, np.uint8)],
        "cam_poses": np.tile(np.eye(4), (frames, 1, 1)),
        "cam_intrinsics": np.array([[1000.0, 0, 640], [0, 1000, 360], [0, 0, 1]]),
    }


if __name__ == "__main__":
    main()
