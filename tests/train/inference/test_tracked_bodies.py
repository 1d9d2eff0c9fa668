"""From tracks to the world: trajectories, rotations, bodies, and what a training step reaches."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_network import clips, small
from tiny_runs import tiny
from torch import Tensor

from trace_data.shards.reader import ShardReader
from trace_train.body.layer import BodyLayer
from trace_train.build import body_layers, build_network
from trace_train.geometry.camera import project, translation_from_triple, triple_from_translation
from trace_train.geometry.rotations import IDENTITY_6D, matrix_from_6d, matrix_from_axis_angle, sixd_from_matrix
from trace_train.inference.tracked_bodies import TrackedBodies, decode_tracks
from trace_train.network.flow import NoFlow
from trace_train.network.outputs import Maps, TrackedPeople, Tracks, WorldStart
from trace_train.network.world_trajectory import compose_world_camera, compose_world_rotation
from trace_train.streaming.stream import TrainStream
from trace_train.train import train
from trace_train.training.initialise import start_from_means
from trace_train.training.loss_module import LossModule, batch_targets

G = torch.Generator().manual_seed(5)


def random_tracks(people: int, frames: int, seed: int = 2) -> Tracks:
    """People of one clip, each missing in some frames, though never in all."""
    g = torch.Generator().manual_seed(seed)
    mask = torch.rand(people, frames, generator=g) < 0.7
    mask[:, frames // 2] = True
    zyx = torch.randint(0, 16, (people, frames, 3), generator=g)
    return Tracks(frame=torch.arange(frames).expand(people, frames), zyx=zyx, mask=mask)


# --- trajectories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count_first", [False, True])
def test_world_camera_is_where_a_track_began_plus_all_its_motion(count_first: bool) -> None:
    camera, motion = torch.randn(3, 5, 3, generator=G), torch.randn(3, 5, 3, generator=G)
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 1, 1, 0]]).bool()
    start = WorldStart(camera=torch.randn(3, 3, generator=G), known=torch.tensor([False, False, True]))
    found = compose_world_camera(camera, motion, mask, start, gain=2.0, count_first=count_first)
    for person, first in enumerate((0, 1, 2)):
        now = (start.camera if person == 2 else camera[:, first])[person].clone()
        for t in range(5):
            if mask[person, t] and (t > first or count_first or person == 2):
                s, y, x = motion[person, t]
                now = now + torch.stack([s, 2 * y, 2 * x])
            if t >= first:
                assert torch.allclose(found[person, t], now, atol=1e-6)


def test_without_motion_everybody_stays_where_they_began() -> None:
    camera = torch.randn(2, 4, 3, generator=G)
    found = compose_world_camera(camera, torch.zeros(2, 4, 3), torch.ones(2, 4, dtype=torch.bool))
    assert torch.equal(found, camera[:, :1].expand(2, 4, 3))


def test_only_motion_learns_from_the_trajectory() -> None:
    camera, motion = torch.randn(1, 3, 3, requires_grad=True), torch.randn(1, 3, 3, requires_grad=True)
    mask = torch.tensor([[True, False, True]])
    compose_world_camera(camera, motion, mask).sum().backward()  # type: ignore[no-untyped-call]
    assert camera.grad is None and motion.grad is not None
    assert motion.grad[0].tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]], "nothing has moved at a track's first frame"


@pytest.mark.parametrize("rule", ["composed", "additive"])
def test_an_offset_of_nothing_keeps_the_rotation(rule: str) -> None:
    root = sixd_from_matrix(matrix_from_axis_angle(torch.randn(4, 3, generator=G)))
    nothing = torch.tensor(IDENTITY_6D) if rule == "composed" else torch.zeros(6)
    found = compose_world_rotation(root, nothing.expand(4, 6), rule)  # type: ignore[arg-type]
    assert torch.allclose(found, matrix_from_6d(root), atol=1e-6)


def test_composed_rotation_undoes_a_turning_camera_exactly() -> None:
    world, camera = (matrix_from_axis_angle(torch.randn(6, 3, generator=G)) for _ in range(2))
    root = sixd_from_matrix(camera @ world)  # what a camera turned by `camera` sees of a root `world`
    found = compose_world_rotation(root, sixd_from_matrix(camera.mT), "composed")
    assert torch.allclose(found, world, atol=1e-5)


def test_a_decoded_translation_meets_its_centre() -> None:
    triple = torch.stack([torch.rand(50, generator=G) + 0.05, *(torch.rand(2, 50, generator=G) * 2 - 1)], dim=-1)
    place = translation_from_triple(triple)
    assert torch.allclose(project(place[:, None])[:, 0], triple[:, [2, 1]], atol=1e-5)
    assert torch.allclose(triple_from_translation(place), triple, rtol=1e-5)
    released = translation_from_triple(triple, published=True)
    assert torch.allclose(released, place, rtol=1e-3)
    seen = project(released[:, None], published=True)[:, 0]
    assert torch.allclose(seen, triple[:, [2, 1]] * (548 / 256) * math.tan(math.radians(25)), atol=1e-3)
    assert bool((translation_from_triple(torch.tensor([-0.5, 0.1, 0.1]), published=True)[2] < 0).all())


# --- people along tracks ---------------------------------------------------------------------------------------


def follow(tracks: Tracks, *changes: str) -> tuple[TrackedPeople, Maps]:
    network, (images, flow) = small(*changes), clips(1, tracks.mask.shape[1])
    with torch.no_grad():
        maps = network(images, flow)
        return network.follow(maps, tracks), maps


def test_tracks_read_the_maps_where_they_are() -> None:
    tracks = random_tracks(5, 4)
    found, maps = follow(tracks)
    assert maps.motion is not None and maps.world_motion is not None and maps.world_rotation is not None
    assert found.people.motion is not None and found.people.world_rotation_6d is not None
    for s in range(5):
        for t in range(4):
            if tracks.mask[s, t]:
                z, y, x = tracks.zyx[s, t].tolist()
                assert torch.equal(found.people.motion[s, t], maps.motion[t, :, z, y, x])
                assert torch.equal(found.people.camera_coarse[s, t], maps.camera[t, :, z, y, x])
                assert torch.equal(found.people.world_rotation_6d[s, t], maps.world_rotation[t, :, y, x])


def test_64_people_in_another_order_are_the_same_people() -> None:
    tracks, order = random_tracks(64, 3), torch.randperm(64, generator=G)
    shuffled = Tracks(frame=tracks.frame[order], zyx=tracks.zyx[order], mask=tracks.mask[order])
    (a, _), (b, _) = follow(tracks), follow(shuffled)
    assert torch.allclose(a.world_camera[order], b.world_camera, atol=1e-6)
    assert torch.allclose(a.world_root[order], b.world_root, atol=1e-6)
    assert torch.allclose(a.people.pose_6d[order], b.people.pose_6d, atol=1e-6)


def test_what_stands_where_nobody_is_changes_nothing() -> None:
    tracks = random_tracks(6, 4)
    gone = ~tracks.mask
    wild = Tracks(
        frame=tracks.frame.masked_fill(gone, 10**6),
        zyx=tracks.zyx.masked_fill(gone[..., None], -(10**6)),
        mask=tracks.mask,
    )
    (a, _), (b, _) = follow(tracks), follow(wild)
    assert torch.allclose(a.world_camera, b.world_camera, atol=1e-6)
    assert torch.allclose(a.people.shape[tracks.mask], b.people.shape[tracks.mask], atol=1e-6)


def decode(layer: BodyLayer, tracks: Tracks, *changes: str) -> tuple[TrackedBodies, tuple[Tensor, Tensor]]:
    network, (images, flow) = small(*changes), clips(1, tracks.mask.shape[1])
    with torch.no_grad():
        found = decode_tracks(network, network(images, flow), tracks)
        return found, found.joints(layer)


@pytest.mark.parametrize("people", [0, 1])
def test_bodies_in_the_camera_and_in_the_world(people: int, packs: Path) -> None:
    layer, tracks = body_layers(packs)["neutral"], random_tracks(people, 3)
    found, (camera, world) = decode(layer, tracks)
    assert camera.shape == world.shape == (people, 3, 44, 3)
    if people:
        turned = found.rotations[0].clone()
        turned[:, 0] = found.world_root[0]
        expected = layer(turned, found.betas[0]).joints + found.world_translation[0, :, None]
        assert torch.allclose(world[0], expected, atol=1e-5)
        expected = layer(found.rotations[0], found.betas[0]).joints + found.translation[0, :, None]
        assert torch.allclose(camera[0], expected, atol=1e-5)


def test_a_trajectory_in_chunks_is_the_one_in_one_piece() -> None:
    network, (images, flow) = small(), clips(1, 6)
    tracks = random_tracks(4, 6)
    tracks.mask[:, ::2] = True
    tracks.mask[0, :2], tracks.mask[1, 4:], tracks.mask[2, 2:4] = False, False, False  # comes, leaves, is away
    parts, start, state = [], None, None
    with torch.no_grad():
        whole = decode_tracks(network, network(images, flow), tracks)
        for begin in (0, 2, 4):
            of = slice(begin, begin + 2)
            maps = network(images[:, of], flow[of], state=state)
            part = Tracks(frame=tracks.frame[:, of] - begin, zyx=tracks.zyx[:, of], mask=tracks.mask[:, of])
            parts.append(decode_tracks(network, maps, part, start))
            start, state = parts[-1].end, maps.state
    assert [p.end.known.tolist() for p in parts] == [[False, True, True, True]] + [[True] * 4] * 2
    joined = torch.cat([p.world_translation for p in parts], dim=1)
    assert torch.allclose(joined[tracks.mask], whole.world_translation[tracks.mask], rtol=1e-4)


def test_switches_of_released_weights_reach_the_decoding() -> None:
    tracks = random_tracks(3, 4)
    switches = ("network.world_rotation=additive", "network.world_motion_gain=2", "network.camera_constants=published")
    first = "network.first_motion=counted"
    (rests, _), (plain, _), (released, _) = follow(tracks), follow(tracks, first), follow(tracks, first, *switches)
    assert plain.people.world_rotation_6d is not None
    summed = matrix_from_6d(plain.people.root_6d + plain.people.world_rotation_6d)
    assert torch.allclose(released.world_root, summed, atol=1e-6)
    steps, doubled = plain.world_camera.diff(dim=1), released.world_camera.diff(dim=1)
    assert torch.allclose(doubled, steps * torch.tensor([1.0, 2.0, 2.0]), atol=1e-6)
    at = (torch.arange(3), tracks.mask.int().argmax(1))
    assert rests.people.world_motion is not None
    assert torch.allclose(rests.world_camera[at], rests.people.camera[at], atol=1e-6)
    assert torch.allclose((plain.world_camera - rests.world_camera)[at], rests.people.world_motion[at], atol=1e-6)
    network = small(*switches, "network.center_maps=raw")
    assert network.published_camera and not network.center_logits


# --- training --------------------------------------------------------------------------------------------------

FEATURES = {"temp_model", "offset_feature_convert", "feature_offset_predictor", "deform_warper"}
"""Temporal parts that every clip trains: all of them train the features that every head reads."""
TRACKS = {"motion_head", "bv_motion_pre_layers", "bv_motion_out_layers", "motion_map_refiner", "cam_motion_head",
          "cam_rot_head"}  # fmt: skip
"""Those that clips of two frames and more train."""
UNUSED = {"position_embeddings"}


@pytest.mark.parametrize("frames", [1, 2])
def test_a_step_on_clips_reaches_all_temporal_parts_and_one_on_single_frames_none(
    frames: int, shards: Path, packs: Path
) -> None:
    config = tiny("network.temporal=true", f"stages=[{{clips: 2, frames: {frames}}}]")
    torch.manual_seed(0)
    network, layer = build_network(config.network), body_layers(packs)["neutral"]
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    start_from_means(network, [batch_targets(network, batch)])
    loss_module = LossModule(network, layer, config, NoFlow(network.motion_channels)).train()
    loss_module(batch).total.backward()
    temporal = {n: p.grad for n, p in network.named_parameters() if n.split(".")[0] in FEATURES | TRACKS | UNUSED}
    assert {n.split(".")[0] for n in temporal} == FEATURES | TRACKS | UNUSED
    for name, gradient in temporal.items():
        if frames == 1 or name.split(".")[0] in UNUSED:
            assert gradient is None, name
        else:
            assert gradient is not None and bool(gradient.isfinite().all()), name
            assert bool((gradient != 0).any()), name


def test_a_fresh_network_stands_still(shards: Path) -> None:
    config = tiny("network.temporal=true", "stages=[{clips: 2, frames: 2}]")
    torch.manual_seed(0)
    network = build_network(config.network)
    batch = next(iter(TrainStream(ShardReader(shards), config).batches(0, 1)))
    start_from_means(network, [batch_targets(network, batch)])
    with torch.no_grad():
        maps = network(batch.images)
    assert maps.world_motion is not None and maps.world_rotation is not None and maps.motion is not None
    turn = matrix_from_6d(maps.world_rotation.permute(0, 2, 3, 1)) - torch.eye(3)
    assert float(maps.world_motion.abs().mean()) < 0.1 and float(turn.abs().mean()) < 0.1
    assert float(maps.motion.abs().mean()) < 0.1


def test_a_run_with_temporal_parts_trains_and_is_resumed(shards: Path, packs: Path, tmp_path: Path) -> None:
    config = tiny("network.temporal=true", "steps=3", "log_every=3")
    report = train(config, shards=shards, packs=packs, run=tmp_path / "run")
    assert report.steps_now == 3 and math.isfinite(report.last_loss)
    longer = tiny("network.temporal=true", "steps=4", "log_every=3")
    assert train(longer, shards=shards, packs=packs, run=tmp_path / "run", resume=True).steps_now == 1
