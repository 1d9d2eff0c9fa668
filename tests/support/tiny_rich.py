"""RICH folders of a few small sequences, and ways to change single files of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trace_data.sample_world.rich import RichTake, draw_takes, roles, write_rich

SEED, FRAMES, HEIGHT = 3, 6, 72
VIEWS = list(enumerate(roles(8)))
BURPEE, TOSS = "ParkingLot2_017_burpeejump1", "Pavallion_003_018_tossball"
"""A test sequence that begins at 46, with a carried camera; and one for training, of two people, with a view on its
side. In the fourth frame, somebody has no body."""
MIDDLE = 49
"""Number of that frame of the first."""


def write(root: Path, *, raw: bool = False) -> Path:
    """A whole dataset under `root`; returns its folder."""
    write_rich(root / "RICH", SEED, VIEWS, FRAMES, HEIGHT, raw=raw)
    return root / "RICH"


def truth() -> dict[str, RichTake]:
    """What was written, by the name of the view."""
    return {f"{take.name}/cam_{take.camera:02d}": take for take in draw_takes(SEED, VIEWS, FRAMES, HEIGHT)}


def images(folder: Path, view: int = 0) -> Path:
    """The images of a view of the first sequence."""
    return folder / "data/images/test" / BURPEE / f"cam_{view:02d}"


def body(folder: Path, number: int = 48) -> Path:
    """A body of the first sequence."""
    return folder / "data/bodies/test" / BURPEE / f"{number:05d}" / "017.pkl"


def calibration(folder: Path, view: int = 0) -> Path:
    """The calibration of a view of the first sequence."""
    return folder / "scan_calibration/ParkingLot2/calibration" / f"{view:03d}.xml"


def change(file: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a body's file holds in place."""
    content = pickle.loads(file.read_bytes())
    how(content)
    file.write_bytes(pickle.dumps(content, 4))


def change_all(folder: Path, how: Callable[[dict[str, Any]], Any]) -> None:
    """Change every body of the first sequence."""
    for file in sorted(body(folder).parent.parent.glob("*/*.pkl")):
        change(file, how)
