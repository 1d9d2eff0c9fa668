"""BEDLAM2 folders of a few small sequences, and ways to change single files of them."""

from __future__ import annotations

from pathlib import Path

from tiny_bedlam import change_csv, change_npz

from trace_data.sample_world.bedlam import BedlamTake
from trace_data.sample_world.bedlam2 import draw_takes, subject_of, write_bedlam2
from trace_data.sample_world.people import Role

__all__ = ["change_csv", "change_npz"]

SEED, FRAMES, HEIGHT = 3, 4, 72
ROLES = [
    *((index, Role("train", (2 * index, 2 * index + 1) if index in (0, 2) else (2 * index,))) for index in range(4)),
    (5, Role("train", (20, 21))),
]
"""Each scene, and a second sequence, longer by a frame, of the first one."""
DOLLY, PORTRAIT = "20240805_5-10_250_busstation_orbit_zoom", "20240729_1_250_ai1004_vcam"
CLOSEUP, STATIC = "20240606_1_500_stadium_closeup", "20240514_1_500_hdri"
"""The third one is landscape, whatever it is called, and the second of its two people has no motion."""


def write(root: Path) -> Path:
    """A whole dataset under `root`; returns its folder."""
    write_bedlam2(root / "BEDLAM2", SEED, ROLES, FRAMES, HEIGHT, longer=1)
    return root / "BEDLAM2"


def truth() -> dict[str, BedlamTake]:
    """What was written, by the name of its sequence."""
    return {f"{take.scene_name}/{take.sequence}": take for take in draw_takes(SEED, ROLES, FRAMES, HEIGHT, 1)}


def motions(folder: Path, scene: str = DOLLY) -> list[Path]:
    """The motion files of the first sequence of a scene, in the order of its people."""
    take = truth()[f"{scene}/seq_000000"]
    number = take.scene.name.rpartition("_")[2]
    return [
        folder / "motions_npz_training" / f"{subject_of(performance)}_{number}.npz"
        for performance in take.scene.performances
    ]


def camera(folder: Path, scene: str = DOLLY) -> Path:
    """The camera of the first sequence of a scene."""
    return folder / scene / "ground_truth/meta_exr_csv/seq_000000_camera.csv"
