"""A clip as the published training code makes it, from full-size JPEGs: the baseline of the loader's benchmark.

A new implementation of what that code does for each clip (docs/reference/training.md#loading-a-clip), so that the
comparison can be repeated without it:

* a frame is decoded at full size each time something asks for it: once to look whether the camera stands still, once
  (synthetic pan) or for every frame (tracking) to plan the augmentation, and once more for every frame: 12 or 21 times;
* every frame is padded to a white square at full size for a picture that only the visualiser shows, twice with a
  simulated camera; crops are padded black and resized with bicubic interpolation, without averaging;
* pictures are kept as float32; the dense centre maps (128 x 128, and 64 x 128 x 128) are drawn for every frame;
* a camera is solved for every frame and person on the CPU: the best of 128 random proposals, then ten steps of
  Levenberg-Marquardt over six degrees of freedom.

It is leaner than the original (no unpickled dictionaries, no imgaug, a smaller solver), so ratios err on the low side.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trace_data.schema.record import SequenceRecord

SIZE, MAP, DEPTHS, FOCAL = 512, 128, 64, 548 / 256
Picture = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]


def clip(record: SequenceRecord, frames: list[int], rng: np.random.Generator) -> dict[str, Any]:
    """One training sample: pictures, joints, maps and cameras of T frames, as the published loader returns it."""
    files = [str(record.frames[f]) for f in frames]
    read(files[0])  # is the camera static?
    dynamic = rng.random() < 0.8
    tracking = dynamic and rng.random() < 0.6
    for file in files if tracking else files[:1]:  # plan the augmentation
        read(file)
    scale, person = rng.uniform(1.4, 3.0), record.people[int(rng.integers(len(record.people)))]
    whole = not dynamic and rng.random() < 0.5
    out: dict[str, list[Any]] = {}
    fixed = crop_box(person, frames[0], scale)
    for file, frame in zip(files, frames):
        picture = read(file)
        moving = crop_box(person, frame, scale) if tracking else fixed
        box = (0, 0, picture.shape[1], picture.shape[0]) if whole else moving
        sample = process(picture, box)
        world = process(picture, fixed) if dynamic else sample
        joints2d, joints3d = annotated(record, frame, box)
        sample |= {"dynamic_image": world["image"], "kp2d": joints2d, "kp3d": joints3d}
        sample["cams"] = solve_cameras(joints3d, joints2d)
        sample["centermap"], sample["centermap_3d"] = centre_maps(joints2d, sample["cams"])
        for key, value in sample.items():
            out.setdefault(key, []).append(value)
    return {key: np.stack(values) for key, values in out.items()}


def read(file: str) -> Picture:
    """The whole frame, decoded at full size."""
    picture = cv2.imread(file)
    assert picture is not None
    return picture[:, :, ::-1]  # type: ignore[return-value]


def crop_box(person: Any, frame: int, scale: float) -> Box:
    """A square of whole pixels around a person (left, top, right, bottom); it may leave the frame."""
    xy = person.keypoints2d.points[frame, :, :2]
    low, high = xy.min(0), xy.max(0)
    x, y = ((low + high) / 2).astype(int)
    half = int((high - low).max() * scale / 2)
    return x - half, y - half, x + half, y + half


def process(picture: Picture, box: Box) -> dict[str, npt.NDArray[Any]]:
    """The crop at 512 px as float32, and the white-padded whole frame at 512 px."""
    height, width = picture.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = picture
    original = cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    x0, y0, x1, y1 = box
    cut = picture[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)].copy()
    cut = np.pad(cut, ((max(0, -y0), max(0, y1 - height)), (max(0, -x0), max(0, x1 - width)), (0, 0)))
    longer = max(cut.shape[:2])
    cut = np.pad(cut, ((0, longer - cut.shape[0]), (0, longer - cut.shape[1]), (0, 0)))
    image = cv2.resize(cut, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
    return {"image": image.astype(np.float32), "image_org": original}


def annotated(record: SequenceRecord, frame: int, box: Box) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """(P, 44, 2) joints in the crop, edges at -1 and 1; (P, 44, 3) metres relative to the first joint."""
    side = max(box[2] - box[0], box[3] - box[1])
    planar, spatial = [], []
    for person in record.people:
        assert person.keypoints2d is not None and person.joints3d is not None
        planar.append((person.keypoints2d.points[frame, :, :2] - box[:2]) / side * 2 - 1)
        joints = person.joints3d.points[frame, :, :3]
        spatial.append(joints - joints[:1])
    return np.array(planar, np.float32), np.array(spatial, np.float32)


def solve_cameras(joints3d: npt.NDArray[np.float32], joints2d: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(P, 3) translations of a random-start, six-degree Levenberg-Marquardt solver."""
    points, seen = torch.from_numpy(joints3d), torch.from_numpy(joints2d)
    people = len(points)
    proposals = torch.cat([0.3 * torch.randn(128, people, 3), torch.rand(128, people, 3) * 8 + 0.5], dim=-1)
    costs = torch.stack([_residual(p, points[:, :8], seen[:, :8]).square().sum((-1, -2)) for p in proposals.split(1)])
    best = costs.squeeze(1).argmin(0)
    pose = proposals[best, torch.arange(people)]
    damping = torch.eye(6) * 1e-3
    for _ in range(10):
        jacobian = _jacobian(pose, points)
        error = _residual(pose[None], points, seen)[0]
        weight = (1 / error.norm(dim=-1).clamp_min(0.1)).sqrt()[..., None]
        jacobian = (jacobian * weight[..., None]).flatten(1, 2)
        error = (error * weight).flatten(1)
        normal = jacobian.transpose(1, 2) @ jacobian + damping
        step = torch.linalg.solve(normal, (jacobian.transpose(1, 2) @ error[..., None]).squeeze(-1))
        pose = pose - step.clamp(-1, 1)
    return pose[:, 3:].numpy()


