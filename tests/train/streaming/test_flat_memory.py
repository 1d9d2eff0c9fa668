"""Reading for a long time takes no more memory than reading for a short one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_3dpw

from trace_data.builder.build import build_shards
from trace_data.shards.levels import Storage
from trace_data.shards.reader import ShardReader
from trace_train.config import load_config
from trace_train.streaming.stream import TrainStream

ALLOWED = 4 << 20
"""Bytes that the second half of the time may add; one batch here has 2.4 MB, so a leak of two batches shows."""


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize(
    "seconds", [6, pytest.param(180, marks=pytest.mark.nightly), pytest.param(3600, marks=pytest.mark.nightly)]
)
def test_memory_stays_flat_while_random_clips_are_read(tmp_path: Path, seconds: int) -> None:
    folder = tiny_3dpw.write(tmp_path, {"train": 4}, frames=40, size=(320, 240))
    picture = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    for file in folder.glob("imageFiles/*/*.jpg"):
        cv2.imwrite(str(file), picture)
    build_shards(["3dpw"], tmp_path, tmp_path / "shards", splits=["train"], storage=Storage(heights=(120, 240)))
    config = load_config("debug", ["steps=1000000000", "network.input_size=256", "stages=[{clips: 3, frames: 4}]"])
    batches = TrainStream(ShardReader(tmp_path / "shards"), config).batches(0, config.steps)
    began, highest = time.monotonic(), 0
    while time.monotonic() < began + seconds / 2:
        next(batches)
        highest = max(highest, resident())
    settled, read = highest, 0
    while time.monotonic() < began + seconds:
        next(batches)
        highest, read = max(highest, resident()), read + 1
    batches.close()
    assert read > 20 and highest - settled < ALLOWED
