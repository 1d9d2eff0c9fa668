"""What frames learn from each other, and how people move: the temporal parts of the network."""

from __future__ import annotations

import contextlib
import re
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from repository import ROOT
from small_network import clips, small
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trace_data.shards.view import view
from trace_train.build import build_network
from trace_train.config import NetworkConfig
from trace_train.inference.tracked_bodies import decode_tracks
from trace_train.network.flow import RaftFlow
from trace_train.network.heads import motion_volume
from trace_train.network.outputs import Maps, Tracks
from trace_train.network.raft import Raft
from trace_train.network.temporal import ConvGRU, feature_differences
from trace_train.streaming.augment import full_frame

VOLUMES = ("center", "center_3d", "camera", "mesh", "motion", "world_motion", "world_rotation")


def same(a: Maps, b: Maps, rows: Tensor | slice = slice(None), atol: float = 1e-5) -> bool:
    """Whether `a` is what `b` holds at `rows`."""
    return all(torch.allclose(getattr(a, n), getattr(b, n)[rows], atol=atol) for n in VOLUMES)


# --- memory ------------------------------------------------------------------------------------------------------


def test_on_single_cells_the_memory_is_torchs_own_gru() -> None:
    torch.manual_seed(0)
    ours, theirs = ConvGRU(5, 1), torch.nn.GRUCell(5, 5)
    cell: Any = ours.cell_list[0]
    w_r, w_z, w_n = theirs.weight_ih.chunk(3)
    u_r, u_z, u_n = theirs.weight_hh.chunk(3)
    with torch.no_grad():
        theirs.bias_hh.zero_()
        # torch resets the memory after its matrix, we before it: for a diagonal one that is the same
        u_n.copy_(torch.diag(torch.diagonal(u_n)))
        b_r, b_z, b_n = theirs.bias_ih.chunk(3)
        # its update gate says how much is kept, ours how much is renewed
        for conv, w, u, b in ((cell.convr, w_r, u_r, b_r), (cell.convz, -w_z, -u_z, -b_z), (cell.convq, w_n, u_n, b_n)):
            conv.weight[:, :, 1, 1] = torch.cat([u, w], dim=1)
            conv.bias.copy_(b)
        x, hidden = torch.randn(3, 4, 5), torch.randn(3, 5)
        found, (last,) = ours(x[..., None, None], (hidden[..., None, None],))
        for t in range(4):
            hidden = theirs(x[:, t], hidden)
            assert torch.allclose(found[:, t, :, 0, 0], hidden, atol=1e-6)
        assert torch.allclose(last[..., 0, 0], hidden, atol=1e-6)


def test_two_layers_are_the_stated_formula_and_warm_up_on_the_first_frame() -> None:
    torch.manual_seed(0)
    gru, x = ConvGRU(4, 2), torch.randn(2, 3, 4, 6, 5)
    sequence = [x[:, 0], *x.unbind(1)]
    for cell in gru.cell_list:
        assert not isinstance(cell, Tensor)
        c: Any = cell
        hidden, out = torch.zeros(2, 4, 6, 5), []
        for frame in sequence:
            both = torch.cat([hidden, frame], dim=1)
            z, r = torch.sigmoid(c.convz(both)), torch.sigmoid(c.convr(both))
            q = torch.tanh(c.convq(torch.cat([r * hidden, frame], dim=1)))
            hidden = (1 - z) * hidden + z * q
            out.append(hidden)
        sequence = out
    found, state = gru(x)
    assert torch.allclose(found, torch.stack(sequence[1:], dim=1), atol=1e-6)
    assert torch.allclose(state[1], sequence[-1], atol=1e-6)


def test_differences_start_at_zero_or_at_the_frame_before() -> None:
    x = torch.randn(2, 3, 4, 5, 5)
    assert torch.equal(feature_differences(x)[:, 0], torch.zeros(2, 4, 5, 5))
    assert torch.equal(feature_differences(x)[:, 2], x[:, 2] - x[:, 1])
    assert torch.equal(feature_differences(x[:, 1:], x[:, 0]), feature_differences(x)[:, 1:])


@pytest.mark.parametrize("chunks", [(1, 4), (3, 2), (1, 1, 1, 1, 1)])
def test_a_video_in_chunks_is_the_video_in_one_piece(chunks: tuple[int, ...]) -> None:
    network, (images, flow) = small(), clips(2, 5)
    flow = flow.unflatten(0, (2, 5))
    with torch.no_grad():
        whole = network(images, flow.flatten(0, 1))
        begin, state = 0, None
        for length in chunks:
            part = slice(begin, begin + length)
            found = network(images[:, part], flow[:, part].flatten(0, 1), state=state)
            rows = torch.arange(10).view(2, 5)[:, part].flatten()
            assert same(found, whole, rows)
            begin, state = begin + length, found.state
    assert state is not None and whole.state is not None
    assert torch.allclose(state.hidden[1], whole.state.hidden[1], atol=1e-5)


