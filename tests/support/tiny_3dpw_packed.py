"""The folder of `tiny_3dpw` in the forms that others packed, made from its own files with numpy and pickle alone."""

from __future__ import annotations

import os
import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tiny_3dpw

WORDS = {"train": "train", "validation": "val", "test": "test"}
LSP_OF_COCO = [10, 9, 8, 11, 12, 13, 4, 3, 2, 5, 6, 7, 0, 0]
LSP_OF_SMPL = [8, 5, 2, 1, 4, 7, 21, 19, 17, 16, 18, 20, 12, 15]
BETAS = np.linspace(-1, 1, 10)
"""Neutral shape of person 0; that of person p is p more."""


def contents(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Split folder to sequence to the content of its official file."""
    splits = {split: sorted((folder / "sequenceFiles" / split).glob("*.pkl")) for split in WORDS}
    return {s: {f.stem: pickle.loads(f.read_bytes()) for f in files} for s, files in splits.items() if files}


def pack(root: Path, counts: dict[str, int], form: str, *, change: Callable[[str, dict[str, Any]], Any] | None = None,
         frames: int = 6, cameras: bool = True, betas: bool = True) -> Path:  # fmt: skip
    """The folder in one form, `annots` or `vibe`; `change` gets every sequence's name and official content first."""
    folder = tiny_3dpw.write(root, counts, frames=frames)
    everything = contents(folder)
    for sequences in everything.values():
        for name, content in sequences.items():
            if change is not None:
                change(name, content)
    whole = {name: content for sequences in everything.values() for name, content in sequences.items()}
    if cameras:
        save(folder / "camera_annots.npz", {
            "intrinsics": {name: content["cam_intrinsics"] for name, content in whole.items()},
            "extrinsics": {name: content["cam_poses"] for name, content in whole.items()},
        })  # fmt: skip
    if betas:
        shapes = {f"{name}.pkl": [BETAS + p for p in range(len(c["poses"]))] for name, c in whole.items()}
        save(folder / "smpl_neutral_betas.npz", {"neutral_betas": shapes})
    if form == "annots":
        save(folder / "annots.npz", annots(everything))
    else:
        (folder / "vibe_db").mkdir()
        for split, sequences in everything.items():
            dump(folder / "vibe_db" / f"3dpw_{WORDS[split]}_db.pt", database(sequences, 49 if split == "train" else 14))
    shutil.rmtree(folder / "sequenceFiles")
    return folder


def valid(content: dict[str, Any], person: int) -> Any:
    seen = np.abs(content["poses2d"][person]).mean((1, 2)) > 0
    return np.flatnonzero(seen & (content["campose_valid"][person] == 1))


def annots(everything: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    """The dicts of `annots.npz`. The cameras of the tiny folder do not turn."""
    made: dict[str, Any] = {"params": {}, "kp3d": {}, "kp2d": {}, "glob_rot": {}}
    for split, sequences in everything.items():
        for name, c in sequences.items():
            rows = [valid(c, p) for p in range(len(c["poses"]))]
            of = list(enumerate(rows))
            made["params"][f"{name}.pkl"] = {
                "split": split,
                "genders": c["genders"],
                "poses": [c["poses"][p][r] for p, r in of],
                "trans": [c["trans"][p][r] for p, r in of],
                "betas": np.array(c["betas"]),
                "valid_indices": rows,
            }
            shift = c["cam_poses"][:, None, :3, 3]
            made["kp3d"][f"{name}.pkl"] = [(c["jointPositions"][p].reshape(-1, 24, 3) + shift)[r] for p, r in of]
            made["kp2d"][f"{name}.pkl"] = [c["poses2d"][p][r] for p, r in of]
            made["glob_rot"][f"{name}.pkl"] = [np.zeros((len(r), 24, 3, 3)) for r in rows]
    return made


def database(sequences: dict[str, dict[str, Any]], joints: int) -> dict[str, Any]:
    """The columns of a database: person after person, whatever the order of frames."""
    rows: list[dict[str, Any]] = []
    for name, c in sequences.items():
        for p in range(len(c["poses"])):
            points = c["poses2d"][p].transpose(0, 2, 1)[:, LSP_OF_COCO].copy()
            points[:, 12:, 2] = 0
            body = c["jointPositions"][p].reshape(-1, 24, 3)[:, LSP_OF_SMPL] + (3, -2, 40)
            if joints == 49:
                body = np.concatenate([np.full((len(body), 25, 3), 9.0), body, np.full((len(body), 10, 3), 9.0)], 1)
            rows += [
                {
                    "vid_name": f"{name}_{p}", "frame_id": f, "joints3D": body[f], "joints2D": points[f],
                    "pose": c["poses"][p][f], "shape": c["betas"][p], "bbox": np.ones(4), "img_name": "",
                    "features": np.zeros(8), "valid": c["campose_valid"][p][f],
                }
                for f in np.flatnonzero((points[..., 2] > 0).sum(1) > 6)
            ]  # fmt: skip
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def save(file: Path, content: dict[str, Any]) -> Path:
    np.savez(file, **{key: np.array(value, object) for key, value in content.items()})
    return _later(file)


def dump(file: Path, content: Any) -> Path:
    file.write_bytes(pickle.dumps(content, protocol=4))
    return _later(file)


def change_npz(file: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    held = np.load(file, allow_pickle=True)
    content = {key: held[key].item() for key in held}
    change(content)
    return save(file, content)


def change_db(file: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    content = pickle.loads(file.read_bytes())
    change(content)
    return dump(file, content)


def _later(file: Path) -> Path:
    """A file changed twice within the clock's tick would pass for unchanged."""
    os.utime(file, ns=(time.time_ns(), time.time_ns()))
    return file
