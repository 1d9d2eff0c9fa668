"""Targets against plain loops over people and cells, and against the true camera."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from trace_data.schema.clip import ClipRef
from trace_data.schema.keypoints import ALL_44, L_HIP, R_HIP, TORSO
from trace_data.shards.reader import ShardReader
from trace_train.geometry.camera import depth_levels, level_of, project, translation_from_triple
from trace_train.streaming.batch import Batch, collate
from trace_train.streaming.stream import load_clip
from trace_train.targets import Targets, make_targets
from trace_train.targets.heat import center_heat, center_heat_3d
from trace_train.targets.place import person_center


@pytest.fixture(scope="module")
def batch(shards: Path) -> Batch:
    reader = ShardReader(shards)
    refs = [ClipRef(sequence=s, start=s % 3, stride=2, length=3) for s in range(6)]
    return collate([load_clip(reader, ref, 128) for ref in refs])


@pytest.fixture(scope="module")
def targets(batch: Batch) -> Targets:
    return make_targets(batch, input_size=128, map_size=32, levels=16)


def test_heat_equals_a_scalar_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    size = 32
    cell = torch.randint(0, size, (2, 3, 2, 2), generator=generator)
    valid = torch.rand(2, 3, 2, generator=generator) < 0.7
    extent = torch.rand(2, 3, 2, generator=generator) * 2
    found = center_heat(cell, valid, extent, size)
    expected = np.zeros((4, size, size))
    for b in range(2):
        for t in range(2):
            for p in range(3):
                if not valid[b, p, t]:
                    continue
                r = max(1, math.floor((8 * float(extent[b, p, t]) / 2 + 4) * size / 128))
                sigma = (2 * r + 1) / 6
                cy, cx = (int(v) for v in cell[b, p, t])
                for y in range(max(0, cy - r), min(size, cy + r + 1)):
                    for x in range(max(0, cx - r), min(size, cx + r + 1)):
                        value = math.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
                        expected[2 * b + t, y, x] = max(expected[2 * b + t, y, x], value)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("size", "levels"), [(32, 16), (64, 64)])
def test_3d_heat_equals_a_scalar_loop(size: int, levels: int) -> None:
    cell = torch.tensor([[[[5, 9]], [[20, 21]]]])
    level = torch.tensor([[[2], [levels - 3]]])
    valid = torch.ones(1, 2, 1, dtype=torch.bool)
    found = center_heat_3d(cell, level, valid, size, levels)[0]
    expected = np.zeros((levels, size, size))
    for p in range(2):
        z, (cy, cx) = int(level[0, p, 0]), (int(v) for v in cell[0, p, 0])
        u = z / levels
        deep = 2 * (math.floor(4 + 4 * u) * levels / 64 // 2) + 1
        r = max(1, math.floor((8 * (1 - u) / 2 + 4) * size / 128))
        side = 2 * r + 1
        sigma = 2 * math.sqrt(2 * (side / 2) ** 2 + (deep / 2) ** 2) / 6
        for d in range(levels):
            for y in range(size):
                for x in range(size):
                    if abs(d - z) <= deep / 2 and abs(y - cy) <= r and abs(x - cx) <= r:
                        value = math.exp(-((d - z) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / sigma**2)
                        expected[d, y, x] = max(expected[d, y, x], value)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_centre_is_the_mean_of_the_torso_or_of_three_joints() -> None:
    joints = torch.zeros(3, 44, 2)
    seen = torch.zeros(3, 44, dtype=torch.bool)
    joints[0, TORSO[0]], joints[0, TORSO[1]] = torch.tensor([0.2, 0.4]), torch.tensor([0.4, 0.0])
    seen[0, [TORSO[0], TORSO[1], ALL_44.index("L_Ankle")]] = True
    limbs = [ALL_44.index(n) for n in ("L_Knee", "L_Ankle", "R_Ankle")]
    joints[1, limbs] = torch.tensor([[0.3, 0.3], [0.0, 0.6], [0.3, 0.0]])
    seen[1, limbs] = True
    seen[2, limbs[:2]] = True
    center, valid = person_center(joints, seen)
    assert valid.tolist() == [True, True, False]
    assert torch.allclose(center[0], torch.tensor([0.2, 0.3])) and torch.allclose(center[1], torch.tensor([0.3, 0.2]))


def test_targets_agree_with_the_true_camera(batch: Batch, targets: Targets) -> None:
    """World joints through the true extrinsics, intrinsics and window land where the 2D targets say."""
    world = batch.kp3d[..., :3]
    camera = batch.camera_from_world[:, None, :, None]
    points = (camera[..., :3, :3] @ world[..., None]).squeeze(-1) + camera[..., :3, 3]
    image = (batch.intrinsics[:, None, :, None] @ points[..., None]).squeeze(-1)
    px = image[..., :2] / image[..., 2:]
    crop = batch.crop_from_frame[:, None, :, None]
    u = (crop[..., :2, :2] @ px[..., None]).squeeze(-1) + crop[..., :2, 2]
    expected = (2 * u + 1) / 128 - 1
    mask = targets.joints2d_mask & targets.joints3d_mask
    assert int(mask.sum()) > 200
    assert float((expected - targets.joints2d)[mask].abs().max()) < 1e-3
    assert float(targets.joints3d[..., [R_HIP, L_HIP], :].mean(-2)[targets.joints3d_mask[..., 0]].abs().max()) < 1e-5
    root = targets.root_rotation[targets.root_rotation_mask]
    assert torch.allclose(root @ root.transpose(1, 2), torch.eye(3).expand(len(root), 3, 3), atol=1e-5)


def test_solved_camera_reprojects_near_the_annotation(targets: Targets) -> None:
    """The 50-degree view only approximates the true one: pixels agree to a few hundredths of the crop's side."""
    rows = targets.camera_mask & targets.center_mask
    assert int(rows.sum()) >= 18 and bool((rows == targets.center_mask).all())
    again = project(targets.joints3d[rows] + translation_from_triple(targets.camera[rows])[:, None])
    mask = targets.joints2d_mask[rows] & targets.joints3d_mask[rows]
    error = (again - targets.joints2d[rows]).norm(dim=-1)[mask]
    assert float(error.median()) < 0.03 and float(error.max()) < 0.25


