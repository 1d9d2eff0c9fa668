"""A small DynaCam folder of the sample world, and how tests look into it and change it with nothing but NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from made_once import made_once

from trace_data.sample_world.dynacam import Variant, write_dynacam
from trace_data.sample_world.people import Role

ROLES = [
    (0, Role("train", (0,))),
    (1, Role("train", (1, 2))),
    (2, Role("validation", (60, 61))),
    (3, Role("validation", (62,))),
    (4, Role("test", (70,))),
    (5, Role("test", (71,))),
]
FRAMES, HEIGHT, SEED = 4, 96, 5
PANORAMA, TRANSLATION = "panorama_train", "translation_train"


@made_once
def write(root: Path, variant: Variant | None = None) -> Path:
    write_dynacam(root / "DynaCam", SEED, ROLES, FRAMES, HEIGHT, variant or Variant())
    return root / "DynaCam"


def load(folder: Path, part: str) -> dict[str, Any]:
    annots: dict[str, Any] = np.load(folder / "annotations" / f"{part}.npz", allow_pickle=True)["annots"].item()
    return annots


def save(folder: Path, part: str, annots: Any) -> None:
    np.savez(folder / "annotations" / f"{part}.npz", annots=np.array(annots, dtype=object))


def change(folder: Path, part: str, edit: Callable[[dict[str, Any]], Any]) -> str:
    """Edit the arrays of the first sequence of an annotation file; its name."""
    annots = load(folder, part)
    name = next(iter(annots["sequence_dict"]))
    edit(annots[name])
    save(folder, part, annots)
    return name


def images(folder: Path, part: str) -> list[Path]:
    """Of the first sequence of a part."""
    return sorted(next(iter(sorted((folder / "video_frames" / part).iterdir()))).iterdir())
