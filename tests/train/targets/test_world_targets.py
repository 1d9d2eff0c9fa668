"""Targets of motion and world against the true cameras: a camera that moves, and a crop that moves over one that stands
still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_bedlam
import tiny_dynacam
import torch
from clips import make_clip
from perfect import ExactBody, perfect, perfect_maps
from torch import Tensor

from trace_data.builder.build import build_shards
from trace_data.schema.clip import ClipRef, Window
from trace_data.schema.keypoints import L_HIP, R_HIP
from trace_data.shards.reader import ShardReader
from trace_train.geometry.camera import FOCAL, metres_through, translation_from_triple, triple_from_translation
from trace_train.losses.objective import LossReport, objective
from trace_train.losses.table import LOSSES
from trace_train.losses.targets import FEET
from trace_train.streaming.batch import Batch, LoadedClip, collate
from trace_train.streaming.stream import load_clip
from trace_train.targets import Targets, WorldTargets, make_targets

SIZE = 128
TRACKS = {
    "shape_consistency", "camera_consistency", "root_consistency", "motion_offsets", "world_rotation", "world_root",
    "world_translation", "world_scale", "world_velocity", "foot_velocity", "foot_contact",
}  # fmt: skip
"""Terms of tracks that a perfect prediction brings to nothing. In `world_joints2d` it is left with what the 50-degree
view cannot show of the true lens, as in `joints2d`."""


def targets_of(batch: Batch) -> Targets:
    return make_targets(batch, input_size=SIZE, map_size=32, levels=16, tracks=True)


def world_of(targets: Targets) -> WorldTargets:
    assert targets.world is not None
    return targets.world


def filmed(
    *paths: Callable[[int], tuple[float, float]] | None, walks: tuple[float, float] = (1.0, 0.05), side: float = 340.0
) -> Batch:
    """Clips of a camera that stands still, under a crop whose middle goes along each path; None leaves it at rest.

    People walk 1 m in the first clip and stand in the second, nearly.
    """
    clips = []
    for seed, path in enumerate(paths):
        annotations = make_clip(seed, walk=walks[seed])
        annotations = replace(annotations, betas_neutral=annotations.betas_neutral[:, :1].repeat(10, axis=1))
        middles = [(320.0, 180.0) if path is None else path(t) for t in range(10)]
        windows = [Window(left=x - side / 2, top=y - side / 2, side=side) for x, y in middles]
        clips.append(
            LoadedClip(
                ref=ClipRef(sequence=seed, start=0, stride=1, length=10),
                frames=torch.zeros(10, SIZE, SIZE, 3, dtype=torch.uint8),
                crop_from_frame=np.stack([window.crop_from_frame(SIZE) for window in windows]),
                annotations=annotations,
                camera_moves=path is not None,
            )
        )
    return collate(clips)


def pan(t: int) -> tuple[float, float]:
    return 300 + 6.0 * t, 180 - 2.0 * t


@pytest.fixture(scope="module")
def handheld(shards: Path) -> Batch:
    """Sample world, cameras that move and whose extrinsics are known."""
    reader = ShardReader(shards)
    return collate([load_clip(reader, ClipRef(sequence=s, start=0, stride=1, length=8), SIZE) for s in range(6)])


@pytest.fixture(scope="module")
def dynacam(packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """DynaCam of the sample world: cameras that turn and that move."""
    root, out = tmp_path_factory.mktemp("dynacam"), tmp_path_factory.mktemp("dynacam-shards")
    tiny_dynacam.write(root)
    build_shards(["dynacam"], root, out, packs=packs)
    reader = ShardReader(out)
    count = len(reader.index.sequences)
    return collate([load_clip(reader, ClipRef(sequence=s, start=0, stride=1, length=4), SIZE) for s in range(count)])


@pytest.fixture(scope="module")
def bedlam(packs: Path, tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """BEDLAM of the sample world, from the renderer's files: exact bodies and cameras, nothing annotated in 2D."""
    root, out = tmp_path_factory.mktemp("bedlam"), tmp_path_factory.mktemp("bedlam-shards")
    tiny_bedlam.write(root)
    reader = ShardReader(build_shards(["bedlam"], root, out, packs=packs, splits=["train"]).index.folder)
    count = len(reader.index.sequences)
    return collate([load_clip(reader, ClipRef(sequence=s, start=0, stride=1, length=4), SIZE) for s in range(count)])


