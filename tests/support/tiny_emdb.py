"""EMDB folders of a few small sequences, and ways to change single files of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trace_data.sample_world.emdb import EmdbTake, draw_takes, roles, write_emdb

SEED, FRAMES, HEIGHT = 3, 6, 72
ROLES = list(enumerate(roles(4)))
WALK, STAIRS, CLIMB, NEITHER = (
    "P0_09_outdoor_walk", "P6_49_outdoor_big_stairs_down", "P1_14_outdoor_climb", "P2_99_synthetic",
)  # fmt: skip
"""Of EMDB-2 with frames of half the size, of both parts, of EMDB-1, and of neither with a neutral body. A frame of the
second and of the last one is not good."""


def write(root: Path) -> Path:
    """A whole dataset under `root`; returns its folder."""
    write_emdb(root / "EMDB", SEED, ROLES, FRAMES, HEIGHT)
    return root / "EMDB"


def truth() -> dict[str, EmdbTake]:
    """What was written, by the name of its sequence."""
    return {take.name: take for take in draw_takes(SEED, ROLES, FRAMES, HEIGHT)}


def annotation(folder: Path, name: str = STAIRS) -> Path:
    """The annotation file of a sequence."""
    return folder / name[:2] / name[3:] / f"{name}_data.pkl"


def images(folder: Path, name: str = STAIRS) -> Path:
    """The folder of its images."""
    return folder / name[:2] / name[3:] / "images"


def change(file: Path, how: Callable[[dict[str, Any]], Any], protocol: int = 4) -> None:
    """Change what an annotation holds in place."""
    content = pickle.loads(file.read_bytes())
    how(content)
    file.write_bytes(pickle.dumps(content, protocol))
