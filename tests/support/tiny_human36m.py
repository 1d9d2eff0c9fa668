"""Human3.6M folders of a few small clips, what they show, and ways to change single files of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cdflib
import numpy as np
from made_once import made_once

from trace_data.sample_world.human36m import Layout, write_cdf, write_dataset
from trace_data.sample_world.human36m_clips import LENS, Human36mClip, draw_clips
from trace_data.sample_world.people import Role

SEED, FRAMES, HEIGHT = 3, 4, 96
ROLES = [(0, Role("train", (0,))), (2, Role("validation", (60,)))]
"""One clip of S1 and one of S9, each before two cameras."""
STRONG = (-0.2, 0.24, -0.003, -0.001, -0.0014)
"""A lens as strong as those of the release."""


def truth(fps: float, lens: tuple[float, ...] = LENS) -> dict[tuple[int, int], Human36mClip]:
    """Subject and number of the camera to what is played before it."""
    clips = [clip for subject in draw_clips(SEED, ROLES, FRAMES, HEIGHT, fps, lens) for clip in subject]
    return {(clip.subject, clip.view): clip for clip in clips}


@made_once
def write(root: Path, layout: Layout, lens: tuple[float, ...] = LENS) -> Path:
    """A whole dataset under `root`; returns its folder."""
    write_dataset(root / "h36m", layout, SEED, ROLES, FRAMES, HEIGHT, lens=lens)
    return root / "h36m"


def copy(folder: Path, root: Path) -> Path:
    """A copy of a dataset's folder below `root`, to be changed."""
    shutil.copytree(folder, root / "h36m")
    return root / "h36m"


def change_cdf(file: Path, change: Callable[[Any], Any]) -> None:
    """Rewrite the points (T, 32, D) of a CDF file."""
    pose = cdflib.CDF(file).varget("Pose")[0]
    width = pose.shape[1] // 32
    points = pose.reshape(-1, 32, width).astype(np.float64)
    file.unlink()
    write_cdf(file, change(points))


def change_json(file: Path, change: Callable[[Any], Any]) -> None:
    """Change the object of a JSON file in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def change_npz(file: Path, key: str, change: Callable[[Any], Any]) -> None:
    """Change the dict in a .npz of our own in place."""
    with np.load(file, allow_pickle=True) as content:
        held = content[key].item()
    change(held)
    np.savez(file, **{key: np.array(held, object)})