def test_frames_of_a_clip_see_those_before_them_and_clips_do_not_see_each_other() -> None:
    network, (images, flow) = small(), clips(3, 3)
    changed = images.clone()
    changed[1, 1] = 255 - changed[1, 1]
    with torch.no_grad():
        before, after = network(images, flow), network(changed, flow)
        moved = [not torch.allclose(before.mesh[i], after.mesh[i], atol=1e-4) for i in range(9)]
        assert moved == [False] * 4 + [True] * 2 + [False] * 3
        order = torch.tensor([2, 0, 1])
        shuffled = network(images[order], flow.unflatten(0, (3, 3))[order].flatten(0, 1))
    assert same(shuffled, before, torch.arange(9).view(3, 3)[order].flatten())


def test_clips_of_one_frame() -> None:
    network, (images, flow) = small(), clips(3, 1)
    with torch.no_grad():
        found = network(images[:, 0], flow)
        assert same(found, network(images, flow), atol=0)
        assert found.state is not None and found.state.features.shape == (3, 8, 16, 16)


def test_without_flow_nothing_moves() -> None:
    network, (images, flow) = small(), clips(1, 2)
    with torch.no_grad():
        none, still = network(images), network(images, torch.zeros_like(flow))
        assert same(none, still, atol=0) and not torch.allclose(none.mesh, network(images, flow).mesh, atol=1e-4)


# --- heads -------------------------------------------------------------------------------------------------------


def test_motion_volume_is_the_sum_of_both_views() -> None:
    front, above = torch.randn(2, 3, 5, 6), torch.randn(2, 4, 6)
    volume = motion_volume(front, above, torch.nn.Identity())
    assert volume.shape == (2, 3, 4, 5, 6)
    for c, d, y, x in ((0, 0, 0, 0), (1, 3, 2, 5), (2, 2, 4, 1)):
        assert volume[1, c, d, y, x] == front[1, c, y, x] + above[1, d, x]


def test_world_rotation_starts_before_the_last_block_of_world_motion() -> None:
    network, (images, flow) = small(), clips(1, 2)
    with torch.no_grad():
        stages = network(images, flow, return_stages=True).stages
        x = torch.cat([stages["optical_flows"], stages["temporal_features"]], dim=1)
        for layer in list(network.cam_motion_head)[:2]:
            x = layer(x)
        assert torch.allclose(network.cam_rot_head(x), stages["cam_rot_map"], atol=1e-5)
        x = network.cam_motion_head[2](x)
        assert torch.allclose(network.cam_motion_head[3](x), stages["cam_motion_map"], atol=1e-5)


def test_features_are_memory_plus_moved_plus_seen() -> None:
    network, (images, flow) = small(), clips(2, 2)
    with torch.no_grad():
        s = network(images, flow, return_stages=True).stages
    expected = s["gru_features"] + s["warped_features"] + s["image_feature_maps"]
    assert torch.allclose(s["temporal_features"], expected, atol=1e-6)
    assert bool(s["warped_features"].abs().max() > 0.01)


def test_parts_have_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        network = build_network(NetworkConfig())
    parts: dict[str, tuple[str, ...]] = {
        "110784": ("temp_model",),
        "106368": ("offset_feature_convert", "feature_offset_predictor", "deform_warper"),
        "7485379": ("det_head", "bv_pre_layers", "bv_out_layers", "center_map_refiner2", "cam_map_refiner"),
        "503552": ("param_head",),
        "6717477": ("motion_head", "bv_motion_pre_layers", "bv_motion_out_layers", "motion_map_refiner"),
        "1751683": ("cam_motion_head",),
        "312710": ("cam_rot_head",),
    }
    for count, names in parts.items():
        assert sum(p.numel() for n in names for p in network.get_submodule(n).parameters()) == int(count), names
    rest = sum(p.numel() for n, p in network.named_parameters() if not n.startswith("backbone."))
    assert rest == 17_442_003
    with torch.device("meta"):
        three = build_network(NetworkConfig(world_rotation_blocks=3)).cam_rot_head
    assert sum(p.numel() for p in three.parameters()) == 936_582