def test_peaks_stand_at_the_centre_cell_and_level(targets: Targets) -> None:
    levels = depth_levels(16)
    clips, people, frames = (targets.center_mask & targets.camera_mask).nonzero(as_tuple=True)
    assert len(clips) > 10
    for b, p, t in zip(clips.tolist(), people.tolist(), frames.tolist()):
        y, x = targets.cell[b, p, t].tolist()
        z = int(level_of(targets.camera[b, p, t, 0], levels))
        flat = b * targets.center_mask.shape[2] + t
        assert targets.center_map[flat, y, x] == 1 and targets.center_map_3d[flat, z, y, x] == 1


def test_a_body_without_2d_points_still_has_its_centre(batch: Batch, targets: Targets) -> None:
    """BEDLAM has no others; centre and camera then come from the projected 3D joints, and no 2D joint is supervised."""
    masks = {**batch.masks, "pose2d": torch.zeros_like(batch.masks["pose2d"])}
    kp2d = torch.zeros_like(batch.kp2d)
    blind = make_targets(replace(batch, masks=masks, kp2d=kp2d), input_size=128, map_size=32, levels=16)
    assert not blind.joints2d_mask.any()
    assert bool((blind.center_mask | ~targets.center_mask).all())
    both = targets.center_mask & blind.center_mask
    # occluded torso joints count in the projection and not in the detections, so centres agree but for those
    assert float((blind.center - targets.center)[both].norm(dim=-1).median()) < 0.05
    assert bool(blind.camera_mask[both].all()) and bool(blind.center_map_3d_mask.all())
    assert float((blind.camera - targets.camera)[both & targets.camera_mask].norm(dim=-1).median()) < 0.05
    unknown = {**masks, "intrinsics": torch.zeros_like(batch.masks["intrinsics"])}
    nowhere = make_targets(replace(batch, masks=unknown, kp2d=kp2d), input_size=128, map_size=32, levels=16)
    assert not nowhere.center_mask.any(), "nothing is projected by a camera that is not known"
    assert not nowhere.camera_mask.any()


def test_a_body_without_a_hip_is_no_body(batch: Batch, targets: Targets) -> None:
    """Everything in 3D is relative to the hips: where one is missing, nothing of it can be compared."""
    kp3d = batch.kp3d.clone()
    kp3d[0, 0, 1, L_HIP] = 0
    found = make_targets(replace(batch, kp3d=kp3d), input_size=128, map_size=32, levels=16)
    assert targets.joints3d_mask[0, 0, 1].any() and not found.joints3d_mask[0, 0, 1].any()
    others = torch.ones_like(batch.present)
    others[0, 0, 1] = False
    assert torch.equal(found.joints3d_mask[others], targets.joints3d_mask[others])


def test_a_camera_that_cannot_be_solved_is_masked_and_nobody_else_notices(batch: Batch, targets: Targets) -> None:
    kp2d = batch.kp2d.clone()
    kp2d[0, 0, 1, :, 2] *= torch.arange(44) % 44 < 4  # four joints at most
    found = make_targets(replace(batch, kp2d=kp2d), input_size=128, map_size=32, levels=16)
    assert targets.camera_mask[0, 0, 1] and not found.camera_mask[0, 0, 1]
    assert bool(found.camera.isfinite().all())
    others = torch.ones_like(batch.present)
    others[0, 0, 1] = False
    assert torch.equal(found.camera[others], targets.camera[others])
    assert torch.equal(found.camera_mask[others], targets.camera_mask[others])
    assert found.center_mask[0, 0, 1] == (not found.center_map_3d_mask[1]), "no depth, no volume for its frame"
