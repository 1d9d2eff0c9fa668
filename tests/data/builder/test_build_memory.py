"""A build from videos needs no more memory for longer ones, or for more of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from trace_data.sample_world.bedlam import FOLDER, draw_takes, write_bedlam
from trace_data.sample_world.people import Role
from trace_data.sample_world.render import write_video

MEGABYTE = 1 << 20
HEIGHT = 360
"""Short side of the frames: 0.7 MB decoded, 48 KB as they are stored."""
BUILD = """
import sys
from pathlib import Path
from trace_data.builder.build import build_shards
root, out, frames = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
report = build_shards(["bedlam"], root, out, splits=["train"])
assert report.frames == frames and not report.bad, (report.frames, report.bad)
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
"""
"""Builds, and prints the most KiB that it had in memory. (`ru_maxrss` would count the process that started it too.)"""


def pictures(size: tuple[int, int], count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A still ground of squares, over which a spot moves."""
    width, height = size
    ground = np.random.default_rng(0).integers(0, 255, (-(-height // 8), -(-width // 8), 3), np.uint8)
    ground = ground.repeat(8, 0).repeat(8, 1)[:height, :width]
    for number in range(count):
        picture = ground.copy()
        picture[number % 300 : number % 300 + 50, 100:150] = 255
        yield picture


def write(root: Path, videos: int, frames: int) -> Path:
    """BEDLAM with some videos of so many frames."""
    roles = [(2 * number, Role("train", (number,))) for number in range(videos)]
    for take in draw_takes(0, roles, frames, HEIGHT):
        size = take.scene.camera.size
        video = root / FOLDER / take.scene_name / "mp4" / f"{take.sequence}.mp4"
        write_video(video, pictures(size, frames), size, take.scene.fps)
    write_bedlam(root / FOLDER, 0, roles, frames, HEIGHT)  # keeps the videos that are there
    return root


@pytest.mark.nightly
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_longer_videos_and_more_of_them_need_no_more_memory(tmp_path: Path) -> None:
    used = {}
    for name, videos, frames in (("one", 1, 400), ("long", 1, 2000), ("many", 5, 400)):
        root = write(tmp_path / name, videos, frames)
        words = [sys.executable, "-c", BUILD, str(root), str(tmp_path / f"{name}-shards"), str(videos * frames)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        used[name] = int(done.stdout.split()[-1]) * 1024
    # 1,600 more frames are 1.1 GB, and 77 MB as they are stored
    assert max(used.values()) - used["one"] < 50 * MEGABYTE, used
