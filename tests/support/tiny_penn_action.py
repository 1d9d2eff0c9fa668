"""A Penn Action folder of a few small videos, written here with scipy and numpy: it shares nothing with the adapter."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.io import loadmat, savemat

WIDTH, HEIGHT = 64, 48


def labels(seed: int, frames: int, train: int) -> dict[str, Any]:
    """The variables of a label file: an upright person seen from the front, so the first of each pair, which is the
    person's right, stands left in the picture; else joints anywhere, one of them never visible."""
    rng = np.random.default_rng(seed)
    visible = np.ones((frames, 13), np.uint8)
    visible[:, 5] = 0
    x, y = rng.uniform(1, WIDTH, (frames, 13)), rng.uniform(1, HEIGHT, (frames, 13))
    x[:, 1::2], x[:, 2::2] = np.minimum(x[:, 1::2], x[:, 2::2]), np.maximum(x[:, 1::2], x[:, 2::2])
    y[:, 1:3], y[:, 7:9] = y[:, 1:3] / 2, (HEIGHT + y[:, 7:9]) / 2
    x[:, 5] = y[:, 5] = 1
    return {
        "action": "squat",
        "pose": "front",
        "x": x,
        "y": y,
        "visibility": visible,
        "train": train,
        "bbox": np.ones((frames - 1, 4)),
        "dimensions": np.array([[HEIGHT, WIDTH, frames]]),
        "nframes": frames,
    }


def write(root: Path, *, frames: int = 4, packed: bool = False, eft: bool = True) -> Path:
    """Videos 0001 and 0003 (train) and 0002 (test) under `root`/Penn_Action; returns that folder."""
    folder = root / "Penn_Action"
    everything = {f"{n:04d}": labels(n, frames, -1 if n == 2 else 1) for n in (1, 2, 3)}
    for name, content in everything.items():
        images = folder / "frames" / name
        images.mkdir(parents=True)
        for frame in range(frames):
            grey = np.full((HEIGHT, WIDTH, 3), 40 * frame, np.uint8)
            cv2.imwrite(str(images / f"{frame + 1:06d}.jpg"), grey)
        if not packed:
            (folder / "labels").mkdir(exist_ok=True)
            savemat(folder / "labels" / f"{name}.mat", content)
    if packed:
        np.savez(folder / "annots_train.npz", **pack(everything))
    if eft:
        rng = np.random.default_rng(9)
        fits = {"0001-000002.jpg": [[rng.normal(0, 0.3, 72), rng.normal(0, 1, 10).astype(np.float32)]]}
        np.savez(folder / "eft_annots.npz", annots=np.array(fits, object))
    return folder


def pack(everything: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The arrays of `annots_train.npz`, as the published code makes them from label files."""
    annot, sequences, names, facts = {}, {}, {}, {}
    for name, content in everything.items():
        points = np.stack([content["x"], content["y"], content["visibility"]], 2)
        names[name] = [f"{frame + 1:06d}.jpg" for frame in range(len(points))]
        sequences[name] = list(range(len(points)))
        facts[name] = [np.array(["squat"]), np.uint16(len(points)), np.int16(content["train"])]
        annot |= {f"{name}-{image}": [[row], [int(name) - 1]] for image, row in zip(names[name], points)}
    people = {"map_dict": {name: {0: int(name) - 1} for name in names}, "id_number": 3}
    arrays = {"annot": annot, "sequence_dict": sequences, "seq_frame_names": names, "person_ids": people}
    return {key: np.array(value, object) for key, value in {**arrays, "seq_info": facts}.items()}


def change_mat(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Change the variables of a label file."""
    file = folder / "labels" / f"{name}.mat"
    content = {key: value for key, value in loadmat(file).items() if not key.startswith("__")}
    change(content)
    savemat(file, content)
    return _later(file)


def change_npz(folder: Path, change: Callable[[dict[str, Any]], Any], name: str = "annots_train.npz") -> Path:
    """Change the dicts of a packed file."""
    file = folder / name
    held = np.load(file, allow_pickle=True)
    content = {key: held[key].item() for key in held}
    change(content)
    np.savez(file, **{key: np.array(value, object) for key, value in content.items()})
    return _later(file)


def _later(file: Path) -> Path:
    """A file changed twice within the clock's tick would pass for unchanged."""
    os.utime(file, ns=(time.time_ns(), time.time_ns()))
    return file