def test_stages_have_the_published_shapes_and_stand_in_the_documentation() -> None:
    network, (images, flow) = small(), clips(2, 3)
    tracks = Tracks(
        frame=torch.arange(6).view(2, 3), zyx=torch.full((2, 3, 3), 7), mask=torch.ones(2, 3, dtype=torch.bool)
    )
    with torch.no_grad():
        assert not network(images, flow, tracks=tracks).stages
        stages = network(images, flow, tracks=tracks, return_stages=True).stages
    shapes = {
        "backbone_stem": (6, 32, 16, 16), "backbone_layer1": (6, 64, 16, 16), "backbone_stage2_0": (6, 8, 16, 16),
        "backbone_stage2_1": (6, 16, 8, 8), "backbone_stage3_0": (6, 8, 16, 16), "backbone_stage3_1": (6, 16, 8, 8),
        "backbone_stage3_2": (6, 32, 4, 4), "offset_features": (6, 8, 16, 16), "bv_features": (6, 8, 16, 16),
        "bv_motion_features": (6, 8, 16, 16),
        "image_feature_maps": (6, 8, 16, 16), "optical_flows": (6, 2, 16, 16), "gru_features": (6, 8, 16, 16),
        "feature_offsets": (6, 144, 16, 16), "warped_features": (6, 8, 16, 16), "temporal_features": (6, 8, 16, 16),
        "front_map": (6, 7, 16, 16), "bv_map": (6, 48, 16), "center_map": (6, 1, 16, 16),
        "center_map_3d": (6, 16, 16, 16), "cam_map_3d": (6, 3, 16, 16, 16), "motion_map": (6, 3, 16, 16),
        "bv_motion_map": (6, 16, 16), "motion_map_3d": (6, 3, 16, 16, 16), "mesh_feature_map": (6, 16, 16, 16),
        "cam_motion_map": (6, 3, 16, 16), "cam_rot_map": (6, 6, 16, 16), "params_pred": (6, 156), "cam": (6, 3),
        "cams_init": (6, 3), "motion_offsets3D": (6, 3), "world_motion": (6, 3), "world_rotation_offsets": (6, 6),
        "world_cams": (6, 3), "world_global_rots": (6, 3), "pred_seq_mask": (6,),
    }  # fmt: skip
    assert {name: tuple(value.shape) for name, value in stages.items()} == shapes
    # what was noted is what the next part was given
    with torch.no_grad():
        assert torch.equal(network.feature_offset_predictor(stages["offset_features"]), stages["feature_offsets"])
        assert torch.equal(network.backbone.layer1(stages["backbone_stem"]), stages["backbone_layer1"])
    page = (ROOT / "docs" / "network.md").read_text(encoding="utf-8")
    assert set(stages) == set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


# --- inputs ------------------------------------------------------------------------------------------------------


def test_pixels_and_flow_that_are_not_finite_count_as_black_and_still() -> None:
    network, (images, flow) = small(), clips(2, 2)
    broken, mended = images.float(), images.float()
    for value, instead in ((float("nan"), 0.0), (float("inf"), 255.0), (float("-inf"), 0.0)):
        place = (0, 0, slice(3, 9), slice(2, 5))
        broken[place], mended[place] = value, instead
        bad_flow, still = flow.clone(), flow.clone()
        bad_flow[1, :, 3], still[1, :, 3] = value, 0.0
        with torch.no_grad():
            assert same(network(broken, bad_flow), network(mended, still), atol=0)


@pytest.mark.parametrize("shape", [(2, 64, 48, 3), (2, 3, 32, 32, 3), (2, 3, 64, 64), (64, 64, 3)])
def test_images_of_another_shape_are_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="letter-boxed"):
        small()(torch.zeros(shape, dtype=torch.uint8))


def test_flow_and_state_of_another_shape_are_named() -> None:
    network, (images, flow) = small(), clips(2, 2)
    with pytest.raises(ValueError, match="flow of shape"):
        network(images, flow[:2])
    state = network(images[:1]).state
    with pytest.raises(ValueError, match="state of 1 videos for a chunk of 2"):
        network(images, state=state)


def test_a_wide_frame_comes_letter_boxed() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    data, out = cv2.imencode(".jpg", frame)[1].tobytes(), np.full((64, 64, 3), 9, dtype=np.uint8)
    view(data, np.ones(2), full_frame(160, 90), out)
    assert not out[:13].any() and not out[-13:].any() and bool(out[20:44].any())
    with torch.no_grad():
        maps = small()(torch.from_numpy(out)[None])
    assert all(bool(getattr(maps, name).isfinite().all()) for name in VOLUMES)


# --- precision, layout, compilation ----------------------------------------------------------------------------


