"""Results in the axes of a format, and the example result at the edges of what can happen."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import numpy.typing as npt
from example_result import example_result

from trace_data.geometry import transform
from trace_data.results.check import LAYOUTS
from trace_data.results.result import Result
from trace_data.results.world_placement import in_frame, rigid_inverse

TURNS = {
    "y": np.diag([1.0, -1, -1, 1]),
    "z": np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]]),
    "camera": np.eye(4),
}
"""new_from_world for a level first camera."""


def turned(result: Result, up: str) -> Result:
    """The same scene in other axes; the pelvis at rest stays out of the rotation."""
    turn = TURNS[up]
    rest = result.joints[:, 0].astype(np.float64) - result.translation
    root, translation = in_frame(turn, result.pose[:, 0], result.translation, rest)
    pose = result.pose.copy()
    pose[:, 0] = root
    return replace(
        result,
        pose=pose,
        translation=translation.astype(np.float32),
        joints=transform(turn, result.joints).astype(np.float32),
        camera_from_world=result.camera_from_world @ rigid_inverse(turn),
        up=turn[:3, :3] @ result.up,
    )


@cache
def example(up: str = "y", **settings: bool | int) -> Result:
    """The example result in these axes."""
    return turned(example_result(**settings), up)  # type: ignore[arg-type]


def nobody(result: Result) -> Result:
    """The same video without people."""
    changes = {name: getattr(result, name)[:0] for name, layout in LAYOUTS.items() if {"N", "P"} & set(layout.shape)}
    return replace(result, **changes, camera_observed=np.zeros_like(result.camera_observed))


def one_frame(result: Result) -> Result:
    """The first frame alone."""
    rows = result.rows_in(0)
    changes = {name: getattr(result, name)[rows] for name, layout in LAYOUTS.items() if "N" in layout.shape}
    changes |= {name: getattr(result, name)[:1] for name, layout in LAYOUTS.items() if "T" in layout.shape}
    return replace(result, **changes)


def longer(result: Result, frames: int) -> Result:
    """The same people for so many frames at 30 a second, playing the example forth and back. For measurements."""
    period = np.concatenate([np.arange(len(result.time)), np.arange(len(result.time))[-2:0:-1]])
    source = np.resize(period, frames)
    rows: list[npt.NDArray[np.int64]] = []
    frame: list[npt.NDArray[np.int64]] = []
    for person in range(len(result.person)):
        of_frame = np.full(len(result.time), -1)
        own = result.rows_of(person)
        of_frame[result.row_frame[own]] = own
        there = np.flatnonzero(of_frame[source] >= 0)
        rows.append(of_frame[source[there]])
        frame.append(there)
    picked = np.concatenate(rows)
    changes = {name: getattr(result, name)[picked] for name, layout in LAYOUTS.items() if "N" in layout.shape}
    changes |= {name: getattr(result, name)[source] for name, layout in LAYOUTS.items() if "T" in layout.shape}
    changes |= {"row_frame": np.concatenate(frame).astype(np.int32), "frame_id": np.arange(frames)}
    return replace(result, **changes | {"time": np.arange(frames) / 30})
