"""Photo-like 1080p video for the loader's benchmark: textured rooms, two moving people a sequence, sensor noise.

The same arguments give the same bytes (with the same OpenCV). Frames are JPEGs of quality 95, about 700 kB each, as
a camera or an extraction from video leaves them; noisier than real ones, so decoding costs rather more here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from trace_data.geometry import project, transform
from trace_data.schema.body import BodyParams
from trace_data.schema.camera import Camera
from trace_data.schema.keypoints import ALL_44, SKELETON, Keypoints
from trace_data.schema.record import Person, SequenceRecord

WIDTH, HEIGHT, QUALITY = 1920, 1080, 95
PEOPLE = 2


def write(folder: Path, sequences: int, frames: int) -> list[SequenceRecord]:
    """Render the sequences as folders of JPEGs and return their records; a folder rendered before is used again."""
    records = []
    for number in range(sequences):
        rng = np.random.default_rng((7, number))
        images = folder / f"sequence_{number:03d}"
        people = [_person(rng, frames) for _ in range(PEOPLE)]
        camera = Camera(
            width=WIDTH,
            height=HEIGHT,
            intrinsics=np.array([[[1500.0, 0, WIDTH / 2], [0, 1500.0, HEIGHT / 2], [0, 0, 1]]]),
            camera_from_world=np.eye(4)[None],
            moving=False,
        )
        placed = [project(camera.intrinsics, joints) for joints in people]
        files = tuple(images / f"{t:06d}.jpg" for t in range(frames))
        if not files[-1].is_file():
            images.mkdir(parents=True, exist_ok=True)
            for file, picture in zip(files, _pictures(rng, placed, people)):
                cv2.imwrite(str(file), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        records.append(
            SequenceRecord(
                dataset="h36m",
                split="train",
                name=images.name,
                frames=files,
                frame_ids=np.arange(frames),
                fps=25.0,
                camera=camera,
                people=tuple(_annotated(str(p), joints, xy) for p, (joints, xy) in enumerate(zip(people, placed))),
                everyone_annotated=np.ones(frames, bool),
                world_valid=True,
                world_reason="synthetic",
                provenance={"synthetic": "true"},
            )
        )
    return records


def _annotated(name: str, joints: npt.NDArray[np.float64], xy: npt.NDArray[np.float64]) -> Person:
    frames = len(joints)
    ones = np.ones((frames, len(ALL_44), 1))
    body = BodyParams(
        gender="neutral", pose=np.zeros((frames, 24, 3)), betas=np.zeros((frames, 10)), translation=joints[:, 0]
    )
    return Person(
        name=name,
        gender="neutral",
        present=np.ones(frames, bool),
        keypoints2d=Keypoints(layout="ALL_44", points=np.concatenate([xy, ones], axis=2)),
        joints3d=Keypoints(layout="ALL_44", points=np.concatenate([joints, ones], axis=2)),
        body=body,
        body_valid=np.ones(frames, bool),
    )


def _person(rng: np.random.Generator, frames: int) -> npt.NDArray[np.float64]:
    """(T, 44, 3) metres: a figure of 1.7 m that walks slowly across the room, 4 to 6 m away."""
    standing = rng.normal(0, 0.05, (len(ALL_44), 3))
    heights = {"Head": -0.8, "Ankle": 0.85, "Foot": 0.88, "Knee": 0.45, "Hip": 0.0, "Shoulder": -0.5, "Wrist": 0.0}
    for joint, name in enumerate(ALL_44):
        side = {"L": 0.18, "R": -0.18}.get(name[0], 0.0) if name[1] == "_" else 0.0
        height = next((value for part, value in heights.items() if part in name), -0.3)
        standing[joint] += (2 * side if "Wrist" in name else side, height, 0.0)
    start = np.array([rng.uniform(-1.2, 1.2), rng.uniform(-0.1, 0.2), rng.uniform(3.6, 4.8)])
    walk = start + np.arange(frames)[:, None] * np.array([rng.uniform(-0.01, 0.01), 0.0, rng.uniform(-0.004, 0.004)])
    sway = 0.02 * np.sin(np.arange(frames)[:, None, None] * 0.3 + standing[None] * 20)
    turn = np.eye(4)
    joints: npt.NDArray[np.float64] = transform(turn, standing[None] + sway) + walk[:, None]
    return joints


def _pictures(
    rng: np.random.Generator, placed: list[npt.NDArray[np.float64]], people: list[npt.NDArray[np.float64]]
) -> Iterator[npt.NDArray[np.uint8]]:
    """BGR frames: a fixed textured room, people drawn as thick limbs with a cloth pattern, fresh noise in each."""
    room = sum(
        cv2.resize(rng.uniform(-1, 1, (HEIGHT // cell, WIDTH // cell, 3)).astype(np.float32), (WIDTH, HEIGHT),
                   interpolation=cv2.INTER_CUBIC) * weight
        for cell, weight in ((270, 60), (60, 25), (12, 12), (3, 8))
    )  # fmt: skip
    room = np.clip(125 + np.asarray(room), 0, 255).astype(np.uint8)
    cloth = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    pattern = np.tile(cv2.resize(cloth, (256, 256)), (HEIGHT // 256 + 1, WIDTH // 256 + 1, 1))[:HEIGHT, :WIDTH]
    noise = [rng.normal(0, 3, (HEIGHT, WIDTH, 3)).astype(np.int8) for _ in range(4)]
    for t in range(len(placed[0])):
        picture = room.copy()
        for xy, joints in zip(placed, people):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            for a, b in SKELETON:
                thickness = int(1500 * 0.13 / joints[t, 0, 2])
                cv2.line(mask, *(tuple(int(v) for v in xy[t, j]) for j in (a, b)), 255, thickness)
            picture[mask > 0] = pattern[mask > 0]
        shift = int(rng.integers(0, WIDTH))
        grain = np.roll(noise[t % 4], shift, axis=1)
        yield np.clip(picture.astype(np.int16) + grain, 0, 255).astype(np.uint8)