def _placed(pose: Tensor, points: Tensor) -> Tensor:
    """(..., P, K, 3) points turned by a small-angle rotation vector and moved."""
    turn, move = pose[..., None, :3].expand(*pose.shape[:-1], points.shape[-2], 3), pose[..., None, 3:]
    return points + torch.linalg.cross(turn, points.expand_as(turn)) + move


def _residual(pose: Tensor, points: Tensor, seen: Tensor) -> Tensor:
    placed = _placed(pose, points)
    return FOCAL * placed[..., :2] / placed[..., 2:].clamp_min(0.1) - seen


def _jacobian(pose: Tensor, points: Tensor) -> Tensor:
    """(P, K, 2, 6) derivative of the projection after the six parameters."""
    x, y, z = _placed(pose, points).unbind(-1)
    z = z.clamp_min(0.1)
    zero = torch.zeros_like(z)
    along = FOCAL * torch.stack(
        [torch.stack([1 / z, zero, -x / z**2], -1), torch.stack([zero, 1 / z, -y / z**2], -1)], dim=-2
    )
    a, b, c = points.unbind(-1)
    none = torch.zeros_like(a)
    skew = torch.stack(
        [torch.stack([none, c, -b], -1), torch.stack([-c, none, a], -1), torch.stack([b, -a, none], -1)], dim=-2
    )
    return torch.cat([along @ skew, along], dim=-1)


def centre_maps(
    joints2d: npt.NDArray[np.float32], translation: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Dense heat (1, 128, 128) and (64, 128, 128), person by person."""
    flat = np.zeros((1, MAP, MAP), np.float32)
    volume = np.zeros((DEPTHS, MAP, MAP), np.float32)
    at = np.arange(MAP)
    for joints, move in zip(joints2d, translation):
        x, y = (int(v) for v in ((joints.mean(0) + 1) / 2 * MAP).clip(1, MAP - 1))
        depth = int(np.clip(move[2] * 4, 0, DEPTHS - 1))
        radius = int(8 * np.linalg.norm(np.ptp(joints, axis=0)) / 2 + 4)
        square = (at[:, None] - y) ** 2 + (at - x) ** 2
        flat[0] = np.maximum(flat[0], np.exp(-square / (2 * ((2 * radius + 1) / 6) ** 2)))
        share = depth / DEPTHS
        deep, wide = int(4 + 4 * share) // 2, int(8 * (1 - share) / 2 + 4)
        sigma2 = (np.sqrt(2 * (2 * wide + 1) ** 2 + (2 * deep + 1) ** 2) / 6) ** 2
        z0, z1 = max(0, depth - deep), min(DEPTHS, depth + deep + 1)
        y0, y1, x0, x1 = max(0, y - wide), min(MAP, y + wide + 1), max(0, x - wide), min(MAP, x + wide + 1)
        gz, gy, gx = np.ogrid[z0:z1, y0:y1, x0:x1]
        heat = np.exp(-((gz - depth) ** 2 + (gy - y) ** 2 + (gx - x) ** 2) / sigma2)
        volume[z0:z1, y0:y1, x0:x1] = np.maximum(volume[z0:z1, y0:y1, x0:x1], heat)
    return flat, volume