def test_half_precision_keeps_geometry_in_single() -> None:
    network, (images, flow) = small(), clips(1, 3)
    with torch.no_grad():
        exact = network(images, flow)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network(images, flow)
    assert half.mesh.dtype == torch.bfloat16 and half.state is not None
    assert all(h.dtype == torch.float32 for h in half.state.hidden)
    for name in set(VOLUMES) - {"mesh"}:
        a, b = getattr(half, name), getattr(exact, name)
        assert a.dtype == torch.float32 and float((a - b).abs().mean()) < 0.05 * float(b.abs().mean() + 1), name


def test_layout_changes_nothing() -> None:
    network, (images, flow) = small(), clips(2, 2)
    assert network.feature_offset_predictor.weight.is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        last = network(images, flow)
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
        assert same(network(images, flow), last, atol=1e-4)


class NoSynchronisation(TorchDispatchMode):
    """Refuses what would make the host wait for the device, or shapes depend on values."""

    FORBIDDEN = ("_local_scalar_dense", "nonzero", "masked_select", "item", "is_nonzero", "equal", "unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.__name__.split(".")[0] not in self.FORBIDDEN, func
        return func(*args, **(kwargs or {}))


def test_the_host_never_waits_in_a_forward_pass() -> None:
    network, (images, flow) = small(), clips(2, 2)
    tracks = Tracks(
        frame=torch.arange(4).view(2, 2), zyx=torch.full((2, 2, 3), 7), mask=torch.tensor([[True, False], [True, True]])
    )
    with torch.no_grad(), NoSynchronisation():
        maps = network(images.float(), flow, tracks=tracks, return_stages=True)
        network.depth_at(maps, tracks.frame, tracks.zyx[..., 1:])
    with pytest.raises(AssertionError), NoSynchronisation():
        bool(torch.ones(1))


class NothingFromTheHost(TorchDispatchMode):
    """Refuses operations that bring tensors of the CPU to another device, for which the host has to wait too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        devices = {leaf.device.type for leaf in tree_leaves((args, kwargs, found)) if isinstance(leaf, Tensor)}
        assert devices <= {"meta"}, func
        return found


def test_on_a_device_nothing_comes_from_the_host_and_no_value_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    # tensors on `meta` stand for a GPU's: they have no values, so that asking for one is an error
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **settings: contextlib.nullcontext())
    network, (images, flow), raft = small().to("meta"), clips(2, 2), Raft(iterations=2).eval().to("meta")
    frame, zyx, mask = torch.arange(4).view(2, 2), torch.full((2, 2, 3), 7), torch.ones(2, 2, dtype=torch.bool)
    tracks = Tracks(frame=frame.to("meta"), zyx=zyx.to("meta"), mask=mask.to("meta"))
    images, flow = images.to("meta"), flow.to("meta")
    with torch.no_grad(), NothingFromTheHost():
        maps = network(images, flow, tracks=tracks, return_stages=True)
        decode_tracks(network, maps, tracks)
        network.depth_at(maps, tracks.frame, tracks.zyx[..., 1:])
        RaftFlow(raft)(images)
    constant = torch.ones(1)
    with pytest.raises(AssertionError, match="_to_copy"), NothingFromTheHost():
        constant.to("meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        bool(maps.center.max())


def test_backbone_and_heads_compile_into_one_graph() -> None:
    network, (images, flow) = small(), clips(1, 2)
    torch._dynamo.reset()
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch._dynamo.explain(network)(images, flow)
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


def test_a_stream_compiles_into_one_graph() -> None:
    network, (images, flow) = small(), clips(1, 2)
    torch._dynamo.reset()
    with torch.no_grad():
        state = network(images, flow).state
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = torch._dynamo.explain(network)(images, flow, state=state)
    assert state is not None and (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


def test_fields_of_maps_are_all_compared_here() -> None:
    assert {f.name for f in fields(Maps)} == {*VOLUMES, "state", "stages"}


def test_single_frame_networks_have_no_temporal_parts() -> None:
    network = small("network.temporal=false", "network.flow=none", "network.motion_channels=0")
    images, _ = clips(1, 2)
    maps = network(images)
    assert maps.motion is None and maps.state is None and not hasattr(network, "temp_model")
    none = torch.zeros(0, 2, dtype=torch.long)
    with pytest.raises(ValueError, match="single frames"):
        network.follow(maps, Tracks(frame=none, zyx=none[..., None].expand(0, 2, 3), mask=none.bool()))
    with pytest.raises(ValueError, match="flow of shape"):
        network(images, torch.zeros(2, 2, 16, 16))
