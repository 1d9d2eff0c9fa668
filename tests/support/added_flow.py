"""Stored flow written by hand: every pair of frames moves by the same, in px of a picture of 8 px a cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from trace_data.shards.flow.codec import encode_flow
from trace_data.shards.flow.index import FlowIndex, FlowSettings, save_flow_index
from trace_data.shards.flow.layout import FLOW_VERSION
from trace_data.shards.flow.writer import Fields, write_flow
from trace_data.shards.index import load_index

GRID = (12, 9)
"""Width and height in cells."""


def field(sequence: int, frame: int, stride: int) -> np.ndarray:
    """Flow that tells pairs apart: (h, w, 2)."""
    ramp = np.arange(GRID[0], dtype=np.float32) / 4
    flow = np.zeros((GRID[1], GRID[0], 2), np.float32)
    flow[..., 0], flow[..., 1] = sequence + ramp, frame - 100 * stride
    return flow


def write(
    shards: Path,
    strides: Sequence[int] = (1, 2),
    of: Callable[[int, int, int], np.ndarray] = field,
    settings: FlowSettings | None = None,
) -> FlowIndex:
    """Add flow to a folder of shards."""
    index, entries = load_index(shards), []
    settings = settings or FlowSettings(provider="dis", height=72, strides=tuple(strides))
    for number, shard in enumerate(index.shards):
        own = [(row, entry) for row, entry in enumerate(index.sequences) if entry.shard == number]
        frames: list[Fields] = [
            (GRID, [encode_flow(of(row, t, s)) if t >= s else b"" for s in settings.strides])
            for row, entry in own
            for t in range(entry.frames)
        ]
        entries.append(write_flow(shards, shard, settings.strides, frames))
    made = FlowIndex(format_version=FLOW_VERSION, settings=settings, shards=tuple(entries))
    save_flow_index(shards, made)
    return made