@pytest.fixture(params=["handheld", "dynacam", "panned", "still"])
def batch(request: pytest.FixtureRequest) -> Batch:
    if request.param in ("panned", "still"):
        return filmed(pan, pan) if request.param == "panned" else filmed(None, None)
    found: Batch = request.getfixturevalue(request.param)
    return found


def true_places(batch: Batch, first: Tensor) -> Tensor:
    """(B, P, T, 3) hips in the axes of the camera of each person's frame `first` (B, P)."""
    hips = 0.5 * (batch.kp3d[..., R_HIP, :3] + batch.kp3d[..., L_HIP, :3])
    out = torch.zeros_like(hips)
    for b, p in np.ndindex(*first.shape):
        camera = batch.camera_from_world[b, first[b, p]]
        out[b, p] = hips[b, p] @ camera[:3, :3].T + camera[:3, 3]
    return out


def judge(targets: Targets) -> LossReport:
    """A perfect prediction under every term."""
    people, tracked = perfect(targets)
    weights = dict.fromkeys(LOSSES, 1.0) | {"pose_prior": 0.0}
    return objective(perfect_maps(targets), people, targets, ExactBody(targets.joints3d), weights, tracked=tracked)


def test_a_perfect_prediction_leaves_no_loss(batch: Batch) -> None:
    report = judge(targets_of(batch))
    assert set(report.values) >= TRACKS
    for name in TRACKS:
        assert int(report.counts[name]) > 0, name
        assert float(report.values[name]) < 1e-4, name
    for name in ("joints2d", "world_joints2d"):
        assert int(report.counts[name]) > 0 and float(report.values[name]) < 0.03, name


def test_places_are_those_before_the_true_camera(batch: Batch) -> None:
    """Metres through the fixed view's own lens: where people stand, and how far they walk."""
    targets = targets_of(batch)
    world = world_of(targets)
    first = targets.center_mask.int().argmax(2)
    true = true_places(batch, first)
    found = metres_through(world.lens[:, :, None], world.camera)
    mask = world.camera_mask
    assert bool((mask == targets.center_mask).all()) and int(mask.sum()) >= 32
    off = (found - true)[mask].norm(dim=-1)
    assert float(off.median()) < 0.03 and float(off.max()) < 0.15
    walked = true[:, :, -1] - true[:, :, 0]
    again = found[:, :, -1] - found[:, :, 0]
    both = mask[:, :, 0] & mask[:, :, -1]
    assert float((walked - again)[both].norm(dim=-1).max()) < 0.04 + 0.1 * float(walked[both].norm(dim=-1).max())


def test_exact_bodies_teach_camera_and_world_without_a_point_in_2d(bedlam: Batch) -> None:
    targets = targets_of(bedlam)
    world, report = world_of(targets), judge(targets)
    assert not targets.joints2d_mask.any() and int(targets.center_mask.sum()) > 20
    assert bool((targets.camera_mask >= targets.center_mask).all()) and bool(targets.center_map_3d_mask.all())
    assert bool((world.camera_mask == targets.center_mask).all())
    first = targets.center_mask.int().argmax(2)
    off = metres_through(world.lens[:, :, None], world.camera) - true_places(bedlam, first)
    assert float(off[world.camera_mask].norm(dim=-1).median()) < 0.03
    for name in TRACKS:
        assert int(report.counts[name]) > 0 and float(report.values[name]) < 1e-4, name


def test_a_trajectory_begins_at_the_camera_of_its_first_frame(batch: Batch) -> None:
    targets = targets_of(batch)
    world = world_of(targets)
    mask = world.camera_mask[:, :, 0]
    assert torch.allclose(world.camera[:, :, 0][mask], targets.camera[:, :, 0][mask], atol=1e-6)
    mask = world.root_rotation_mask[:, :, 0]
    assert torch.allclose(world.root_rotation[:, :, 0][mask], targets.root_rotation[:, :, 0][mask], atol=1e-5)


def test_where_nothing_moves_the_world_is_the_camera() -> None:
    targets = targets_of(filmed(None, None, side=640.0))
    world = world_of(targets)
    mask = world.camera_mask & targets.camera_mask
    assert int(mask.sum()) == 40
    assert torch.allclose(world.camera[mask], targets.camera[mask], atol=1e-4)
    seen = world.joints2d_mask & targets.joints2d_mask
    assert torch.allclose(world.joints2d[seen], targets.joints2d[seen], atol=1e-5)


