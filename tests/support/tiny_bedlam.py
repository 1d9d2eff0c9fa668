"""BEDLAM folders of a few small sequences, and ways to change single files of them."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from trace_data.sample_world.bedlam import BedlamTake, draw_takes, write_bedlam
from trace_data.sample_world.bedlam_rows import write_images, write_labels
from trace_data.sample_world.people import Role

SEED, FRAMES, HEIGHT = 3, 4, 72
ROLES = [
    *((index, Role("train", (2 * index, 2 * index + 1) if index < 2 else (2 * index,))) for index in range(5)),
    (7, Role("validation", (60,))),
    (8, Role("validation", (61, 62))),
]
"""Each kind of camera, and a second sequence, longer by a frame, of the first scene."""
STILL_FRAMES = 11
"""Of the sequences of images: 0, 5 and 10 are labelled."""
ORBIT, CLOSEUP = "20221013_3_250_batch01hand_orbit_bigOffice", "20221011_1_250_batch01hand_closeup_suburb_a"
ZOOM, STATIC = "20221020_3-8_250_highbmihand_zoom_highSchoolGym_a", "20221013_3_250_batch01hand_static_bigOffice"


def write(root: Path, frames: int = FRAMES) -> Path:
    """A whole dataset under `root`; returns its folder."""
    write_bedlam(root / "BEDLAM", SEED, ROLES, frames, HEIGHT, longer=1)
    return root / "BEDLAM"


def truth() -> dict[str, BedlamTake]:
    """What was written, by the name of its sequence."""
    return {f"{take.scene_name}/{take.sequence}": take for take in draw_takes(SEED, ROLES, FRAMES, HEIGHT, 1)}


def write_stills(root: Path, *, suffix: str = "_6fps", subjects: bool = True, every: int = 5) -> Path:
    """The same scenes as images and label files, longer; returns their folder."""
    takes = list(still_truth().values())
    write_images(root / "BEDLAM", takes, suffix=suffix, every=every)
    write_labels(root / "BEDLAM" / "all_npz_12_smpl_training", takes, suffix=suffix, subjects=subjects)
    return root / "BEDLAM"


def still_truth() -> dict[str, BedlamTake]:
    """What was written of them."""
    return {f"{take.scene_name}/{take.sequence}": take for take in draw_takes(SEED, ROLES, STILL_FRAMES, HEIGHT, 1)}


def label(folder: Path) -> None:
    """Puts label files beside the videos."""
    write_labels(folder / "all_npz_12_smpl_training", truth().values())


def change_csv(file: Path, change: Callable[[list[list[str]]], Any]) -> None:
    """Change the rows of a table in place, the header's first."""
    with file.open(newline="") as stream:
        rows = list(csv.reader(stream))
    change(rows)
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def motions(folder: Path, scene: str = ORBIT, sequence: str = "seq_000000") -> list[Path]:
    """The motion files of a sequence, in the order of its people."""
    take = truth()[f"{scene}/{sequence}"]
    number = take.scene.name.rpartition("_")[2]
    subjects = [f"rp_synthetic_posed_{p.person.index:03d}" for p in take.scene.performances]
    return [folder / "smpl_ground_truth" / subject / number / "motion_seq.npz" for subject in subjects]


def change_npz(file: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the arrays of a motion in place."""
    with np.load(file) as content:
        held = dict(content)
    change(held)
    np.savez(file, **held)
