"""How much memory and time packed annotations of published size take. Prints one JSON line.

    python benchmarks/verify_packed.py [--share 1.0] [--work DIR]

Writes files that name as many images as the packed files of the published training do, up to 3 GB each: Human3.6M
(every fifth frame of 7 subjects), MPI-INF-3DHP (every frame of 11 cameras, none dropped), 3DPW (`annots.npz`, and
databases with image features). Frames exist for a few clips of the first two and for all of 3DPW. What has frames is
verified at depth content in a process of its own, whose largest memory is told. `--share` makes shorter files.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import pickle
import platform
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

MPI_FRAMES = {
    (1, 1): 6416, (1, 2): 12430, (2, 1): 6502, (2, 2): 6081, (3, 1): 12488, (3, 2): 12283, (4, 1): 6171, (4, 2): 6675,
    (5, 1): 12820, (5, 2): 12312, (6, 1): 6188, (6, 2): 6145, (7, 1): 6239, (7, 2): 6320, (8, 1): 6468, (8, 2): 6054,
}  # fmt: skip
H36M_LENGTH = 503
"""Images of a clip: 422,000 in 839 clips."""
PW3D_LENGTH, PW3D_SEQUENCES = 850, 60
SHOWN = 2
"""Clips of Human3.6M and MPI-INF-3DHP that have frames."""
BATCH = 1000
"""Items that Python's pickles put into a dictionary at once."""
SIZE = 96
DISTANCE = np.array([0, 0, 4.0])
"""Metres from the camera."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--work", type=Path, help="folder for the files  [the system's for passing ones]")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "ROOT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(*options.one)))
        return
    runs = {}
    for label, name, write in (
        ("h36m, annots_smplkps.npz", "h36m", human36m),
        ("mpi-inf-3dhp, annots_video.npz", "mpi-inf-3dhp", mpi),
        ("3dpw, annots.npz", "3dpw", annots),
        ("3dpw, vibe_db", "3dpw", databases),
    ):
        with tempfile.TemporaryDirectory(dir=options.work) as folder:
            images = write(Path(folder), options.share)
            largest = max(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
            command = [sys.executable, __file__, "--one", name, folder]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            runs[label] = {"annotated": images, "file_mb": round(largest / 1e6), **found}
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    print(json.dumps({"bench": "verify_packed", "machine": machine, "share": options.share, **runs, "busy": busy}))


def one(name: str, root: str) -> dict[str, Any]:
    """Verify, and tell what it took."""
    from trace_data.verify.datasets import verify_datasets

    began = time.perf_counter()
    report = verify_datasets([name], Path(root), depth="content")
    seconds = time.perf_counter() - began
    assert report.ok, report.datasets[0].problems
    assert report.datasets[0].people >= SHOWN
    return {"s": round(seconds, 1), "largest_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)}


def human36m(root: Path, share: float) -> int:
    """One image of every 5 frames of the 839 clips."""
    rng = np.random.default_rng(0)
    joints = rng.uniform(-0.8, 0.8, (32, 3)) + DISTANCE
    entry = {
        "kp2d": seen(joints), "kp3d_mono": joints, "kp3ds_smpl": rng.uniform(-0.8, 0.8, (44, 3)),
        "poses": rng.normal(0, 0.2, (3, 72)), "cam": rng.normal(0, 0.2, (3, 3)),
    }  # fmt: skip
    clips = [f"S{s}_Action {a}_{v}" for s in (1, 5, 6, 7, 8, 9, 11) for a in range(30) for v in range(4)]
    length = max(int(H36M_LENGTH * share), 1)
    write_npz(
        root / "h36m/annots_smplkps.npz",
        {"annots": (entry, lambda: (f"{clip}_{number}.jpg" for clip in clips for number in range(length)))},
    )
    for clip in clips[:SHOWN]:
        pictures(root / "h36m/images", f"{clip}_{{}}.jpg", length)
    return len(clips) * length


def mpi(root: Path, share: float) -> int:
    """Every frame of 11 cameras of 16 recordings."""
    joints = np.random.default_rng(0).uniform(-0.8, 0.8, (28, 3)) + DISTANCE
    entry = {"kp2d": seen(joints), "kp3d": joints, "smpl_theta": np.zeros(66), "smpl_beta": np.zeros(10)}
    lengths = {key: max(int(count * share), 1) for key, count in MPI_FRAMES.items()}
    clips = {f"S{s}_Seq{q}_video_{v}": count for (s, q), count in lengths.items() for v in range(11)}
    camera = {"intrinsics": np.array([100.0, 100, SIZE / 2, SIZE / 2]), "extrinsics": [np.eye(3), np.zeros(3)]}
    write_npz(
        root / "mpi_inf_3dhp/annots_video.npz",
        {
            "annots": (entry, lambda: (f"{clip}_F{i:06d}.jpg" for clip, count in clips.items() for i in range(count))),
            "frame_info": (
                [0],
                lambda: (
                    f"{clip.replace('_', '/', 1).replace('_', '/imageSequence/', 1)}.avi"
                    for clip in list(clips)[:SHOWN]
                ),
            ),
            "cam_info": (camera, lambda: iter(clips)),
        },
    )
    for clip in list(clips)[:SHOWN]:
        pictures(root / "mpi_inf_3dhp/video_frames" / clip, f"{clip}_F{{:06d}}.jpg", clips[clip])
    return sum(clips.values())


def sequences(root: Path, share: float) -> tuple[int, list[str]]:
    """Frames of a sequence of 3DPW, and the names of all, whose images are written."""
    length = max(int(PW3D_LENGTH * share), 10)
    names = [f"walk_{number:02d}" for number in range(PW3D_SEQUENCES)]
    for name in names:
        pictures(root / "3DPW/imageFiles" / name, "image_{:05d}.jpg", length)
    return length, names


def annots(root: Path, share: float) -> int:
    """All sequences of 3DPW with two people each."""
    length, names = sequences(root, share)
    keys = [f"{name}.pkl" for name in names]
    joints = np.random.default_rng(0).uniform(-0.8, 0.8, (length, 24, 3)) + DISTANCE
    points = np.ones((length, 3, 18))
    params = {
        "genders": ["m", "f"], "poses": [np.zeros((length, 72))] * 2, "trans": [np.zeros((length, 3))] * 2,
        "betas": np.zeros((2, 10)), "valid_indices": [np.arange(length)] * 2,
    }  # fmt: skip
    splits = ("train", "validation", "test")
    np.savez(
        root / "3DPW/annots.npz",
        params=np.array({key: params | {"split": splits[i % 3]} for i, key in enumerate(keys)}, object),
        kp3d=np.array({key: [joints + 0.0, joints + 0.0] for key in keys}, object),
        kp2d=np.array({key: [points + 0.0, points + 0.0] for key in keys}, object),
        glob_rot=np.array({key: [np.zeros((length, 24, 3, 3)) for _ in range(2)] for key in keys}, object),
    )
    return 2 * length * len(names)


def databases(root: Path, share: float) -> int:
    """A row a person and frame, with 2048 features each."""
    length, names = sequences(root, share)
    (root / "3DPW/vibe_db").mkdir()
    for number, split in enumerate(("train", "val", "test")):
        held = names[number::3]
        rows = 2 * length * len(held)
        database = {
            "vid_name": np.array([f"{name}_{person}" for name in held for person in range(2) for _ in range(length)]),
            "frame_id": np.tile(np.arange(length), 2 * len(held)),
            "joints2D": np.ones((rows, 49, 3), np.float32),
            "joints3D": np.random.default_rng(0).uniform(-0.8, 0.8, (rows, 49, 3)).astype(np.float32),
            "pose": np.zeros((rows, 72), np.float32), "shape": np.zeros((rows, 10), np.float32),
            "valid": np.ones(rows, np.float32), "bbox": np.ones((rows, 4), np.float32),
            "features": np.zeros((rows, 2048), np.float32),
        }  # fmt: skip
        with (root / f"3DPW/vibe_db/3dpw_{split}_db.pt").open("wb") as file:
            pickle.dump(database, file, protocol=4)
    return 2 * length * len(names)


def seen(joints: Any) -> Any:
    """Pixels of joints before a camera of 96 px."""
    return joints[:, :2] / joints[:, 2:] * 100 + SIZE / 2


def pictures(folder: Path, name: str, count: int) -> None:
    """One image under many names."""
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / name.format(0)
    cv2.imwrite(str(first), np.zeros((SIZE, SIZE, 3), np.uint8))
    for number in range(1, count):
        os.link(first, folder / name.format(number))


def write_npz(file: Path, parts: dict[str, tuple[Any, Callable[[], Any]]]) -> None:
    """Dictionaries in object arrays, every name of a part with the same value; never in memory as a whole."""
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        for part, (value, names) in parts.items():
            with archive.open(f"{part}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array_header_1_0(
                    stream,
                    {"descr": "|O", "fortran_order": False, "shape": ()},  # type: ignore[arg-type]
                )
                for piece in pickled(value, names()):
                    stream.write(piece)


def pickled(value: Any, names: Iterator[str]) -> Iterator[bytes]:
    """What pickle would write of an array with a dictionary of these names, with copies of one value under all.

    A pickle of three items shows how the first of all looks, in which types and keys are named, and how any other.
    """
    keys = ["first-of-all", "second-of-all", "third-of-all"]
    # copies, or they would be written as references to the first
    held = {key: copy.deepcopy(value) for key in keys}
    whole = pickle.dumps(np.array(held, object), protocol=4)
    assert whole[2] == 0x95 and len(whole) < 1 << 16  # one frame, which may be left out
    whole = whole[:2] + whole[11:]
    starts = [whole.index(written(key)) for key in keys]
    pieces = [whole[start + len(written(key)) : end] for start, key, end in zip(starts, keys, [*starts[1:], None])]
    yield whole[: starts[0]]
    for number, name in enumerate(names):
        if number and number % BATCH == 0:
            yield b"u("
        yield written(name) + pieces[min(number, 1)]
    yield pieces[2][len(pieces[1]) :]


def written(text: str) -> bytes:
    """A short text that is remembered."""
    return b"\x8c" + bytes([len(text)]) + text.encode() + b"\x94"


if __name__ == "__main__":
    main()