def test_a_crop_that_moves_over_a_still_camera_turns_nobody() -> None:
    """A crop moves the principal point and has no rotation: the offset that the network composes with is none."""
    batch = filmed(pan, pan)
    targets = targets_of(batch)
    world = world_of(targets)
    assert torch.allclose(world.root_rotation, targets.root_rotation, atol=1e-6)
    still = targets_of(filmed(None, None, side=340.0))
    assert not torch.allclose(targets.camera[..., 1:], still.camera[..., 1:], atol=1e-2)
    # people seen by both stand in the fixed view where the crop of the first frame, left alone, would show them
    held = replace(batch, crop_from_frame=batch.crop_from_frame[:, :1].expand(-1, 10, -1, -1))
    expected = targets_of(held)
    mask = world.camera_mask & expected.camera_mask & expected.center_mask
    assert int(mask.sum()) > 20
    assert float((world.camera - expected.camera)[mask].abs().max()) < 0.01


def test_the_turn_of_a_moving_camera_is_the_same_for_everybody(dynacam: Batch) -> None:
    """World and camera rotation differ by the camera's own turn, which is what a composed offset can say."""
    targets = targets_of(dynacam)
    world = world_of(targets)
    offset = world.root_rotation @ targets.root_rotation.mT
    camera = dynacam.camera_from_world[..., :3, :3]
    expected = camera[:, :1] @ camera.mT
    mask = world.root_rotation_mask
    assert int(mask.sum()) >= 32 and float((camera[:, :1] - camera).abs().max()) > 1e-3
    assert torch.allclose(offset[mask], expected[:, None].expand_as(offset)[mask], atol=1e-5)


def test_a_world_that_is_moved_as_a_whole_gives_the_same_targets(handheld: Batch) -> None:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    turn = turn * torch.linalg.det(turn).sign()
    shift = torch.tensor([3.0, -1.0, 2.0])
    back = torch.eye(4)
    back[:3, :3], back[:3, 3] = turn.T, -turn.T @ shift
    kp3d = handheld.kp3d.clone()
    kp3d[..., :3] = kp3d[..., :3] @ turn.T + shift
    moved = replace(handheld, kp3d=kp3d, camera_from_world=handheld.camera_from_world @ back)
    before, after = world_of(targets_of(handheld)), world_of(targets_of(moved))
    assert torch.equal(before.camera_mask, after.camera_mask) and torch.equal(before.stands, after.stands)
    mask = before.camera_mask
    assert torch.allclose(before.camera[mask], after.camera[mask], atol=1e-4)
    assert torch.allclose(before.feet[mask], after.feet[mask], atol=1e-4)


def test_joints_in_2d_alone_still_stand_in_the_fixed_view() -> None:
    """Penn Action: neither 3D nor a known lens, but the camera stands still."""
    batch = filmed(pan, pan)
    nothing = {k: torch.zeros_like(batch.masks[k]) for k in ("joints3d", "root_rotation", "world", "intrinsics")}
    targets = targets_of(replace(batch, masks={**batch.masks, **nothing}, kp3d=torch.zeros_like(batch.kp3d)))
    world = world_of(targets)
    assert int(world.joints2d_mask.sum()) > 1000
    first = batch.crop_from_frame[:, 0]
    px = torch.einsum("bij,bptkj->bptki", first[:, :2, :2], batch.kp2d[..., :2]) + first[:, None, None, None, :2, 2]
    mask = world.joints2d_mask
    assert torch.allclose(world.joints2d[mask], ((2 * px + 1) / SIZE - 1)[mask], atol=1e-4)
    for other in (world.camera_mask, world.root_rotation_mask, world.feet_mask, world.stands, world.motion_mask):
        assert not other.any()


def test_an_unknown_camera_supervises_no_world(handheld: Batch) -> None:
    """3DPW as released: the camera moves and its extrinsics drift; motion in the camera's own view stays."""
    masks = {**handheld.masks, "world": torch.zeros_like(handheld.masks["world"])}
    targets = targets_of(replace(handheld, masks=masks))
    world = world_of(targets)
    for mask in (world.camera_mask, world.joints2d_mask, world.root_rotation_mask, world.feet_mask, world.stands):
        assert not mask.any()
    assert world.motion_mask.any()
    report = judge(targets)
    for name, count in report.counts.items():
        assert (int(count) == 0) == name.startswith(("world", "foot")), name


