"""A 3DPW folder of a few small sequences, written here with plain pickle: it shares nothing with the adapter."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from standing_figure import standing

SPLITS = {"train": "train", "val": "validation", "test": "test"}


def annotation(name: str, frames: int, people: int, seed: int, size: tuple[int, int]) -> dict[str, Any]:
    """The content of one sequence file: somebody stands five metres in front of a moving camera."""
    rng = np.random.default_rng(seed)
    width, height = size
    intrinsics = np.array([[1.2 * height, 0, width / 2], [0, 1.2 * height, height / 2], [0, 0, 1.0]])
    extrinsics = np.tile(np.eye(4), (frames, 1, 1))
    extrinsics[:, :3, 3] = np.linspace((0, 0, 5), (0.3, 0.1, 5.5), frames)
    skeleton = rng.uniform(-0.8, 0.8, (people, 1, 24, 3))
    for left, right in ((1, 2), (16, 17)):  # hips and shoulders agree about where left is
        skeleton[..., left, 0], skeleton[..., right, 0] = abs(skeleton[..., left, 0]), -abs(skeleton[..., right, 0])
    legs = [f"{side}_{name}" for side in "LR" for name in ("Hip_SMPL", "Knee", "Ankle", "Toe_SMPL")]
    skeleton[..., [1, 4, 7, 10, 2, 5, 8, 11], :] = standing(legs, 1) + np.array([0, 0.9, 0])  # knees bend forwards
    joints = skeleton + np.linspace(0, 0.2, frames)[:, None, None]
    camera = joints + extrinsics[:, None, :3, 3]
    pixels = camera @ intrinsics.T
    pixels = pixels[..., :2] / pixels[..., 2:]
    # COCO-18 from the joints of the same name: neck, arms, knees, ankles; the hips and the face stay undetected
    smpl = {1: 12, 2: 17, 3: 19, 4: 21, 5: 16, 6: 18, 7: 20, 9: 5, 10: 8, 12: 4, 13: 7}
    points = np.zeros((people, frames, 3, 18))
    for coco, joint in smpl.items():
        points[:, :, :2, coco] = pixels[:, :, joint]
        points[:, :, 2, coco] = 0.9
    return {
        "sequence": np.array(name),
        "img_frame_ids": np.arange(0, 2 * frames, 2, dtype=np.uint16),
        "poses": list(rng.normal(0, 0.3, (people, frames, 72))),
        "betas": list(rng.normal(0, 1, (people, 10))),
        "trans": list(rng.normal(0, 0.1, (people, frames, 3))),
        "genders": ["m", "f"][:people],
        "jointPositions": list(joints.reshape(people, frames, 72)),
        "poses2d": list(points),
        "campose_valid": list(np.ones((people, frames), np.uint8)),
        "cam_poses": extrinsics,
        "cam_intrinsics": intrinsics,
        "texture_maps": [],
    }


def write(
    root: Path,
    counts: dict[str, int],
    *,
    frames: int = 12,
    size: tuple[int, int] = (96, 64),
    people: int = 2,
    synthetic: bool = False,
) -> Path:
    """`counts` sequences of each split under `root`/3DPW; returns that folder."""
    folder = root / "3DPW"
    for split, count in counts.items():
        (folder / "sequenceFiles" / SPLITS[split]).mkdir(parents=True)
        for number in range(count):
            name = f"{split}_walk_{number:02d}"
            content = annotation(name, frames, people, number, size)
            if synthetic:
                content["synthetic"] = "a world of our own"
            rewrite(folder, split, name, content)
            images = folder / "imageFiles" / name
            images.mkdir(parents=True)
            rng = np.random.default_rng(number)
            for frame in range(frames):
                noise = rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
                cv2.imwrite(str(images / f"image_{frame:05d}.jpg"), cv2.resize(noise, size))
    return folder


def rewrite(folder: Path, split: str, name: str, content: Any) -> Path:
    """Write a sequence file as the release does: protocol 2."""
    file = folder / "sequenceFiles" / SPLITS[split] / f"{name}.pkl"
    file.write_bytes(pickle.dumps(content, protocol=2))
    return file


def load(folder: Path, split: str, name: str) -> dict[str, Any]:
    """Read one of our own sequence files back, to change it."""
    content: dict[str, Any] = pickle.loads((folder / "sequenceFiles" / SPLITS[split] / f"{name}.pkl").read_bytes())
    return content
