"""MuPoTS-3D folders of a few small sequences, and ways to change single files of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.io

from trace_data.sample_world.mupots import MupotsTake, draw_test, write_matlab, write_mupots
from trace_data.sample_world.people import Role
from trace_data.sample_world.scene import SYNTHETIC

SEED, FRAMES, HEIGHT = 5, 5, 96
ROLES = [(20_000 + number, Role("test", (70 + 2 * number, 71 + 2 * number))) for number in range(3)]


def write(root: Path) -> Path:
    """A whole dataset under `root`; returns its folder. Each sequence is longer by a frame than the one before."""
    write_mupots(root / "MultiPersonTestSet", SEED, ROLES, FRAMES, HEIGHT, longer=1)
    return root / "MultiPersonTestSet"


def truth() -> dict[str, MupotsTake]:
    """What was written, by the name of its sequence."""
    return {
        f"TS{number}": draw_test(SEED, number, index, role, FRAMES + number - 1, HEIGHT)
        for number, (index, role) in enumerate(ROLES, start=1)
    }


def change_cells(
    folder: Path, change: Callable[[npt.NDArray[np.object_]], Any], sequence: str = "TS1", file: str = "annot.mat"
) -> None:
    """Change the cells (T, P) of a sequence in place: structs as dicts, or labels of occlusion. What `change` returns,
    if anything, takes their place."""
    path = folder / sequence / file
    name = "annotations" if file == "annot.mat" else "occlusion_labels"
    cells = scipy.io.loadmat(path)[name]
    for place in np.ndindex(cells.shape):
        if (held := cells[place]).dtype.names:
            cells[place] = {field: held[0, 0][field] for field in held.dtype.names}
    changed = change(cells)
    write_matlab(path, {name: cells if changed is None else changed, "synthetic": SYNTHETIC})


def of_each(change: Callable[[dict[str, Any]], Any], column: int | None = None) -> Callable[[Any], None]:
    """Changes each valid struct, of all people or of one."""

    def change_all(cells: npt.NDArray[np.object_]) -> None:
        for place in np.ndindex(cells.shape):
            if isinstance(cells[place], dict) and cells[place]["isValidFrame"] and column in (None, place[1]):
                change(cells[place])

    return change_all
