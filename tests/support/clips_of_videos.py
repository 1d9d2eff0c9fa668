"""A dataset of videos, as somebody's own adapter: `clips/NAME.avi`, every second frame annotated with nobody in it.

Its frames show their number in six stripes, white for ones. With a file `clips/named` the adapter says how extracted
images are called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trace_data.adapters.base import DatasetSpec, SequenceRef, dataset_folder
from trace_data.frames.video import video_facts
from trace_data.schema.camera import Camera
from trace_data.schema.findings import Finding
from trace_data.schema.frame import VideoFrame
from trace_data.schema.record import SequenceRecord, Split

SPEC = DatasetSpec(name="clips", folders=("clips",), splits=("train",), page="nowhere", expected="clips/NAME.avi")
SIZE = (96, 64)


def find(root: Path, split: Split) -> list[SequenceRef]:
    """Each video is two sequences, of its first and of its second half."""
    folder = dataset_folder(SPEC, root)
    return [
        SequenceRef(
            dataset="clips", split=split, name=f"{file.stem}-{half}", layout="videos", annotation=file, images=file,
            frames=5, reads=(),
        )
        for file in sorted(folder.glob("*.avi"))
        for half in "ab"
    ]  # fmt: skip


def read(ref: SequenceRef) -> SequenceRecord:
    """Frames 0, 2, 4, … or 10, 12, 14, …"""
    facts = video_facts(ref.images)
    numbers = np.arange(0, 10, 2) + 10 * (ref.name[-1] == "b")
    intrinsics = np.array([[[100.0, 0, 48], [0, 100, 32], [0, 0, 1]]])
    return SequenceRecord(
        dataset="clips",
        split=ref.split,
        name=ref.name,
        frames=tuple(VideoFrame(ref.images, int(number)) for number in numbers),
        frame_ids=numbers,
        fps=facts.fps,
        camera=Camera(width=SIZE[0], height=SIZE[1], intrinsics=intrinsics, camera_from_world=None, moving=False),
        people=(),
        everyone_annotated=np.ones(5, bool),
        world_valid=False,
        world_reason="nobody is in it",
    )


def inspect(root: Path) -> list[Finding]:
    """Nothing."""
    return []


def __getattr__(name: str) -> Any:
    """`frame_file`, when the test asks for it."""
    if name == "frame_file" and named:
        return lambda ref, number: Path(named, ref.images.stem, f"img_{number + 1}.jpg")
    raise AttributeError(name)


named = ""


def write(folder: Path, names: str, frames: int = 20) -> Path:
    """Videos called by the letters of `names`."""
    folder.mkdir()
    for name in names:
        out = cv2.VideoWriter(str(folder / f"{name}.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, SIZE)
        for number in range(frames):
            row = np.repeat(np.array([number >> bit & 1 for bit in range(6)], np.uint8) * 200 + 20, SIZE[0] // 6)
            out.write(np.tile(row[None, :, None], (SIZE[1], 1, 3)))
        out.release()
    return folder


def number_of(image: Path) -> int:
    """What the stripes of an extracted image say."""
    picture = cv2.imread(str(image))
    assert picture is not None
    stripes = picture.mean(axis=(0, 2)).reshape(6, -1).mean(axis=1)
    return sum(1 << bit for bit, value in enumerate(stripes) if value > 120)