def test_one_frame_has_no_tracks(shards: Path) -> None:
    reader = ShardReader(shards)
    batch = collate([load_clip(reader, ClipRef(sequence=0, start=0, stride=1, length=1), SIZE)])
    assert targets_of(batch).world is None


def test_motion_is_the_change_of_the_triple_between_frames_that_follow_each_other() -> None:
    batch = filmed(pan, None)
    present = batch.present.clone()
    present[0, 0, 4] = False
    kp2d = batch.kp2d * present[..., None, None]
    masks = {k: v & present if v.dim() == 3 else v for k, v in batch.masks.items()}
    targets = targets_of(replace(batch, present=present, kp2d=kp2d, masks=masks))
    world = world_of(targets)
    assert not world.motion_mask[..., 0].any()
    assert world.motion_mask[0, 0].tolist() == [False, True, True, True, False, False, True, True, True, True]
    assert world.motion_mask[0, 1, 1:].all()
    step = targets.camera[0, 0, 3] - targets.camera[0, 0, 2]
    assert torch.allclose(world.motion[0, 0, 3], step, atol=1e-6)


def test_who_comes_late_has_a_world_of_its_own_and_holes_are_bridged(handheld: Batch) -> None:
    """The fixed view is that of a person's own first frame; after a hole it is still that one."""
    late, hole = 2, 5
    gone = torch.zeros_like(handheld.present)
    gone[:, :, :late], gone[:, :, hole] = True, True
    masks = {k: v & ~gone if v.dim() == 3 else v for k, v in handheld.masks.items()}
    targets = targets_of(replace(handheld, masks=masks, kp2d=handheld.kp2d * ~gone[..., None, None]))
    world = world_of(targets)
    first = targets.center_mask.int().argmax(2)
    here = targets.center_mask.any(2)
    assert bool((first[here] == late).all())
    assert not world.camera_mask[:, :, :late].any() and not world.camera_mask[:, :, hole].any()
    assert bool(world.camera_mask[:, :, hole + 1][here].all())
    found = metres_through(world.lens[:, :, None], world.camera)
    off = (found - true_places(handheld, first))[world.camera_mask]
    assert float(off.norm(dim=-1).max()) < 0.15
    report = judge(targets)
    assert all(float(report.values[name]) < 1e-4 for name in TRACKS)


def test_feet_stand_where_they_hardly_move_in_the_room() -> None:
    batch = filmed(pan, walks=(0.0, 0.0))
    kp3d = batch.kp3d.clone()
    time = batch.seconds[0, :, None] * torch.tensor([1.0, 0.0, 0.0])
    kp3d[0, 0, :, FEET[0], :3] += 0.2 * time
    kp3d[0, 0, :, FEET[1], :3] += 0.4 * time
    stands = world_of(targets_of(replace(batch, kp3d=kp3d))).stands[0, 0]
    assert not stands[0].any() and stands[1:, [0, 2, 3]].all() and not stands[1:, 1].any()
    slow = replace(batch, kp3d=kp3d, seconds=2 * batch.seconds)
    assert world_of(targets_of(slow)).stands[0, 0, 1:].all(), "speed counts, not the way between frames"


def test_triples_and_places_go_back_and_forth() -> None:
    g = torch.Generator().manual_seed(0)
    triple = torch.cat([torch.rand(50, 1, generator=g) + 0.1, torch.rand(50, 2, generator=g) * 2 - 1], dim=1)
    plain = torch.tensor([FOCAL, 0.0, 0.0]).expand(50, 3)
    assert torch.allclose(metres_through(plain, triple), translation_from_triple(triple), atol=1e-5)
    assert torch.allclose(triple_from_translation(metres_through(plain, triple)), triple, atol=1e-5)
    lens = torch.tensor([3.1, 0.2, -0.4])
    x, y, z = metres_through(lens.expand(50, 3), triple).unbind(-1)
    # through that lens the root is where the triple says, and a metre there is as large
    assert torch.allclose(torch.stack([3.1 / z, 3.1 * y / z + 0.2, 3.1 * x / z - 0.4], dim=-1), triple, atol=1e-5)
